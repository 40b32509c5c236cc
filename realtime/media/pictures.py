"""Pictures in, at 25 a second; and what a file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import av
from av.video.stream import VideoStream

from engines.frames import Picture
from engines.spec import FPS
from realtime.errors import MediaFault
from realtime.media import photo
from realtime.media.container import AGAIN, check_whole, decoded, length_of, open_media, quiet, video_of
from realtime.media.fields import deinterlaced
from realtime.media.upright import Upright, Warn

_HALF_MS = Fraction(1, 2000)  # containers that count in ms round a frame's time by up to this
Shown = TypeVar("Shown")


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


def probe(path: Path, formats: str | None = None) -> Info:
    """What a file holds. Raises MediaFault where it holds neither pictures nor sound, or is not of these `formats`."""
    if (pictures := photo.opened(path)) is not None:
        with pictures:
            return Info("video" if pictures.moving else "photo", None if pictures.moving else 0.0, pictures.size, None, sound=False)
    with open_media(path, formats) as container:
        video = video_of(container)
        sound = bool(container.streams.audio)
        if video is not None and not sound and (video.frames == 1 or container.format.name.endswith("_pipe")):
            return Info("photo", 0.0, (video.width, video.height), None, sound=False)
        if video is not None:
            fps = float(video.average_rate) if video.average_rate else None
            return Info("video", length_of(container, video), (video.width, video.height), fps, sound=sound)
        if sound:
            return Info("sound", length_of(container, container.streams.audio[0]), None, None, sound=True)
    raise MediaFault(f"{path.name} holds neither pictures nor sound.", "Give a video, a photo or a sound file.")


def read_pictures(path: Path, warn: Warn = quiet, formats: str | None = None) -> Iterator[Picture]:
    """The pictures of a video at exactly 25 a second, or the photo: I420 (H*3/2, W) uint8, upright, even sizes.

    Picture n is the last frame whose time is at most n/25 s after the first. What has a single frame is a photo, whatever its kind;
    what is transparent lies on white; HDR is tone-mapped; both are said aloud. Raises MediaFault for a file without pictures and,
    when it gets there, for damage.
    """
    if (pictures := photo.opened(path)) is not None:
        with pictures:
            yield from _paced(pictures.timed(warn), Upright(path.name, None, warn))
        return
    with open_media(path, formats) as container:
        stream = video_of(container)
        if stream is None and any(not other.codec_context for other in container.streams.video):
            raise MediaFault(f"{path.name} has pictures of a kind that is not read here.", "Convert it to MP4 (H.264) or JPEG.")
        if stream is None:
            raise MediaFault(f"{path.name} has no pictures.", "Give a video or a photo of a face.")
        stream.thread_type = "AUTO"
        timed = _Timed(path, stream)
        frames = deinterlaced(timed.whole_ones(frame for frame in decoded(container, stream, path) if isinstance(frame, av.VideoFrame)))
        empty = True
        try:
            for picture in _paced(timed.placed(frames), Upright(path.name, stream.sample_aspect_ratio, warn)):
                empty = False
                yield picture
        except av.error.FFmpegError as error:
            raise MediaFault(f"{path.name} has colours or pixels of a kind that is not read here.", "Convert it to MP4 (H.264).") from error
        if empty:
            raise MediaFault(f"{path.name} has no pictures that can be read.", AGAIN)
        check_whole(container, stream, path, float(timed.end), float(timed.start))


def _paced(shown: Iterable[tuple[Fraction, Fraction, Shown]], convert: Callable[[Shown], Picture]) -> Iterator[Picture]:
    """What is shown from one time on, until another unless something follows, at 25 a second; what is shown alone is shown once."""
    held: Shown | None = None
    at = end = Fraction(0)
    tick = count = 0
    for time, until, one in shown:
        at = max(at, time)
        picture = None
        while held is not None and Fraction(tick, FPS) < at - _HALF_MS:
            picture = convert(held) if picture is None else picture
            yield picture
            tick += 1
        held, end, count = one, at + until - time, count + 1
    if held is None:
        return
    picture = convert(held)
    while tick == 0 or (count > 1 and Fraction(tick, FPS) < end - _HALF_MS):
        yield picture
        tick += 1


class _Timed:
    """When the frames of a stream are shown, counted from the first."""

    def __init__(self, path: Path, stream: VideoStream) -> None:
        self._path, self._stream = path, stream
        self.start: Fraction = Fraction(0)
        """The time of the first frame, by the file's clock."""
        self.end: Fraction = Fraction(0)
        """Until when the last one is shown."""
        self._begun = False

    def whole_ones(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The frames, as long as they are whole."""
        for frame in frames:
            if frame.is_corrupt:
                raise MediaFault(f"{self._path.name} is damaged {float(self.end):.1f} s after its start.", AGAIN)
            yield frame

    def placed(self, frames: Iterable[av.VideoFrame]) -> Iterator[tuple[Fraction, Fraction, av.VideoFrame]]:
        """From when and until when each is shown."""
        for frame in frames:
            length = self._length(frame)
            time = self.end + self.start if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            if not self._begun:
                self._begun, self.start = True, Fraction(time)
            at = time - self.start
            self.end = max(self.end, at + length)
            yield at, at + length, frame

    def _length(self, frame: av.VideoFrame) -> Fraction:
        if frame.duration and frame.time_base:
            return Fraction(frame.duration * frame.time_base)
        return 1 / Fraction(self._stream.average_rate) if self._stream.average_rate else Fraction(1, FPS)
