"""Eyelids: found on a face's landmarks, and lowered in its picture.

A lid that comes down unrolls skin that was hidden in its fold. Its colour is that of the lid's own skin, where it is seen between
lashes and crease, lit as the skin below the eye is: a made-up lid stays made up, a lid in shade stays in shade. Colour and light of
a place are always taken from the same pixels, and never from lashes, iris or white: these are darker or greyer than skin. The
lashes, and what is painted on them, leave their old place and hang at the new edge. The eye itself stays where it is.
Nothing outside the eye's sockets is touched, so that brows and the rims of glasses keep still.
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
    (
        (33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133),
        (247, 30, 29, 27, 28, 56, 190), (113, 225, 224, 223, 222, 221, 189),
    ),
    (
        (263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362),
        (467, 260, 259, 257, 258, 286, 414), (342, 445, 444, 443, 442, 441, 413),
    ),
)  # fmt: skip
"""Upper lid, lower lid, the lid's crease, and the fold below the brow, of each eye."""
_NARROW, _FEW = 0.08, 2.5  # IOD, pixels: an eye that is less open stays as it is
_POINTS = 65  # of a curve
_RAISE = 0.1  # of the opening: how far the lower lid comes up
_BELOW = 0.2  # IOD: how far below the lower lid it is still felt
_SEEN = 0.3  # from this closure on the lid is opaque
_LIT = (0.6, 0.12, 0.35)  # share of the skin below the eye in a closed lid's Y, U, V: fitted to people who blink


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
    """(4, M) the v of the upper lid, the lower lid, the lid's crease, and the fold below the brow."""
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


def _lid(landmarks: Float, *lines: Sequence[int]) -> Lid:
    ends = landmarks[[lines[0][0], lines[0][-1]], :2]
    left, right = ends[np.argsort(ends[:, 0])]
    length = max(float(np.linalg.norm(right - left)), 1e-3)
    along = (right - left) / length
    u = np.linspace(0, length, _POINTS, dtype=np.float32)
    curves = []
    for line in lines:
        points = (landmarks[list(line), :2] - left) @ np.array([along, [-along[1], along[0]]]).T
        points = points[np.argsort(points[:, 0], kind="stable")]
        curves.append(_smooth(np.interp(u, points[:, 0], points[:, 1])[:, None], 2.0)[:, 0])
    unit = float(face.iod(landmarks))
    curves[1] = np.maximum(curves[1], curves[0])
    curves[2] = np.minimum(curves[2], curves[0] - 0.02 * unit)
    curves[3] = np.minimum(curves[3], curves[2] - 0.02 * unit)
    return Lid(left, along.astype(np.float32), u, np.stack(curves), unit)


def _smooth(lines: NDArray[np.floating], sigma: float) -> Float:
    """Lines (M, C), smoothed along axis 0."""
    seen = cv2.GaussianBlur(np.ascontiguousarray(lines, np.float32), (1, 0), sigmaX=0.1, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.float32).reshape(lines.shape)


