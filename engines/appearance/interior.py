"""The inside of a mouth that no reference shows: where a head's teeth and tongue are, and how much of them is drawn.

Upper teeth are the head's and stay while lips move; lower teeth and the tongue go with the jaw. Lengths are in IOD.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.appearance import teeth
from engines.appearance.config import WarpConfig
from engines.spec import Float
from native.interior.op import interior
from native.interior.profile import EDGE, LOW_EDGE, LOWER, ROWS, SHADE, TONGUE, UPPER

_RING = [face.LIPS.index(point) for point in face.INNER_LIPS]
_LOWER, _UPPER = slice(0, 11), [10, *range(11, 20), 0]  # of the ring: corner to corner, the corners in both
_CHIN = [face.JAW.index(point) + len(face.LIPS) for point in (152, 148, 377, 175, 199)]
_LIP = [face.LIPS.index(point) for point in (14, 87, 317)]

_EDGE, _LOW_EDGE = 0.024, 0.036  # of the teeth below the line where the lips meet, the jaw at rest
_JAW = (0.72, 0.27)  # how far lower teeth go down with the chin and with the lower lip: neither tells it alone
_BARE = 0.1  # that the lower lip uncovers of them at most
_WIDTH = 0.79  # of a mouth whose teeth are of middling size
_SHARPEST = 1.6  # pixels over which an edge goes
_SHUT = 0.018  # a mouth less open shows no inside
_LINE, _LINE_SHARE, _LINE_SHADE = 0.028, 0.9, 0.65  # of lips that meet: how wide, how opaque and how bright their shadow is
_SOME = 0.1  # a mouth more open shows some of its inside
_APART = 0.06  # that references have lips farther apart than wanted, when the line is drawn
_SAMPLES = (16, 320)  # of a profile at least and at most; else two for a pixel


@dataclass(frozen=True)
class Inside:
    """What `native.interior` is told of a mouth."""

    corner: tuple[int, int]
    size: tuple[int, int]
    place: Float
    profile: Float
    soft: float


def missing(config: WarpConfig, opening: float, shown: Float, weights: Float, widest: float) -> float:
    """How much of a mouth's inside, `opening` open, is to be drawn: 0..1.

    shown, weights: (C,) how far references are open, and how they are blended. widest: how far any of the actor's is: where all are
    hardly open, what is between their lips is no inside that could be stretched. Smooth in all of them.
    """
    shown = shown * face.ease(np.asarray(widest / _SOME))
    stretched = np.clip((opening - np.maximum(config.stretch * shown, _SHUT)) / (0.012 + 0.3 * shown), 0, 1)
    return float(face.ease(np.asarray((stretched @ weights - 0.4) / 0.6)))


def meets(opening: float, shown: float) -> float:
    """How much of the line is to be drawn where lips meet, `opening` apart, that references have `shown` apart: 0..1."""
    return _LINE_SHARE * float(np.clip((shown - opening) / _APART - 0.5, 0, 1) * np.clip(2 - opening / _SHUT, 0, 1))


def where_lips_meet(inside: Inside) -> Inside:
    """The shadow between lips that meet, in place of a mouth's inside: a thin line that ends at the corners."""
    profile = inside.profile.copy()
    middle = (profile[UPPER] + profile[LOWER]) / 2
    half = np.float32(_LINE / 2) * np.sqrt(np.sin(np.linspace(0, np.pi, profile.shape[1], dtype=np.float32)).clip(0, 1))
    profile[UPPER], profile[LOWER] = middle - half, middle + half
    profile[EDGE], profile[LOW_EDGE], profile[TONGUE] = middle - 1, middle + 1, middle + 1  # neither teeth nor tongue
    profile[SHADE] = _LINE_SHADE
    return replace(inside, profile=profile)


def draw_interior(patch: NDArray[np.uint8], inside: Inside, light: Float, unit: float, share: float) -> NDArray[np.uint8]:
    """The patch (h, w, 3) RGB with a mouth's inside drawn in, at opacity `share` (0..1). See `native.interior.op`."""
    return interior(patch, inside.corner, inside.size, inside.place, inside.profile, light, unit, inside.soft, share)


