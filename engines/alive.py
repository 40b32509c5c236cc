"""A photo lives: an idle loop made from one picture, in which the head sways, the chest breathes and the eyes blink.

Each frame is warped from the photo itself, never from the frame before, so that nothing drifts: while the eyes are open its
pixels are the photo's own, resampled once. The first frame is the photo. The face moves as one solid, so that its pose is
known in each frame; around it the movement dies away, and the picture's border never moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.blink import lower
from engines.frames import Picture
from engines.lids import Lid, lids
from native.planes import planes

Float = NDArray[np.float32]

TICKS = 250
"""Length of the loop: 10 seconds."""
_TURN = np.radians([1.5, 0.9, 0.8]).astype(np.float32)  # yaw, pitch, roll: the farthest that the head goes
_SHIFT, _SWELL, _BREATH = 0.02, 0.003, 0.016  # IOD, share, IOD
_SLOWEST, _FASTEST = 1, 6  # turns of a wave in the loop: nothing sways faster than 0.6 Hz
_BREATHS = 3  # in the loop
_PIVOT = np.array([0.0, 1.7, 0.9], np.float32)  # head's frame: the neck's top, about which the head turns
_CHEST, _CHEST_REACH = np.array([0.0, 3.6, 0.9], np.float32), 1.3
_SOLID, _REACH = 0.35, 2.3  # IOD from the face: as one with it up to here; at rest from there on
_BROWS = -0.35  # head's frame: what is below moves as one; a photo may cut off what is above
_FARTHEST = 0.075  # IOD: what the head moves at most
_PULL = 0.25  # between face and border the picture is drawn out by this share at most
_STILL = 0.005  # what goes with the head less than this is not moved at all
_CELLS = 16  # of the field in an IOD
_BAND = 1 << 20  # pixels that are moved at a time, about
_CONTEXT = 1  # cells around that interpolation looks at
_DEPTH = 0.06  # IOD: how smooth the depth between landmarks is
_LENSES = np.array([[-1.15, -0.5], [1.15, 0.55]], np.float32)  # head's frame: glasses lie within; what is there moves as one plane
_AROUND = 0.3  # IOD: how far around it does so less and less

_SEES = 4  # pixels around that interpolation looks at

_BLINK = (0.4, 0.9, 1.0, 0.8, 0.45, 0.15)  # shut fast, open slowly
_FIRST, _APART = (30, 60), (75, 140)  # ticks: when the first blink comes, and the next after it


@dataclass(frozen=True)
class Life:
    """What a living photo does in N ticks; the last leads into the first, which is the photo as it is."""

    moves: Float
    """(N, 3, 4) the similarity that moves the head in the picture: pixels and depth."""
    breath: Float
    """(N, 2) how far the chest is moved, down if the head is upright, in pixels."""
    shut: Float
    """(N,) 0 with eyes as in the photo, 1 with the lids closed."""


def bring_to_life(picture: Picture, landmarks: Float, random: np.random.Generator, ticks: int = TICKS) -> tuple[Float, Iterator[Picture]]:
    """The idle loop of a photo (I420) whose face has the landmarks (478, 3): moves (N, 3, 4) and N pictures, made as they are read.

    The head's pose in frame n is moves[n] after the photo's: `after(moves, pose)`. `random` decides how it sways and when it
    blinks. Eyes that are closed, too small or not to be seen stay as they are; a face close to the border sways less.
    """
    field = _field(picture, landmarks)
    life = _live(landmarks, field.amount, random, ticks)
    luma, *chroma = (_twice(plane) for plane in planes(picture))
    photo = _Photo(picture, luma, chroma, lids(picture, landmarks))
    return life.moves, (_shown(photo, field, life, tick) for tick in range(ticks))


def after(moves: Float, pose: Float) -> Float:
    """The poses (N, 3, 4) of a head of pose (3, 4) that is moved by similarities (N, 3, 4)."""
    turned = moves[..., :3] @ pose
    turned[..., 3] += moves[..., 3]
    return np.asarray(turned, np.float32)


def _live(landmarks: Float, amount: float, random: np.random.Generator, ticks: int) -> Life:
    pose = face.pose(landmarks)
    unit = float(face.unit(pose))
    pivot = face.from_head(_PIVOT[None], pose)[0]
    own = _quarters(pose)
    turns = amount * _TURN * np.stack([_wave(random, ticks) for _ in _TURN], 1).astype(np.float32)
    across, down = (amount * _SHIFT * unit * _wave(random, ticks) for _ in range(2))
    breath = amount * np.sin(2 * np.pi * _BREATHS * np.arange(ticks) / ticks)
    moves = np.zeros((ticks, 3, 4))
    moves[..., :3] = (1 + _SWELL * breath)[:, None, None] * (own @ face.rotations(turns) @ own.T)
    moves[..., 3] = pivot - moves[..., :3] @ pivot
    moves[..., 3] += np.stack([across, 0.4 * down], 1) @ own[:, :2].T
    chest = _BREATH * unit * breath[:, None] * own[:2, 1]
    return Life(moves.astype(np.float32), chest.astype(np.float32), _blinks(random, ticks))


def _quarters(pose: Float) -> NDArray[np.float64]:
    """(3, 3): how a picture was turned whose head lies on its side or stands upside down: in quarters, none where it is upright."""
    at = round(float(face.angles(pose)[2]) / (np.pi / 2))
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[at % 4]
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float64)


def _wave(random: np.random.Generator, ticks: int) -> NDArray[np.float64]:
    """(ticks,): a smooth wander within -1..1 that returns to where it began, at 0."""
    turns = np.arange(_SLOWEST, _FASTEST + 1)
    size = random.uniform(0.5, 1, len(turns)) / turns**1.2
    phase = random.uniform(0, 2 * np.pi, len(turns))
    wave = (size[:, None] * np.sin(2 * np.pi * turns[:, None] * np.arange(ticks) / ticks + phase[:, None])).sum(0)
    crossings = np.flatnonzero(wave * np.roll(wave, -1) <= 0)
    wave = np.roll(wave, -int(random.choice(crossings)))
    wave -= wave[0]
    return wave / np.abs(wave).max()


def _blinks(random: np.random.Generator, ticks: int) -> Float:
    shut = np.zeros(ticks, np.float32)
    at = first = int(random.integers(*_FIRST))
    while at <= min(ticks + first - _APART[0], ticks - len(_BLINK)):  # not too soon before the next round's first
        shut[at : at + len(_BLINK)] = _BLINK
        at += int(random.integers(*_APART))
    return shut


@dataclass(frozen=True)
class _Photo:
    picture: Picture
    luma: NDArray[np.uint8]
    """(2 H, 2 W) its luma at twice its size."""
    chroma: list[NDArray[np.uint8]]
    """(H, W) each: its U and V at twice their size."""
    lids: list[Lid]
    """Those that blink."""


@dataclass(frozen=True)
class _Field:
    """Where a photo follows its head, in cells of `step` pixels over the part that moves."""

    step: int
    corner: tuple[int, int]
    """x, y of the part's first pixel in the photo."""
    place: Float
    """(h, w, 2) the cells' middles in pixels of the photo."""
    head: Float
    """(h, w, 4) x, y, depth, 1, each times how much the cell goes with the head."""
    chest: Float
    """(h, w) how much it goes with the chest."""
    amount: float
    """How much the head may sway, 0..1: less where it is close to the border."""


