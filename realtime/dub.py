"""File to file: an actor says the speech of a file. A long stream with a fresh state, the same path as live."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from engines.actor import Actor
from engines.frames import Picture
from engines.spec import FPS, RATE, TICK
from realtime.errors import MediaFault, OutputFault, SettingsFault
from realtime.media import Sound, probe, read_pictures, read_sound, read_speech, ticks
from realtime.media.upright import Warn
from realtime.writer import KINDS, SOUND_RATE, Writer

SOUND_TICK = SOUND_RATE // FPS
LOWEST_FPS, HIGHEST_FPS = 1.0, 120.0
_HEARD_S = 600  # of an actor's own video
Progress = Callable[[int, int | None], None]


class DubbingPipeline(Protocol):
    """What dubbing needs of `engines.pipeline.Pipeline`; a conversation is whatever `start` gives."""

    @property
    def look_ahead(self) -> int:
        """Ticks between hearing a tick and having its picture."""

    def start(self, actor: Actor, seed: int = 0, first: int = 0) -> Any:
        """A new conversation."""

    def step(self, conversations: Any, speech: Sound) -> tuple[list[Any], list[Picture | None]]:
        """Hear a tick, see the one `look_ahead` before it."""


@dataclass(frozen=True)
class DubReport:
    """What was written."""

    path: Path
    pictures: int
    """Pictures in the file, at `fps`."""
    ticks: int
    """Ticks of speech: exactly ceil(samples * 25 / rate), at least 1."""
    seconds: float
    """Of speech."""
    fps: float


def check_output(out: Path, inputs: tuple[Path, ...], *, overwrite: bool = False) -> None:
    """Raise OutputFault, before any work, where `out` may not be written."""
    if out.suffix.lower() not in KINDS:
        raise OutputFault(f"{out.name} is not a name for a video.", f"Let it end in {', '.join(KINDS)}.")
    if not out.parent.is_dir():
        raise OutputFault(f"There is no folder {out.parent}.", "Make it first, or choose another.")
    if out.is_dir():
        raise OutputFault(f"{out} is a folder.", "Name a file.")
    if any(path.exists() and out.exists() and path.samefile(out) for path in inputs):
        raise OutputFault(f"{out} is the input itself.", "Choose another name with -o.")
    if out.exists() and not overwrite:
        raise OutputFault(f"{out} exists already.", "Choose another name, or say --overwrite.")
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".", suffix=".part"):
        pass  # raises a plain OSError where nothing may be written


def check_options(fps: float, crf: int) -> None:
    """Raise SettingsFault where no video can be written like this."""
    if not LOWEST_FPS <= fps <= HIGHEST_FPS:
        raise SettingsFault(f"{fps:g} pictures a second cannot be written.", f"Choose --fps from {LOWEST_FPS:g} to {HIGHEST_FPS:g}.")
    if not 0 <= crf <= 51:
        raise SettingsFault(f"A quality (crf) of {crf} does not exist.", "Choose --crf from 0 (largest) to 51; 16 is the default.")


def made(actor: Actor, speech: Iterator[Sound], pipeline: DubbingPipeline, *, first: int = 0, seed: int = 0) -> Iterator[Picture]:
    """One picture for each tick of speech (640,); silence follows the last so that the look-ahead is filled."""
    conversation = pipeline.start(actor, seed, first)
    for block in chain(speech, repeat(np.zeros(TICK, np.float32), pipeline.look_ahead)):
        (conversation,), (picture,) = pipeline.step([conversation], block[None])
        if picture is not None:
            yield picture


def dub(
    actor: Actor,
    speech_path: Path,
    out_path: Path,
    *,
    pipeline: DubbingPipeline,
    start: float = 0.0,
    fps: float = FPS,
    crf: int = 16,
    seed: int = 0,
    overwrite: bool = False,
    warn: Warn = lambda sentence: None,
    progress: Progress = lambda done, total: None,
) -> DubReport:
    """Write a video in which the actor says the speech, from `start` seconds into the actor's own video on.

    Memory is constant, whatever the length. Pictures are made at 25 a second and repeated or dropped for another
    `fps` (1 to 120). Speech without samples gives one picture with the mouth closed. `progress` is told the ticks done,
    and all of them where the file says its length. Raises OutputFault, MediaFault, SettingsFault, OSError; then, as
    when interrupted, nothing is left.
    """
    check_output(out_path, (speech_path,), overwrite=overwrite)
    check_options(fps, crf)
    length = len(actor.frames) / FPS
    if not 0 <= start < length:
        raise SettingsFault(f"The actor's video is {length:.2f} s long: it cannot start at {start:g} s.", "Choose an earlier --start.")
    seconds = probe(speech_path).seconds
    total = max(1, int(np.ceil(seconds * FPS - 1e-6))) if seconds else None
    lengths: list[int] = []
    heard = ticks(read_speech(speech_path, RATE, warn), TICK, lengths.append)
    sound = ticks(read_sound(speech_path, SOUND_RATE, None), SOUND_TICK)
    first_sound = next(sound, np.zeros((1, SOUND_TICK), np.float32))
    one_at_least = chain([next(heard, np.zeros(TICK, np.float32))], heard)
    done = 0
    with Writer(out_path, actor.size, fps=fps, crf=crf, channels=len(first_sound)) as writer:
        pictures = made(actor, one_at_least, pipeline, first=int(start * FPS), seed=seed)
        for picture, block in zip(pictures, chain([first_sound], sound), strict=True):
            done += 1
            while writer.pictures / fps < done / FPS - 1e-9:
                writer.picture(picture)
            writer.sound(block)
            progress(done, total)
    return DubReport(out_path, writer.pictures, done, lengths[0] / RATE, fps)


@contextmanager
def enrolled(
    path: Path,
    *,
    name: str | None = None,
    face_number: int | None = None,
    still: bool = False,
    warn: Warn = lambda sentence: None,
    progress: Callable[[int], None] | None = None,
    formats: str | None = None,
    source: str | None = None,
) -> Iterator[Actor]:
    """An actor made on the fly from a video or photo; its frames are gone at the end of the block. For `still` see `enrol`.

    `formats` limits what kinds of files are opened (`realtime.media.VIDEOS`); `source` is said of the actor, else the file's name.
    """
    from engines.enrol import enrol

    with tempfile.TemporaryDirectory(prefix="mytalk-") as folder:
        pictures = read_pictures(path, warn, formats)
        actor = enrol(
            pictures,
            Path(folder),
            name or path.stem,
            face_number=face_number,
            still=still,
            source=source or path.name,
            warn=warn,
            progress=progress,
        )
        yield _by_own_speech(actor, path, formats)


def _by_own_speech(actor: Actor, path: Path, formats: str | None) -> Actor:
    """The actor, calibrated by the sound of the video that it comes from (`engines.motion.calibration`); as it is without sound."""
    from engines.motion.calibration import calibrated
    from engines.motion.engine import DiffusionMotion

    try:
        if not probe(path, formats).sound:
            return actor
        count = min(len(actor.frames), _HEARD_S * FPS)
        speech = np.concatenate([np.zeros(0, np.float32), *islice(ticks(read_speech(path, RATE, formats=formats), TICK), count)])
    except MediaFault:  # pictures without a sound that can be read are enough
        return actor
    return calibrated(actor, speech, DiffusionMotion())
