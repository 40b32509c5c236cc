"""Eyelids: found on a face's landmarks, and lowered in its picture.

A lid that comes down unrolls skin that was hidden in its fold. Its colour is that of the lid's own skin, seen between lashes and
brow, lit as the skin below the eye is: a made-up lid stays made up, a lid in shade stays in shade. Light and colour of a place
are always taken from the same pixels, and never from lashes, iris or white: these are greyer than skin. The lashes, with what is
painted on them, leave their old place and hang at the new edge. The eye itself stays where it is, and so do brows, the rims of
glasses and what they mirror.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        (247, 30, 29, 27, 28, 56, 190), (113, 225, 224, 223, 222, 221, 189),
    ),
    (
        (263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362),
        (467, 260, 259, 257, 258, 286, 414), (342, 445, 444, 443, 442, 441, 413),
    ),
)  # fmt: skip
"""Upper lid, lower lid, the lid's crease, and the fold below the brow, of each eye."""
_BARE = (4, 5, 50, 280, 205, 425, 151, 9, 118, 347)  # on nose, cheeks and forehead: skin that glasses do not cover
_NARROW, _FEW = 0.08, 2.5  # IOD, pixels: an eye that is less open stays as it is
_FAINT, _LIGHT = 0.22, 0.1  # of the skin's brightness: an eye with less contrast, or whose darkest is no darker, is not seen
_LENS_FAINT, _LENS_LIGHT, _TINTED, _ASIDE = 0.27, 0.3, 0.5, 18.0  # the same behind a lens; its brightness to bare skin's; degrees
_POINTS = 65  # of a curve
_RAISE = 0.14  # of the opening: how far the lower lid comes up
_BELOW = 0.2  # IOD: how far below the lower lid it is still felt
_SEEN = 0.3  # from this closure on the lid is opaque
_LIT = np.array([0.45, 0.12, 0.35], np.float32)
"""How much of the skin below the eye is in a closed lid's Y, U and V: fitted to people who blink."""


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
    if not all(lid.opening > max(_FEW, _NARROW * lid.unit) for lid in both):
        return []
    if glasses and abs(np.degrees(face.angles(face.pose(landmarks))[0])) > _ASIDE:
        return []  # a rim may lie across the eye
    bare = _brightness(picture, landmarks)
    return both if all(_is_seen(picture, lid, bare) for lid in both) else []


def _lid(landmarks: Float, lines: Sequence[Sequence[int]], glasses: bool) -> Lid:
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
    return Lid(left, along.astype(np.float32), u, np.stack(curves), unit, glasses)


def _smooth(lines: NDArray[np.floating], sigma: float) -> Float:
    """Lines (M, C), smoothed along axis 0."""
    seen = cv2.GaussianBlur(np.ascontiguousarray(lines, np.float32), (1, 0), sigmaX=0.1, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.float32).reshape(lines.shape)


def _brightness(picture: Picture, landmarks: Float) -> float:
    """The luma of bare skin."""
    luma = planes(picture)[0]
    x, y = (np.clip(np.round(landmarks[list(_BARE), k]).astype(int), 0, luma.shape[1 - k] - 1) for k in (0, 1))
    return float(np.median(cv2.blur(luma, (5, 5))[y, x]))


