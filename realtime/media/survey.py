"""What a file's sound is like, before it is read: which track is heard, how loud speech is in it, what is constant in it.

A file is listened to only until speech is found, so that little is decoded twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from realtime.errors import MediaFault
from realtime.media.container import AGAIN, decoded, open_media, quiet
from realtime.media.upright import Warn

Float = NDArray[np.float32]
Sound = Float

HEARD_DB = -45.0
"""Decibels of full scale: speech that is quieter is not heard by the engine."""
_SPEECH_S, _WORD_S = 0.5, 0.2  # seconds as loud as speech after which no more is listened to; that make it speech
_SHORTEST, _LONGEST = 3.0, 900.0  # seconds that are listened to
_FAINTEST_DB, _WANTED_DB = -85.0, -26.0  # what is quieter is nothing; where quiet speech is turned up to
_LIVELY_DB = 12.0  # speech is this much louder than what is between it; noise is not
_OFFSET, _STRONG = 0.01, 0.3  # a mean of samples larger than this, and than this share of the rest, is a fault of the recorder's
_STRAY = 0.02  # share of a file in which samples beyond full scale are accidents
_ASIDE = (
    Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.descriptions
    | Disposition.karaoke | Disposition.clean_effects | Disposition.non_diegetic | Disposition.lyrics
)  # fmt: skip
_SCALES = {"uint8": (128, 1 << 7), "int16": (0, 1 << 15), "int32": (0, 1 << 31), "int64": (0, 1 << 63)}


@dataclass(frozen=True)
class Survey:
    """How a file's sound is to be read."""

    track: int
    """Which of its audio streams."""
    rate: int
    scale: float = 1.0
    """What samples are multiplied by, for ears too: less than 1 where a file of floats goes beyond full scale."""
    gain: float = 1.0
    """What the voice for lips is multiplied by."""
    offset: Float | None = None
    """(C,) what is constant in each channel, where that is a fault."""


@dataclass
class _Listened:
    """What was heard of a track."""

    samples: int = 0
    total: Float | None = None  # (C,) of the samples
    power: Float | None = None  # (C,) of what is not constant in them
    levels: list[tuple[float, float, float]] = field(default_factory=list)  # dB, seconds, peak
    speech: float = 0.0

    def take(self, block: Float, rate: int) -> None:
        if self.total is None or len(self.total) != len(block):
            self.total, self.power, self.samples = np.zeros(len(block), np.float32), np.zeros(len(block), np.float32), 0
        self.total = self.total + block.sum(1)
        self.power = self.power + block.var(1) * block.shape[1]
        self.samples += block.shape[1]
        level, seconds = float(decibels(block).max(initial=-200)), block.shape[1] / rate
        self.levels.append((level, seconds, float(np.abs(block).max(initial=0))))
        self.speech += seconds * (level > HEARD_DB)

    @property
    def loud(self) -> float:
        """The level, dB, that is reached for so long that it may be speech."""
        left = _WORD_S
        for level, seconds, _ in sorted(self.levels, reverse=True):
            left -= seconds
            if left <= 0:
                return level
        return max((level for level, *_ in self.levels), default=-200.0)

    @property
    def between(self) -> float:
        """The level, dB, of what is not speech."""
        return float(np.quantile([level for level, *_ in self.levels], 0.2)) if self.levels else -200.0


def decibels(block: Float) -> Float:
    """(C,) the level of each channel of (C, n), without what is constant in it, in dB of full scale."""
    if not block.shape[1]:
        return np.full(len(block), -200, np.float32)
    return 10 * np.log10(np.maximum(block.var(1, dtype=np.float64), 1e-20)).astype(np.float32)


def floats(frame: av.AudioFrame, by: float = 1.0) -> Sound:
    """Samples of a frame as (channels, n) float32; integers scaled to -1..1, all multiplied. Raises MediaFault."""
    try:
        samples = frame.to_ndarray()
    except ValueError as error:
        raise MediaFault(
            f"The sound has samples of a kind that is not read here: {frame.format.name}.", "Export it as 16-bit WAV."
        ) from error
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    offset, scale = _SCALES.get(samples.dtype.name, (0, 1))
    return ((samples - np.float64(offset)) * (by / scale)).astype(np.float32)


