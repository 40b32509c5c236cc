"""A row of teeth as it is seen along a mouth. Lengths are in IOD."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from engines import face
from engines.spec import Float

_ARCH = (0.42, 0.48)  # half the width and the depth of the arch, a half ellipse
_STEPS = 4  # of an arch to a tooth
_SEAM, _SEAM_DEPTH = 0.008, 0.12  # width of the shade between two teeth, and how dark it is; the wider, the fainter
_BULGE = 0.05  # a tooth's sides are so much darker than its middle
_NOWHERE = 9.0  # where a row has no tooth, its edge is out of the mouth


@dataclass(frozen=True)
class Row:
    """Teeth of a middling adult, whose IOD is 63 mm; T of them to a side, told from the middle on."""

    widths: tuple[float, ...]
    shorter: tuple[float, ...]
    """Than the first."""
    crowns: tuple[float, ...]
    """How high each is."""
    lustre: tuple[float, ...]
    """How bright, against the first upper one."""
    arch: float
    """Its size, against the upper one's."""
    behind: float
    """How far the first lies behind the lips."""
    corner: float
    """By how much corners are rounded."""
    up: float
    """-1 where the edge is below, 1 where it is above."""


UPPER = Row(
    (0.136, 0.106, 0.121, 0.111, 0.108), (0.0, 0.016, 0.006, 0.028, 0.04), (0.165, 0.145, 0.16, 0.135, 0.12),
    (1.0, 0.97, 0.9, 0.9, 0.88), 1.0, 0.06, 0.014, -1.0,
)  # fmt: skip
LOWER = Row(
    (0.086, 0.094, 0.108, 0.111, 0.113), (0.0, 0.0, 0.0, 0.01, 0.02), (0.14, 0.14, 0.15, 0.13, 0.12),
    (0.84, 0.84, 0.8, 0.76, 0.74), 0.93, 0.09, 0.008, 1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A row of teeth at N places along a mouth, each (N,)."""

    line: Float
    """The height of the row as if it were one long tooth."""
    edge: Float
    """Where teeth end."""
    gum: Float
    """Where the gum begins."""
    lustre: Float
    """How bright teeth are."""
    lit: Float
    """How much light comes there, 0..1: less far back, and where the row turns away."""


def seen(row: Row, height: float, along: Float, to_mouth: Float, size: float, soft: float) -> Seen:
    """A row whose first teeth end at `height`, in the head's frame, below the line between the lips.

    along: (N,) places along the mouth, rising. to_mouth: (2, 3) takes directions of the head's frame to the picture, along the mouth
    and down. size: of the teeth, 1 in the mean. soft: width of the picture's edges.
    """
    arch, steps, near = _arch(row)
    flat = (size * arch + np.array([0, height, row.behind])) @ to_mouth.T
    sides = np.maximum.accumulate(flat[:, 0] + 1e-5 * np.arange(len(flat)))  # what is hidden behind others has no width
    facing, middles = (sides[1:] - sides[:-1]) / (size * steps), (sides[1:] + sides[:-1]) / 2
    count, lit = len(row.widths), near * face.ease(facing)
    at = np.interp(along, sides, np.arange(len(sides)) / _STEPS, left=-1, right=2 * count)
    tooth = np.clip(np.floor(at), -1, 2 * count)
    there, within = (tooth >= 0) & (tooth < 2 * count), 2 * (at - tooth) - 1
    kind = np.abs(tooth - (count - 0.5)).astype(int).clip(0, count - 1)
    line, lit = np.interp(along, sides, flat[:, 1]), np.interp(along, middles, lit)
    edge = line + row.up * size * (np.take(row.shorter, kind) + row.corner * within**6)
    gum = edge + row.up * size * (np.take(row.crowns, kind) - 0.03 * within**2)
    away, width = size * (1 - np.abs(within)) / 2 * np.take(row.widths, kind), max(_SEAM, 0.5 * soft)
    seam = 1 - _SEAM_DEPTH * (_SEAM / width) * np.exp(-((away / width) ** 2))
    lustre = np.take(row.lustre, kind) * (1 - _BULGE * within**2) * seam * (0.2 + 0.8 * lit)
    edge, gum = np.where(there, edge, row.up * _NOWHERE), np.where(there, gum, row.up * _NOWHERE)
    return Seen(*(values.astype(np.float32) for values in (line, edge, gum, lustre, lit)))


@cache
def _arch(row: Row) -> tuple[Float, Float, Float]:
    """A row from side to side, in S = 2 T _STEPS steps.

    (S + 1, 3: x, 0, z) points, the middle of the row being the origin; (S,) lengths of the steps; (S,) how much light comes so far back.
    """
    angle = np.linspace(0, np.pi / 2, 500)
    curve = row.arch * np.stack([_ARCH[0] * np.sin(angle), _ARCH[1] * (1 - np.cos(angle))], 1)
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    count = len(row.widths)
    at = np.interp(np.arange(_STEPS * count + 1) / _STEPS, np.arange(count + 1), np.concatenate([[0], np.cumsum(row.widths)]))
    half = np.stack([np.interp(at, way, curve[:, 0]), np.zeros(len(at)), np.interp(at, way, curve[:, 1])], 1)
    points = np.concatenate([half[:0:-1] * [-1, 1, 1], half]).astype(np.float32)
    far = ((points[1:, 2] + points[:-1, 2]) / 2).astype(np.float32)
    near = 1 - 0.7 * face.ease(far / 0.24)
    return points, np.linalg.norm(np.diff(points, axis=0), axis=1), near
