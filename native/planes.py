"""I420 frames: cutting, RGB and back (BT.601, limited range, the same both ways)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def planes(frame: Bytes) -> tuple[Bytes, Bytes, Bytes]:
    """Views of the Y, U and V planes of an I420 frame (H * 3 / 2, W)."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    flat = frame.reshape(-1)
    luma, chroma = height * width, height * width // 4
    half = (height // 2, width // 2)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma : luma + 2 * chroma].reshape(half),
    )


def cut(frame: Bytes, corner: tuple[int, int], size: tuple[int, int]) -> Bytes:
    """The I420 crop of `size` (h, w) at `corner` (x, y), all even, as a frame of its own."""
    (x, y), (h, w) = corner, size
    luma, u, v = planes(frame)
    half = np.s_[y // 2 : (y + h) // 2, x // 2 : (x + w) // 2]
    return np.concatenate([luma[y : y + h, x : x + w].ravel(), u[half].ravel(), v[half].ravel()]).reshape(h * 3 // 2, w)


def to_rgb(frame: Bytes) -> Bytes:
    """I420 (H * 3 / 2, W) -> RGB (H, W, 3)."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420), np.uint8)


def from_rgb(picture: Bytes) -> Bytes:
    """RGB (H, W, 3), H and W even -> I420 (H * 3 / 2, W)."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YUV_I420), np.uint8)
