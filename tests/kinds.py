"""One small file of each kind that people have: stills, moving pictures, sounds. All of a drawn face and of the shipped speech."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from native.planes import to_rgb
from realtime.demo import shipped_speech
from realtime.media import read_speech
from tests.heic import write_heic
from tests.people import filmed, talking

Rgb = NDArray[np.uint8]
Float = NDArray[np.float32]
RATE = 48_000
SIDE = 128
_TO_P3 = np.array([[0.8225, 0.1775, 0.0], [0.0332, 0.9668, 0.0], [0.0171, 0.0724, 0.9105]])  # linear sRGB to linear Display P3
_TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


@cache
def frames(count: int = 4) -> list[Rgb]:
    """A drawn person who talks, (128, 128, 3) each."""
    return [to_rgb(picture) for picture in filmed(talking(count), size=(SIDE, SIDE))]


def face() -> Rgb:
    """A drawn face, the right half of the background transparent where a kind can: see `clear`."""
    return frames(1)[0]


def clear(rgb: Rgb) -> NDArray[np.uint8]:
    """(H, W, 4): a stripe at the left, 8 pixels wide, is transparent and black."""
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    rgba[:, :8] = 0
    return rgba


def on_white(rgb: Rgb) -> Rgb:
    """What is expected of `clear`."""
    shown = rgb.copy()
    shown[:, :8] = 255
    return shown


@cache
def speech(seconds: float = 1.2) -> Float:
    """(n,) at 48 kHz, between -1 and 1: words without a pause at the start."""
    with shipped_speech() as path:
        said = np.concatenate(list(read_speech(path, RATE)))
    start = int(np.argmax(np.abs(said) > 0.1))
    return said[start : start + int(seconds * RATE)]


# ---- stills


def _pil(**options: Any) -> Callable[[Path, Rgb], object]:
    return lambda path, rgb: Image.fromarray(rgb).save(path, **options)


def _turned(path: Path, rgb: Rgb) -> None:
    """A TIFF of an editor: its own tags, a profile, and turned."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[305], tags[33432], tags[34377], tags[274] = "a face", "an editor", "somebody", b"8BIM of its own", 6
    Image.fromarray(np.rot90(rgb).copy()).save(path, tiffinfo=tags, compression="tiff_lzw")


def _p3(path: Path, rgb: Rgb) -> None:
    linear = np.where(rgb <= 10, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4) @ _TO_P3.T
    coded = np.rint(255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    Image.fromarray(coded).save(path, quality=95, icc_profile=_profile())


def _profile() -> bytes:
    """An ICC profile of Display P3's colours with a gamma of 2.2."""

    def xyz(*values: float) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 3) + b"P3\0" + bytes(78 + 3),
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1571, 0.0666, 0.7841),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
        b"cprt": b"text" + bytes(4) + b"none",
    }
    at, table, data = 132 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, at + len(data), len(value))
        data += padded
    head = bytes(8) + b"\x02\x40\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return struct.pack(">I", 132 + len(table) + len(data)) + head[4:] + struct.pack(">I", len(tags)) + table + data


def _deep(path: Path, rgb: Rgb) -> None:
    cv2.imwrite(str(path), rgb[..., ::-1].astype(np.uint16) * 257)


def _palette(path: Path, rgb: Rgb) -> None:
    Image.fromarray(clear(rgb)).save(path, lossless=True)


def _gain_map(path: Path, rgb: Rgb) -> None:
    """A JPEG with a second, smaller picture behind the first, as phones write."""
    small = Image.fromarray(rgb).resize((32, 32)).convert("L").convert("RGB")
    Image.fromarray(rgb).save(path, format="MPO", save_all=True, append_images=[small], quality=95)


