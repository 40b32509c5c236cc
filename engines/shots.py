"""Shots of a film: where one ends and the next begins, and which frames belong to none (dissolves, fades, flashes).

Pictures pass once and leave a thumbnail each; shots are found in the thumbnails when all have passed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.frames import Picture
from native.planes import planes

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SIDE, HALF = 16, 8
THUMB = SIDE * SIDE + 2 * HALF * HALF
"""Bytes of a thumbnail: luma, then two planes of chroma."""
_SAMPLES = 96  # rows and columns that are looked at, about
_LEAST, _TIMES, _MORE = 5.0, 3.0, 2.0  # a cut changes a thumbnail by so many levels, and by so many times what changes around it
_REACH = 6  # frames before and after that are around
_GRADED, _STEADY = 2.5, 5.0  # levels of the mean chroma that a cut to a shot graded otherwise changes; and times what it changes around it
_JUMPED = 1.7  # the same where a face jumps, too
_BRIEF, _BACK, _FLASH = 4, 0.35, 25.0  # frames of a flash, how alike what follows is to what was, levels that are one in any case
_WIDTHS = (3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 26, 31, 37, 44, 52, 62)  # frames of a dissolve
_FAR, _NEAR, _ALIKE, _SHADE = 18.0, 4.0, 0.65, 5.0  # levels between its ends, also of one room; correlation; deviation of one shade
_LEAP, _OTHERWISE = 0.35, 0.07  # IOD that a face goes in a dissolve of one room, and how unlike the picture's going its own is
_APART = 2.5  # levels between thumbnails of which a mixture can be told
_UNEVEN, _OFF, _GOES = 0.13, 0.22, 0.3  # shares of its whole: how uneven it goes, how far off a mixture; and of its step


def thumbnail(picture: Picture) -> Bytes:
    """A picture (I420) made small: (THUMB,) uint8."""
    parts = []
    for plane, side in zip(planes(picture), (SIDE, HALF, HALF), strict=True):
        step = np.maximum(np.array(plane.shape) // (_SAMPLES * side // SIDE), 1)
        parts.append(cv2.resize(np.ascontiguousarray(plane[:: step[0], :: step[1]]), (side, side), interpolation=cv2.INTER_AREA).ravel())
    return np.concatenate(parts)


@dataclass(frozen=True)
class Shots:
    """Where N frames belong."""

    number: NDArray[np.int32]
    """(N,) the shot of each frame: 0, 1, 2, ...; a frame between two shots has the number of the nearer one."""
    between: NDArray[np.bool_]
    """(N,) frames that are no shot's: of a dissolve, a fade, a flash."""

    @property
    def cuts(self) -> NDArray[np.int64]:
        """The frames with which shots begin, but for the first."""
        return np.flatnonzero(np.diff(self.number)) + 1

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.number[-1]) + 1


