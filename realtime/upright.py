"""A decoded frame, or a photo, as an upright picture: I420, limited range, BT.601, even sizes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from engines.frames import Picture
from realtime.errors import MediaFault

Warn = Callable[[str], None]

LARGEST = 3840
"""Pixels of the longer side; larger pictures are scaled down to this, said aloud."""
SMALLEST = 16
_BT601 = (0.299, 0.114)
_KR_KB = {1: (0.2126, 0.0722), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""The share of red and blue in luma, by the number of the colour space: BT.709, SMPTE 240M, BT.2020 (twice)."""
_UNSAID, _HD = 2, 720


class Upright:
    """Makes pictures of the frames of one file, all of the size of the first."""

    def __init__(self, name: str, aspect: Fraction | None, warn: Warn) -> None:
        self._name, self._warn = name, warn
        square = aspect is None or abs(aspect - 1) <= Fraction(1, 50)  # nearly square is square
        self._aspect = Fraction(1) if aspect is None or square else aspect
        self._size: tuple[int, int] | None = None
        self._reformat = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """The frame as a picture. Raises MediaFault for the first one if it is too small to be of use."""
        if self._size is None:
            self._size = _fitting(round(frame.width * self._aspect), frame.height, self._name, self._warn)
        width, height = self._size
        space = 1 if frame.colorspace == _UNSAID and frame.height >= _HD else frame.colorspace  # as players take it
        rgb = frame.format.is_rgb
        full = not rgb and (frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj"))
        if frame.format.name != "yuv420p" or full or (width, height) != (frame.width, frame.height):
            frame = self._reformat.reformat(
                frame, width, height, "yuv420p", src_colorspace=None if rgb else Colorspace.ITU601,
                dst_colorspace=Colorspace.ITU601, src_color_range=ColorRange.JPEG if full else None,
                dst_color_range=ColorRange.MPEG, threads=1,
                interpolation=Interpolation.AREA if width < frame.width else Interpolation.BICUBIC,
            )  # fmt: skip
        return _picture(frame, round(frame.rotation / 90), None if rgb else _KR_KB.get(space))


@cache
def _to_601(kr: float, kb: float) -> NDArray[np.float64]:
    """(3, 3): Y, U, V of a colour space with these shares to BT.601's, both of limited range, U and V around 0."""

    def of_rgb(kr: float, kb: float) -> NDArray[np.float64]:
        luma = np.array([kr, 1 - kr - kb, kb])
        blue, red = (np.array([0, 0, 1]) - luma) / (2 - 2 * kb), (np.array([1, 0, 0]) - luma) / (2 - 2 * kr)
        return np.stack([219 * luma, 224 * blue, 224 * red])

    return of_rgb(*_BT601) @ np.linalg.inv(of_rgb(kr, kb))


def _fitting(width: int, height: int, name: str, warn: Warn) -> tuple[int, int]:
    """The size that pictures of this size are scaled to."""
    if min(width, height) < SMALLEST:
        raise MediaFault(f"The pictures of {name} are only {width}x{height}.", "Give one with a face in it.")
    if max(width, height) <= LARGEST:
        return width, height
    scale = LARGEST / max(width, height)
    size = int(width * scale) // 2 * 2, int(height * scale) // 2 * 2
    warn(f"{name} is {width}x{height}: scaled down to {size[0]}x{size[1]}.")
    return size


def _picture(frame: av.VideoFrame, quarters: int = 0, shares: tuple[float, float] | None = None) -> Picture:
    """A yuv420p frame as I420, turned by quarters counter-clockwise, odd sizes cut to even.

    `shares` are of the colour space that it is in, if not BT.601.
    """
    height, width = frame.height // 2 * 2, frame.width // 2 * 2
    planes: list[NDArray[np.uint8]] = []
    for plane, half in zip(frame.planes, (1, 2, 2), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: height // half, : width // half])
    if shares is not None:
        matrix = _to_601(*shares)
        chroma = cv2.merge(planes[1:]).astype(np.int16) - np.int16(128)
        moved = cv2.transform(chroma.astype(np.float32), matrix[:, 1:])
        lift = np.rint(cv2.resize(moved[..., 0], (width, height), interpolation=cv2.INTER_LINEAR)).astype(np.int16)
        planes = [
            np.clip(planes[0] + lift, 16, 235).astype(np.uint8),
            *(np.clip(np.rint(moved[..., k]) + 128, 16, 240).astype(np.uint8) for k in (1, 2)),
        ]
    turned = [np.rot90(plane, quarters) for plane in planes]
    height, width = turned[0].shape
    return np.concatenate([plane.ravel() for plane in turned]).reshape(height * 3 // 2, width)


def read_photo(path: Path, warn: Warn) -> Picture:
    """A photo, turned as its EXIF says, on white where it is transparent."""
    data = np.fromfile(path, np.uint8)
    try:
        with av.open(f"file:{path}") as container:  # this decoder minds damage, the next one turns and mirrors
            container.streams.video[0].codec_context.options = {"err_detect": "explode"}
            next(container.decode(video=0))
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except (StopIteration, av.error.FFmpegError, cv2.error) as error:
        raise MediaFault(f"{path.name} is damaged.", "Give another copy of the photo, as JPEG or PNG.") from error
    if picture is None:
        raise MediaFault(f"{path.name} is a picture of a kind that is not read here.", "Convert it to JPEG or PNG.")
    full = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if full is not None and full.ndim == 3 and full.shape[2] == 4 and full.shape[:2] == picture.shape[:2]:
        alpha = full[..., 3:].astype(np.float32) / (255 if full.dtype == np.uint8 else 65535)
        picture = (picture * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    height, width = picture.shape[:2]
    fitted = _fitting(width, height, path.name, warn)
    if fitted != (width, height):
        picture = cv2.resize(picture, fitted, interpolation=cv2.INTER_AREA)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture, np.uint8), format="rgb24")
    limited = VideoReformatter().reformat(
        frame, *fitted, "yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC,
    )  # fmt: skip
    return _picture(limited)