def _with_film(path: Path, rgb: Rgb) -> None:
    """A JPEG with a video behind it, as phones write."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=95)
    path.write_bytes(out.getvalue() + b"\0\0\0\x18ftypmp42" + bytes(2000))


STILLS: dict[str, Callable[[Path, Rgb], object]] = {
    "plain.jpg": _pil(quality=95),
    "progressive.jpg": _pil(quality=95, progressive=True),
    "print.jpg": lambda path, rgb: Image.fromarray(rgb).convert("CMYK").save(path, quality=95),
    "phone_p3.jpg": _p3,
    "gain_map.jpg": _gain_map,
    "with_film.jpg": _with_film,
    "plain.png": _pil(),
    "deep.png": _deep,
    "palette.png": lambda path, rgb: Image.fromarray(rgb).quantize(255).save(path),
    "clear.png": lambda path, rgb: Image.fromarray(clear(rgb)).save(path),
    "clear.webp": _palette,
    "clear.gif": lambda path, rgb: Image.fromarray(clear(rgb)).save(path),
    "plain.avif": _pil(quality=95),
    "plain.bmp": _pil(),
    "editor.tif": _turned,
    "deep.tif": _deep,
    "plain.heic": write_heic,
    "tiles.heic": lambda path, rgb: write_heic(path, rgb, 64),
    "turned_tiles.heic": lambda path, rgb: write_heic(path, np.rot90(rgb, -1).copy(), 64, 1),
    "one_frame.mp4": lambda path, rgb: write_video(path, [rgb]),
    "one_frame.webm": lambda path, rgb: write_video(path, [rgb], codec="libvpx-vp9"),
}
"""A face in each kind of photo. Those that are clear are so in a stripe at the left."""


def _moving(**options: Any) -> Callable[[Path, Sequence[Rgb]], object]:
    def write(path: Path, shown: Sequence[Rgb]) -> None:
        first, *rest = (Image.fromarray(rgb) for rgb in shown)
        first.save(path, save_all=True, append_images=rest, duration=120, loop=0, **options)

    return write


MOVING: dict[str, Callable[[Path, Sequence[Rgb]], object]] = {
    "moving.gif": _moving(),
    "moving.webp": _moving(lossless=True),
    "moving.png": _moving(),
    "moving.avif": _moving(quality=95),
}
"""Pictures that move, each shown for 120 ms."""


# ---- videos


def write_video(
    path: Path,
    shown: Sequence[NDArray[Any]],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    space: int = 5,
    full: bool = False,
    form: str = "rgb24",
    tags: tuple[int, int] | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction = Fraction(1),
) -> Path:
    """A video of 25 pictures a second, (H, W, C) of the format `form`, in the colour space `space` (1 is BT.709, 5 BT.601, 9 BT.2020).

    `tags` are the numbers of its primaries and its transfer characteristics.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "6", "preset": "ultrafast", **(options or {})})
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.colorspace, context.color_range, context.sample_aspect_ratio = space, 2 if full else 1, aspect
        if tags:
            context.color_primaries, context.color_trc = tags
        for at, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=form)
            if not form.startswith("yuv"):
                frame = frame.reformat(format=pixels, dst_colorspace=space, dst_color_range=2 if full else 1)
            frame.pts, frame.time_base = at, Fraction(1, 25)
            if tags:
                frame.color_primaries, frame.color_trc = tags
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_hdr(path: Path, coded: Sequence[NDArray[np.uint16]], transfer: int) -> None:
    """A video of coded BT.2020, (H, W, 3) of 16 bits."""
    x265 = {"x265-params": "log-level=none:bframes=0:colorprim=bt2020:colormatrix=bt2020nc:transfer=" + _NAMES[transfer]}
    write_video(path, coded, codec="libx265", pixels="yuv420p10le", space=9, form="rgb48le", tags=(9, transfer), options=x265)


def write_hdr_photo(path: Path, rgb: Rgb, transfer: int) -> None:
    """A HEIC in tiles, or an AVIF, of 10 bits."""
    code = np.rint(65535 * code_of(transfer, _light(rgb))).astype(np.uint16)
    if path.suffix == ".heic":
        write_heic(path, code, 64, colours=(9, transfer, 9))
        return
    form = {"pixels": "yuv420p10le", "space": 9, "form": "rgb48le", "tags": (9, transfer)}
    write_video(path, [code], codec="libsvtav1", options={"preset": "10", "svtav1-params": "logical-processors=1"}, **form)  # type: ignore[arg-type]


