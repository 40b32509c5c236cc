"""Actors of little or awkward material, judged: one photo, a film of somebody silent, a head that turns.

`photo`: one frame of a clip makes the actor, chosen three times: the one nearest to the clip's own rest, the one with the widest smile or
opening, and any. It says the clip's speech. Rest errors are distances of the lips from the clip's own rest (the mean of the calmest tenth
of all its frames), % IOD, of the actor and of the frame itself; the other figures are of the pictures, tracked again, over the half of the
clip that `end` judges.
`silent`: the frames without speech make the actor. Figures of the motion over the whole clip.
`turned`: the clip's first half makes the actor, the frames of the second in which the head is turned or nods by more than 25 degrees are
judged, with their true landmarks. They are not masked: where the mouth fades the frame's own is what should be seen. `outside` is the
PSNR, dB, of what lies outside of the frame's own outline, up to half an IOD away from it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import pictures
from benchmarks.clips import Clip, alpha_of, judge_speech, make_engine, said, tracked_motion, true_motion
from engines import face
from engines.actor import Actor
from engines.enrol import make_actor
from engines.motion.space import rest_and_range
from engines.train import figures
from native.planes import to_rgb

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
TURNED = np.radians(25)
_LEAST = 5  # frames that are worth a figure
_AWAY = (0.06, 0.5)  # IOD: what is that far outside of an outline is judged
_TILE = 200


def photo(clip: Clip, appearance: str, sheet: Path) -> dict[str, float]:
    """Figures of three actors of one frame each."""
    whole = make_actor(clip.name, clip.frames, clip.tracks.landmarks, clip.tracks.seen)
    true, seen = true_motion(clip, whole), np.flatnonzero(clip.tracks.seen)
    rest, _, _ = rest_and_range(true[seen])
    random = np.random.default_rng(crc32(clip.name.encode()))
    chosen = {
        "nearest": seen[np.argmin(face.lips_apart(true, rest)[seen])],
        "widest": seen[np.argmax((face.opening(true) + face.width(true))[seen])], "any": random.choice(seen),
    }  # fmt: skip
    found, lines = {}, []
    for name, index in chosen.items():
        landmarks = clip.tracks.landmarks[index][None]
        actor = make_actor(clip.name, [clip.frames[index]], landmarks, np.ones(1, np.bool_))
        spoken = said(clip, actor)
        shown = _shown(actor, spoken[clip.first :], np.zeros(len(spoken) - clip.first, np.int64), appearance)
        again = _again(shown, actor, len(true), clip.first)
        own = face.motion_of(face.to_head(landmarks, face.pose(landmarks)))[0]
        of = {"rest error": 100 * face.lips_apart(face.motion_of(actor.neutral), rest), "own mouth's": 100 * face.lips_apart(own, rest)}
        of |= judge_speech(clip, true, again, clip.first)
        found |= {f"{name}: {figure}": float(value) for figure, value in of.items()}
        lines.append(_line([to_rgb(clip.frames[index]), *_spread(shown, face.opening(spoken[clip.first :]))], landmarks[0]))
    _write(sheet, lines)
    return found


def silent(clip: Clip, appearance: str, sheet: Path) -> dict[str, float]:
    """Figures of an actor of the frames without speech; none where there are hardly any."""
    speaking = figures.speech_frames(clip.speech, len(clip.frames))
    use = clip.tracks.seen & ~speaking
    if use.sum() < _LEAST or (clip.tracks.seen & speaking).sum() < figures.LEAST:
        return {}
    actor = make_actor(clip.name, clip.frames, clip.tracks.landmarks, clip.tracks.seen, use=use)
    true, spoken = true_motion(clip, actor), said(clip, actor)
    rest, _, _ = rest_and_range(true[clip.tracks.seen])
    at = np.arange(clip.first, len(true))
    shown = _shown(actor, spoken[at], at, appearance)
    _write(sheet, [_line(_spread(shown, face.opening(spoken[at])), clip.tracks.landmarks[clip.first])])
    again = _again(shown, actor, len(true), clip.first)
    return (
        {"rest error": 100 * float(face.lips_apart(face.motion_of(actor.neutral), rest))}
        | judge_speech(clip, true, spoken, 0)
        | judge_speech(clip, true, again, clip.first, "rendered ")
    )


def turned(clip: Clip, appearance: str, sheet: Path) -> dict[str, float]:
    """Figures of the judged frames in which the head is turned; none where there are hardly any."""
    use = np.arange(len(clip.frames)) < clip.first
    actor = make_actor(clip.name, clip.frames, clip.tracks.landmarks, clip.tracks.seen, use=use)
    true = true_motion(clip, actor)
    actor = replace(actor, motion=true, resting=None)  # enrolment knows the outline of all frames
    far = np.abs(face.angles(face.pose(clip.tracks.landmarks))[:, :2]).max(1) > TURNED
    at = np.flatnonzero(far & ~use & clip.tracks.seen)
    if len(at) < _LEAST:
        return {}
    shown = _shown(actor, true[at], at, appearance)
    rows: dict[str, list[float]] = {name: [] for name in ("seam", "outside", "psnr")}
    for index, made in zip(at, shown, strict=True):
        real, alpha, marks = to_rgb(clip.frames[index]), alpha_of(actor, int(index), true[index]), clip.tracks.landmarks[index]
        rows["seam"].append(pictures.seam(made, alpha) / max(pictures.seam(real, alpha), 1e-6))
        rows["outside"].append(pictures.psnr(made, real, _outside(marks, real.shape[:2])))
        box = pictures.mouth_box(marks, (real.shape[1], real.shape[0]))
        if min(box[2] - box[0], box[3] - box[1]) >= 12:
            rows["psnr"].append(pictures.psnr(pictures.cut(made, box), pictures.cut(real, box)))
    some = np.linspace(0, len(at) - 1, 6).astype(int)
    pairs = [[_cut(one[k], clip.tracks.landmarks[at[k]]) for k in some] for one in ([to_rgb(clip.frames[n]) for n in at], shown)]
    _write(sheet, [np.concatenate(line, 1) for line in pairs])
    return {"frames": float(len(at))} | {name: float(np.median(v) if name == "seam" else np.mean(v)) for name, v in rows.items() if v}


def _outside(landmarks: Float, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w): what lies a little outside of a face (478, 3) in a picture."""
    inside = np.ones(size, np.uint8)
    cv2.fillConvexPoly(inside, np.round(cv2.convexHull(np.ascontiguousarray(landmarks[:, :2]))).astype(np.int32), 0)
    away = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / max(float(face.iod(landmarks)), 1e-3)
    return np.asarray((away > _AWAY[0]) & (away < _AWAY[1]), np.bool_)


