"""Files in: pictures at 25 a second and speech in blocks, streamed. Files out are `realtime.writer`'s.

Pictures are I420, limited range, BT.601 (what `native.planes` and WebRTC peers assume), whatever the file has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from engines.frames import Picture
from engines.spec import FPS
from realtime.errors import MediaFault
from realtime.upright import Upright, Warn, read_photo
from realtime.writer import Writer as Writer

Sound = NDArray[np.float32]

SOUNDS = "wav,w64,aiff,au,caf,flac,mp3,ogg,aac,amr,mov,mp4,m4a,3gp,matroska,webm,avi,asf,opus"
"""Kinds of files of strangers in which speech may come: no playlists, nothing that refers to other files."""
VIDEOS = "mov,mp4,m4a,3gp,matroska,webm,avi,asf,mpegts,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
"""Kinds of files of strangers in which a face may come."""

_HALF_MS = Fraction(1, 2000)  # containers that count in ms round a frame's time by up to this
_SHORT = {"video": 0.2, "audio": 0.05}  # seconds that may be missing at the end before a file counts as truncated
_UNKNOWN_SIZE = 0x7FFF_0000  # what writes a WAV into a pipe puts about this, or more, where the size should be
_FULL_SCALE = 0.9999
_AGAIN = "Export or download the file again."


def _quiet(sentence: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Info:
    """What a media file holds, as far as its header says."""

    kind: Literal["video", "photo", "sound"]
    seconds: float | None
    """None where the header does not say. A photo has 0."""
    size: tuple[int, int] | None
    """Width and height as stored, before rotation."""
    fps: float | None
    sound: bool


def _open(path: Path, formats: str | None = None) -> InputContainer:
    """Open a media file, of one of these formats only if they are given. Raises MediaFault, or OSError where the file itself
    cannot be opened."""
    with path.open("rb") as file:
        if not file.read(1):
            raise MediaFault(f"{path.name} is empty.", _AGAIN)
    try:
        options = {"protocol_whitelist": "file"} | ({"format_whitelist": formats} if formats else {})
        return av.open(f"file:{path}", metadata_errors="replace", options=options)
    except (av.error.FFmpegError, ValueError) as error:  # a format that is not in the list is a ValueError
        raise MediaFault(
            f"{path.name} is damaged, or no picture, video or sound: {_words(error)}.",
            "Convert it to MP4, JPEG or WAV.",
        ) from error


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _video(container: InputContainer) -> VideoStream | None:
    """The stream of moving pictures, if any; a sound file's cover is none."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    return max(streams, key=lambda s: (s.width or 0) * (s.height or 0), default=None)


def _is_photo(container: InputContainer) -> bool:
    return container.format.name == "image2" or container.format.name.endswith("_pipe")


def _length(container: InputContainer, stream: VideoStream | AudioStream | None) -> float | None:
    """Seconds as the header says."""
    if stream is not None and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def probe(path: Path, formats: str | None = None) -> Info:
    """What a file holds. Raises MediaFault where it holds neither pictures nor sound, or is not of these `formats`."""
    with _open(path, formats) as container:
        video = _video(container)
        sound = container.streams.audio[0] if container.streams.audio else None
        if video is not None and _is_photo(container):
            return Info("photo", 0.0, (video.width, video.height), None, sound=False)
        if video is not None:
            fps = float(video.average_rate) if video.average_rate else None
            return Info("video", _length(container, video), (video.width, video.height), fps, sound=sound is not None)
        if sound is not None:
            return Info("sound", _length(container, sound), None, None, sound=True)
    raise MediaFault(f"{path.name} holds neither pictures nor sound.", "Give a video, a photo or a sound file.")


def read_pictures(path: Path, warn: Warn = _quiet, formats: str | None = None) -> Iterator[Picture]:
    """The pictures of a video at exactly 25 a second, or the photo: I420 (H*3/2, W) uint8, upright, even sizes.

    Picture n is the last frame whose time is at most n/25 s after the first. Raises MediaFault for a file without
    pictures and, when it gets there, for damage.
    """
    with _open(path, formats) as container:
        stream = _video(container)
        if stream is None:
            raise MediaFault(f"{path.name} has no pictures.", "Give a video or a photo of a face.")
        if _is_photo(container):
            yield read_photo(path, warn)
            return
        stream.thread_type = "AUTO"
        convert = Upright(path.name, stream.sample_aspect_ratio, warn)
        held: av.VideoFrame | None = None
        start = at = end = Fraction(0)
        tick = 0
        for frame in _decode(container, stream, path):
            if not isinstance(frame, av.VideoFrame):
                continue
            if frame.is_corrupt:
                raise MediaFault(f"{path.name} is damaged {float(at):.1f} s after its start.", _AGAIN)
            length = _frame_length(frame, stream)
            time = end + start if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            if held is None:
                start = time
            at = max(at, time - start)
            picture = None
            while held is not None and Fraction(tick, FPS) < at - _HALF_MS:
                picture = convert(held) if picture is None else picture
                yield picture
                tick += 1
            held, end = frame, at + length
        if held is None:
            raise MediaFault(f"{path.name} has no pictures that can be read.", _AGAIN)
        picture = convert(held)
        while tick == 0 or Fraction(tick, FPS) < end - _HALF_MS:
            yield picture
            tick += 1
        _whole(container, stream, path, float(end), float(start))


def _frame_length(frame: av.VideoFrame, stream: VideoStream) -> Fraction:
    if frame.duration and frame.time_base:
        return Fraction(frame.duration * frame.time_base)
    return 1 / Fraction(stream.average_rate) if stream.average_rate else Fraction(1, FPS)