def lower(picture: Picture, lid: Lid, shut: float) -> None:
    """Lower a lid of a picture (I420), in place: `shut` from 0 (as it is) to 1 (closed)."""
    low, high = _box(lid, (picture.shape[1], picture.shape[0] * 2 // 3))
    if (high <= low).any():
        return
    (x0, y0), (x1, y1) = low, high
    luma, *chroma = planes(picture)
    size = (int(x1 - x0), int(y1 - y0))
    parts = [luma[y0:y1, x0:x1], *(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] for plane in chroma)]
    seen = np.stack([cv2.resize(part, size, interpolation=cv2.INTER_LINEAR).astype(np.float32) for part in parts], -1)
    change = _lowered(_View(seen, lid, low.astype(np.float32)), shut) - seen
    for at, part in enumerate(parts):
        less = cv2.resize(change[:, :, at], part.shape[::-1], interpolation=cv2.INTER_AREA)
        part[:] = np.clip(part + less + 0.5, 0, 255).astype(np.uint8)


def _box(lid: Lid, size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The part of a picture (width, height) in which the lid's socket lies: two corners (x, y), even."""
    vs = (lid.curves[3].min(), lid.curves[1].max() + _BELOW * lid.unit)
    corners = np.stack([lid.corner + u * lid.along + v * lid.down for u in (0, lid.u[-1]) for v in vs])
    low = np.floor(corners.min(0) / 2).astype(int) * 2 - 2
    high = np.ceil(corners.max(0) / 2).astype(int) * 2 + 4
    most = np.array(size)
    return np.clip(low, 0, most), np.clip(high, 0, most)


@dataclass(frozen=True)
class _View:
    """A part of a picture, looked at in an eye's frame."""

    part: Float
    """(h, w, 3) Y, U, V."""
    lid: Lid
    origin: Float
    """(2,) x, y of its first pixel in the picture."""

    def grid(self) -> tuple[Float, Float]:
        """u and v of the part's pixels."""
        at = (np.arange(n, dtype=np.float32) + low for n, low in zip(self.part.shape[1::-1], self.origin, strict=True))
        x, y = (line - self.lid.corner[k] for k, line in enumerate(np.meshgrid(*at)))
        return x * self.lid.along[0] + y * self.lid.along[1], y * self.lid.along[0] - x * self.lid.along[1]

    def at(self, u: Float, v: Float) -> Float:
        """The colours (..., 3) at u, v (...)."""
        lid = self.lid
        x, y = (np.atleast_2d(lid.corner[k] + u * lid.along[k] + v * lid.down[k] - self.origin[k]) for k in (0, 1))
        seen = cv2.remap(self.part, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen, np.float32).reshape(*u.shape, 3)

    def skin(self, lines: Float, low: float, high: float) -> Float:
        """Along the eye (M, 3): the colour of skin on lines of v (K, M): of the pixels between two shares of brightness."""
        u = np.broadcast_to(np.clip(self.lid.u, 0.1 * self.lid.u[-1], 0.9 * self.lid.u[-1]), lines.shape)
        seen = self.at(u, lines)
        order = np.argsort(seen[:, :, 0], 0)[round(low * (len(lines) - 1)) : round(high * (len(lines) - 1)) + 1]
        colour = np.take_along_axis(seen, order[:, :, None], 0).mean(0)
        return _smooth(colour, _POINTS / 10)


def _lowered(view: _View, shut: float) -> Float:
    """The part (h, w, 3) with the lid lowered."""
    lid, unit = view.lid, view.lid.unit
    u, v = view.grid()
    upper, low, crease, fold = lid.curves
    root = root_line = _root(view)
    shares = np.linspace(0, 1, 12)[:, None]
    end = np.maximum(np.minimum(crease, root - 0.05 * unit), fold)
    own = view.skin(root - 0.015 * unit + shares * (end - root + 0.015 * unit), 0.5, 0.85)
    below = view.skin(low + (0.07 + 0.11 * shares) * unit, 0.4, 0.8)
    below[:, 0] = np.clip(below[:, 0], 0.6 * own[:, 0], 1.7 * own[:, 0] + 4)
    rows = upper + 0.01 * unit + np.linspace(0, 1, 8)[:, None] * (root - 0.01 * unit - upper)  # where the lashes grow
    lashes = view.at(np.broadcast_to(lid.u, rows.shape), rows)
    darkest = np.take_along_axis(lashes, lashes[:, :, :1].argmin(0)[None], 0)[0]
    darkest = _smooth(np.where(darkest[:, :1] < own[:, :1], darkest, own), _POINTS / 20)

    def line(values: Float) -> Float:
        """Of a line along the eye (M,) or (M, 3), the values at the pixels."""
        at = np.clip(u / max(float(lid.u[-1]), 1e-3) * (_POINTS - 1), 0, _POINTS - 1)
        seen = cv2.remap(np.ascontiguousarray(values.reshape(1, _POINTS, -1)), at, np.zeros_like(at), cv2.INTER_LINEAR)
        return np.asarray(seen, np.float32)

    upper, low, fold, root = (line(np.asarray(curve, np.float32)) for curve in (upper, low, fold, root))
    own, below, darkest = (line(colour) for colour in (own, below, darkest))
    x = np.clip(u / lid.u[-1], 0, 1)
    arch = 2 * np.sqrt(x * (1 - x))  # 0 in the corners
    opening = np.where(arch > 0, low - upper, np.float32(0))
    near = np.abs(low - v) / np.where(v < low, np.maximum(opening, 1e-3), _BELOW * unit)
    eye = view.at(u, v + np.float32(shut * _RAISE) * opening * face.ease(1 - near))
    edge = upper + shut * (1 - _RAISE) * opening
    strength = min(1.0, shut / _SEEN)
    # the lid's skin: what is seen above the lashes, drawn down
    luma = view.part[:, :, 0]
    above = root - v
    fit = face.ease((luma / np.maximum(own[:, :, 0], 1) - 0.55) / 0.4) * (above > 0.005 * unit) * (above < 0.25 * unit) + 1e-4
    blur = max(0.03 * unit, 0.7)
    weight = cv2.GaussianBlur(fit, (0, 0), blur)[:, :, None]
    clean = cv2.GaussianBlur(np.where(fit[:, :, None] > 1e-3, view.part, own) * fit[:, :, None], (0, 0), blur) / weight
    clean += np.clip(0.01 / weight, 0, 1) * (own - clean)
    cleaned = _View(clean, lid, view.origin)
    skin = cleaned.at(u, root - np.maximum(above, 0.03 * unit))
    skin += face.ease((v - root + 0.11 * unit) / (0.11 * unit + 0.5 * lid.opening))[:, :, None] * np.array(_LIT, np.float32) * (below - own)
    along = np.clip((v - root) / np.maximum(edge - root, 1e-3), 0, 1)
    skin[:, :, 0] *= 1 + 0.03 * np.sin(np.pi * along) - 0.05 * face.ease(along)
    cheek = view.at(u, v + opening + 0.08 * unit)[:, :, 0]
    grain = cheek - cv2.GaussianBlur(cheek, (0, 0), max(0.03 * unit, 0.5))
    most = 2.5 * float(np.median(np.abs(grain))) + 0.5
    skin[:, :, 0] += np.clip(grain, -most, most)
    # what it covers: the eye, the place where the lashes grew, and the lashes above it
    dark = np.clip((0.96 - luma / np.maximum(skin[:, :, 0], 1)) / 0.2, 0, 1)
    hung = _hung(view, root_line, dark, u, above)
    soft = np.minimum(0.13 * unit, 0.8 * (root - fold)) * arch + 0.5
    far = np.minimum(0.2 * unit, root - fold) * arch + 0.5
    cover = (1 - (dark - hung)) * (1 - face.ease(above / soft))
    cover = np.maximum(cover, hung * (1 - face.ease(above / far)))
    cover *= np.clip(edge - v + 0.5, 0, 1) * face.ease(arch / 0.5)
    out = eye + strength * cover[:, :, None] * (skin - eye)
    # the lashes at the new edge, and as far below it as they stood above the eye
    past = v - edge
    width = np.maximum(np.where(past < 0, 0.3, 0.6) * np.clip(upper - root, 0.02 * unit, 0.05 * unit), 0.6)
    mirrored = root - past
    fringe = view.at(u, mirrored)[:, :, 0] / np.maximum(cleaned.at(u, mirrored)[:, :, 0], 1)
    fringe = np.clip((0.95 - fringe) / 0.5, 0, 1) * (1 - face.ease(past / (0.1 * unit))) * (past > 0)
    lash = np.maximum(np.exp(-0.5 * (past / width) ** 2), 0.8 * fringe) * face.ease(arch / 0.4)
    out += strength * lash[:, :, None] * (np.minimum(darkest, np.where([True, False, False], out, np.inf)) - out)
    return np.asarray(out, np.float32)


def _root(view: _View) -> Float:
    """Along the eye (M,): the v above which there is skin: where the upper lid's lashes, and what is painted there, end.

    Landmarks lie somewhere between the eye's edge and there. Of curves above them, that which is dark and has bright skin above.
    """
    lid, unit = view.lid, view.lid.unit
    upper, _, _, fold = lid.curves
    x = lid.u / lid.u[-1]
    arch = 2 * np.sqrt(x * (1 - x))
    steps = np.linspace(0, 1, 21, dtype=np.float32)
    shares = np.linspace(0.15, 1, 12)[:, None]
    highest = np.minimum(0.13 * unit, 0.8 * (upper - fold)) * arch
    rows = upper - steps[:, None] * highest
    u = np.broadcast_to(lid.u, rows.shape)
    over, on, under = (view.at(u, rows + shift * unit)[:, :, 0] for shift in (-0.03, 0.0, 0.03))
    most = 0.3 * np.maximum(np.percentile(on, 80, 0), 8)
    rise = cv2.blur(np.clip((over - on - np.maximum(on - under, 0)) / most, -1, 1), (5, 1))
    own = view.skin(upper - shares * (upper - fold), 0.5, 0.85)
    seen = view.at(u, rows)
    alike = np.exp(-(((seen[:, :, 0] / np.maximum(own[:, 0], 8) - 1) / 0.15) ** 2) - ((seen[:, :, 1:] - own[:, 1:]) ** 2).sum(-1) / 6**2)
    passed = np.cumsum(alike, 0) * (steps[1] * highest / unit) / 0.03  # skin that is left below: then it is a crease, a brow, a rim
    rise = rise - np.minimum(passed, 2)
    best, found = -np.inf, upper - 0.015 * unit * arch
    inner = np.flatnonzero((x > 0.12) & (x < 0.88))
    for step in steps[:18]:
        for skew in (-0.35, 0.0, 0.35):
            share = np.clip(step * (1 + skew * (2 * x - 1)), 0, 1)
            at = share[inner] * (len(steps) - 1)
            score = cv2.remap(rise, inner[None].astype(np.float32), at[None].astype(np.float32), cv2.INTER_LINEAR).mean()
            score -= 0.15 * step + 0.05 * abs(skew)
            if score > best:
                best, found = score, upper - share * highest - 0.015 * unit * arch
    return np.asarray(found, np.float32)


def _hung(view: _View, root: Float, dark: Float, u: Float, above: Float) -> Float:
    """Of what is dark (h, w), as much as hangs together with the lashes below it: not a brow, nor the rim of glasses."""
    lid = view.lid
    steps = np.arange(0, 0.3 * lid.unit, max(0.008 * lid.unit, 0.5), dtype=np.float32)
    rows = root - steps[:, None]
    seen = _View(np.repeat(dark[:, :, None], 3, 2), lid, view.origin).at(np.broadcast_to(lid.u, rows.shape), rows)[:, :, 0]
    seen[steps < 0.01 * lid.unit] = 1
    hung = np.minimum.accumulate(seen, 0)
    x = np.clip(u / lid.u[-1] * (_POINTS - 1), 0, _POINTS - 1)
    y = np.maximum(above, 0) / (steps[1] - steps[0])
    found = cv2.remap(hung, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.where(above > 0, np.minimum(dark, found), dark).astype(np.float32)
