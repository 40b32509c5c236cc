"""Where the mesh lies: in an actor's frames, saying a motion, and in its references."""

from __future__ import annotations

import numpy as np

from engines import face
from engines.actor import Actor
from engines.appearance.mesh import BAND, JAW, Mesh, anchors, edges
from engines.spec import Float

_SURE = 0.04  # IOD: as much as a tracked outline may be wrong


def vertices(actor: Actor, mesh: Mesh, index: int, motion: Float) -> Float:
    """The mesh (V, 3) in the actor's frame `index` when the face says `motion` (L, 2): pixels and depth."""
    band = bands(mesh, motion, actor.mouths[index])
    return moved(at_rest(actor, mesh), motion - face.motion_of(actor.neutral), actor.poses[index], mesh, band)


def at_rest(actor: Actor, mesh: Mesh) -> Float:
    """The mesh (V, 3) in the head's frame, the mouth at rest."""
    jaw = actor.neutral[face.MOTION[JAW]]
    return np.concatenate([actor.neutral[mesh.points], edges(jaw, mesh.outward, BAND), anchors(actor.neutral)])


def bands(mesh: Mesh, motion: Float, own: Float) -> Float:
    """How wide the bands around jaws are (..., J), IOD: motion (..., L, 2) is said in frames that show `own` (..., L, 2), NaN if not known.

    They reach to where the frame's own chin is lower: it must not look out from under the new one.
    """
    lower = ((own[..., JAW, :] - motion[..., JAW, :]) * mesh.outward).sum(-1)
    wide = np.maximum(lower, 0)
    wide[..., 1:-1] = np.maximum(wide[..., 1:-1], np.maximum(wide[..., 2:], wide[..., :-2]))  # points slide along the line
    return np.where(np.isnan(lower), np.float32(BAND), wide + np.float32(_SURE)).astype(np.float32)


def moved(rest: Float, motion: Float, poses: Float, mesh: Mesh, band: float | Float = BAND) -> Float:
    """Meshes (..., V, 3) in pictures of heads of poses (..., 3, 4), from meshes at rest (..., V, 3) and motion against rest (..., L, 2).

    band: see `bands`.
    """
    solid = np.broadcast_to(rest, (*poses.shape[:-2], *rest.shape[-2:])).copy()
    points, jaw = len(mesh.points), len(mesh.outward)
    solid[..., :points, :2] += face.followers()[mesh.points] @ motion
    solid[..., points : points + 2 * jaw, :] = edges(solid[..., JAW, :], mesh.outward, band)
    return face.from_head(solid, poses)


def sources(actor: Actor, mesh: Mesh) -> Float:
    """The mesh (K, V, 2) in each reference's crop, as shares of its side: pixel centres run from 0.5/S to 1 - 0.5/S."""
    references = actor.references
    solid = moved(at_rest(actor, mesh), references.motion - face.motion_of(actor.neutral), actor.poses[references.frame], mesh)
    at = ((solid[..., :2] - references.crops[:, None, :2]) * references.crops[:, None, 2:] + 0.5) / references.pictures.shape[1]
    return np.asarray(at, np.float32)
