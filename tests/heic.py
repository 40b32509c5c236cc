"""HEIC files as phones write them: HEVC pictures in tiles, which a grid joins. What writes HEIC elsewhere is large and writes no tiles."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_heic(
    path: Path,
    rgb: NDArray[np.uint8] | NDArray[np.uint16],
    tile: int | None = None,
    turned: int = 0,
    colours: tuple[int, int, int] = (1, 13, 6),
) -> Path:
    """Write a picture (H, W, 3), its sides even, in tiles of so many pixels a side if that is given; to be turned by so many quarters.

    16 bits become 10. `colours` are the numbers of its primaries, transfer characteristics and matrix.
    """
    height, width = rgb.shape[:2]
    size = (tile or width, tile or height)
    down, across = -(-height // size[1]), -(-width // size[0])
    whole = np.pad(rgb, ((0, down * size[1] - height), (0, across * size[0] - width), (0, 0)), mode="edge")
    tiles = [whole[y * size[1] : (y + 1) * size[1], x * size[0] : (x + 1) * size[0]] for y in range(down) for x in range(across)]
    config, samples = _hevc(tiles, colours[2])
    path.write_bytes(_file(config, samples, size, (down, across), (width, height), turned, colours))
    return path


def _hevc(tiles: Sequence[NDArray[np.uint8] | NDArray[np.uint16]], matrix: int) -> tuple[bytes, list[bytes]]:
    """The decoder's configuration and the coded pictures, taken out of an MP4 file."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx265", rate=25, options={"preset": "ultrafast", "crf": "8", "x265-params": "keyint=1:log-level=none"}
        )
        stream.height, stream.width = tiles[0].shape[:2]
        deep = tiles[0].dtype == np.uint16
        stream.pix_fmt = "yuv420p10le" if deep else "yuv420p"
        for at, tile in enumerate(tiles):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(tile), format="rgb48le" if deep else "rgb24")
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=matrix)
            frame.pts, frame.time_base = at, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = out.getvalue()
    at = data.index(b"hvcC")
    config = data[at - 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    with av.open(io.BytesIO(data)) as container:
        samples = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    return config, samples


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _full(kind: bytes, version: int, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _file(
    config: bytes,
    samples: list[bytes],
    tile: tuple[int, int],
    grid: tuple[int, int],
    size: tuple[int, int],
    turned: int,
    colours: tuple[int, int, int],
) -> bytes:
    count = len(samples)
    primary = 1 if count == 1 else count + 1
    items = [(n, b"hvc1") for n in range(1, count + 1)] + ([(primary, b"grid")] if count > 1 else [])
    descriptor = struct.pack(">BBBBHH", 0, 0, grid[0] - 1, grid[1] - 1, *size)
    properties = [
        config,
        _full(b"ispe", 0, struct.pack(">II", *tile)),
        _full(b"ispe", 0, struct.pack(">II", *size)),
        _box(b"irot", bytes([turned])),
        _box(b"colr", b"nclx", struct.pack(">HHHB", *colours, 0)),
    ]
    of_tile, of_whole = bytes([0x81, 2, 5]), bytes([3, 0x84, 5])
    owned = {n: (of_tile if count > 1 else bytes([0x81, 2, 0x84, 5])) if kind == b"hvc1" else of_whole for n, kind in items}
    head = _box(b"ftyp", b"heic", bytes(4), b"mif1heic")

    def meta(start: int) -> bytes:
        places = b""
        at = start
        for n, kind in items:
            length = len(descriptor) if kind == b"grid" else len(samples[n - 1])
            places += struct.pack(">HHHHII", n, kind == b"grid", 0, 1, 0 if kind == b"grid" else at, length)
            at += length * (kind != b"grid")
        return _full(
            b"meta", 0,
            _full(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            _full(b"pitm", 0, struct.pack(">H", primary)),
            _full(b"iloc", 1, bytes([0x44, 0]), struct.pack(">H", len(items)), places),
            _full(b"iinf", 0, struct.pack(">H", len(items)), *(
                _full(b"infe", 2, struct.pack(">HH", n, 0), kind, b"\0", flags=int(n != primary)) for n, kind in items
            )),
            _box(b"iprp", _box(b"ipco", *properties), _full(
                b"ipma", 0, struct.pack(">I", len(items)), *(struct.pack(">HB", n, len(owned[n])) + owned[n] for n, _ in items)
            )),
            _full(b"iref", 0, _box(b"dimg", struct.pack(">HH", primary, count), *(struct.pack(">H", n) for n in range(1, count + 1))))
            if count > 1 else b"",
            _box(b"idat", descriptor),
        )  # fmt: skip

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + _box(b"mdat", *samples)