def find_shots(thumbs: Sequence[Bytes], jumps: NDArray[np.int64], places: Float) -> Shots:
    """The shots of N >= 1 pictures with these thumbnails, in which a face is at `places` (N, 2), IOD, and jumps in frames `jumps`."""
    small = np.stack(thumbs).astype(np.float32)
    count = len(small)
    begins, between = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    change = np.concatenate([[0], [_apart(small[at], small[at - 1]) for at in range(1, count)]]).astype(np.float32)
    usual = _around(change)
    sudden = (change > _LEAST) & (change > _TIMES * usual + _MORE)
    colour = np.concatenate([[0], np.abs(np.diff(small[:, SIDE * SIDE :].reshape(count, 2, -1).mean(2), axis=0)).sum(1)]).astype(np.float32)
    sudden |= (colour > _GRADED) & (colour > _STEADY * _around(colour) + 1)
    for first, last in _flashes(small, change, usual):
        between[first:last] = True
        sudden[first : last + 1] = False
    for first, last in _dissolves(small, sudden, places):
        between[max(first - 1, 0) : last + 1] = True
        sudden[first : last + 1] = False
        begins[(first + last) // 2] = True
    begins |= sudden
    for at in jumps.tolist():  # a face that jumps alone may be the tracker's doing: the picture has to say something, too
        near = slice(max(at - _REACH, 0), at + _REACH + 1)
        if begins[near].any() or between[near].any():
            continue
        ends = small[[max(at - 2 * _REACH, 0), min(at + 2 * _REACH, count - 1)]]
        if change[at] > _JUMPED * usual[at] + 1:
            begins[at] = True
        elif _apart(*ends) > _LEAST and _alike(ends[:1], ends[1:])[0] < _ALIKE:  # mixed in an uneven way
            begins[at] = between[near] = True
    begins[0] = False
    return Shots(np.cumsum(begins).astype(np.int32), between)


def whole(count: int) -> Shots:
    """The shots of N = `count` frames without a cut."""
    return Shots(np.zeros(count, np.int32), np.zeros(count, np.bool_))


def parted(shots: Shots, ranges: Sequence[tuple[int, int]]) -> Shots:
    """The shots, parted where there are more dissolves: `ranges` are their first and last frames."""
    begins, between = np.diff(shots.number, prepend=0) > 0, shots.between.copy()
    for first, last in ranges:
        between[first : last + 1] = True
        if not begins[first : last + 2].any() and first > 0 and last + 1 < len(begins):
            begins[(first + last + 1) // 2] = True
    return Shots(np.cumsum(begins).astype(np.int32), between)


def unmixed(thumbs: Sequence[Bytes], first: int, last: int) -> float:
    """How far the thumbnails between two are from mixtures of both: 0 those, 1 as far as the two are from each other."""
    flat = np.stack(thumbs[first : last + 1]).astype(np.float32)
    way, inner = flat[-1] - flat[0], flat[1:-1] - flat[0]
    length = float((way**2).sum())
    if not length > _APART**2 * len(way):
        return 1.0
    share = inner @ way / length
    off = np.linalg.norm(inner - share[:, None] * way, axis=1) / np.sqrt(length)
    middle = np.abs(np.arange(1, len(flat) - 1) / (len(flat) - 1) - 0.5) < 0.3
    return float(off[middle].mean())


class Cutter:
    """Says of picture after picture whether it begins another shot, by the past alone: where a follower has to look anew."""

    def __init__(self) -> None:
        self.thumbs: list[Bytes] = []
        self._changes: deque[float] = deque(maxlen=_REACH)

    def see(self, picture: Picture) -> bool:
        """Look at the next picture (I420)."""
        self.thumbs.append(thumbnail(picture))
        if len(self.thumbs) == 1:
            return False
        change = _apart(*(one.astype(np.float32) for one in self.thumbs[-2:]))
        usual = sorted(self._changes)[-3:][0] if self._changes else 0.0
        self._changes.append(change)
        return change > _LEAST and change > _TIMES * usual + _MORE


def _apart(one: Float, other: Float) -> float:
    """How unlike two thumbnails are: grey levels of 255, in the mean over luma, then chroma."""
    away = np.abs(one - other)
    return float(away[: SIDE * SIDE].mean() + away[SIDE * SIDE :].mean())


def _around(change: Float) -> Float:
    """The third largest of what changes in the frames around each (N,): what moves here, but for cuts."""
    padded = np.pad(change[1:], _REACH, mode="edge" if len(change) > 1 else "constant")
    around = np.delete(np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1), _REACH, 1)
    return np.concatenate([[0], np.sort(around, 1)[:, -3]])[: len(change)].astype(np.float32)


def _flashes(small: Float, change: Float, usual: Float) -> list[tuple[int, int]]:
    """Ranges of few frames unlike what is before and after them, which is alike."""
    found, at = [], 1
    while at < len(small):
        if (change[at] > _LEAST and change[at] > _TIMES * usual[at] + _MORE) or change[at] > _FLASH:
            for last in range(at + 1, min(at + _BRIEF + 1, len(small))):
                back = _apart(small[last], small[at - 1])
                if change[at] > _LEAST and back < _BACK * change[at] and max(change[at + 1 : last + 1]) > _BACK * change[at]:
                    found.append((at, last))
                    at = last
                    break
        at += 1
    return found


def _dissolves(small: Float, sudden: NDArray[np.bool_], places: Float) -> list[tuple[int, int]]:
    """Ranges of frames that are mixed of what is before and what is after, more and more of the latter.

    Before and after may be alike, as in one room, where the face goes otherwise than the picture: a tracker holds on to one of two.
    """
    flat = small.copy()
    flat[:, SIDE * SIDE :] *= 2  # fewer numbers, as much to say
    best: list[tuple[float, int, int]] = []
    steps = np.cumsum(sudden)
    for width in _WIDTHS:
        if width >= len(flat):
            break
        a, b = flat[:-width], flat[width:]
        way = b - a
        length = (way**2).sum(1)
        far, moved = np.sqrt(length / way.shape[1]), places[width:] - places[:-width]
        leap = np.linalg.norm(moved, axis=1) > _LEAP
        at = np.flatnonzero((far > np.where(leap, _NEAR, _FAR)) & (steps[width:] == steps[:-width]))
        if not len(at):
            continue
        other = (far[at] > _FAR) & (_alike(a[at], b[at]) < _ALIKE)
        leap[at[other]] = False
        at = at[other | (np.linalg.norm(moved[at], axis=1) > _LEAP)]
        for share in (0.5, 0.25, 0.75, 0.125, 0.875):  # few are left after the first
            inner = at + round(share * width)
            true = round(share * width) / width
            mixed = ((flat[inner] - flat[at]) * way[at]).sum(1) / length[at]
            off = np.linalg.norm(flat[inner] - flat[at] - mixed[:, None] * way[at], axis=1) / np.sqrt(length[at])
            at = at[(np.abs(mixed - true) < _UNEVEN) & (off < _OFF)]
        for first in at.tolist():
            inner = flat[first : first + width + 1] - flat[first]
            mixed = inner @ way[first] / length[first]
            off = np.linalg.norm(inner - mixed[:, None] * way[first], axis=1) / np.sqrt(length[first])
            if leap[first]:
                gone = (places[first : first + width + 1] - places[first]) @ moved[first] / (moved[first] ** 2).sum()
                if np.abs(gone - mixed).mean() < _OTHERWISE:
                    continue
            if np.diff(mixed).min() > -0.05 and np.abs(mixed - np.linspace(0, 1, width + 1)).max() < _UNEVEN and off.mean() < _OFF:
                best.append((float(np.sqrt(length[first]) * (1 - 2 * off.mean())), first, first + width))
    found: list[tuple[int, int]] = []
    for _, first, last in sorted(best, reverse=True):
        if all(last < other or first > end for other, end in found):
            found.append((first, last))
    return sorted(_whole(flat, first, last) for first, last in found)


def _whole(flat: Float, first: int, last: int) -> tuple[int, int]:
    """The frames first + 1 ... last - 1 and what beside them goes the same way still."""
    way = (flat[last] - flat[first]) / (last - first)
    length = float((way**2).sum())

    def goes(at: int) -> bool:
        return float((flat[at + 1] - flat[at]) @ way) / length > _GOES

    while first > 0 and goes(first - 1):
        first -= 1
    while last < len(flat) - 1 and goes(last):
        last += 1
    return first + 1, last


def _alike(a: Float, b: Float) -> Float:
    """Correlation of thumbnails (K, THUMB) in luma; 0 with a picture of one shade."""
    a, b = (x[:, : SIDE * SIDE] - x[:, : SIDE * SIDE].mean(1, keepdims=True) for x in (a, b))
    deep = np.sqrt((a**2).mean(1) * (b**2).mean(1))
    flat = np.minimum(a.std(1), b.std(1)) < _SHADE
    return np.where(flat, 0, (a * b).mean(1) / np.maximum(deep, 1e-6)).astype(np.float32)
