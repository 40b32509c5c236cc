"""How large a picture says that it is, read from its first bytes: before anything is decoded, whose size is another's."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

MOST_PIXELS = 50_000_000
"""Of a picture that is opened."""
_SEGMENTS = 1000  # of a JPEG or TIFF, that are looked at


def pixels_of(path: Path) -> int | None:
    """Width times height as the header of a PNG, JPEG, WebP, BMP or TIFF file says; None for other files."""
    with path.open("rb") as file:
        head = file.read(32)
        try:
            size = _size(head, file)
        except (struct.error, IndexError):  # it ends before it says
            return None
    return None if size is None else abs(size[0] * size[1])


def _size(head: bytes, file: BinaryIO) -> tuple[int, ...] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return struct.unpack(">II", head[16:24])
    if head.startswith(b"\xff\xd8"):
        return _of_jpeg(file)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) >= 30:
        return _of_webp(head)
    if head[:2] == b"BM":
        return struct.unpack("<ii" if struct.unpack("<I", head[14:18])[0] >= 40 else "<HH", head[18 : 26 if head[14] >= 40 else 22])
    if head[:4] in (b"II*\0", b"MM\0*"):
        return _of_tiff(file, "<" if head[:1] == b"I" else ">", head)
    return None


def _of_jpeg(file: BinaryIO) -> tuple[int, ...] | None:
    file.seek(2)
    for _ in range(_SEGMENTS):
        mark = file.read(1)
        while mark == b"\xff":
            mark = file.read(1)
        if mark[0] in (0xD9, 0xDA):
            return None
        if mark[0] in (0x01, *range(0xD0, 0xD9)):
            continue
        length = struct.unpack(">H", file.read(2))[0]
        if 0xC0 <= mark[0] <= 0xCF and mark[0] not in (0xC4, 0xC8, 0xCC):
            return struct.unpack(">xHH", file.read(5))
        file.seek(length - 2, 1)
    return None


def _of_webp(head: bytes) -> tuple[int, ...] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return tuple(int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return tuple(side & 0x3FFF for side in struct.unpack("<HH", head[26:30])) if kind == b"VP8 " else None


def _of_tiff(file: BinaryIO, order: str, head: bytes) -> tuple[int, ...] | None:
    file.seek(struct.unpack(f"{order}I", head[4:8])[0])
    found: dict[int, int] = {}
    for _ in range(min(_SEGMENTS, struct.unpack(f"{order}H", file.read(2))[0])):
        tag, kind, _, value = struct.unpack(f"{order}HHI4s", file.read(12))
        if tag in (256, 257):
            found[tag] = struct.unpack(f"{order}H" if kind == 3 else f"{order}I", value[: 2 if kind == 3 else 4])[0]
    return (found[256], found[257]) if len(found) == 2 else None
