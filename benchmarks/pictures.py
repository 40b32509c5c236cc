"""Figures of pictures: what `docs` and the README report of mouths, masks, and everything outside them.

Pictures are RGB (H, W, 3) uint8; boxes are (x0, y0, x1, y1) in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]


def mouth_box(landmarks: NDArray[np.float32], size: tuple[int, int]) -> Box:
    """The box of the lips' landmarks (478, 3), enlarged to 1.6 x its width and 1.8 x its height, inside a frame (width, height)."""
    lips = landmarks[list(face.LIPS), :2]
    middle, half = (lips.min(0) + lips.max(0)) / 2, (lips.max(0) - lips.min(0)) / 2 * np.array([1.6, 1.8])
    low = np.clip(np.round(middle - half), 0, size).astype(int)
    high = np.clip(np.round(middle + half), 0, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def cut(picture: Picture, box: Box) -> Picture:
    """The part of a picture in a box."""
    return picture[box[1] : box[3], box[0] : box[2]]


def luma(picture: Picture) -> NDArray[np.float64]:
    """Luma of an RGB picture, 0..255."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), np.float64)


def psnr(a: Picture, b: Picture, where: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB over all channels, at most 99."""
    square = (a.astype(np.float64) - b) ** 2
    error = float((square if where is None else square[where]).mean())
    return min(99.0, 10 * float(np.log10(255**2 / max(error, 1e-12))))


def ssim(a: Picture, b: Picture) -> float:
    """Structural similarity on luma: 11x11 Gaussian window, sigma 1.5 (Wang et al., 2004)."""

    def blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5))

    x, y = luma(a), luma(b)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, both = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((((2 * mean_x * mean_y + c1) * (2 * both + c2)) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def sharpness(picture: Picture) -> float:
    """Variance of the Laplacian of luma."""
    return float(cv2.Laplacian(luma(picture), cv2.CV_64F).var())


def seam(picture: Picture, alpha: NDArray[np.float32]) -> float:
    """Mean luma gradient across the 50 % contour of a mask alpha (H, W)."""
    inside = (alpha > 0.5).astype(np.uint8)
    contour = (cv2.dilate(inside, np.ones((3, 3), np.uint8)) - cv2.erode(inside, np.ones((3, 3), np.uint8))) > 0
    soft = cv2.GaussianBlur(alpha, (0, 0), 2.0)
    across = np.stack([cv2.Sobel(soft, cv2.CV_64F, 1, 0), cv2.Sobel(soft, cv2.CV_64F, 0, 1)], -1)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    y = luma(picture)
    gradient = np.stack([cv2.Sobel(y, cv2.CV_64F, 1, 0), cv2.Sobel(y, cv2.CV_64F, 0, 1)], -1) / 8
    return float(np.abs((gradient * across).sum(-1))[contour].mean()) if contour.any() else float("nan")
