"""The inside of a mouth that no reference shows: where teeth and tongue of a head are, and how much of them is drawn.

Upper teeth are the head's and stay while lips move; lower teeth and the tongue go with the jaw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.appearance.config import WarpConfig
from engines.spec import Float
from native.interior.op import interior

_RING = [face.LIPS.index(point) for point in face.INNER_LIPS]
_LOWER, _UPPER = slice(0, 11), [10, *range(11, 20), 0]  # of the ring: corner to corner, the corners in both
_CHIN = [int(np.flatnonzero(face.MOTION == point)[0]) for point in (152, 148, 377, 175, 199)]
_LIP = [int(np.flatnonzero(face.MOTION == point)[0]) for point in (14, 87, 317)]

# Of a middling adult's teeth; lengths in IOD, which is 63 mm.
_ARCH = np.array([0.42, 0.62])  # half the width and the depth of the upper arch, a half ellipse
_WIDTHS = (0.136, 0.106, 0.121, 0.111, 0.108, 0.16)  # upper teeth from the middle to the side
_LOW_WIDTHS = (0.086, 0.094, 0.108, 0.111, 0.113, 0.17)
_SHORTER = (0.0, 0.016, 0.006, 0.028, 0.04, 0.05)  # than the middle ones
_CROWNS = (0.165, 0.145, 0.16, 0.135, 0.12, 0.11)
_LUSTRE = (1.0, 0.97, 0.9, 0.9, 0.88, 0.85)  # eye teeth are darker
_BEHIND, _LOW_BEHIND = 0.10, 0.14  # the lips' surface
_EDGE, _LOW_EDGE = 0.024, 0.035  # below the line where the lips meet, the jaw at rest
_JAW = (0.72, 0.27)  # how far lower teeth go down with the chin and with the lower lip, of which neither tells it alone
_ROUND = 0.014  # how far a tooth's corners are rounded
_SEAM = 0.008  # width of the shade between two teeth
_SAMPLES = (16, 320)  # of a profile, at least and at most; else two for a pixel


@dataclass(frozen=True)
class Inside:
    """What `native.interior` is told of a mouth."""

    corner: tuple[int, int]
    size: tuple[int, int]
    place: Float
    profile: Float


def missing(config: WarpConfig, opening: float, shown: Float, weights: Float) -> float:
    """How much of a mouth's inside, `opening` open, references (C,) do not show that are `shown` open, blended with `weights`: 0..1."""
    stretched = np.clip((opening - config.stretch * shown - 0.01) / 0.04, 0, 1)
    return float(face.ease(np.asarray((stretched @ weights - 0.3) / 0.5)))


def draw_interior(patch: NDArray[np.uint8], inside: Inside, light: Float, unit: float, share: float) -> NDArray[np.uint8]:
    """The patch (h, w, 3) RGB with a mouth's inside drawn in, at opacity `share` (0..1). See `native.interior.op`."""
    return interior(patch, inside.corner, inside.size, inside.place, inside.profile, light, unit, share)


def inside_of(lips: Float, corner: tuple[int, int], size: tuple[int, int], pose: Float, neutral: Float, motion: Float) -> Inside | None:
    """The inside of a mouth, None where it is shut.

    lips: (40, 2) in the pixels of a patch, whose corner in the frame and size (height, width) are given. pose: (3, 4) of the head.
    neutral: (478, 3) the face at rest. motion: (L, 2) that is shown.
    """
    unit, shift = float(face.unit(pose)), np.array(corner, np.float32)
    axes = _axes(pose)  # along the mouth, and down
    middle = neutral[list(face.INNER_MIDDLE)].mean(0)
    origin = face.from_head(middle[None], pose)[0, :2] - shift
    ring = (lips[_RING] - origin) @ axes.T / unit
    left, right = ring[:, 0].min(), ring[:, 0].max()
    corners = lips[_RING]
    low = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, size[::-1])
    if (high - low).min() < 2 or (right - left) * unit < 3:
        return None
    samples = int(np.clip(round(2 * (right - left) * unit), *_SAMPLES))
    along = np.linspace(left, right, samples, dtype=np.float32)
    rest = face.motion_of(neutral)
    jaw = _JAW[0] * (motion - rest)[_CHIN, 1].mean() + _JAW[1] * max((motion - rest)[_LIP, 1].mean(), 0.0)
    size_of = float(np.clip((face.width(rest) / 0.79) ** 0.5, 0.9, 1.12))
    mouth = _Mouth(along, middle, pose, axes, unit, size_of)
    upper, lower = (_line(ring[side], along) for side in (_UPPER, _LOWER))
    profile = _profile(mouth, upper, lower, float(jaw))
    scale = (samples - 1) / (right - left)
    place = np.concatenate([axes, (axes @ (low - origin))[:, None]], 1) / unit
    place[0] *= scale
    place[0, 2] -= left * scale
    return Inside((int(low[0]), int(low[1])), (int(high[1] - low[1]), int(high[0] - low[0])), place.astype(np.float32), profile)


