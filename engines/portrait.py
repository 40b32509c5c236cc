"""A picture of an actor for people: landmarks, crop, mask, and the references that were chosen; and its preview."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.layout import vertices
from engines.appearance.mesh import mesh, seen_values
from native.planes import to_rgb
from native.warp.cpu import mesh_values

Picture = NDArray[np.uint8]
_GREEN, _BLUE, _TILE = (90, 220, 120), (90, 150, 255), 128


def preview(actor: Actor, height: int = 256) -> bytes:
    """The actor's calmest frame as a JPEG file's bytes, `height` pixels high."""
    rgb = to_rgb(actor.frames[_calm(actor)])
    width = round(rgb.shape[1] * height / rgb.shape[0])
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise RuntimeError("OpenCV could not write a JPEG")
    return data.tobytes()


def sheet(actor: Actor, height: int = 640) -> Picture:
    """RGB: the calmest frame with landmarks, mask and mesh box, beside its references, most closed first."""
    index = _calm(actor)
    rgb = to_rgb(actor.frames[index])
    neutral = face.motion_of(actor.neutral)
    target = vertices(actor, mesh(), index, neutral)[:, :2]
    alpha = mesh_values(target, mesh().triangles, seen_values(mesh(), actor.poses[index]), rgb.shape[:2])[:, :, :1]
    shown = (rgb + 0.35 * alpha * (np.array(_BLUE) - rgb)).astype(np.uint8)
    scale = height / rgb.shape[0]
    shown = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    low, high = (np.round(corner * scale).astype(int).tolist() for corner in (target.min(0), target.max(0)))
    cv2.rectangle(shown, low, high, _BLUE, 1, cv2.LINE_AA)
    points = face.from_head(actor.neutral, actor.poses[index])[:, :2]
    for at, point in enumerate(np.round(points * scale * 8).astype(int)):
        cv2.circle(shown, point.tolist(), 12 if at in face.MOTION else 6, _GREEN, -1, cv2.LINE_AA, 3)
    order = np.argsort(face.opening(actor.references.motion), kind="stable")
    tiles = [cv2.resize(actor.references.pictures[k], (_TILE, _TILE), interpolation=cv2.INTER_AREA) for k in order]
    rows = height // _TILE
    columns = -(-len(tiles) // rows)
    wall = np.full((height, columns * _TILE, 3), 24, np.uint8)
    for at, tile in enumerate(tiles):
        column, row = divmod(at, rows)
        wall[row * _TILE : (row + 1) * _TILE, column * _TILE : (column + 1) * _TILE] = tile
    return np.concatenate([shown, wall], 1)


def _calm(actor: Actor) -> int:
    """The frame of the reference whose mouth is nearest to rest."""
    apart = np.linalg.norm(actor.references.motion - face.motion_of(actor.neutral), axis=-1).mean(1)
    return int(actor.references.frame[int(np.argmin(apart))])
