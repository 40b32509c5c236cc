"""Speech in, in pieces of any size and rate; pictures out, each with its sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mytalk.own import own
from mytalk.samples import floats

if TYPE_CHECKING:
    from av import AudioResampler

    from engines.actor import Actor
    from engines.pipeline import Pipeline

Float = NDArray[np.float32]
FPS, HEARD = 25, 16_000
_SLOWEST, _FASTEST = 8_000, 192_000


def pipeline(*, expressiveness: float = 1.0, backend: str = "cpu") -> Pipeline:
    """The nets, loaded: about a second. Read-only afterwards: one may serve any number of streams and dubs, one after the other.

    `expressiveness` is how far mouths move: 0 to 2, 1 as the actor does. `backend` is "cpu", "cuda" or "tensorrt". Raises Fault.
    """
    if not 0 <= expressiveness <= 2:
        raise own("realtime.errors").SettingsFault(f"An expressiveness of {expressiveness:g} does not exist.", "Choose one from 0 to 2.")
    made: Pipeline = own("engines.pipeline").Pipeline(expressiveness=expressiveness, backend=backend)
    return made


@dataclass(frozen=True)
class Shown:
    """One tick of 40 ms."""

    tick: int
    """Its number, from 0: it begins at tick / 25 seconds of the speech."""
    picture: NDArray[np.uint8]
    """RGB (height, width, 3), or I420 (height * 3 / 2, width), limited range, BT.601."""
    sound: Float
    """(n,) float32 at the stream's rate: the speech of these 40 ms, as it was pushed; silent where that has ended."""


