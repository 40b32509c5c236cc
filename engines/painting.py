"""Painting in the head's frame: soft and sharp shapes, anti-aliased by drawing larger. Used by `engines.drawn` alone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Colour = tuple[float, float, float]
_OVER = 2  # drawn this many times as large
_BITS = 4  # fractional bits of polygon corners


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from a to b."""
    return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2]))


def curve(points: NDArray[np.floating], steps: int = 8) -> Float:
    """A closed Catmull-Rom curve through points (P, 2 or 3): (P * steps, 2 or 3)."""
    points = np.asarray(points, np.float32)
    before, after, next_ = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = (np.arange(steps, dtype=np.float32) / steps)[None, :, None]
    a, b, c, d = (p[:, None] for p in (before, points, after, next_))
    out = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.asarray(out.reshape(-1, points.shape[1]), np.float32)


def smooth(points: NDArray[np.floating], steps: int = 8) -> Float:
    """An open smooth line through points (P, 2 or 3)."""
    points = np.asarray(points, np.float32)
    padded = np.concatenate([points[:1], points, points[-1:]])
    return np.concatenate([_piece(padded[i : i + 4], steps) for i in range(len(points) - 1)] + [points[-1:]])


def _piece(four: Float, steps: int) -> Float:
    t = (np.arange(steps, dtype=np.float32) / steps)[:, None]
    a, b, c, d = four
    return np.asarray(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3), np.float32)


