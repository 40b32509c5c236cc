"""Files out: H.264 and AAC in one file that says that it is synthetic, under its final name only when it is whole."""

from __future__ import annotations

import logging
import os
import secrets
import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from engines.frames import Picture
from realtime.errors import OutputFault

log = logging.getLogger(__name__)

SOUND_RATE = 48_000
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_FRAGMENTS = {"movflags": "delay_moov+default_base_moof+frag_keyframe", "frag_duration": "1000000"}  # microseconds
"""The head waits for the first fragment: only then is known how far the encoders shift what they are given."""
KINDS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # where ISO 16684 puts XMP in an MP4 file
_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


class Writer:
    """Writes pictures (I420, one size) and sound to a video file. Use as a context manager.

    The file is built beside its final name and renamed when the block ends well; otherwise nothing is left. One that is `kept` has all
    that was written even where the block ends badly.
    `crf` is x264's quality (0 to 51, lower is better). Sound is float32 (C, n) in -1..1 at 48 kHz.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        fps: float = 25,
        crf: int = 16,
        channels: int = 1,
        preset: str = "veryfast",
        kept: bool = False,
    ) -> None:
        if path.suffix.lower() not in KINDS:
            raise OutputFault(f"{path.name} is not a name for a video.", f"Let it end in {', '.join(KINDS)}.")
        self._path = path
        self._building = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}.part")
        self._size, self._fps, self._crf, self._channels, self._preset = (
            size,
            Fraction(fps).limit_denominator(1001),
            crf,
            channels,
            preset,
        )
        self._kept = kept
        self.pictures = 0
        """Pictures written so far."""
        self.samples = 0
        """Samples of sound written so far (per channel)."""

    def __enter__(self) -> Self:
        kind = KINDS[self._path.suffix.lower()]
        self._building.open("xb").close()  # a plain OSError with the file's name where this may not be
        try:
            options = _FRAGMENTS if self._kept else {} if kind == "matroska" else {"movflags": "faststart"}
            self._container = av.open(f"file:{self._building}", "w", format=kind, options=options)
            self._video = self._add_video()
            self._audio = self._add_audio()
            self._container.metadata.update(
                comment=f"Synthetic: lips made by mytalk-live. Digital source type: {DIGITAL_SOURCE_TYPE}",
                description=DIGITAL_SOURCE_TYPE,
                encoder="mytalk-live",
            )
        except BaseException:
            self._building.unlink(missing_ok=True)
            raise
        return self

    def _add_video(self) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(self._crf), "preset": self._preset}
        context = stream.codec_context
        context.color_range, context.colorspace = 1, 6  # limited, BT.601: as `realtime.media` reads
        context.color_primaries, context.color_trc = 6, 6
        context.time_base = 1 / self._fps
        return stream

    def _add_audio(self) -> AudioStream:
        stream = self._container.add_stream("aac", rate=SOUND_RATE, layout="mono" if self._channels == 1 else "stereo")
        stream.bit_rate = 128_000 if self._channels == 1 else 192_000
        return stream

    def picture(self, picture: Picture) -> None:
        """Write the next picture."""
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = self.pictures, 1 / self._fps
        self.pictures += 1
        self._container.mux(self._video.encode(frame))

    def sound(self, block: NDArray[np.float32]) -> None:
        """Write the next samples."""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block, np.float32), format="fltp", layout="mono" if self._channels == 1 else "stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, self.samples, Fraction(1, SOUND_RATE)
        self.samples += block.shape[-1]
        self._container.mux(self._audio.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._flush()
                self._container.close()
                self._finish()
            else:
                self._abandon()
                if self._kept and self.pictures:
                    self._finish()
        finally:
            self._building.unlink(missing_ok=True)

    def _flush(self) -> None:
        """Write what the encoders hold back."""
        self._container.mux(self._video.encode(None))
        if self.samples:
            self._container.mux(self._audio.encode(None))

    def _abandon(self) -> None:
        with suppress(av.error.FFmpegError, OSError):  # the first error is the one to tell
            if self._kept:
                self._flush()
        with suppress(av.error.FFmpegError, OSError):
            self._container.close()

    def _join(self) -> None:
        """Put the fragments together, as players want it that look for what they show; where the disk has no place for that, they stay."""
        whole = self._building.with_suffix(".whole")
        try:
            options = {"movflags": "faststart"}
            with av.open(f"file:{self._building}") as parts, av.open(f"file:{whole}", "w", format="mp4", options=options) as out:
                streams = {stream.index: out.add_stream_from_template(stream) for stream in parts.streams}
                out.metadata.update(parts.metadata)
                for packet in parts.demux():
                    if packet.dts is not None:
                        packet.stream = streams[packet.stream.index]
                        out.mux(packet)
            whole.replace(self._building)
        except (av.error.FFmpegError, OSError) as error:
            log.warning("a file stays in fragments: %s", error)
        finally:
            whole.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Add the XMP packet, see to it that all is on the disk, rename."""
        if self._kept:
            self._join()
        with self._building.open("ab") as file:
            if self._path.suffix.lower() != ".mkv":
                packet = _XMP.encode()
                file.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _XMP_BOX + packet)
            file.flush()
            os.fsync(file.fileno())
        self._building.replace(self._path)
