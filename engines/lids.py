"""Eyelids: found on a face's landmarks and in its picture, where they can be seen. `engines.blink` lowers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.frames import Picture
from engines.glasses import wears_glasses
from native.planes import planes

Float = NDArray[np.float32]

_EYES = (
    (
        (33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133),
        (247, 30, 29, 27, 28, 56, 190), (113, 225, 224, 223, 222, 221, 189), (46, 53, 52, 65, 55),
    ),
    (
        (263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362),
        (467, 260, 259, 257, 258, 286, 414), (342, 445, 444, 443, 442, 441, 413), (276, 283, 282, 295, 285),
    ),
)  # fmt: skip
"""Upper lid, lower lid, the lid's crease, the fold below the brow, and the brow's lower edge, of each eye."""
_BARE = (4, 5, 50, 280, 205, 425, 151, 9, 118, 347)  # on nose, cheeks and forehead: skin that glasses do not cover
_NARROW, _FEW = 0.08, 2.5  # IOD, pixels: an eye that is less open stays as it is
_UNDER_BROW = 0.05  # IOD: hair may grow as far below a brow's edge
_SHORT = 0.22  # IOD: and so does one that is seen from so far aside that it is no wider
_FAINT, _LIGHT = 0.22, 0.1  # of the skin's brightness: an eye with less contrast, or whose darkest is no darker, is not seen
_LENS_FAINT, _LENS_LIGHT, _TINTED, _ASIDE = 0.27, 0.3, 0.5, 18.0  # the same behind a lens; its brightness to bare skin's; degrees
POINTS = 65  # of a curve
BELOW = 0.2  # IOD: how far below the lower lid it is still felt
_LASHES, _REFINED = 0.17, 0.1  # IOD: how far above the landmarks lashes may end; and above where they are first thought to end


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
    """(5, M) the v of the upper lid, the lower lid, the lid's crease, the fold below the brow, and the brow's lower edge."""
    unit: float
    """Pixels in an IOD."""
    root: Float
    """(M,) the v above which there is skin: where the lashes, and what is painted there, end."""
    glasses: bool
    """Whether the eye is behind glasses: then nothing beyond the lid itself is touched."""

    @property
    def down(self) -> Float:
        """(2,) the direction of v."""
        return np.array([-self.along[1], self.along[0]], np.float32)

    @property
    def opening(self) -> float:
        """The widest distance of the lids, pixels."""
        return float((self.curves[1] - self.curves[0]).max())

    @property
    def arch(self) -> Float:
        """(M,) 0 in the corners, 1 between them."""
        x = self.u / self.u[-1]
        return np.asarray(2 * np.sqrt(x * (1 - x)), np.float32)


def lids(picture: Picture, landmarks: Float) -> list[Lid]:
    """The lids of both eyes of a face (478, 3) in a picture (I420): of both, or of none, since nobody winks.

    None where an eye is closed or too small, or is not seen: behind a dark, mirroring or foreshortened lens, or in the dark.
    """
    glasses = wears_glasses(picture, landmarks)
    both = [_lid(landmarks, eye, glasses) for eye in _EYES]
    if not all(lid.opening > max(_FEW, _NARROW * lid.unit) and lid.u[-1] > _SHORT * lid.unit for lid in both):
        return []
    if glasses and abs(np.degrees(face.angles(face.pose(landmarks))[0])) > _ASIDE:
        return []  # a rim may lie across the eye
    bare = _brightness(picture, landmarks)
    sockets = [socket(picture, lid) for lid in both]
    if not all(_is_seen(each, bare) for each in sockets):
        return []
    return [replace(lid, root=_root(each)) for lid, each in zip(both, sockets, strict=True)]


def _lid(landmarks: Float, lines: Sequence[Sequence[int]], glasses: bool) -> Lid:
    ends = landmarks[[lines[0][0], lines[0][-1]], :2]
    left, right = ends[np.argsort(ends[:, 0])]
    length = max(float(np.linalg.norm(right - left)), 1e-3)
    along = (right - left) / length
    u = np.linspace(0, length, POINTS, dtype=np.float32)
    curves = []
    for line in lines:
        points = (landmarks[list(line), :2] - left) @ np.array([along, [-along[1], along[0]]]).T
        points = points[np.argsort(points[:, 0], kind="stable")]
        curves.append(smooth(np.interp(u, points[:, 0], points[:, 1])[:, None], 2.0)[:, 0])
    unit = float(face.iod(landmarks))
    curves[1] = np.maximum(curves[1], curves[0])
    brow = curves[4]
    for at in (2, 3):
        curves[at] = np.minimum(np.maximum(curves[at], brow + _UNDER_BROW * unit), curves[at - 1 if at > 2 else 0] - 0.02 * unit)
    return Lid(left, along.astype(np.float32), u, np.stack(curves), unit, curves[0], glasses)


def smooth(lines: NDArray[np.floating], sigma: float) -> Float:
    """Lines (M, C), smoothed along axis 0."""
    seen = cv2.GaussianBlur(np.ascontiguousarray(lines, np.float32), (1, 0), sigmaX=0.1, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.float32).reshape(lines.shape)


def _brightness(picture: Picture, landmarks: Float) -> float:
    """The luma of bare skin."""
    luma = planes(picture)[0]
    x, y = (np.clip(np.round(landmarks[list(_BARE), k]).astype(int), 0, luma.shape[1 - k] - 1) for k in (0, 1))
    return float(np.median(cv2.blur(luma, (5, 5))[y, x]))


def _is_seen(eye: Socket, bare: float) -> bool:
    """Whether there is an eye to be seen: white beside something darker than the skin around."""
    lid = eye.lid
    if not eye.part.size:
        return False
    upper, low, *_ = lid.curves
    middle = np.s_[:, POINTS // 8 : -POINTS // 8]

    def luma(lines: Float) -> Float:
        return eye.at(np.broadcast_to(lid.u, lines.shape), lines)[middle][..., 0]

    shares = np.linspace(0, 1, 8)[:, None]
    dark, bright = np.percentile(luma(upper + (0.1 + 0.8 * shares) * (low - upper)), [8, 92])
    above = float(np.median(luma(upper - (0.03 + 0.07 * shares) * lid.unit)))
    below = float(np.median(luma(low + (0.06 + 0.1 * shares) * lid.unit)))
    skin = max((above + below) / 2, 8.0)
    contrast, darker = (bright - dark) / skin, (below - dark) / max(below, 8.0)
    if lid.glasses:
        return bool(contrast > _LENS_FAINT and darker > _LENS_LIGHT and skin > _TINTED * bare)
    return bool(contrast > _FAINT and darker > _LIGHT)


@dataclass(frozen=True)
class Socket:
    """The part of a picture in which an eye's socket lies, looked at in the eye's frame."""

    part: Float
    """(h, w, 3) Y, U, V."""
    lid: Lid
    origin: NDArray[np.int64]
    """(2,) x, y of its first pixel in the picture, even."""

    def grid(self) -> tuple[Float, Float]:
        """u and v of the part's pixels."""
        at = (np.arange(low, low + n, dtype=np.float32) for n, low in zip(self.part.shape[1::-1], self.origin, strict=True))
        x, y = (line - self.lid.corner[k] for k, line in enumerate(np.meshgrid(*at)))
        return x * self.lid.along[0] + y * self.lid.along[1], y * self.lid.along[0] - x * self.lid.along[1]

    def at(self, u: Float, v: Float, part: Float | None = None) -> Float:
        """The colours (..., 3) at u, v (...): of `part` instead, if given."""
        lid = self.lid
        x, y = (np.atleast_2d(lid.corner[k] + u * lid.along[k] + v * lid.down[k] - self.origin[k]).astype(np.float32) for k in (0, 1))
        source = self.part if part is None else part
        seen = cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen, np.float32).reshape(*u.shape, *source.shape[2:])

    def skin(self, lines: Float, low: float, high: float) -> Float:
        """Along the eye (M, 3): the colour of skin on lines of v (K, M): of the pixels between two shares of brightness."""
        u = np.broadcast_to(np.clip(self.lid.u, 0.1 * self.lid.u[-1], 0.9 * self.lid.u[-1]), lines.shape)
        seen = self.at(u, lines)
        order = np.argsort(seen[:, :, 0], 0)[round(low * (len(lines) - 1)) : round(high * (len(lines) - 1)) + 1]
        colour = np.take_along_axis(seen, order[:, :, None], 0).mean(0)
        return smooth(colour, POINTS / 10)