def _light(rgb: Rgb) -> NDArray[np.float64]:
    """cd/m2 of BT.2020: white at 203, as ITU-R BT.2408 has it."""
    return np.asarray((rgb / 255) ** 2.4 @ _TO_2020.T * 203)


def code_of(transfer: int, light: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2020 light (H, W, 3) in cd/m2, as PQ (16) or HLG (18) codes it, 0..1."""
    return np.clip({16: _pq, 18: _hlg}[transfer](light), 0, 1)


def _hdr(transfer: int) -> Callable[[Path, Sequence[Rgb]], object]:
    def write(path: Path, shown: Sequence[Rgb]) -> None:
        write_hdr(path, [np.rint(65535 * code_of(transfer, _light(rgb))).astype(np.uint16) for rgb in shown], transfer)

    return write


def _pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    power = (np.clip(light, 0, None) / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def _hlg(light: NDArray[np.float64]) -> NDArray[np.float64]:
    shown = np.clip(light, 1e-6, None) / 1000
    scene = shown * (shown @ np.array([0.2627, 0.678, 0.0593]))[..., None] ** (1 / 1.2 - 1)
    above = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)


_NAMES = {16: "smpte2084", 18: "arib-std-b67"}


def _wide(primaries: int, matrix: NDArray[np.float64], space: int) -> Callable[[Path, Sequence[Rgb]], object]:
    """SDR in more colours than BT.709's."""

    def write(path: Path, shown: Sequence[Rgb]) -> None:
        coded = [np.rint(65535 * np.clip((rgb / 255) ** 2.4 @ matrix.T, 0, 1) ** (1 / 2.4)).astype(np.uint16) for rgb in shown]
        write_video(path, coded, space=space, form="rgb48le", tags=(primaries, 1))

    return write


def _interlaced(path: Path, shown: Sequence[Rgb]) -> None:
    """Each picture's odd lines are those of the next."""
    woven = [rgb.copy() for rgb in shown]
    for rgb, later in zip(woven, [*shown[1:], shown[-1]], strict=True):
        rgb[1::2] = later[1::2]
    write_video(path, woven, options={"x264-params": "interlaced=1:tff=1"})


def _clear(codec: str, pixels: str, **options: Any) -> Callable[[Path, Sequence[Rgb]], object]:
    return lambda path, shown: write_video(path, [clear(rgb) for rgb in shown], codec=codec, pixels=pixels, form="rgba", **options)


VIDEOS: dict[str, Callable[[Path, Sequence[Rgb]], object]] = {
    "hdr_pq.mp4": _hdr(16),
    "hdr_hlg.mov": _hdr(18),
    "p3.mov": _wide(12, _TO_P3, 1),
    "bt2020.mp4": _wide(9, _TO_2020, 9),
    "clear.webm": _clear("libvpx-vp9", "yuva420p", options={"auto-alt-ref": "0"}),
    "clear_vp8.webm": _clear("libvpx", "yuva420p", options={"auto-alt-ref": "0", "b": "2M"}),
    "clear.mov": _clear("prores_ks", "yuva444p10le", space=1),
    "clear_png.mov": _clear("png", "rgba"),
    "full_444.mp4": lambda path, shown: write_video(path, shown, pixels="yuv444p", space=1, full=True),
    "full_422.mkv": lambda path, shown: write_video(path, shown, codec="mjpeg", pixels="yuvj422p", full=True),
    "ten_bits.mp4": lambda path, shown: write_video(
        path, shown, codec="libx265", pixels="yuv422p10le", space=1, options={"x265-params": "log-level=none:bframes=0"}
    ),
    "interlaced.mp4": _interlaced,
    "wide.mp4": lambda path, shown: write_video(path, [rgb[:, ::2] for rgb in shown], aspect=Fraction(2)),
}
"""A talking face in each kind of video. Those that are clear are so in a stripe at the left."""


# ---- sounds


def write_sound(
    path: Path,
    tracks: Sequence[Float],
    codec: str,
    layout: str = "mono",
    *,
    gap: tuple[float, float] | None = None,
    jitter: float = 0.0,
    late: float = 0.0,
    last: float = 0.0,
    with_picture: bool = False,
    aside: Sequence[int] = (),
    first: int = 0,
) -> Path:
    """Tracks (C, n) at 48 kHz in frames of 20 ms; from `gap`[0] s on all is `gap`[1] s later, which no frame fills.

    `jitter`: each frame's time is wrong by up to this, s. `late`: all sound begins so many s after the pictures. `last`: for how long
    the last frame lasts, s, if not as long as its samples. `aside`: tracks that are comments. `first`: the track that a player takes.
    """
    random = np.random.default_rng(0)
    paged = {"page_duration": "20000"} if path.suffix == ".ogg" else {}  # as what records calls writes it
    with av.open(str(path), "w", options=paged) as container:
        if with_picture:
            video = container.add_stream("libx264" if path.suffix != ".webm" else "libvpx", rate=5)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams = [container.add_stream(codec, rate=RATE, layout=layout) for _ in tracks]
        for at, stream in enumerate(streams):
            stream.disposition = Disposition.comment if at in aside else Disposition.default if at == first else Disposition(0)
        for n in range(10 if with_picture else 0):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), 128, np.uint8), format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 5)
            container.mux(video.encode(frame))
        if with_picture:
            container.mux(video.encode(None))
        for at in range(0, tracks[0].shape[1], 960):
            later = late + (gap[1] if gap and at >= gap[0] * RATE else 0) + random.uniform(0, 1) * jitter * (at > 0)
            for stream, samples in zip(streams, tracks, strict=True):
                frame = _sound_frame(samples[:, at : at + 960], layout, "s16" if codec.startswith(("pcm", "flac")) else "fltp")
                frame.pts, frame.time_base = at + round(later * RATE), Fraction(1, RATE)
                container.mux(stream.encode(frame))
        for stream in streams:
            rest = stream.encode(None)
            if last:
                rest[-1].duration = round(last * RATE)
            container.mux(rest)
    return path