def _shown(actor: Actor, motion: Float, index: NDArray[np.int64], appearance: str) -> list[Bytes]:
    """Pictures (RGB) of an actor's frames `index` (N,) saying motion (N, L, 2)."""
    engine = make_engine(appearance)
    state, shown = engine.start(actor), []
    for at, one in zip(index, motion, strict=True):
        (state,), (picture,) = engine.step([state], [int(at)], one[None])
        shown.append(to_rgb(picture))
    return shown


def _again(shown: list[Bytes], actor: Actor, count: int, first: int) -> Float:
    """The motion (count, L, 2) that is tracked in pictures of frames from `first` on; a photo's pose is in all of them."""
    poses = np.repeat(actor.poses, count, 0) if len(actor.poses) == 1 else actor.poses
    return tracked_motion(shown, replace(actor, poses=poses), first, count)


def _spread(shown: list[Bytes], opening: Float) -> list[Bytes]:
    """Five pictures, from the mouth most shut to the one most open."""
    order = np.argsort(opening, kind="stable")
    return [shown[order[at]] for at in np.linspace(0, len(order) - 1, 5).astype(int)]


def _line(row: list[Bytes], landmarks: Float) -> Bytes:
    return np.concatenate([_cut(one, landmarks) for one in row], 1)


def _cut(picture: Bytes, landmarks: Float) -> Bytes:
    """The lower face of a picture, _TILE pixels a side."""
    points = landmarks[:, :2]
    reach = 0.45 * float(np.ptp(points, 0).max())
    middle = (points.min(0) + points.max(0)) / 2 + np.array([0, 0.4 * reach])
    matrix = np.array([[1, 0, reach - middle[0]], [0, 1, reach - middle[1]]]) * (_TILE / 2 / reach)
    return np.asarray(cv2.warpAffine(picture, matrix, (_TILE, _TILE), flags=cv2.INTER_AREA), np.uint8)


def _write(path: Path, lines: list[Bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(lines)[:, :, ::-1])
