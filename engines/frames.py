"""An actor's frames, kept as compressed video: written once, read at any index.

Pictures are I420 (`engines.spec.Picture`). Groups of pictures are short, so that a frame costs at most `GROUP` decodings
and playing backwards costs no more than playing forwards.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from engines.errors import ActorFault

GROUP = 8
CACHE_BYTES = 192 << 20
Picture = NDArray[np.uint8]
"""I420: (height * 3 / 2, width) uint8, width and height even: the Y plane, then U, then V."""


def write_frames(path: Path, pictures: Iterable[Picture], *, fps: int = 25, crf: int = 12, preset: str = "veryfast") -> int:
    """Write pictures of one size to an mp4 (H.264); returns how many. crf 12 keeps them above 45 dB as a rule.

    preset: x264's; "ultrafast" takes less than half the time of "veryfast" and half as much room again.
    """
    count = 0
    with av.open(str(path), "w", format="mp4") as container:
        stream: VideoStream | None = None
        for picture in pictures:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps)
                stream.height, stream.width = picture.shape[0] * 2 // 3, picture.shape[1]
                stream.pix_fmt = "yuv420p"
                stream.options = {
                    "crf": str(crf), "preset": preset, "bf": "0", "g": str(GROUP), "keyint_min": str(GROUP), "sc_threshold": "0",
                }  # fmt: skip
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
            count += 1
        if stream is not None:
            container.mux(stream.encode(None))
    return count


class Frames(Sequence[Picture]):
    """The frames of a file that `write_frames` wrote. Decoded groups are kept, the least recently used leave first.

    Not for use by several threads at once. Returned arrays are shared: do not write into them.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path, self._count = path, count
        self._groups: OrderedDict[int, list[Picture]] = OrderedDict()
        self._container: av.container.InputContainer | None = None
        self._decoded: Iterator[av.VideoFrame] = iter(())
        self._next = -1  # the group that the open decoder would give next

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> list[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | list[Picture]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        group, offset = divmod(index, GROUP)
        pictures = self._groups.get(group)
        if pictures is None:
            pictures = self._groups[group] = self._decode(group)
            size = pictures[0].nbytes * GROUP
            while len(self._groups) > max(2, CACHE_BYTES // size):
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return pictures[offset]

    def _decode(self, group: int) -> list[Picture]:
        wanted = min(GROUP, self._count - group * GROUP)
        try:
            if self._container is None:
                self._container = av.open(str(self._path))
                self._container.streams.video[0].codec_context.thread_count = 1
            if self._next != group:
                stream = self._container.streams.video[0]
                if stream.time_base is None or stream.average_rate is None:
                    raise ActorFault(f"The actor's frames in {self._path.name} are damaged.", "Enrol the actor again.")
                self._container.seek(int(group * GROUP / stream.average_rate / stream.time_base), stream=stream)
                self._decoded = self._container.decode(stream)
            pictures = []
            for frame, _ in zip(self._decoded, range(wanted), strict=False):
                pictures.append(frame.to_ndarray().astype(np.uint8, copy=False))
                if len(pictures) == wanted:
                    break
        except av.error.FFmpegError as error:
            raise ActorFault(
                f"The actor's frames in {self._path.name} cannot be read: {error.strerror}.", "Enrol the actor again."
            ) from error
        if len(pictures) < wanted:
            raise ActorFault(f"The actor's frames in {self._path.name} end too early.", "Enrol the actor again.")
        self._next = group + 1
        return pictures

    def copy_to(self, path: Path) -> None:
        """Write the file, as it is, to another place."""
        shutil.copyfile(self._path, path)

    def close(self) -> None:
        """Close the file and forget what was decoded."""
        if self._container is not None:
            self._container.close()
        self._container, self._next = None, -1
        self._groups.clear()
