"""One person in a film of several shots: in which frames the face is theirs, and what is known of it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.frames import Picture
from engines.identity import Sign, persons, sign
from engines.shots import Shots
from native.planes import planes

Float = NDArray[np.float32]
Flags = NDArray[np.bool_]

_LOOKED = 5  # frames of a shot in which it is looked who that is
_SETTLES = 3  # frames after a cut in which a tracker may still see what was before
_STEP = 0.3  # IOD that no face moves in a frame
_JUMP = 0.6  # IOD that a face is suddenly elsewhere


@dataclass(frozen=True)
class Cast:
    """Whose face is in N frames."""

    landmarks: Float
    """(N, 478, 3) pixels; frames without the face are bridged from those of the same shot."""
    seen: Flags
    """(N,) whether it is the person's face that was found."""
    strangers: Flags
    """(N,) whether it is somebody else's."""


def jumps(landmarks: Float, seen: Flags) -> NDArray[np.int64]:
    """Frames of N in which the face (N, 478, 3) is suddenly elsewhere than where it was seen last."""
    at = np.flatnonzero(seen)
    if len(at) < 2:
        return np.zeros(0, np.int64)
    known = landmarks[at]
    step = np.linalg.norm(np.diff(face.eye_centres(known).mean(-2)[:, :2], axis=0), axis=-1)
    size = face.iod(known)
    return at[1:][(step > _JUMP * size[1:]) | (np.abs(np.log(size[1:] / size[:-1])) > 0.3)]


def places(landmarks: Float) -> Float:
    """Where a face (N, 478, 3) is, (N, 2), IOD."""
    return np.asarray(face.eye_centres(landmarks).mean(-2)[:, :2] / max(float(np.median(face.iod(landmarks))), 1.0), np.float32)


def cast(landmarks: Float, seen: Flags, shots: Shots, frames: Sequence[Picture], first: int | None) -> Cast:
    """Who is seen in N frames, in which a face (N, 478, 3) was followed and found where `seen` (N,).

    The person is the one of the most frames; the one of frame `first`, if that is given.
    """
    seen = _settled(landmarks, seen, shots) & ~shots.between
    strangers = np.zeros_like(seen)
    own = [np.flatnonzero(seen & (shots.number == shot)) for shot in range(shots.count)]
    some = [shot for shot, at in enumerate(own) if len(at)]
    if len(some) > 1:
        signs = [_who(landmarks, own[shot], frames) for shot in some]
        sizes = np.array([len(own[shot]) for shot in some])
        number = persons(signs, sizes)
        person = int(np.argmax(np.bincount(number, sizes)))
        if first is not None and shots.number[first] in some:
            person = int(number[some.index(int(shots.number[first]))])
        for shot, one in zip(some, number, strict=True):
            if one != person:
                strangers[own[shot]] = True
    seen &= ~strangers
    return Cast(bridged(landmarks, seen, shots), seen, strangers)


def _settled(landmarks: Float, seen: Flags, shots: Shots) -> Flags:
    """(N,) `seen`, but for frames after a cut before the face is where it stays."""
    seen = seen.copy()
    step = np.linalg.norm(np.diff(face.eye_centres(landmarks).mean(-2)[:, :2], axis=0), axis=-1) / np.maximum(face.iod(landmarks)[1:], 1)
    for cut in shots.cuts.tolist():
        for at in range(cut, min(cut + _SETTLES, len(step))):
            if step[at] > _STEP:
                seen[cut : at + 1] = False
    return seen


def _who(landmarks: Float, at: NDArray[np.int64], frames: Sequence[Picture]) -> Sign:
    """Whom frames `at` show: by those of them in which the head is turned least, spread over time."""
    turned = np.abs(face.angles(face.pose(landmarks[at]))[:, :2]).sum(1)
    parts = np.array_split(np.arange(len(at)), min(_LOOKED, len(at)))
    best = np.sort([at[part[np.argmin(turned[part])]] for part in parts])
    return sign([frames[int(index)] for index in best], landmarks[best])


def bridged(landmarks: Float, seen: Flags, shots: Shots) -> Float:
    """Landmarks (N, 478, 3) in which frames not `seen` (N,) are made of those of their own shot: between two, or as the nearest.

    In shots without any they are as in the shot before, or after.
    """
    out = landmarks.copy()
    for shot in range(shots.count):
        inside = np.flatnonzero(shots.number == shot)
        known = inside[seen[inside]]
        if not len(known):
            everywhere = np.flatnonzero(seen)
            known = everywhere[[np.argmin(np.abs(everywhere - inside[0]))]] if len(everywhere) else inside[:1]
        lost = inside[~seen[inside]]
        after = np.searchsorted(known, lost).clip(0, len(known) - 1)
        before = np.where(known[after] > lost, after - 1, after).clip(0)
        share = ((lost - known[before]) / np.maximum(known[after] - known[before], 1)).clip(0, 1)[:, None, None]
        out[lost] = landmarks[known[before]] * (1 - share) + landmarks[known[after]] * share
    return out.astype(np.float32)


def grades(landmarks: Float, use: Flags, shots: Shots, frames: Sequence[Picture]) -> Float:
    """How each of S shots is graded: (S, 3) the skin's luma, U and V, 0..255; NaN where no frame may be used (`use` (N,))."""
    found = np.full((shots.count, 3), np.nan, np.float32)
    for shot in range(shots.count):
        at = np.flatnonzero(use & (shots.number == shot))
        if len(at):
            some = at[np.linspace(0, len(at) - 1, min(3, len(at))).astype(int)]
            found[shot] = np.mean([_skin(frames[int(index)], landmarks[index]) for index in some], 0)
    return found


_CHEEKS = np.array([50, 101, 118, 205, 280, 330, 347, 425, 4, 5, 195])  # and the nose


def _skin(picture: Picture, landmarks: Float) -> Float:
    """The mean luma, U and V (3,) of a picture on the cheeks and the nose."""
    parts = []
    for plane, half in zip(planes(picture), (1, 2, 2), strict=True):
        at = np.clip(np.round(landmarks[_CHEEKS, :2] / half).astype(int), 1, np.array(plane.shape[::-1]) - 2)
        parts.append(np.mean([plane[y - 1 : y + 2, x - 1 : x + 2].mean() for x, y in at]))
    return np.array(parts, np.float32)


def told(cast: Cast, shots: Shots, chosen: bool, ranges: Callable[[NDArray[np.int64]], str]) -> list[str]:
    """A sentence for each kind of frames that are left alone. `chosen`: by --face; `ranges` puts frames in words."""
    said = []
    if shots.between.any():
        said.append(f"Frames {ranges(np.flatnonzero(shots.between))} are of a dissolve, a fade or a flash: shown as they are.")
    if cast.strangers.any():
        why = "the face that was chosen is another" if chosen else "the one seen longest is taken (--face N chooses another)"
        said.append(f"Frames {ranges(np.flatnonzero(cast.strangers))} show somebody else: left alone, {why}.")
    without = empty(cast, shots) & ~shots.between
    if without.any():
        said.append(f"Frames {ranges(np.flatnonzero(without))} are shots without the face: shown as they are.")
    return said


def empty(cast: Cast, shots: Shots) -> Flags:
    """(N,) frames of shots in which no face is seen at all."""
    found = np.bincount(shots.number, cast.seen | cast.strangers, shots.count)
    return np.asarray(found[shots.number] == 0, np.bool_)
