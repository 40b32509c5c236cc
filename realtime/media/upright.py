"""A decoded frame as an upright picture: I420, limited range, BT.601, even sizes; SDR; on white where it is transparent."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from engines.frames import Picture
from realtime.errors import MediaFault
from realtime.media.colours import ToSdr, is_hdr, is_wide

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
        self._sdr: ToSdr | None = None
        self._said: set[str] = set()

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """The frame as a picture. Raises MediaFault for the first one if it is too small to be of use."""
        if self._size is None:
            self._size = _fitting(round(frame.width * self._aspect), frame.height, self._name, self._warn)
        width, height = self._size
        quarters = round(frame.rotation / 90)
        scaling = Interpolation.AREA if width < frame.width else Interpolation.BICUBIC
        if is_wide(frame) and not _has_alpha(frame):
            return _picture(self._as_sdr(frame, scaling), quarters)
        if _has_alpha(frame):
            frame = self._on_white(frame)
        space = 1 if frame.colorspace == _UNSAID and frame.height >= _HD else frame.colorspace  # as players take it
        rgb = frame.format.is_rgb
        full = not rgb and (frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj"))
        if frame.format.name != "yuv420p" or full or (width, height) != (frame.width, frame.height):
            frame = self._reformat.reformat(
                frame, width, height, "yuv420p", src_colorspace=None if rgb else Colorspace.ITU601,
                dst_colorspace=Colorspace.ITU601, src_color_range=ColorRange.JPEG if full else None,
                dst_color_range=ColorRange.MPEG, threads=1, interpolation=scaling,
            )  # fmt: skip
        return _picture(frame, quarters, None if rgb else _KR_KB.get(space))

    def _as_sdr(self, frame: av.VideoFrame, scaling: Interpolation) -> av.VideoFrame:
        assert self._size is not None
        if is_hdr(frame):
            self._say(f"{self._name} is HDR: its brightest parts are toned down to SDR.")
        if self._sdr is None or not self._sdr.fits(frame):
            self._sdr = ToSdr(frame, self._size, "area" if scaling == Interpolation.AREA else "bicubic")
        return self._sdr(frame)

    def _on_white(self, frame: av.VideoFrame) -> av.VideoFrame:
        """RGB without alpha. The alpha is straight, as nearly all files have it."""
        space = Colorspace.ITU709 if frame.colorspace == 1 or (frame.colorspace == _UNSAID and frame.height >= _HD) else None
        pixels = self._reformat.reformat(
            frame, format="rgba", src_colorspace=None if frame.format.is_rgb else space, threads=1
        ).to_ndarray()
        alpha = pixels[..., 3:]
        colours = pixels[..., :3]
        if alpha.min() < 255:
            self._say(f"{self._name} is transparent in places: white is laid under them.")
            weight = alpha.astype(np.uint16)
            colours = ((colours * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(colours, np.uint8), format="rgb24")

    def _say(self, sentence: str) -> None:
        """Once."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._warn(sentence)


def _has_alpha(frame: av.VideoFrame) -> bool:
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


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
