"""The face: landmark topology, head pose and its removal, what a mouth's opening and width are.

Landmarks are MediaPipe's 478 points, (..., 478, 3): x to the right, y down, z away from the viewer, one scale.
The *head's frame* is the same with the head's turn, size and place removed: origin between the eyes, unit IOD
(inter-ocular distance: distance of the eye centres).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

POINTS = 478
IRISES = 468
Array = NDArray[np.float32]

OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = OUTER_LIPS + INNER_LIPS
JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 200, 199, 175)
MOTION = np.array(LIPS + JAW)
"""The points that motion moves, in motion's order: 40 of the lips, then 20 of the jaw and chin."""
L = len(MOTION)

_EYES_AND_NOSE = (33, 133, 130, 243, 263, 362, 359, 463, 168, 6, 197, 195, 5, 4, 122, 351, 196, 419, 3, 248)
_FOREHEAD = (127, 356, 162, 389, 21, 251, 54, 284, 103, 332, 67, 297, 109, 338, 10, 151, 9, 8)
STABLE = np.array(_EYES_AND_NOSE + _FOREHEAD)
"""Points that speech does not move: from them the head's pose is found. None lies below the nose."""

EYES = ((33, 133), (362, 263))
INNER_MIDDLE = (13, 14)
CORNERS = (61, 291)


@cache
def canonical() -> Array:
    """The mean face in the head's frame, mouth closed: (478, 3), IOD 1. Written by `engines.train.shape`."""
    with files(f"{__package__}.weights").joinpath("face.npy").open("rb") as file:
        face: Array = np.load(file, allow_pickle=False)
    return face


def eye_centres(landmarks: Array) -> Array:
    """(..., 2, 3): the centres of the two eyes, each the mean of its corners."""
    return np.stack([landmarks[..., pair, :].mean(-2) for pair in EYES], -2)


