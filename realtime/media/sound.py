"""Sound in: what a listener of a file hears, as samples in their places in time; and the voice in it that drives lips."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import InputContainer

from realtime.errors import MediaFault
from realtime.media.container import check_whole, decoded, open_media, quiet, video_of
from realtime.media.mix import Mono, Stereo
from realtime.media.survey import HEARD_DB, Float, Sound, Survey, decibels, floats, survey
from realtime.media.upright import Warn

_TOLERANCE = 0.04  # seconds by which a frame may be late before the time until it is silence: timestamps jitter
_SPLICE = 10.0  # seconds: what is later by more, in a format that knows splices or after the file's end, is no silence
_LEAD = 60_000_000  # microseconds: what begins later was cut out of something longer
_FULL_SCALE = 0.9999
_ENOUGH = 0.1  # seconds that must be heard for a file to hold speech
_SPLICED = ("mpegts", "mpeg", "rtp")


def read_sound(
    path: Path, rate: int, channels: Literal[1, 2] | None = 1, warn: Warn = quiet, formats: str | None = None
) -> Iterator[Sound]:
    """The sound of any file as float32 blocks (C, n) in -1..1 at `rate` Hz, streamed.

    `channels` None keeps mono and stereo as they are, and mixes more to stereo; mono is the voice for lips: see `mix.Mono`, without a
    constant offset, and turned up where it is too quiet for anybody. Where the frames' times leave a gap there is silence; where
    pictures come before the first sound, too. Of several tracks the one that a player takes is read, or, where it is silent, the
    loudest. n source samples become exactly ceil(n * rate / source rate). Raises MediaFault for a file without sound and, when it gets
    there, for damage and values that are not numbers. What was decided, clipped samples, and that no speech is heard are said aloud.
    """
    found = survey(path, warn, formats)
    with open_media(path, formats) as container:
        stream = container.streams.audio[found.track]
        frames = (frame for frame in decoded(container, stream, path, warn) if isinstance(frame, av.AudioFrame))
        source = _Source(path, container, found)
        blocks = source.blocks(frames)
        mixed = _for_lips(blocks, found, path, warn) if channels == 1 else _for_ears(blocks, channels, found.rate)
        yield from _resampled(mixed, lambda: source.rate, rate)
        check_whole(container, stream, path, source.read, source.start)
        if found.scale == 1 and source.loud > max(10, source.read * source.rate * 1e-4):
            warn(f"{path.name} is clipped: {source.loud} samples are at or beyond full scale. Record it at a lower level.")


def read_speech(path: Path, rate: int, warn: Warn = quiet, formats: str | None = None) -> Iterator[Sound]:
    """The voice of any file as mono float32 blocks (n,) at `rate` Hz: see `read_sound`."""
    for block in read_sound(path, rate, 1, warn, formats):
        yield block[0]


class _Source:
    """A track's samples at its own rate, in their places."""

    def __init__(self, path: Path, container: InputContainer, found: Survey) -> None:
        self._path, self._found = path, found
        self._origin = _origin(container)
        self._splices = container.format.name.startswith(_SPLICED)
        self._most = container.duration / 1e6 + _SPLICE if container.duration else math.inf  # seconds, by the header
        self.rate = 0
        self.loud = 0
        """Samples at full scale."""
        self.start = 0.0
        """The time of the first sample, by the file's clock."""
        self.read = 0.0
        """Seconds from the first sample to the end of the last."""

    def blocks(self, frames: Iterable[av.AudioFrame]) -> Iterator[tuple[Float, tuple[str, ...]]]:
        """Samples (C, n) and the names of their channels; silence where the frames' times leave a gap."""
        placed = ahead = 0
        origin: Fraction | None = None
        for frame in frames:
            block = floats(frame, self._found.scale)
            names = tuple(channel.name for channel in frame.layout.channels)
            time = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            if origin is None:
                self.rate, self.start = frame.sample_rate, float(time or 0)
                origin = (time or Fraction(0)) if self._origin is None else self._origin
                ahead = max(0, round(((time or origin) - origin) * self.rate))
            elif frame.sample_rate != self.rate:
                raise MediaFault(f"{self._path.name} changes its sample rate on the way.", "Convert it to WAV first.")
            if not np.isfinite(block).all():
                raise MediaFault(
                    f"{self._path.name} has samples that are not numbers, {placed / self.rate:.1f} s after its start.",
                    "Export it again as 16-bit WAV.",
                )
            late = 0 if time is None else round((time - origin) * self.rate) - placed
            if late > _SPLICE * self.rate and placed > ahead and (self._splices or placed + late > self._most * self.rate):
                origin, late = origin + Fraction(late, self.rate), 0
            if late > _TOLERANCE * self.rate:
                placed += late
                yield from ((np.zeros((len(block), size), np.float32), names) for size in _pieces(late, self.rate))
            elif placed == 0:
                ahead = 0
            self.loud += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE).item())
            placed += block.shape[1]
            self.read = (placed - ahead) / self.rate
            if time is not None and frame.duration and frame.time_base:  # a last frame may last longer than its samples
                self.read = max(self.read, float(time + frame.duration * frame.time_base) - self.start)
            yield block, names


