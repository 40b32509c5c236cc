"""The mesh of the lower face that is moved: its vertices, its triangles, and what each vertex carries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face

Float = NDArray[np.float32]

_OUTWARD = (1.25, 1.5)  # anchors lie around the jaw, this far out from `_CENTRE`
BAND = 0.1
"""How far outside of the jaw the band ends that covers a chin which the frame shows lower than it is wanted, IOD."""
SURE = 0.03
"""As much as a tracked outline may be wrong, IOD: a band is wider by it."""
_OWN = 0.7  # how much of itself an outline keeps that is as wanted
_EDGE = 0.08  # IOD: outside of that band the mask falls to nothing within this
_TURNED = (0.2, 0.5)  # cosines between the view and where a part of the face looks, from above, between which the mask fades in
_CENTRE = np.array([0.0, 0.6, 0.0], np.float32)
_MASK_CENTRE, _MASK_RADII = np.array([0.0, 1.22]), np.array([0.95, 0.55, 1.2])  # x, up, down: IOD
_TOP = 0.4  # the mesh begins here, below the eyes
_SPACING = 0.07
_LOWER_LIP = face.OUTER_LIPS[:11] + face.INNER_LIPS[:11]  # with the corners
_FEATHER = 0.27  # share of the radius over which the mask fades


@dataclass(frozen=True)
class Mesh:
    """V vertices: some of the 478 landmarks, then two lines along the jaw (the band's edge, the mask's edge), then anchors around it."""

    points: NDArray[np.int64]
    """(P,) which landmarks are vertices; the first of them are motion's."""
    triangles: NDArray[np.int32]
    """(T, 3) of vertices."""
    values: Float
    """(V, 2): alpha of the mask, and the weight of the ring on which colours are matched, of a face that is seen from the front."""
    outward: Float
    """(J, 2) unit vectors in the head's frame: away from the face, at each point of the jaw's line."""
    looks: Float
    """(V, 3) unit vectors in the head's frame, level: where each part of the face looks, seen from above."""
    layer: NDArray[np.int64]
    """(T,) what covers what, whatever its depth: 0 the inside of the mouth and what is outside of the face, 2 the lower lip, else 1."""
    used: NDArray[np.bool_]
    """(V,) corners of triangles in which one of the two is above 0: what lies beyond is neither shown nor looked at."""


JAW = slice(len(face.LIPS), len(face.LIPS) + 17)
"""Of motion's points and of the mesh's vertices: the jaw's line, from ear to ear."""


def anchors(neutral: Float) -> Float:
    """Points outside the jaw (A, 3) of a face (478, 3) in the head's frame: they move with the head alone."""
    jaw = neutral[face.MOTION[JAW]]
    return np.concatenate([_CENTRE + (jaw - _CENTRE) * np.array([out, out, 1], np.float32) for out in _OUTWARD])


def edges(jaw: Float, outward: Float, band: float | Float) -> Float:
    """Two lines outside of a jaw (..., J, 3): where a band of a width (..., J), IOD, ends, and where the mask does: (..., 2 * J, 3)."""
    lines = []
    for width in (band, band + np.float32(_EDGE)):
        line = jaw.copy()
        line[..., :2] += outward * np.asarray(width, np.float32)[..., None]
        lines.append(line)
    return np.concatenate(lines, -2)


def seen_values(mesh: Mesh, poses: Float, lower: Float) -> Float:
    """`Mesh.values` of heads of poses (..., 3, 4): (..., V, 2). lower (..., J): see `engines.appearance.layout.chins`.

    What looks away is not the mask's: there the frame's own outline stays. It also stays where it is as wanted; and a band that has no
    chin to cover is not shown.
    """
    turned = np.einsum("...j,vj->...v", poses[..., 2, :3], mesh.looks) / face.unit(poses)[..., None]
    low, high = _TURNED
    seen = face.ease((-turned - low) / (high - low))
    known = np.nan_to_num(lower, nan=1.0)
    covers = np.clip(known / SURE, 0, 1)
    first, count = len(mesh.points), len(mesh.outward)
    for line in (JAW, slice(first, first + count)):  # an old chin must go, also from an outline that looks away
        seen[..., line] = np.maximum(seen[..., line], np.where(np.isnan(lower), 0, covers))
    values = np.asarray(mesh.values * seen[..., None], np.float32)
    values[..., first : first + count, 0] *= covers
    values[..., JAW, 0] *= 1 - _OWN * np.clip(1 - np.abs(known) / (2 * SURE), 0, 1)
    return values


