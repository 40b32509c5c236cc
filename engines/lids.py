"""Eyelids: found on a face's landmarks, and lowered in its picture.

A lid that comes down shows skin that was hidden in its fold: its colours are those above the eye and below it, its grain is the
cheek's, and at its edge hang the lashes, as dark as the darkest of the eye. The eye itself stays where it is. Nothing outside
the eye's sockets is touched, so that brows and the rims of glasses keep still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.frames import Picture
from native.planes import planes

Float = NDArray[np.float32]

_EYES = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133), (113, 225, 224, 223, 222, 221, 189)),
    ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362), (342, 445, 444, 443, 442, 441, 413)),
)
"""Upper lid, lower lid, and the fold below the brow, of each eye."""
_NARROW, _FEW = 0.08, 2.5  # IOD, pixels: an eye that is less open stays as it is
_POINTS = 65  # of a curve
_RAISE = 0.12  # of the opening: how far the lower lid comes up
_EDGE = 0.55  # of the opening: how far above the landmarks the lid's dark edge may begin
_BELOW = 0.2  # IOD: how far below the lower lid it is still felt
_LASH, _LASH_WIDTH = 0.65, 0.015  # opacity; IOD
_GRAIN = 8.0  # of 255: more than this is no grain
_SEEN = 0.3  # from this closure on the lid is opaque


@dataclass(frozen=True)
class Lid:
    """The lids of an eye in its own frame: u from corner to corner, v down, both in pixels from the left corner."""

    corner: Float
    """(2,) the left corner in the picture."""
    along: Float
    """(2,) the direction of u, unit length; v's is this turned by a quarter."""
    u: Float
    """(M,) where the curves are known, rising from 0."""
    curves: Float
    """(3, M) the v of the upper lid, the lower lid, and the fold below the brow."""
    unit: float
    """Pixels in an IOD."""

    @property
    def down(self) -> Float:
        """(2,) the direction of v."""
        return np.array([-self.along[1], self.along[0]], np.float32)

    @property
    def opening(self) -> float:
        """The widest distance of the lids, pixels."""
        return float((self.curves[1] - self.curves[0]).max())


def lids(landmarks: Float) -> list[Lid]:
    """The lids of both eyes of a face (478, 3); none where an eye is closed or too small: nobody winks."""
    both = [_lid(landmarks, *eye) for eye in _EYES]
    return both if all(lid.opening > max(_FEW, _NARROW * lid.unit) for lid in both) else []


def _lid(landmarks: Float, upper: Sequence[int], lower: Sequence[int], fold: Sequence[int]) -> Lid:
    ends = landmarks[[upper[0], upper[-1]], :2]
    left, right = ends[np.argsort(ends[:, 0])]
    length = max(float(np.linalg.norm(right - left)), 1e-3)
    along = (right - left) / length
    u = np.linspace(0, length, _POINTS, dtype=np.float32)
    curves = []
    for line in (upper, lower, fold):
        points = (landmarks[list(line), :2] - left) @ np.array([along, [-along[1], along[0]]]).T
        points = points[np.argsort(points[:, 0], kind="stable")]
        curves.append(_smooth(np.interp(u, points[:, 0], points[:, 1]), 2.0))
    curves[1] = np.maximum(curves[1], curves[0])
    return Lid(left, along.astype(np.float32), u, np.stack(curves), float(face.iod(landmarks)))