def _origin(container: InputContainer) -> Fraction | None:
    """When a file begins, by its own clock: with its first picture, if it has any. None: with its first sound."""
    if container.format.name.startswith("mov") and 0 < (container.start_time or 0) < _LEAD:
        return Fraction(0)  # an edit list begins with nothing, on purpose
    if video_of(container) is None or container.start_time is None:
        return None
    return Fraction(container.start_time, 1_000_000)


def _pieces(samples: int, most: int) -> Iterator[int]:
    for at in range(0, samples, most):
        yield min(most, samples - at)


def _for_lips(blocks: Iterable[tuple[Float, tuple[str, ...]]], found: Survey, path: Path, warn: Warn) -> Iterator[Sound]:
    """The voice (1, n), without offset, loud enough. Says where there is none."""
    mono = Mono()
    heard = length = 0.0
    for block, names in blocks:
        voice = mono(block if found.offset is None or len(found.offset) != len(block) else block - found.offset[:, None], names, found.rate)
        voice *= np.float32(found.gain)
        length += voice.shape[1] / found.rate
        heard += voice.shape[1] / found.rate * (decibels(voice).max(initial=-200) > HEARD_DB)
        yield np.clip(voice, -1, 1)
    if mono.cancelled:
        warn(f"The channels of {path.name} cancel each other out when mixed, as where one is inverted: the louder one drives the lips.")
    if not heard or heard < min(_ENOUGH, length / 2):
        warn(str(unheard(path)))


def unheard(path: Path) -> MediaFault:
    """What is said of a file in which there is nothing to say."""
    return MediaFault(f"No speech is heard in {path.name}: the mouth stays at rest.", "Check that it is the right file, and its level.")


def _for_ears(blocks: Iterable[tuple[Float, tuple[str, ...]]], channels: Literal[1, 2] | None, rate: int) -> Iterator[Sound]:
    """As many channels as the first block has, or as are asked for: one or two."""
    stereo = Stereo()
    for block, names in blocks:
        channels = channels or (1 if len(names) == 1 else 2)
        both = stereo(block, names, rate)
        yield np.clip(both if channels == 2 else both.mean(0, keepdims=True), -1, 1)


def _resampled(blocks: Iterable[Sound], native: Callable[[], int], rate: int) -> Iterator[Sound]:
    """Blocks (C, n) at `native()` Hz, which is known when the first is there, at `rate` Hz."""
    resampler: av.AudioResampler | None = None
    heard = given = 0
    for block in blocks:
        heard += block.shape[1]
        if native() == rate:
            yield block
            continue
        layout = "mono" if len(block) == 1 else "stereo"
        if resampler is None:
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        out = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
        out.sample_rate = native()
        for resampled in resampler.resample(out):
            given += resampled.samples
            yield np.clip(resampled.to_ndarray(), -1, 1)
    if resampler is not None:
        rest = math.ceil(Fraction(heard * rate, native())) - given
        tail = np.concatenate([frame.to_ndarray() for frame in resampler.resample(None)] or [np.zeros((len(block), 0))], 1)
        yield np.clip(np.pad(tail, ((0, 0), (0, max(0, rest - tail.shape[1]))))[:, :rest], -1, 1).astype(np.float32)


def ticks(blocks: Iterable[Sound], size: int, counted: Callable[[int], None] = lambda samples: None) -> Iterator[Sound]:
    """Cut blocks (..., n) into blocks of exactly `size` samples, the last one filled with zeros.

    `counted` is told the true number of samples at the end.
    """
    kept: Sound | None = None
    total = 0
    for block in blocks:
        total += block.shape[-1]
        kept = block if kept is None else np.concatenate([kept, block], -1)
        whole = kept.shape[-1] // size * size
        for at in range(0, whole, size):
            yield kept[..., at : at + size]
        kept = kept[..., whole:]
    if kept is not None and kept.shape[-1]:
        yield np.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, size - kept.shape[-1])])
    counted(total)