class Canvas:
    """A picture being painted. Points are in the head's frame, IOD: (P, 3), or (P, 2) on the face's front."""

    def __init__(self, size: tuple[int, int], pose: Float) -> None:
        self.size = size
        self._pose = pose
        self._unit = float(np.cbrt(np.linalg.det(pose[:, :3].astype(np.float64)))) * _OVER
        self._paint = np.zeros((3, size[1] * _OVER, size[0] * _OVER), np.float32)  # planes: rows are mixed quickly
        self.fixed = False
        """Whether what is painted stands still: shoulders do not turn with the head."""

    def _pixels(self, points: NDArray[np.floating]) -> Float:
        points = np.asarray(points, np.float32)
        if self.fixed:
            unit, (width, height) = self._unit / _OVER, self.size
            return np.asarray((points[:, :2] * unit + [width / 2, height * 0.445]) * _OVER, np.float32)
        if points.shape[1] == 2:  # on a shallow bowl, so that it turns with the face
            depth = 0.55 * np.clip(np.hypot(points[:, 0], 0.5 * points[:, 1]), 0, 1.6) ** 2 - 0.25
            points = np.concatenate([points, depth[:, None]], 1).astype(np.float32)
        return np.asarray(((points @ self._pose[:, :3].T + self._pose[:, 3])[:, :2]) * _OVER, np.float32)

    def _mask(self, shapes: list[Float], sigma: float, closed: float | None = None) -> tuple[Float, tuple[slice, slice]] | None:
        """Coverage of polygons (or of a line of a width `closed`), blurred, and where it lies."""
        everything = np.concatenate(shapes)
        margin = 3 * sigma + (closed or 0) + 2
        low = np.maximum(np.floor(everything.min(0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(everything.max(0) + margin), [self._paint.shape[2], self._paint.shape[1]]).astype(int)
        if (high - low).min() < 1:
            return None
        coarse = max(1.0, sigma / 3)  # what is soft need not be fine
        width, height = (max(1, int(np.ceil(n / coarse))) for n in high - low)
        scale = np.array([width, height]) / (high - low)
        mask = np.zeros((height, width), np.uint8)
        for shape in shapes:
            fixed = np.round(((shape - low) * scale - 0.5 * (1 - scale)) * (1 << _BITS)).astype(np.int32)
            if closed is None:
                cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _BITS)
            else:
                cv2.polylines(mask, [fixed], False, 255, max(1, round(closed * float(scale[0]))), cv2.LINE_AA, _BITS)
        soft: NDArray[Any] = mask.astype(np.float32) / 255
        if sigma > 0.4:
            soft = cv2.GaussianBlur(soft, (0, 0), sigma * float(scale[0]), borderType=cv2.BORDER_REPLICATE)
        soft = cv2.resize(soft, (int(high[0] - low[0]), int(high[1] - low[1])), interpolation=cv2.INTER_LINEAR)
        return soft.astype(np.float32), (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))

    def _lay(self, found: tuple[Float, tuple[slice, slice]] | None, colour: Colour, opacity: float, clip: Float | None) -> None:
        if found is None:
            return
        mask: NDArray[Any] = found[0]
        where = found[1]
        if clip is not None:
            inside = np.zeros(mask.shape, np.uint8)
            corner = np.array([where[1].start, where[0].start])
            cv2.fillPoly(inside, [np.round((self._pixels(clip) - corner) * (1 << _BITS)).astype(np.int32)], 255, cv2.LINE_AA, _BITS)
            mask = mask * (inside.astype(np.float32) / 255)
        share = mask * np.float32(opacity)
        for plane, tone in zip(self._paint, colour, strict=True):
            part = plane[where]
            part += share * (np.float32(tone) - part)

    def fill(self, shape: Float, colour: Colour, opacity: float = 1.0, *, blur: float = 0.0, clip: Float | None = None) -> None:
        """Fill a closed shape, its edge softened by `blur` IOD, only inside the shape `clip`."""
        self._lay(self._mask([self._pixels(shape)], blur * self._unit), colour, opacity, clip)

    def line(
        self,
        points: NDArray[np.floating],
        colour: Colour,
        width: float,
        opacity: float = 1.0,
        *,
        blur: float = 0.0,
        clip: Float | None = None,
    ) -> None:
        """A smooth line of a width in IOD."""
        self._lay(self._mask([self._pixels(smooth(points))], blur * self._unit, width * self._unit), colour, opacity, clip)

    def taper(
        self, points: NDArray[np.floating], colour: Colour, thin: float, thick: float, *, blur: float = 0.004, opacity: float = 1.0
    ) -> None:
        """A smooth line that is thin at its ends and thick in the middle."""
        middle = self._pixels(smooth(points))
        along = np.gradient(middle, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
        t = np.linspace(0, 1, len(middle))[:, None]
        half = (thin + (thick - thin) * np.sin(np.pi * t**0.8)) * self._unit / 2
        shape = np.concatenate([middle + across * half, (middle - across * half)[::-1]]).astype(np.float32)
        self._lay(self._mask([shape], blur * self._unit), colour, opacity, None)

    def disc(self, centre: NDArray[np.floating], radius: float, colour: Colour, opacity: float = 1.0, *, clip: Float | None = None) -> None:
        """A disc with a crisp edge."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        ring = np.stack([np.cos(turn), np.sin(turn)], 1) * radius + np.asarray(centre)[:2]
        self.fill(ring.astype(np.float32), colour, opacity, blur=0.004, clip=clip)

    def glow(self, centre: tuple[float, float], radius: float, colour: Colour, opacity: float, *, clip: Float | None = None) -> None:
        """A soft round light or shadow."""
        turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        ring = np.stack([np.cos(turn), np.sin(turn)], 1) * radius * 0.7 + np.array(centre)
        self.fill(ring.astype(np.float32), colour, opacity, blur=radius * 0.38, clip=clip)

    def gradient(self, top: Colour, bottom: Colour) -> None:
        """Fill everything from top to bottom."""
        share = np.linspace(0, 1, self._paint.shape[1], dtype=np.float32)[:, None]
        for plane, high, low in zip(self._paint, top, bottom, strict=True):
            plane[:] = np.float32(high) * (1 - share) + np.float32(low) * share

    def picture(self) -> NDArray[np.uint8]:
        """The painting at its own size, RGB uint8."""
        small = np.stack([cv2.resize(plane, self.size, interpolation=cv2.INTER_AREA) for plane in self._paint], -1)
        return np.clip(small + 0.5, 0, 255).astype(np.uint8)
