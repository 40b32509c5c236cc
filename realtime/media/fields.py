"""Interlaced video as whole frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av


def deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The frames; from the first on that consists of two fields, they are made whole ones, as many as came."""
    whole: _Whole | None = None
    for frame in frames:
        if whole is not None and not whole.fits(frame):
            yield from whole.rest()
            whole = None
        if whole is None and frame.interlaced_frame:
            whole = _Whole(frame)
        if whole is None:
            yield frame
        else:
            yield from whole.made(frame)
    if whole is not None:
        yield from whole.rest()


class _Whole:
    """A filter for frames of one size and format."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._kind = frame.width, frame.height, frame.format.name
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
        self._graph.link_nodes(source, self._graph.add("bwdif", "mode=send_frame:deint=interlaced"), self._graph.add("buffersink"))
        self._graph.configure()

    def fits(self, frame: av.VideoFrame) -> bool:
        """Whether the frame is of the filter's size and format."""
        return (frame.width, frame.height, frame.format.name) == self._kind

    def made(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """What is ready when this one is there."""
        self._graph.push(frame)
        yield from self._pulled()

    def rest(self) -> Iterator[av.VideoFrame]:
        """What is still in it."""
        self._graph.push(None)
        yield from self._pulled()

    def _pulled(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if isinstance(frame, av.VideoFrame):
                yield frame