def iod(landmarks: Array) -> Array:
    """(...): the distance of the eye centres in the landmarks' own unit."""
    a, b = np.moveaxis(eye_centres(landmarks), -2, 0)
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def pose(landmarks: Array, template: Array | None = None) -> Array:
    """The similarity from the head's frame to the landmarks: (..., 3, 4), fitted on the stable points by least squares.

    `template` (478, 3) is the face in the head's frame, the canonical one if not given. Solution after Umeyama, 1991.
    """
    source = (canonical() if template is None else template)[STABLE].astype(np.float64)
    target = np.asarray(landmarks, np.float64)[..., STABLE, :]
    source_mean, target_mean = source.mean(0), target.mean(-2, keepdims=True)
    source, target = source - source_mean, target - target_mean
    u, s, vt = np.linalg.svd(np.swapaxes(target, -1, -2) @ source)
    sign = np.ones_like(s)
    sign[..., 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    scaled = (u * sign[..., None, :]) @ vt * ((s * sign).sum(-1) / (source**2).sum())[..., None, None]
    offset = np.swapaxes(target_mean, -1, -2) - scaled @ source_mean[:, None]
    return np.concatenate([scaled, offset], -1).astype(np.float32)


def to_head(landmarks: Array, pose: Array) -> Array:
    """Points (..., P, 3) in a picture's pixels -> the head's frame. The inverse of `from_head`."""
    inverse = np.linalg.inv(pose[..., :3].astype(np.float64))
    moved = landmarks - pose[..., None, :, 3]
    return (moved @ np.swapaxes(inverse, -1, -2)).astype(np.float32)


def from_head(points: Array, pose: Array) -> Array:
    """Points (..., P, 3) in the head's frame -> a picture's pixels."""
    return (points @ np.swapaxes(pose[..., :3], -1, -2) + pose[..., None, :, 3]).astype(np.float32)


def motion_of(head: Array) -> Array:
    """Motion (..., L, 2) of landmarks (..., 478, 3) in the head's frame."""
    return head[..., MOTION, :2]


def angles(pose: Array) -> Array:
    """(..., 3): yaw, pitch, roll of poses in radians; zero looks at the viewer."""
    rotation = pose[..., :3] / np.cbrt(np.linalg.det(pose[..., :3]))[..., None, None]
    yaw = np.arcsin(np.clip(rotation[..., 0, 2], -1, 1))
    pitch = np.arctan2(-rotation[..., 1, 2], rotation[..., 2, 2])
    roll = np.arctan2(-rotation[..., 0, 1], rotation[..., 0, 0])
    return np.stack([yaw, pitch, roll], -1).astype(np.float32)


def rotations(angles: Array) -> Array:
    """(..., 3, 3): the rotations whose `angles` are the given yaw, pitch, roll (..., 3)."""
    (cy, cp, cr), (sy, sp, sr) = (np.moveaxis(of(angles), -1, 0) for of in (np.cos, np.sin))
    return np.stack(
        [
            np.stack([cy * cr, -cy * sr, sy], -1),
            np.stack([cp * sr + sp * sy * cr, cp * cr - sp * sy * sr, -sp * cy], -1),
            np.stack([sp * sr - cp * sy * cr, sp * cr + cp * sy * sr, cp * cy], -1),
        ],
        -2,
    ).astype(np.float32)


def unit(pose: Array) -> Array:
    """(...): pixels in an IOD, of poses (..., 3, 4)."""
    return np.asarray(np.cbrt(np.abs(np.linalg.det(pose[..., :3].astype(np.float64)))))


def ease(share: Array) -> Array:
    """0 below 0, 1 above 1, between them smooth up to the second derivative."""
    share = np.clip(share, 0, 1)
    return np.asarray(share**3 * (share * (share * 6 - 15) + 10), np.float32)


_AT = {int(point): at for at, point in enumerate(MOTION)}


def opening(motion: Array) -> Array:
    """(...): distance of the middles of the inner lips (13-14) of motion (..., L, 2), in IOD."""
    upper, lower = (motion[..., _AT[point], :] for point in INNER_MIDDLE)
    return np.asarray(np.linalg.norm(upper - lower, axis=-1))


def lips_apart(one: Array, other: Array) -> Array:
    """(...): mean distance of the lips' points between motion (..., L, 2) and another, in IOD."""
    lips = len(LIPS)
    return np.asarray(np.linalg.norm(one[..., :lips, :] - other[..., :lips, :], axis=-1).mean(-1))


def width(motion: Array) -> Array:
    """(...): distance of the mouth's corners (61-291) of motion (..., L, 2), in IOD."""
    left, right = (motion[..., _AT[point], :] for point in CORNERS)
    return np.asarray(np.linalg.norm(left - right, axis=-1))


@cache
def lower() -> NDArray[np.bool_]:
    """(478,): the points that speech moves: motion's own, and all others that lie below the nose."""
    face = canonical()
    below = face[:, 1] >= face[2, 1]  # 2: the nose's foot
    below[MOTION] = True
    return below


@cache
def followers() -> Array:
    """(478, L): how far each point goes with each motion point; rows of motion points are unit rows.

    Points between the moving lips and jaw and the unmoved upper face follow smoothly (a discrete harmonic
    function on the canonical face's neighbourhoods), so that cheeks and chin do not tear.
    """
    face = canonical().astype(np.float64)
    known = ~lower()
    known[MOTION] = True
    free = ~known
    distance = np.linalg.norm(face[:, None, :2] - face[None, :, :2], axis=-1)
    np.fill_diagonal(distance, np.inf)
    weight = np.where(distance <= np.sort(distance, 1)[:, 7:8], 1 / distance, 0.0)
    weight = np.maximum(weight, weight.T)
    laplace = np.diag(weight.sum(1)) - weight
    matrix = np.zeros((POINTS, L))
    matrix[MOTION, np.arange(L)] = 1.0
    matrix[free] = np.linalg.solve(laplace[np.ix_(free, free)], -laplace[np.ix_(free, known)] @ matrix[known])
    return matrix.astype(np.float32)


def motion_onto(points: Array, pose: Array, neutral: Array) -> Array:
    """The motion (L, 2) that puts motion's points onto `points` (L, 2) of a picture, under a pose (3, 4).

    The depth is the neutral face's (478, 3), as it is when the motion is shown (`with_motion`, `from_head`).
    """
    moved = points - pose[:2, 3] - neutral[MOTION, 2:] * pose[:2, 2]
    return np.linalg.solve(pose[:2, :2].astype(np.float64), moved.T).T.astype(np.float32)


def with_motion(neutral: Array, motion: Array) -> Array:
    """The face (478, 3) in the head's frame whose lips and jaw are at `motion` (..., L, 2): (..., 478, 3)."""
    face = np.broadcast_to(neutral, (*motion.shape[:-2], POINTS, 3)).copy()
    face[..., :2] += followers() @ (motion - motion_of(neutral))
    return face