def _sound_frame(samples: Float, layout: str, form: str) -> av.AudioFrame:
    block = np.ascontiguousarray(samples)
    if form == "s16":
        block = np.ascontiguousarray(np.rint(block.T * 32767).astype(np.int16).reshape(1, -1))
    frame = av.AudioFrame.from_ndarray(block, format=form, layout=layout)
    frame.sample_rate = RATE
    return frame


def with_gap(said: Float, at: float, seconds: float) -> Float:
    """What is expected of a gap."""
    here = int(at * RATE)
    return np.concatenate([said[:here], np.zeros(int(seconds * RATE), np.float32), said[here:]])


# ---- what cannot be read


def _cut(name: str) -> Callable[[Path], object]:
    """The first half of a file of that kind."""

    def write(path: Path) -> None:
        noisy = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        STILLS[name](path, noisy)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def _raw(path: Path) -> None:
    """A raw photo's thumbnail, which is all of it that a TIFF reader would see."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254], tags[50706] = 1, b"\1\4\0\0"
    Image.fromarray(face()).save(path, format="TIFF", tiffinfo=tags)


def _bomb(path: Path) -> None:
    """A small PNG that says it is 60,000 pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000)) + chunk(b"IEND", b""))


SPOILT: dict[str, Callable[[Path], object]] = {
    "dng": _raw,
    "bomb": _bomb,
    "heic": _cut("tiles.heic"),
    "avif": _cut("plain.avif"),
    "gif": _cut("clear.gif"),
    "tif": _cut("editor.tif"),
    "webp": _cut("clear.webp"),
}
"""Stills that are damaged, or hostile."""
