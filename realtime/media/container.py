"""Opening and decoding media files, with the sentences for those that are damaged, cut off, or of another kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from realtime.errors import MediaFault
from realtime.media.upright import Warn

_SHORT = {"video": 0.2, "audio": 0.05}  # seconds that may be missing at the end before a file counts as truncated
_UNKNOWN_SIZE = 0x7FFF_0000  # what writes a WAV into a pipe puts about this, or more, where the size should be
_PAGE = 27 + 255 + 255 * 255  # bytes of the largest page of Ogg
AGAIN = "Export or download the file again."


def quiet(sentence: str) -> None:
    """Say nothing."""


def open_media(path: Path, formats: str | None = None) -> InputContainer:
    """Open a media file, of one of these formats only if they are given. Raises MediaFault, or OSError where the file itself
    cannot be opened."""
    with path.open("rb") as file:
        if not file.read(1):
            raise MediaFault(f"{path.name} is empty.", AGAIN)
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


def video_of(container: InputContainer) -> VideoStream | None:
    """The stream of moving pictures that can be decoded, if any; a sound file's cover is none."""
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & Disposition.attached_pic]
    return max(streams, key=lambda s: (s.width or 0) * (s.height or 0), default=None)


def length_of(container: InputContainer, stream: VideoStream | AudioStream | None) -> float | None:
    """Seconds as the header says."""
    if stream is not None and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def decoded(
    container: InputContainer, stream: VideoStream | AudioStream, path: Path, warn: Warn = quiet
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Decoded frames, with alpha if there is any. In MP3 and AAC, where junk between packets is common, some is skipped and said aloud."""
    decode = _with_alpha(stream) or av.Packet.decode
    forgiving = stream.codec_context.name.startswith(("mp3", "aac"))
    good = bad = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = decode(packet)
            except av.error.InvalidDataError:
                bad += 1
                if not forgiving or bad > 2 + good // 50:
                    raise
                continue
            good += 1
            yield from frames  # type: ignore[misc]  # no subtitles in a stream of video or sound
        if bad:
            warn(f"{path.name} has {bad} damaged packets: skipped.")
    except (av.error.FFmpegError, IndexError) as error:  # an IndexError where a damaged file changes its streams on the way
        raise MediaFault(f"{path.name} is damaged: {_words(error)}.", AGAIN) from error


def _segment_is_cut(path: Path) -> bool | None:
    """Whether a Matroska file ends before it says; None where it does not say."""
    with path.open("rb") as file:
        head = file.read(256)
    end = 0
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # its header, and the segment that is all the rest
        if head[end : end + 4] != name or len(head) < end + 12:
            return None
        length = 9 - head[end + 4].bit_length()
        if length > 8:
            return None
        value = int.from_bytes(head[end + 4 : end + 4 + length], "big") & ((1 << 7 * length) - 1)
        if value == (1 << 7 * length) - 1:
            return None
        end += 4 + length + value
    return path.stat().st_size < end


def _page_is_cut(path: Path) -> bool:
    """Whether the last page of an Ogg file promises more bytes than there are: its length stands nowhere else."""
    with path.open("rb") as file:
        start = max(0, path.stat().st_size - _PAGE)
        file.seek(start)
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _with_alpha(stream: VideoStream | AudioStream) -> Callable[[Any], Iterable[av.VideoFrame]] | None:
    """A decoder that minds the second picture that WebM keeps alpha in, where FFmpeg's own does not."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if (
        name is None
        or {name.lower(): value for name, value in stream.metadata.items()}.get("alpha_mode") != "1"
        or name not in av.codecs_available
    ):
        return None
    decoder = av.VideoCodecContext.create(name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    return decoder.decode


def check_whole(container: InputContainer, stream: VideoStream | AudioStream, path: Path, seconds: float, start: float = 0.0) -> None:
    """Raise MediaFault where a stream ends before the length that its header promises."""
    kind = container.format.name
    expected: float | None = None
    if kind == "wav":  # the decoder believes the file's size, not its header
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8)[4:], "little") + 8
        held = path.stat().st_size
        expected = seconds * size / held if size < _UNKNOWN_SIZE else None
    elif kind.startswith(("mov", "flac", "avi")) and stream.duration and stream.time_base:
        expected = float(stream.duration * stream.time_base)
    elif kind.startswith("matroska"):
        cut = _segment_is_cut(path)
        if cut is False:  # what is missing at its end was not there: a microphone that was muted
            return
        if words := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")):
            expected = int(words[1]) * 3600 + int(words[2]) * 60 + float(words[3]) - start
        elif container.duration and len(container.streams) == 1:
            expected = container.duration / 1e6 - start
        elif cut:
            raise MediaFault(f"{path.name} is truncated: {seconds:.1f} s can be read.", AGAIN)
    elif kind == "ogg" and _page_is_cut(path):
        raise MediaFault(f"{path.name} is truncated: {seconds:.1f} s can be read.", AGAIN)
    if expected is not None and seconds < expected - _SHORT[stream.type]:
        raise MediaFault(f"{path.name} is truncated: {seconds:.1f} of {expected:.1f} s can be read.", AGAIN)
