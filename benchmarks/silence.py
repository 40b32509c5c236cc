"""A mouth in silence: how much it moves in the pictures that a peer is shown, beside the actor's idle video over the same wires.

The opening of the lips is tracked in both in the same way. Its standard deviation is compared. An event of chatter is a run
of at least two pictures in which the mouth is further open than it ever is in the idle video by more than
`CHATTER` of what it opens in talk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.contrib.media import MediaPlayer
from numpy.typing import NDArray

from benchmarks.speed import write_wav
from engines import face
from engines.actor import Actor
from engines.spec import RATE, Float, Picture
from engines.tracker import Tracker
from native.planes import to_rgb

CHATTER = 0.15
"""Of the actor's range of opening."""
ROOM_S = 30


class Idle:
    """In place of the pipeline: the actor's own frames."""

    look_ahead = 1
    backend = "cpu"

    def start(self, actor: Actor, seed: int = 0, first: int = 0) -> tuple[Actor, int]:
        """See `Pipeline.start`."""
        return actor, first

    def interrupt(self, conversation: tuple[Actor, int]) -> tuple[Actor, int]:
        """See `Pipeline.interrupt`."""
        return conversation

    def step(
        self, conversations: Sequence[tuple[Actor, int]], speech: Float, unseen: Collection[int] = (), *, plain: bool = False
    ) -> tuple[list[tuple[Actor, int]], list[Picture | None]]:
        """See `Pipeline.step`."""
        after = [(actor, tick + 1) for actor, tick in conversations]
        seen = [tick >= self.look_ahead and row not in unseen for row, (_, tick) in enumerate(conversations)]
        frames = [
            actor.frames[actor.frame_at(tick - self.look_ahead)] if on else None
            for on, (actor, tick) in zip(seen, conversations, strict=True)
        ]
        return after, frames


class Mouth:
    """Follows the mouth of an actor through the pictures of a peer: show it each, then ask for the figures."""

    def __init__(self, actor: Actor) -> None:
        self._range = actor.opening_range
        self._tracker = Tracker()
        self._opening: list[float] = []
        self.lost = 0
        """Pictures without a face."""

    def __call__(self, picture: NDArray[np.uint8]) -> None:
        """Look at a picture (I420)."""
        found = self._tracker.track(to_rgb(picture))
        if not found:
            self.lost += 1
            return
        head = face.to_head(found[0], face.pose(found[0]))
        self._opening.append(float(face.opening(face.motion_of(head))))

    def forget(self) -> None:
        """Begin to count afresh."""
        self._opening, self.lost = [], 0

    def figures(self, idle: Mouth) -> dict[str, Any]:
        """What was seen so far against what was seen of the idle video, lengths in IOD."""
        shown, still = np.array(self._opening), np.array(idle._opening)
        wide = shown > still.max() + CHATTER * self._range
        events = sum(1 for on, run in groupby(wide) if on and len(list(run)) >= 2)
        return {
            "pictures": len(shown),
            "pictures_idle": len(still),
            "without_a_face": self.lost,
            "opening_std": round(float(shown.std()), 5),
            "opening_std_idle": round(float(still.std()), 5),
            "ratio": round(float(shown.std() / still.std()), 3),
            "furthest_open": round(float(shown.max()), 4),
            "furthest_open_idle": round(float(still.max()), 4),
            "chatter": events,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._tracker.close()


def room(level: float, seed: int = 0) -> MediaStreamTrack:
    """The microphone of a room in which nobody speaks: steady noise at `level` dBFS whose power falls with its frequency."""
    frequency = np.arange(ROOM_S * RATE // 2 + 1) / ROOM_S
    real, imaginary = np.random.default_rng(seed).normal(size=(2, len(frequency))) / np.sqrt(np.maximum(20, frequency))
    noise = np.fft.irfft(real + 1j * imaginary)
    noise *= 10 ** (level / 20) / np.sqrt(np.mean(noise**2))
    with tempfile.TemporaryDirectory() as folder:
        write_wav(Path(folder) / "room.wav", noise.astype(np.float32))
        track: MediaStreamTrack = MediaPlayer(str(Path(folder) / "room.wav"), loop=True).audio  # it has opened the file
    return track