def survey(path: Path, warn: Warn = quiet, formats: str | None = None) -> Survey:
    """Listen to a file. Raises MediaFault where it has no sound, or is damaged before speech is found."""
    with open_media(path, formats) as container:
        tracks = [(_aside(stream), at) for at, stream in enumerate(container.streams.audio)]
    if not tracks:
        raise MediaFault(f"{path.name} has no sound.", "Give a recording of speech.")
    heard: dict[int, tuple[_Listened, int, bool]] = {}
    for _, at in sorted(tracks):
        with open_media(path, formats) as container:
            stream = container.streams.audio[at]
            if not getattr(stream, "rate", 0):  # a stream whose header is cut off has no decoder, and so no rate
                continue
            whole = stream.codec_context.name.startswith(("pcm_f32", "pcm_f64"))
            heard[at] = (_listen(container, stream, path, whole), stream.rate, whole)
        if heard[at][0].speech >= _SPEECH_S:
            break
    if not heard:
        raise MediaFault(f"{path.name} has no sound that can be read.", AGAIN)
    first = next(iter(heard))
    taken = max(heard, key=lambda at: heard[at][0].loud)
    if heard[taken][0].loud < max(heard[first][0].loud + 6, _FAINTEST_DB):
        taken = first
    elif taken != first:
        warn(f"Sound track {first + 1} of {path.name} is silent: track {taken + 1} is heard.")
    found, rate, whole = heard[taken]
    scale = _scale(found, path, warn) if whole else 1.0
    return Survey(taken, rate, scale, 1.0 if scale < 1 else _gain(found, path, warn), _offset(found, scale))


def _aside(stream: AudioStream) -> tuple[bool, bool]:
    """Sorts last what is beside the film: comments, descriptions, effects alone; then first what a player takes."""
    return bool(stream.disposition & _ASIDE), not stream.disposition & Disposition.default


def _listen(container: InputContainer, stream: AudioStream, path: Path, whole: bool) -> _Listened:
    listened = _Listened()
    seconds = 0.0
    try:
        for frame in decoded(container, stream, path):
            if isinstance(frame, av.AudioFrame) and frame.samples:
                listened.take(np.nan_to_num(floats(frame), posinf=0, neginf=0), frame.sample_rate)
                seconds += frame.samples / frame.sample_rate
                if seconds > _LONGEST or (seconds > _SHORTEST and listened.speech >= _SPEECH_S and not whole):
                    break
    except MediaFault:
        pass  # whoever reads it meets it, and says where
    return listened


def _scale(found: _Listened, path: Path, warn: Warn) -> float:
    """Floats may go beyond full scale, where other files are clipped: a few samples are accidents, more are how it was recorded."""
    peaks = sorted((peak for *_, peak in found.levels if peak > 0), reverse=True)
    peak = peaks[min(len(peaks) - 1, max(1, int(len(peaks) * _STRAY)))] if peaks else 0.0
    if peak <= 1:
        return 1.0
    warn(f"{path.name} goes {20 * np.log10(peak):.0f} dB beyond full scale: turned down.")
    return float(1 / peak)


def _gain(found: _Listened, path: Path, warn: Warn) -> float:
    """Speech so quiet that a listener turns it up is turned up; noise alone is not."""
    if not _FAINTEST_DB < found.loud < HEARD_DB or found.loud - found.between < _LIVELY_DB:
        return 1.0
    warn(f"{path.name} is very quiet ({found.loud:.0f} dB of full scale): turned up for the lips.")
    return float(10 ** ((_WANTED_DB - found.loud) / 20))


def _offset(found: _Listened, scale: float) -> Float | None:
    if found.total is None or found.power is None or not found.samples:
        return None
    mean = found.total * np.float32(scale / found.samples)
    strength = np.sqrt(found.power / found.samples) * scale
    return mean.astype(np.float32) if (np.abs(mean) > np.maximum(_OFFSET, _STRONG * strength)).any() else None
