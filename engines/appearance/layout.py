"""Where the mesh lies: in an actor's frames, saying a motion, and in its references."""

from __future__ import annotations

import numpy as np

from engines import face
from engines.actor import Actor
from engines.appearance.mesh import Mesh, anchors
from engines.spec import Float


def vertices(actor: Actor, mesh: Mesh, index: int, motion: Float) -> Float:
    """The mesh (V, 3) in the actor's frame `index` when the face says `motion` (L, 2): pixels and depth."""
    return moved(at_rest(actor, mesh), motion - face.motion_of(actor.neutral), actor.poses[index], mesh)


def at_rest(actor: Actor, mesh: Mesh) -> Float:
    """The mesh (V, 3) in the head's frame, the mouth at rest."""
    return np.concatenate([actor.neutral[mesh.points], anchors(actor.neutral)])


def moved(rest: Float, motion: Float, poses: Float, mesh: Mesh) -> Float:
    """Meshes (..., V, 3) in pictures, from meshes at rest (..., V, 3), motion against rest (..., L, 2) and heads' poses (..., 3, 4)."""
    solid = rest.copy()
    solid[..., : len(mesh.points), :2] += face.followers()[mesh.points] @ motion
    return face.from_head(solid, poses)


def sources(actor: Actor, mesh: Mesh) -> Float:
    """The mesh (K, V, 2) in each reference's crop, as shares of its side: pixel centres run from 0.5/S to 1 - 0.5/S."""
    references = actor.references
    side = references.pictures.shape[1]
    at = [
        ((vertices(actor, mesh, int(frame), motion)[:, :2] - crop[:2]) * crop[2] + 0.5) / side
        for frame, motion, crop in zip(references.frame, references.motion, references.crops, strict=True)
    ]
    return np.stack(at).astype(np.float32)
