"""Where the mesh lies: in an actor's frames, saying a motion, and in its references."""

from __future__ import annotations

import numpy as np

from engines import face
from engines.actor import Actor
from engines.appearance.mesh import BAND, JAW, SURE, Mesh, anchors, edges, seen_values
from engines.spec import Float

_BEARD, _TRIM = 0.08, 0.05  # IOD


def vertices(actor: Actor, mesh: Mesh, index: int, motion: Float) -> tuple[Float, Float]:
    """The mesh (V, 3) in the actor's frame `index` when the face says `motion` (L, 2), pixels and depth; and its values (V, 2)."""
    lower, pose = chins(mesh, motion, actor.mouths[index]), actor.poses[index]
    return moved(at_rest(actor, mesh), motion - face.motion_of(actor.neutral), pose, mesh, bands(lower)), seen_values(mesh, pose, lower)


def at_rest(actor: Actor, mesh: Mesh) -> Float:
    """The mesh (V, 3) in the head's frame, the mouth at rest."""
    jaw = actor.neutral[face.MOTION[JAW]]
    return np.concatenate([actor.neutral[mesh.points], edges(jaw, mesh.outward, BAND), anchors(actor.neutral)])


def chins(mesh: Mesh, motion: Float, own: Float) -> Float:
    """How much lower chins are than wanted, IOD, along the jaw (..., J); NaN where that is not known.

    motion: (..., L, 2) that is wanted. own: (..., L, 2) that the frames show, NaN where that is not known.
    """
    lower = ((own[..., JAW, :] - motion[..., JAW, :]) * mesh.outward).sum(-1)
    lower[..., 1:-1] = np.maximum(lower[..., 1:-1], np.maximum(lower[..., 2:], lower[..., :-2]))  # points slide along the line
    return np.asarray(lower, np.float32)


def bands(lower: Float) -> Float:
    """How wide the bands around jaws are (..., J), IOD, where chins are so much lower (..., J): they must not be seen under new ones.

    Nor what is on them: a beard hangs below the chin.
    """
    covers = np.maximum(lower, 0)
    wide = covers + np.float32(SURE) + np.float32(_BEARD) * np.clip(covers / np.float32(SURE), 0, 1)
    return np.where(np.isnan(lower), np.float32(BAND), wide).astype(np.float32)


def moved(rest: Float, motion: Float, poses: Float, mesh: Mesh, band: float | Float = BAND) -> Float:
    """Meshes (..., V, 3) in pictures of heads of poses (..., 3, 4), from meshes at rest (..., V, 3) and motion against rest (..., L, 2).

    band: see `bands`.
    """
    solid = np.broadcast_to(rest, (*poses.shape[:-2], *rest.shape[-2:])).copy()
    points, jaw = len(mesh.points), len(mesh.outward)
    solid[..., :points, :2] += face.followers()[mesh.points] @ motion
    solid[..., points : points + 2 * jaw, :] = edges(solid[..., JAW, :], mesh.outward, band)
    return face.from_head(solid, poses)


def sources(actor: Actor, mesh: Mesh, motion: Float) -> Float:
    """The mesh (K, V, 2) in each reference's crop, where the references show motion (K, L, 2), as shares of its side.

    Pixel centres run from 0.5/S to 1 - 0.5/S.
    """
    references = actor.references
    solid = moved(at_rest(actor, mesh), motion - face.motion_of(actor.neutral), actor.poses[references.frame], mesh)
    at = ((solid[..., :2] - references.crops[:, None, :2]) * references.crops[:, None, 2:] + 0.5) / references.pictures.shape[1]
    return np.asarray(at, np.float32)


def trimmed(motion: Float) -> Float:
    """Motion (..., L, 2) whose inner lips lie a little within the lips: a tracked edge may have a tooth's rim on it."""
    outer, inner = motion[..., : len(face.OUTER_LIPS), :], motion[..., len(face.OUTER_LIPS) : len(face.LIPS), :]
    thick = np.linalg.norm(outer - inner, axis=-1, keepdims=True)
    out = motion.copy()
    out[..., len(face.OUTER_LIPS) : len(face.LIPS), :] += np.minimum(np.float32(_TRIM) / np.maximum(thick, 1e-6), 0.4) * (outer - inner)
    return out