def _field(picture: Picture, landmarks: Float) -> _Field:
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    pose = face.pose(landmarks)
    unit = float(face.unit(pose))
    step = max(2, round(unit / _CELLS / 2) * 2)
    count = -(-width // step), -(-height // step)
    x, y = (np.asarray(line, np.float32) for line in np.meshgrid(*((np.arange(n) + 0.5) * step - 0.5 for n in count)))
    border = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    core = landmarks[face.canonical()[:, 1] > _BROWS, :2]
    room = float(np.clip(min(core.min(), (np.array([width, height]) - 1 - core).min()), 0, unit))
    off = np.ones((count[1], count[0]), np.uint8)
    cv2.fillConvexPoly(off, np.round(cv2.convexHull(np.ascontiguousarray(landmarks[:, :2])) / step - 0.5).astype(np.int32), 0)
    away = np.asarray(cv2.distanceTransform(off, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32) * step / unit
    inside = face.ease(np.asarray(border / max(room, 1.0), np.float32))
    head = face.ease((_REACH - away) / (_REACH - _SOLID)) * inside
    chest = face.from_head(_CHEST[None], pose)[0, :2]
    bump = np.exp(-0.5 * ((x - chest[0]) ** 2 + (y - chest[1]) ** 2) / (_CHEST_REACH * unit) ** 2)
    chest_share = (bump * (1 - head) * inside).astype(np.float32)
    moving = np.maximum(head, chest_share) > _STILL
    rows, columns = (np.flatnonzero(moving.any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    place = np.stack([x, y], -1)[part]
    depth = _levelled(_depth(place, landmarks, _DEPTH * unit), place, landmarks, pose)
    solid = np.concatenate([place, depth[:, :, None], np.ones_like(depth)[:, :, None]], -1) * head[part][:, :, None]
    return _Field(
        step=step, corner=(int(columns[0]) * step, int(rows[0]) * step), place=place, head=solid.astype(np.float32),
        chest=chest_share[part], amount=min(1.0, _PULL * room / (_FARTHEST * unit)),
    )  # fmt: skip


def _depth(place: Float, landmarks: Float, smooth: float) -> Float:
    """The depth (h, w) at places (h, w, 2): of the landmarks near by, after Shepard."""
    depth = np.empty(place.shape[:2], np.float32)
    for row, line in enumerate(place):  # by rows: all at once would be large
        near = (line[:, :1] - landmarks[:, 0]) ** 2
        near += (line[:, 1:] - landmarks[:, 1]) ** 2 + smooth**2
        near = 1 / (near * near)
        depth[row] = (near @ landmarks[:, 2]) / near.sum(1)
    return depth


def _levelled(depth: Float, place: Float, landmarks: Float, pose: Float) -> Float:
    """The depth (h, w) at places (h, w, 2), that of a plane about the eyes: there straight lines stay straight.

    Of glasses there are no landmarks: with the depth of the face behind them, their rims would bend where nose and sockets are.
    """
    here = face.canonical()[:, :2]
    near = landmarks[((here > _LENSES[0]) & (here < _LENSES[1])).all(1)]
    known = np.column_stack([near[:, :2], np.ones(len(near))])
    slope = np.linalg.lstsq(known.astype(np.float64), near[:, 2].astype(np.float64), rcond=None)[0].astype(np.float32)
    plane = place @ slope[:2] + slope[2]
    at = face.to_head(np.concatenate([place, plane[:, :, None]], -1).reshape(-1, 3), pose)[:, :2].reshape(place.shape)
    out = np.maximum(np.maximum(_LENSES[0] - at, at - _LENSES[1]), 0)
    share = face.ease(1 - np.linalg.norm(out, axis=-1) / _AROUND)
    return np.asarray(depth + share * (plane - depth), np.float32)


def _shown(photo: _Photo, field: _Field, life: Life, tick: int) -> Picture:
    """Frame `tick`: the photo, its lids lowered, then moved."""
    if life.shut[tick] > 0 and photo.lids:
        photo = _blinking(photo, float(life.shut[tick]))
    out = photo.picture.copy()
    if tick:
        _move(photo, field, _from_where(field, life.moves[tick], life.breath[tick]), out)
    return out


def _blinking(photo: _Photo, shut: float) -> _Photo:
    """The photo with its lids lowered."""
    picture, finer_planes = photo.picture.copy(), [plane.copy() for plane in (photo.luma, *photo.chroma)]
    for lid in photo.lids:
        x, y, wide, tall = lower(picture, lid, shut)
        for plane, finer, half in zip(planes(picture), finer_planes, (1, 2, 2), strict=True):
            low, size = (x // half, y // half), (wide // half, tall // half)
            left, top = (max(at - _SEES, 0) for at in low)
            part = _twice(plane[top : low[1] + size[1] + _SEES, left : low[0] + size[0] + _SEES])
            part = part[2 * (low[1] - top) :, 2 * (low[0] - left) :][: 2 * size[1], : 2 * size[0]]
            finer[2 * low[1] :, 2 * low[0] :][: part.shape[0], : part.shape[1]] = part
    return replace(photo, picture=picture, luma=finer_planes[0], chroma=finer_planes[1:])


def _from_where(field: _Field, move: Float, breath: Float) -> Float:
    """For each cell (h, w, 2): how far away in the photo is what is seen there now, in pixels."""
    shift = field.head @ (move - np.eye(3, 4, dtype=np.float32))[:2].T
    shift += field.chest[:, :, None] * breath
    back = -shift
    for _ in range(2):  # the movement is known where it starts, not where it ends: look again from there
        at = np.asarray((field.place + back - field.place[0, 0]) / field.step, np.float32)
        back = -cv2.remap(shift, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return back


def _move(photo: _Photo, field: _Field, back: Float, out: Picture) -> None:
    """Write into `out` what moves of the photo; in bands, so that a large photo needs no large maps."""
    x, y = (np.arange(-_CONTEXT, n + _CONTEXT, dtype=np.float32) * field.step for n in (back.shape[1], back.shape[0]))
    where = np.pad(back, ((_CONTEXT, _CONTEXT), (_CONTEXT, _CONTEXT), (0, 0)), "edge") + field.place[0, 0]
    where += np.stack(np.meshgrid(x, y), -1)
    luma, *chroma = planes(out)
    for sources, targets, half, offset in (([photo.luma], [luma], 1, 0.0), (photo.chroma, chroma, 2, 0.5)):
        cell, x0 = field.step // half, field.corner[0] // half
        wide = min(back.shape[1] * cell, targets[0].shape[1] - x0)
        finer = np.asarray(where * (2 / half) - offset, np.float32)
        rows = max(_BAND // (finer.shape[1] * cell * cell), 1)
        for row in range(0, len(back), rows):
            band = finer[row : row + rows + 2 * _CONTEXT]
            full = cv2.resize(band, (band.shape[1] * cell, len(band) * cell), interpolation=cv2.INTER_LINEAR)
            y0 = field.corner[1] // half + row * cell
            tall = min((len(band) - 2 * _CONTEXT) * cell, len(targets[0]) - y0)
            full = full[_CONTEXT * cell :, _CONTEXT * cell :][:tall, :wide]
            for source, target in zip(sources, targets, strict=True):
                there = target[y0 : y0 + tall, x0 : x0 + wide]
                cv2.remap(source, full, None, cv2.INTER_LINEAR, there, cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def _twice(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A plane at twice its size, its own pixels at the even places: read from it, a picture is as sharp between pixels as on them."""
    out = np.empty((2 * plane.shape[0], 2 * plane.shape[1]), np.uint8)
    y, x = np.indices(plane.shape, np.float32)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        right, below = np.asarray(x + across / 2, np.float32), np.asarray(y + down / 2, np.float32)
        out[down::2, across::2] = cv2.remap(plane, right, below, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    return out