def socket(picture: Picture, lid: Lid) -> Socket:
    """The lid's socket in a picture (I420); without pixels where it is outside."""
    vs = (lid.curves[3].min(), lid.curves[1].max() + BELOW * lid.unit)
    corners = np.stack([lid.corner + u * lid.along + v * lid.down for u in (0, lid.u[-1]) for v in vs])
    size = np.array([picture.shape[1], picture.shape[0] * 2 // 3])
    low = np.clip(np.floor(corners.min(0) / 2).astype(int) * 2 - 2, 0, size)
    high = np.clip(np.ceil(corners.max(0) / 2).astype(int) * 2 + 4, low, size)
    if (high == low).any():
        return Socket(np.zeros((0, 0, 3), np.float32), lid, low)
    wide, tall = int(high[0] - low[0]), int(high[1] - low[1])
    parts = (
        plane[low[1] // half : high[1] // half, low[0] // half : high[0] // half]
        for plane, half in zip(planes(picture), (1, 2, 2), strict=True)
    )
    full = [cv2.resize(part, (wide, tall), interpolation=cv2.INTER_LINEAR) for part in parts]
    return Socket(np.stack(full, -1).astype(np.float32), lid, low)


def _root(eye: Socket) -> Float:
    """Along the eye (M,): the v above which there is skin.

    Landmarks lie somewhere between the eye's edge and there. Of curves above them it is that which is dark, with bright skin above
    and no skin below; from there, the top of what is dark. Behind glasses a rim would be taken for lashes: there landmarks do.
    """
    lid, unit, arch = eye.lid, eye.lid.unit, eye.lid.arch
    upper, _, _, fold, _ = lid.curves
    if lid.glasses:
        return np.asarray(upper - 0.02 * unit * arch, np.float32)
    share = lid.u / lid.u[-1]
    steps = np.linspace(0, 1, 21, dtype=np.float32)
    highest = np.minimum(_LASHES * unit, 0.9 * (upper - fold)) * arch
    rows = upper - steps[:, None] * highest
    u = np.broadcast_to(lid.u, rows.shape)
    over, under = (eye.at(u, rows + shift * unit)[:, :, 0] for shift in (-0.03, 0.03))
    seen = eye.at(u, rows)
    on = seen[:, :, 0]
    own = eye.skin(upper - np.linspace(0.4, 1, 12)[:, None] * np.maximum(upper - fold, 0.12 * unit), 0.4, 0.8)
    bright = np.maximum(own[:, 0], 8)
    rise = (over - on - np.maximum(on - under, 0)) / (0.3 * np.maximum(np.percentile(on, 80, 0), 8))
    rise = cv2.blur(np.clip(rise, -1, 1), (5, 1))
    skin = np.exp(-(((on / bright - 1) / 0.15) ** 2) - ((seen[:, :, 1:] - own[:, 1:]) ** 2).sum(-1) / 6**2)
    rise -= np.minimum(np.cumsum(skin, 0) * steps[1] * highest / (0.03 * unit), 2)
    inner = np.flatnonzero((share > 0.12) & (share < 0.88)).astype(np.float32)
    best, at = -np.inf, np.zeros_like(share)
    for step in steps[:18]:
        for skew in (-0.35, 0.0, 0.35):
            height = np.asarray(np.clip(step * (1 + skew * (2 * share - 1)), 0, 1), np.float32)
            along = height[inner.astype(int)] * np.float32(len(steps) - 1)
            score = float(cv2.remap(rise, inner[None], along[None], cv2.INTER_LINEAR).mean()) - 0.2 * step - 0.05 * abs(skew)
            if score > best:
                best, at = score, height
    found = upper - at * highest - 0.015 * unit * arch
    rows = found - np.linspace(0, _REFINED, 21)[:, None] * unit * arch
    dark = np.clip((0.94 - eye.at(u, rows)[:, :, 0] / bright) / 0.15, 0, 1)
    height = smooth(np.minimum.accumulate(dark, 0).mean(0)[:, None], POINTS / 13)[:, 0]
    return np.asarray(np.maximum(found - height * _REFINED * unit * arch, fold), np.float32)