def inside_of(
    lips: Float, corner: tuple[int, int], size: tuple[int, int], pose: Float, neutral: Float, motion: Float, blur: float
) -> Inside | None:
    """The inside of a mouth; None where it is too small.

    lips: (40, 2) in the pixels of a patch, whose corner in the frame and size (height, width) are given. pose: (3, 4) of the head.
    neutral: (478, 3) the face at rest. motion: (L, 2) that is shown. blur: standard deviation of the picture's, in pixels.
    """
    unit, soft = float(face.unit(pose)), max(float(np.sqrt(12)) * blur, _SHARPEST)  # the slope that is as wide as the Gaussian
    margin = int(np.ceil(soft / 2))
    down = pose[:2, 1] / max(float(np.linalg.norm(pose[:2, 1])), 1e-6)
    axes = np.array([[down[1], -down[0]], down], np.float32)  # of the picture: along the mouth, and down
    origin = face.from_head(neutral[list(face.INNER_MIDDLE)].mean(0)[None], pose)[0, :2] - np.array(corner, np.float32)
    ring = lips[_RING]
    low = np.maximum(np.floor(ring.min(0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(ring.max(0)).astype(int) + margin + 1, size[::-1])
    mouth = ((ring - origin) @ axes.T / unit).astype(np.float32)
    left, right = float(mouth[:, 0].min()), float(mouth[:, 0].max())
    if (high - low).min() < 2 or (right - left) * unit < 3:
        return None
    along = np.linspace(left, right, int(np.clip(2 * (right - left) * unit, *_SAMPLES)), dtype=np.float32)
    upper, lower = (_line(mouth[side], along) for side in (_UPPER, _LOWER))
    rest = face.motion_of(neutral)
    heights, to_mouth = (_EDGE, _LOW_EDGE + _jaw(motion - rest)), axes @ pose[:2, :3] / unit
    larger = float(np.clip(np.sqrt(face.width(rest) / _WIDTH), 0.9, 1.12))
    rows = (teeth.seen(row, at, along, to_mouth, larger, soft / unit) for row, at in zip((teeth.UPPER, teeth.LOWER), heights, strict=True))
    place = np.concatenate([axes, (axes @ (low - origin))[:, None]], 1) / unit
    place[0, 2] -= left
    place[0] *= (len(along) - 1) / (right - left)
    (x, y), (columns, height) = low.tolist(), (high - low).tolist()
    return Inside((x, y), (height, columns), place.astype(np.float32), _profile(along, upper, lower, *rows), soft)


def _jaw(moved: Float) -> float:
    """How far the lower teeth are below their place at rest, from how far motion's points (L, 2) are from theirs."""
    lip, chin = float(moved[_LIP, 1].mean()), float(moved[_CHIN, 1].mean())
    jaw = _JAW[0] * chin + _JAW[1] * max(lip, 0.0)
    bare = max(lip - jaw - _LOW_EDGE, 0.0)
    return jaw + bare - _BARE * float(np.tanh(bare / _BARE))


def _profile(along: Float, upper: Float, lower: Float, high: teeth.Seen, low: teeth.Seen) -> Float:
    """The profile (11, N) of a mouth, from its lips' edges (N,) and its teeth."""
    gap = np.maximum(lower - upper, 0)
    steep = np.maximum(np.abs(np.diff(upper, append=upper[-1:])), np.abs(np.diff(lower, append=lower[-1:]))) / (along[1] - along[0])
    rows = {
        "upper": upper, "lower": lower, "edge": high.edge, "gum": high.gum, "lustre": high.lustre,
        "low_edge": low.edge, "low_gum": low.gum, "low_lustre": low.lustre,
        "tongue": low.line - np.clip(0.85 * (low.line - high.line), 0, 0.34) * low.lit,
        "shade": gap / (gap + 0.025), "lean": 1 / np.sqrt(1 + np.minimum(steep, 3) ** 2),
    }  # fmt: skip
    return np.stack([rows[row] for row in ROWS]).astype(np.float32)


def _line(points: Float, along: Float) -> Float:
    """The height of a line of points (P, 2) at places `along` (N,) a mouth."""
    points = points[np.argsort(points[:, 0], kind="stable")]
    return np.interp(along, points[:, 0], points[:, 1]).astype(np.float32)