@dataclass(frozen=True)
class _Mouth:
    """Where things of the head's frame are in the mouth's own: flat, in IOD, the first axis along the mouth, the second down."""

    along: Float
    middle: Float
    pose: Float
    axes: Float
    unit: float
    size: float

    def seen(self, points: Float) -> Float:
        """Points (P, 3), from the mouth's middle in the head's frame, in the mouth's own (P, 2)."""
        return np.asarray(points @ (self.axes @ self.pose[:2, :3] / self.unit).T)

    def teeth(self, arch: Float, height: float, behind: float) -> tuple[Float, Float, Float, Float]:
        """A row of teeth, its sides (T + 1, 3: x, 0, z) given: each sample's tooth, counted from the first side; where in the tooth it
        is, -1 to 1; the row's height there; and how far back it is."""
        solid = arch * self.size + np.array([0, height, behind], np.float32)
        flat = self.seen(solid)
        sides = np.maximum.accumulate(flat[:, 0] + 1e-5 * np.arange(len(flat)))  # what is hidden behind others has no width
        at = np.interp(self.along, sides, np.arange(len(sides)), left=-1, right=len(sides))
        tooth = np.floor(at)
        line, depth = (np.interp(self.along, sides, values) for values in (flat[:, 1], arch[:, 2]))
        return tooth, 2 * (at - tooth) - 1, line, depth


def _profile(mouth: _Mouth, upper: Float, lower: Float, jaw: float) -> Float:
    """The profile (10, N) of a mouth whose lower teeth are `jaw` lower than at rest. upper and lower: (N,) the lips' edges."""
    gap = np.maximum(lower - upper, 0)
    tooth, within, edge, depth = mouth.teeth(_arch(_WIDTHS), _EDGE, _BEHIND)
    kind = np.abs(tooth - (len(_WIDTHS) - 0.5)).astype(int).clip(0, len(_WIDTHS) - 1)  # from the middle
    there = (tooth >= 0) & (tooth < 2 * len(_WIDTHS))
    corner = within**2 * within**4
    edge = edge - mouth.size * (np.take(_SHORTER, kind) + _ROUND * corner)
    gum = edge - mouth.size * (np.take(_CROWNS, kind) - 0.03 * within**2)
    lustre = np.take(_LUSTRE, kind) * (1 - 0.05 * within**2) * (1 - 0.8 * face.ease((depth - 0.03) / 0.33)) * mouth_seams(mouth, _WIDTHS, within, kind)
    low_tooth, low_within, low_edge, low_depth = mouth.teeth(_arch(_LOW_WIDTHS), _LOW_EDGE + jaw, _LOW_BEHIND)
    low_kind = np.abs(low_tooth - (len(_LOW_WIDTHS) - 0.5)).astype(int).clip(0, len(_LOW_WIDTHS) - 1)
    low_there = (low_tooth >= 0) & (low_tooth < 2 * len(_LOW_WIDTHS))
    low_edge = low_edge + mouth.size * 0.6 * _ROUND * low_within**6
    low_lustre = 0.86 * (1 - 0.05 * low_within**2) * (1 - 0.8 * face.ease((low_depth - 0.03) / 0.3)) * mouth_seams(mouth, _LOW_WIDTHS, low_within, low_kind)
    between = np.maximum(low_edge - edge, 0)
    tongue = low_edge - np.minimum(0.34, 0.85 * between) * (1 - 0.6 * (mouth.along / 0.4) ** 2).clip(0, 1)
    shade = gap / (gap + 0.008)
    steep = np.maximum(*(np.abs(np.gradient(lip, mouth.along)) for lip in (upper, lower)))
    lean = 1 / np.sqrt(1 + np.minimum(steep, 3) ** 2)
    rows = (upper, lower, np.where(there, edge, -9), np.where(there, gum, -9), lustre, np.where(low_there, low_edge, 9), low_lustre, tongue, shade, lean)
    return np.stack(rows).astype(np.float32)


def mouth_seams(mouth: _Mouth, widths: tuple[float, ...], within: Float, kind: NDArray[np.int64]) -> Float:
    """(N,): 1, and less in the narrow shade between two teeth, which is a pixel wide at least and then the fainter."""
    away = (1 - np.abs(within)) / 2 * np.take(widths, kind)
    width = max(_SEAM, 0.8 / mouth.unit)
    return np.asarray(1 - 0.13 * (_SEAM / width) * np.exp(-((away / width) ** 2)))


@cache
def _arch(widths: tuple[float, ...]) -> Float:
    """The sides (T + 1, 3: x, 0, z) of teeth along an arch, from the middle's front, for T / 2 widths from the middle to the side."""
    angle = np.linspace(0, 1.5, 500)
    curve = np.stack([_ARCH[0] * np.sin(angle), _ARCH[1] * (1 - np.cos(angle))], 1)
    if widths is _LOW_WIDTHS:
        curve *= 0.93
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.concatenate([[0], np.cumsum(widths)])
    half = np.stack([np.interp(at, way, curve[:, 0]), np.zeros(len(at)), np.interp(at, way, curve[:, 1])], 1)
    return np.concatenate([half[:0:-1] * [-1, 1, 1], half]).astype(np.float32)


def _axes(pose: Float) -> Float:
    """(2, 2): unit vectors of a picture along and down the mouth of a head with a pose (3, 4)."""
    down = pose[:2, 1] / max(float(np.linalg.norm(pose[:2, 1])), 1e-6)
    return np.array([[down[1], -down[0]], down], np.float32)


def _line(points: Float, along: Float) -> Float:
    """The height of a line of points (P, 2) at places `along` (N,) a mouth."""
    points = points[np.argsort(points[:, 0], kind="stable")]
    return np.interp(along, points[:, 0], points[:, 1]).astype(np.float32)