@cache
def mesh() -> Mesh:
    """The mesh, from the canonical face with its mouth a little open, so that the inner lips are two lines."""
    neutral = face.canonical()
    motion = face.motion_of(neutral).copy()
    lower = np.isin(face.MOTION, [point for point in _LOWER_LIP if point not in (61, 291, 78, 308)])
    lower |= np.isin(face.MOTION, face.JAW)
    motion[lower, 1] += 0.1
    opened = face.with_motion(neutral, motion)
    points = list(face.MOTION)
    for point in range(face.IRISES):  # the others thinned out
        if neutral[point, 1] > _TOP and np.linalg.norm(opened[points] - opened[point], axis=1).min() > _SPACING:
            points.append(point)
    outward = neutral[face.MOTION[JAW], :2] - _CENTRE[:2]
    outward = (outward / np.linalg.norm(outward, axis=1, keepdims=True)).astype(np.float32)
    vertices, rest = (
        np.concatenate([of[points], edges(of[face.MOTION[JAW]], outward, BAND), anchors(neutral)]) for of in (opened, neutral)
    )
    triangles = _delaunay(vertices[:, :2])
    looks, rest = _looks(rest, triangles[(triangles < len(points)).all(1)]), rest[:, :2]
    looks[len(points) : len(points) + 2 * len(outward)] = np.tile(looks[JAW], (2, 1))
    away = (rest - _MASK_CENTRE) / np.where(rest[:, 1:] < _MASK_CENTRE[1], _MASK_RADII[[0, 1]], _MASK_RADII[[0, 2]])
    radius = np.linalg.norm(away, axis=1)
    alpha = np.clip((1 - radius) / _FEATHER, 0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)
    beyond = np.arange(len(rest)) >= len(points)  # there is the background
    alpha[beyond] = 0
    alpha[len(points) : len(points) + len(outward)] = alpha[JAW]
    ring = np.where((radius < 1.5) & ~beyond & ~np.isin(np.arange(len(rest)), np.arange(len(rest))[JAW]), 1 - alpha, 0.0)
    values = np.stack([alpha, ring], 1).astype(np.float32)
    used = np.zeros(len(values), np.bool_)
    used[triangles[values[triangles].max((1, 2)) > 0]] = True
    inner, low = (np.isin(np.arange(len(rest)), [points.index(at) for at in some]) for some in (face.INNER_LIPS, _LOWER_LIP))
    inside, outside, lip = inner[triangles].all(1), beyond[triangles].any(1), low[triangles].all(1)
    layer = np.where(inside | outside, 0, 1 + lip)
    return Mesh(np.array(points), triangles, values, outward, looks, layer, used)


def _looks(vertices: Float, triangles: NDArray[np.int32]) -> Float:
    """Normals of a mesh (V, 3) towards the viewer, laid level: (V, 3), unit length."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], -np.cross(b - a, c - a))
    normals[:, 1] = 0
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6), np.float32)


def visible(mesh: Mesh, vertices: Float, rest: Float) -> list[NDArray[np.int32]]:
    """The triangles (T, 3) that are seen, what is covered first, of each of B meshes with vertices (B, V, 3) in a picture.

    Not seen is what looks away with the mouth at rest, too, vertices `rest` (B, V, 3): on a turned head the far cheek folds behind the
    mouth. What motion alone has turned over, as it does with slivers where lips meet, is covered by all others.
    """
    a, b, c = (vertices[:, mesh.triangles[:, corner]] for corner in range(3))
    towards = _towards(mesh, vertices)
    order = np.lexsort((-(a[..., 2] + b[..., 2] + c[..., 2]), np.where(towards, mesh.layer, -1)))
    return [mesh.triangles[row[seen[row]]] for row, seen in zip(order, towards | _towards(mesh, rest), strict=True)]


def _towards(mesh: Mesh, vertices: Float) -> NDArray[np.bool_]:
    """(B, T) which triangles of meshes with vertices (B, V, 3) face the viewer."""
    a, b, c = (vertices[:, mesh.triangles[:, corner], :2] for corner in range(3))
    return np.asarray((b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0]) > 0, np.bool_)


def _delaunay(vertices: Float) -> NDArray[np.int32]:
    """Delaunay triangles (T, 3) of points (V, 2)."""
    scaled = (vertices - vertices.min(0)) * 1000 + 10
    subdivision = cv2.Subdiv2D((0, 0, int(scaled[:, 0].max()) + 20, int(scaled[:, 1].max()) + 20))
    subdivision.insert([(float(x), float(y)) for x, y in scaled])
    corners = np.asarray(subdivision.getTriangleList(), np.float32).reshape(-1, 3, 2)
    distance = np.linalg.norm(corners[:, :, None] - scaled[None, None], axis=-1)
    inside = distance.min(2).max(1) < 0.5  # leaves out the subdivision's own outer corners
    found = distance.argmin(2)[inside].astype(np.int32)
    a, b, c = np.moveaxis(vertices[found], 1, 0)
    turned = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    found[turned] = found[turned][:, ::-1]  # all with the same side to the viewer
    return found