class Stream:
    """A conversation with an actor: push speech, get pictures. Fed in any pieces, or whole, it gives the same.

    A picture comes `look_ahead` ticks (80 ms) after its speech, and 2 ms later where the rate is not 16,000 Hz. Making one takes about
    13 ms on one core at 512x512. For one thread at a time. As a context manager or not: it holds nothing that must be closed.
    """

    def __init__(
        self,
        actor: Actor | str,
        rate: int = HEARD,
        *,
        pictures: Literal["rgb", "i420"] = "rgb",
        seed: int = 0,
        start: float = 0.0,
        pipeline: Pipeline | None = None,
    ) -> None:
        """`actor` may be a name; `rate` is that of the samples, in Hz, 8,000 to 192,000; `start` where in the actor's own video to
        begin, in seconds; `pipeline` what `mytalk.pipeline()` gave, else one is loaded. Raises Fault for what will not do."""
        if not isinstance(rate, int) or not _SLOWEST <= rate <= _FASTEST:
            raise own("engines.errors").SpeechFault(f"{rate!r} is no sample rate that is taken.", f"Give {_SLOWEST} to {_FASTEST}, in Hz.")
        if pictures not in ("rgb", "i420"):
            raise own("realtime.errors").SettingsFault(f"There are no pictures of kind {pictures!r}.", "Choose 'rgb' or 'i420'.")
        if isinstance(actor, str):
            from mytalk.files import load

            actor = load(actor)
        self.rate, self.actor = rate, actor
        self._rgb = pictures == "rgb"
        self._pipeline = pipeline or _loaded()
        self._state = self._pipeline.start(actor, seed, int(start * FPS))
        self._heard = 0  # ticks that the engine was given
        self._shown = 0
        self._speech: Float = np.zeros(0, np.float32)  # at HEARD, not heard yet
        self._sound: Float = np.zeros(0, np.float32)  # at `rate`, from tick `_shown` on
        self._resampler: AudioResampler | None = None
        self._pushed = self._given = 0  # samples since the last flush: at `rate`, at HEARD

    @property
    def look_ahead(self) -> int:
        """Ticks between hearing a tick of speech and having its picture."""
        return self._pipeline.look_ahead

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures, in pixels."""
        return self.actor.size

    def push(self, samples: ArrayLike | bytes) -> list[Shown]:
        """More speech, mono: (n,) float between -1 and 1, or int16, or the bytes of int16 samples, little-endian. Returns the ticks whose
        pictures it completes, in order. Raises Fault for other shapes and types, and for values that are not numbers."""
        sound = floats(samples)
        self._sound = np.concatenate([self._sound, sound])
        self._speech = np.concatenate([self._speech, self._converted(sound)])
        return self._steps()

    def flush(self) -> list[Shown]:
        """The rest: the speech is at its end for now. Its last tick is filled with silence, and `look_ahead` silent ticks follow; their
        pictures come with what is pushed next."""
        self._speech = np.concatenate([self._speech, self._rest()])
        ticks = -(-len(self._speech) * FPS // HEARD)
        self._speech = np.pad(self._speech, (0, ticks * HEARD // FPS - len(self._speech)))
        last = self._heard + ticks
        self._fill(last)
        shown = self._steps()
        while self._shown < last:
            self._fill(self._heard + 1)
            shown += self._step(np.zeros(HEARD // FPS, np.float32))
        return shown

    def silence(self, seconds: float = 1 / FPS) -> list[Shown]:
        """Nothing is said for so long: the actor's own video goes on, the mouth at rest."""
        return self.push(np.zeros(round(seconds * self.rate), np.float32))

    def interrupt(self) -> None:
        """Forget all speech that has not been shown; the mouth goes to rest from where it is."""
        self._speech, self._sound, self._resampler = self._speech[:0], self._sound[:0], None
        self._pushed = self._given = 0
        self._fill(self._heard)  # ticks that were heard are shown, silent
        self._state = self._pipeline.interrupt(self._state)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupt()

    def _steps(self) -> list[Shown]:
        shown: list[Shown] = []
        size = HEARD // FPS
        while len(self._speech) >= size:
            block, self._speech = self._speech[:size], self._speech[size:]
            shown += self._step(block)
        return shown

    def _step(self, block: Float) -> list[Shown]:
        (self._state,), (picture,) = self._pipeline.step([self._state], np.ascontiguousarray(block)[None])
        self._heard += 1
        if picture is None:
            return []
        size = self._place(self._shown + 1) - self._place(self._shown)
        sound, self._sound = self._sound[:size], self._sound[size:]
        seen = own("native.planes").to_rgb(picture) if self._rgb else picture
        self._shown += 1
        return [Shown(self._shown - 1, seen, np.pad(sound, (0, size - len(sound))))]

    def _place(self, tick: int) -> int:
        """Samples before a tick, at `rate`."""
        return tick * self.rate // FPS

    def _fill(self, tick: int) -> None:
        """Silence up to the beginning of a tick."""
        self._sound = np.pad(self._sound, (0, max(0, self._place(tick) - self._place(self._shown) - len(self._sound))))

    def _converted(self, sound: Float) -> Float:
        self._pushed += len(sound)
        if self.rate == HEARD or not len(sound):
            self._given += len(sound)
            return sound
        from av import AudioFrame, AudioResampler

        if self._resampler is None:
            self._resampler = AudioResampler(format="fltp", layout="mono", rate=HEARD)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout="mono")
        frame.sample_rate = self.rate
        return self._gave(self._resampler.resample(frame))

    def _gave(self, frames: list[Any]) -> Float:
        sound = np.concatenate([np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)]).astype(np.float32)
        self._given += len(sound)
        return sound

    def _rest(self) -> Float:
        """What the conversion still holds: as many samples as the speech needs."""
        tail = self._gave(self._resampler.resample(None)) if self._resampler else np.zeros(0, np.float32)
        lack = -(-self._pushed * HEARD // self.rate) - self._given
        self._resampler, self._pushed, self._given = None, 0, 0
        return np.pad(tail, (0, lack)) if lack >= 0 else tail[: len(tail) + lack]


_loaded = pipeline  # which the argument of the same name hides