def _is_seen(picture: Picture, lid: Lid, bare: float) -> bool:
    """Whether there is an eye to be seen: white beside something darker than the skin around."""
    view = _view(picture, lid)
    if not view.part.size:
        return False
    upper, low, _, _ = lid.curves
    middle = np.s_[:, _POINTS // 8 : -_POINTS // 8]

    def luma(lines: Float) -> Float:
        return view.at(np.broadcast_to(lid.u, lines.shape), lines)[middle][..., 0]

    shares = np.linspace(0, 1, 8)[:, None]
    dark, bright = np.percentile(luma(upper + (0.1 + 0.8 * shares) * (low - upper)), [8, 92])
    above = float(np.median(luma(upper - (0.03 + 0.07 * shares) * lid.unit)))
    below = float(np.median(luma(low + (0.06 + 0.1 * shares) * lid.unit)))
    skin = max((above + below) / 2, 8.0)
    contrast, darker = (bright - dark) / skin, (below - dark) / max(below, 8.0)
    if lid.glasses:
        return bool(contrast > _LENS_FAINT and darker > _LENS_LIGHT and skin > _TINTED * bare)
    return bool(contrast > _FAINT and darker > _LIGHT)


def lower(picture: Picture, lid: Lid, shut: float) -> tuple[int, int, int, int]:
    """Lower a lid of a picture (I420), in place: `shut` from 0 (as it is) to 1 (closed).

    What may have changed: the box x, y, width, height of pixels.
    """
    view = _view(picture, lid)
    (tall, wide), (x, y) = view.part.shape[:2], view.origin.tolist()
    if view.part.size:
        change = _lowered(view, shut) - view.part
        for at, (plane, half) in enumerate(zip(planes(picture), (1, 2, 2), strict=True)):
            part = plane[y // half : (y + tall) // half, x // half : (x + wide) // half]
            less = cv2.resize(change[:, :, at], part.shape[::-1], interpolation=cv2.INTER_AREA)
            part[:] = np.clip(part + less + 0.5, 0, 255).astype(np.uint8)
    return x, y, wide, tall


def _view(picture: Picture, lid: Lid) -> _View:
    """The part of a picture in which the lid's socket lies."""
    vs = (lid.curves[3].min(), lid.curves[1].max() + _BELOW * lid.unit)
    corners = np.stack([lid.corner + u * lid.along + v * lid.down for u in (0, lid.u[-1]) for v in vs])
    size = np.array([picture.shape[1], picture.shape[0] * 2 // 3])
    low = np.clip(np.floor(corners.min(0) / 2).astype(int) * 2 - 2, 0, size)
    high = np.clip(np.ceil(corners.max(0) / 2).astype(int) * 2 + 4, low, size)
    if (high == low).any():
        return _View(np.zeros((0, 0, 3), np.float32), lid, low)
    wide, tall = int(high[0] - low[0]), int(high[1] - low[1])
    parts = (
        plane[low[1] // half : high[1] // half, low[0] // half : high[0] // half]
        for plane, half in zip(planes(picture), (1, 2, 2), strict=True)
    )
    full = [cv2.resize(part, (wide, tall), interpolation=cv2.INTER_LINEAR) for part in parts]
    return _View(np.stack(full, -1).astype(np.float32), lid, low)


@dataclass(frozen=True)
class _View:
    """A part of a picture, looked at in an eye's frame."""

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
        return _smooth(colour, _POINTS / 10)


def _lowered(view: _View, shut: float) -> Float:
    """The part (h, w, 3) with the lid lowered."""
    lid, unit = view.lid, view.lid.unit
    u, v = view.grid()
    upper, low, crease, fold = lid.curves
    root = root_line = upper - 0.02 * unit * lid.arch if lid.glasses else _root(view)
    shares = np.linspace(0, 1, 12)[:, None]
    end = np.maximum(np.minimum(crease, root - 0.05 * unit), fold)
    own = view.skin(root - 0.015 * unit + shares * (end - root + 0.015 * unit), 0.6, 0.9)
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
    skin = view.at(u, root - np.maximum(above, 0.03 * unit), clean)
    skin += face.ease((v - root + 0.11 * unit) / (0.11 * unit + 0.5 * lid.opening))[:, :, None] * _LIT * (below - own)
    along = np.clip((v - root) / np.maximum(edge - root, 1e-3), 0, 1)
    skin[:, :, 0] *= 1 + 0.03 * np.sin(np.pi * along) - 0.12 * face.ease(along)
    cheek = view.at(u, v + opening + 0.08 * unit)[:, :, 0]
    grain = cheek - cv2.GaussianBlur(cheek, (0, 0), max(0.03 * unit, 0.5))
    most = 2.5 * float(np.median(np.abs(grain))) + 0.5
    skin[:, :, 0] += np.clip(grain, -most, most)
    # what it covers: the eye, the place where the lashes grew, and the lashes above it
    dark = np.clip((0.96 - luma / np.maximum(skin[:, :, 0], 1)) / 0.2, 0, 1)
    hung = _hung(view, root_line, dark, u, above)
    soft, far = (np.minimum(most, share * (root - fold)) * arch + 0.5 for most, share in ((0.13 * unit, 0.8), (0.15 * unit, 1)))
    if lid.glasses:
        soft = far = np.minimum(0.03 * unit * arch + 0.5, soft)
    cover = (1 - (dark - hung)) * (1 - face.ease(above / soft))
    cover = np.maximum(cover, hung * (1 - face.ease((above - 0.3 * far) / (0.7 * far))))
    cover *= np.clip(edge - v + 0.5, 0, 1) * face.ease(arch / 0.5)
    out = eye + strength * cover[:, :, None] * (skin - eye)
    # the lashes at the new edge, and as far below it as they stood above the eye
    past = v - edge
    thick = np.clip(upper - root, 0.03 * unit, 0.05 * unit)
    line_, shade = (
        np.exp(-0.5 * (past / np.maximum(np.where(past < 0, up, down) * thick, 0.6)) ** 2) for up, down in ((0.4, 0.7), (1.2, 1.2))
    )
    mirrored = root - past
    fringe = view.at(u, mirrored)[:, :, 0] / np.maximum(view.at(u, mirrored, clean)[:, :, 0], 1)
    fringe = np.clip((0.95 - fringe) / 0.5, 0, 1) * (1 - face.ease(past / (0.1 * unit))) * (past > 0)
    lash = np.maximum(np.maximum(line_, 0.45 * shade), 0.8 * fringe) * face.ease(arch / 0.4)
    out += strength * lash[:, :, None] * (np.minimum(darkest, np.where([True, False, False], out, np.inf)) - out)
    return np.asarray(out, np.float32)


def _root(view: _View) -> Float:
    """Along the eye (M,): the v above which there is skin: where the upper lid's lashes, and what is painted there, end.

    Landmarks lie somewhere between the eye's edge and there. Of curves above them, that which is dark and has bright skin above.
    """
    lid, unit = view.lid, view.lid.unit
    upper, _, _, fold = lid.curves
    x, arch = lid.u / lid.u[-1], lid.arch
    steps = np.linspace(0, 1, 21, dtype=np.float32)
    shares = np.linspace(0.15, 1, 12)[:, None]
    highest = np.minimum(0.13 * unit, 0.8 * (upper - fold)) * arch
    rows = upper - steps[:, None] * highest
    u = np.broadcast_to(lid.u, rows.shape)
    over, on, under = (view.at(u, rows + shift * unit)[:, :, 0] for shift in (-0.03, 0.0, 0.03))
    most = 0.3 * np.maximum(np.percentile(on, 80, 0), 8)
    rise = cv2.blur(np.clip((over - on - np.maximum(on - under, 0)) / most, -1, 1), (5, 1))
    own = view.skin(upper - shares * np.maximum(upper - fold, 0.1 * unit), 0.5, 0.85)
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
    # to the top of what is dark there: the family of curves is coarse, lashes and paint are not
    own = np.maximum(own[:, 0], 8)
    rows = found - np.linspace(0, 0.1, 21)[:, None] * unit * arch
    seen = view.at(np.broadcast_to(lid.u, rows.shape), rows)[:, :, 0]
    dark = np.minimum.accumulate(np.clip((0.9 - seen / own) / 0.15, 0, 1), 0)
    height = _smooth(dark.mean(0)[:, None], _POINTS / 13)[:, 0] * 0.1 * unit * arch
    return np.asarray(found - height, np.float32)


def _hung(view: _View, root: Float, dark: Float, u: Float, above: Float) -> Float:
    """Of what is dark (h, w), as much as hangs together with the lashes below it: not a brow, nor the rim of glasses."""
    lid = view.lid
    steps = np.arange(0, 0.3 * lid.unit, max(0.008 * lid.unit, 0.5), dtype=np.float32)
    rows = root - steps[:, None]
    seen = view.at(np.broadcast_to(lid.u, rows.shape), rows, dark)
    seen[steps < 0.01 * lid.unit] = 1
    hung = np.minimum.accumulate(seen, 0)
    x = np.clip(u / lid.u[-1] * (_POINTS - 1), 0, _POINTS - 1)
    y = np.maximum(above, 0) / (steps[1] - steps[0])
    found = cv2.remap(hung, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.where(above > 0, np.minimum(dark, found), dark).astype(np.float32)