def _smooth(line: NDArray[np.floating], sigma: float) -> Float:
    row = cv2.GaussianBlur(line[None].astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(row[0], np.float32)


def lower(picture: Picture, lid: Lid, shut: float) -> None:
    """Lower a lid of a picture (I420), in place: `shut` from 0 (as it is) to 1 (closed)."""
    low, high = _box(lid, (picture.shape[1], picture.shape[0] * 2 // 3))
    if (high <= low).any():
        return
    for plane, half in zip(planes(picture), (1, 2, 2), strict=True):
        view = _View(plane.copy(), lid, half)
        (x0, y0), (x1, y1) = low // half, high // half
        plane[y0:y1, x0:x1] = np.clip(_lowered(view, *view.grid((x0, y0), (x1, y1)), shut) + 0.5, 0, 255).astype(np.uint8)


def _box(lid: Lid, size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The part of a picture (width, height) in which the lid's socket lies: two corners (x, y), even."""
    vs = (lid.curves[2].min(), lid.curves[1].max() + _BELOW * lid.unit)
    corners = np.stack([lid.corner + u * lid.along + v * lid.down for u in (0, lid.u[-1]) for v in vs])
    low = np.floor(corners.min(0) / 2).astype(int) * 2 - 2
    high = np.ceil(corners.max(0) / 2).astype(int) * 2 + 4
    most = np.array(size)
    return np.clip(low, 0, most), np.clip(high, 0, most)


@dataclass(frozen=True)
class _View:
    """A plane of a picture, looked at in an eye's frame."""

    plane: NDArray[np.uint8]
    lid: Lid
    half: int
    """Pixels of the picture in one of the plane's: 1 luma, 2 chroma."""

    def grid(self, low: tuple[int, int], high: tuple[int, int]) -> tuple[Float, Float]:
        """u and v of the plane's pixels from corner `low` to `high` (x, y)."""
        at = (((np.arange(a, b) + 0.5) * self.half - 0.5).astype(np.float32) for a, b in zip(low, high, strict=True))
        x, y = (line - self.lid.corner[k] for k, line in enumerate(np.meshgrid(*at)))
        return x * self.lid.along[0] + y * self.lid.along[1], y * self.lid.along[0] - x * self.lid.along[1]

    def at(self, u: Float, v: Float) -> Float:
        """The values at u, v: of their shape."""
        lid = self.lid
        x, y = ((lid.corner[k] + u * lid.along[k] + v * lid.down[k] + 0.5) / self.half - 0.5 for k in (0, 1))
        seen = cv2.remap(self.plane, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen, np.float32).reshape(u.shape)

    def median(self, lines: Sequence[Float]) -> Float:
        """Along the eye (M,): the median of the values on lines of v (M,), without detail."""
        return _smooth(np.median([self.at(self.lid.u, line) for line in lines], 0), _POINTS / 10)

    def dark(self) -> float:
        """A low percentile of what lies between the lids."""
        upper, low, _ = self.lid.curves
        return float(np.percentile([self.at(self.lid.u, upper + share * (low - upper)) for share in np.linspace(0, 0.6, 7)], 8))


def _lowered(view: _View, u: Float, v: Float, shut: float) -> Float:
    """The values at u, v with the lid lowered."""
    lid, half = view.lid, view.half
    upper, low, _ = (np.interp(u, lid.u, curve).astype(np.float32) for curve in lid.curves)
    opening = np.where((u > 0) & (u < lid.u[-1]), low - upper, np.float32(0))
    near = np.abs(low - v) / np.where(v < low, np.maximum(opening, 1e-3), _BELOW * lid.unit)
    eye = view.at(u, v + np.float32(shut * _RAISE) * opening * face.ease(1 - near))
    top, edge = upper - _EDGE * np.sqrt(opening * lid.opening), upper + shut * (1 - _RAISE) * opening
    strength = min(1.0, shut / _SEEN)
    cover = face.ease((v - top) / np.maximum(0.6 * (upper - top), 1e-3)) * np.clip((edge - v) / half + 0.5, 0, 1) * (opening > 0)
    out = eye + strength * cover * (_skin(view, u, v, opening, (v - top) / np.maximum(edge - top, 1e-3)) - eye)
    if half == 1:  # in colour the lashes are as the skin
        lash = _LASH * np.exp(-0.5 * ((v - edge) / max(_LASH_WIDTH * lid.unit, 0.7)) ** 2) * np.sqrt(opening / lid.opening)
        out += strength * lash * (view.dark() - out)
    return np.asarray(out, np.float32)


def _skin(view: _View, u: Float, v: Float, opening: Float, down: Float) -> Float:
    """The lid's skin at u, v; `down` says where on the lid that is: 0 at its fold, 1 at its edge."""
    lid = view.lid
    upper, low, fold = lid.curves
    above = view.median([fold + share * (upper - fold) for share in np.linspace(0.2, 0.75, 7)])
    below = view.median([low + share * lid.unit for share in np.linspace(0.06, 0.16, 5)])
    above, below = (np.interp(u, lid.u, line).astype(np.float32) for line in (above, below))
    cheek = view.at(u, v + opening + 0.08 * lid.unit)
    soft = cv2.GaussianBlur(cheek, (0, 0), max(0.03 * lid.unit / view.half, 0.5))
    return above + 0.8 * np.clip(down, 0, 1) * (below - above) + np.clip(cheek - soft, -_GRAIN, _GRAIN)