def _decode(
    container: InputContainer, stream: VideoStream | AudioStream, path: Path, warn: Warn = _quiet
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Decoded frames. In MP3 and AAC, where junk between packets is common, some is skipped and said aloud."""
    forgiving = stream.codec_context.name.startswith(("mp3", "aac"))
    good = bad = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                bad += 1
                if not forgiving or bad > 2 + good // 50:
                    raise
                continue
            good += 1
            yield from frames  # type: ignore[misc]  # no subtitles in a stream of video or sound
        if bad:
            warn(f"{path.name} has {bad} damaged packets: skipped.")
    except av.error.FFmpegError as error:
        raise MediaFault(f"{path.name} is damaged: {_words(error)}.", _AGAIN) from error


def _whole(container: InputContainer, stream: VideoStream | AudioStream, path: Path, seconds: float, start: float = 0.0) -> None:
    """Raise MediaFault where a stream ends before the length that its header promises."""
    kind = container.format.name
    expected: float | None = None
    if kind == "wav":  # the decoder believes the file's size, not its header
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8)[4:], "little") + 8
        held = path.stat().st_size
        expected = seconds * size / held if size < _UNKNOWN_SIZE else None
    elif kind.startswith(("mov", "flac", "avi", "ogg")) and stream.duration and stream.time_base:
        expected = float(stream.duration * stream.time_base)
    elif kind.startswith("matroska"):
        if words := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")):
            expected = int(words[1]) * 3600 + int(words[2]) * 60 + float(words[3]) - start
        elif container.duration and len(container.streams) == 1:
            expected = container.duration / 1e6 - start
    if expected is not None and seconds < expected - _SHORT[stream.type]:
        raise MediaFault(f"{path.name} is truncated: {seconds:.1f} of {expected:.1f} s can be read.", _AGAIN)


def read_sound(
    path: Path, rate: int, channels: Literal[1, 2] | None = 1, warn: Warn = _quiet, formats: str | None = None
) -> Iterator[Sound]:
    """The sound of any file as float32 blocks (C, n) in -1..1 at `rate` Hz, streamed.

    `channels` None keeps mono and stereo; mono, and anything else than these two, is the mean of all channels.
    n source samples become exactly ceil(n * rate / source rate). Raises MediaFault for a file without sound and, when
    it gets there, for damage and values that are not numbers. Clipped samples are said aloud at the end.
    """
    with _open(path, formats) as container:
        if not container.streams.audio:
            raise MediaFault(f"{path.name} has no sound.", "Give a recording of speech.")
        stream = container.streams.audio[0]
        native = getattr(stream, "rate", 0)  # a stream whose header is cut off has no decoder, and so no rate
        if not native:
            raise MediaFault(f"{path.name} has no sound that can be read.", _AGAIN)
        loud = heard = given = 0
        start = 0.0
        resampler: av.AudioResampler | None = None
        for frame in _decode(container, stream, path, warn):
            if not isinstance(frame, av.AudioFrame):
                continue
            if frame.sample_rate != native:
                raise MediaFault(f"{path.name} changes its sample rate on the way.", "Convert it to WAV first.")
            block = _floats(frame)
            if not np.isfinite(block).all():
                raise MediaFault(
                    f"{path.name} has samples that are not numbers, {heard / native:.1f} s after its start.",
                    "Export it again as 16-bit WAV.",
                )
            start = frame.time or 0.0 if not heard else start
            loud += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE).item())
            heard += block.shape[1]
            mono = channels == 1 or block.shape[0] > 2
            block = np.clip(block.mean(0, keepdims=True) if mono else block, -1, 1)
            if channels == 2 and len(block) == 1:
                block = np.repeat(block, 2, 0)
            if rate == native:
                given += block.shape[1]
                yield block
                continue
            layout = "mono" if len(block) == 1 else "stereo"
            if resampler is None:
                resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            out = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
            out.sample_rate = native
            for resampled in resampler.resample(out):
                given += resampled.samples
                yield np.clip(resampled.to_ndarray(), -1, 1)
        if resampler is not None:
            rest = math.ceil(Fraction(heard * rate, native)) - given
            tail = np.concatenate([frame.to_ndarray() for frame in resampler.resample(None)] or [np.zeros((len(block), 0))], 1)
            yield np.clip(np.pad(tail, ((0, 0), (0, max(0, rest - tail.shape[1]))))[:, :rest], -1, 1).astype(np.float32)
        _whole(container, stream, path, heard / native, start)
        if loud > max(10, heard * 1e-4):
            warn(f"{path.name} is clipped: {loud} samples are at or beyond full scale. Record it at a lower level.")


def read_speech(path: Path, rate: int, warn: Warn = _quiet, formats: str | None = None) -> Iterator[Sound]:
    """The sound of any file as mono float32 blocks (n,) at `rate` Hz: see `read_sound`."""
    for block in read_sound(path, rate, 1, warn, formats):
        yield block[0]


_SCALES = {"uint8": (128, 1 << 7), "int16": (0, 1 << 15), "int32": (0, 1 << 31), "int64": (0, 1 << 63)}


def _floats(frame: av.AudioFrame) -> Sound:
    """Samples of a frame as (channels, n) float32; integers scaled to -1..1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    offset, scale = _SCALES.get(samples.dtype.name, (0, 1))
    return ((samples - np.float64(offset)) / scale).astype(np.float32)


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
