"""The manners of speaking that ship: from clips of which somebody has said with what feeling they are spoken.

What is known of it stands in the manifest's `source`: words, or the codes of RAVDESS and MEAD. A person's manner is where the mouth is in
speech against its rest and how far it moves (`engines.motion.manner`); a feeling's is the mean over people, less that of everybody's,
even on both sides of the face. Generated clips count half: whoever made them knew these feelings from pictures of real ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.backends.weights import write_hash
from engines.motion.engine import DiffusionMotion
from engines.motion.manner import WEIGHTS
from engines.motion.rest import USUAL_OPENING, USUAL_WIDTH, Mouth, estimate
from engines.motion.space import habit, lean, unit
from engines.train.data import read_manifest, track
from engines.train.rest import mirrored_motion

Float = NDArray[np.float32]
WORDS = {
    "calm": r"calm|neutral|_neu_|01-01-01-|0[13]-01-02-",
    "happy": r"happy|_hap_|0[13]-01-03-",
    "sad": r"(?<![a-z])sad|_sad_|(?<![a-z])cry|0[13]-01-04-",
    "angry": r"angry|_ang_|0[13]-01-05-",
    "disgusted": r"disgust|_dis_|0[13]-01-07-",
    "surprised": r"surpris|_sur_|0[13]-01-08-",
}
WHISPER = 0.75
"""How far a mouth opens that whispers: set by hand, as no clip whispers."""
_MADE = 0.5
_DOUBT = 1.0  # people that weigh as much as that a feeling changes nothing


@dataclass(frozen=True)
class Spoken:
    """How a clip is spoken."""

    feeling: str
    person: str
    made: bool
    place: Float
    """(L, 2) see `engines.motion.space.lean`."""
    gains: Float
    """(2,) logarithms of how far the opening and the width vary in speech, against those of a usual person."""


def feeling_of(source: str) -> str | None:
    """What a source's path says; None where it says nothing."""
    path = source.partition(" ")[2]
    return next((name for name, words in WORDS.items() if re.search(words, path, re.IGNORECASE)), None)


def train_manners(data: Path, cache: Path, out: Path) -> None:
    """Write `manners.npz` into `out`, and print what each does."""
    usual = DiffusionMotion().usual
    clips = [
        found
        for row in read_manifest(data)
        if row["split"] == "train" and row["free"] != "no" and (found := _spoken(row, data, cache, usual))
    ]
    feelings: dict[str, tuple[Float, Float]] = {}
    for name in WORDS:
        people: dict[str, list[Spoken]] = {}
        for clip in clips:
            if clip.feeling == name:
                people.setdefault(clip.person, []).append(clip)
        weights = np.array([_MADE if all(clip.made for clip in own) else 1.0 for own in people.values()])
        places = np.stack([np.mean([clip.place for clip in own], 0) for own in people.values()])
        gains = np.stack([np.mean([clip.gains for clip in own], 0) for own in people.values()])
        share = weights / (weights.sum() + _DOUBT)
        feelings[name] = np.tensordot(share, places, 1), share @ gains
        print(f"{name}: {len(people)} people, {sum(map(len, people.values()))} clips")
    middle = [np.mean([found[at] for found in feelings.values()], 0) for at in (0, 1)]
    names = [*feelings, "whisper"]
    placed = {name: (place - middle[0], gains - middle[1]) for name, (place, gains) in feelings.items()}
    placed["whisper"] = np.zeros((face.L, 2), np.float32), np.log([WHISPER, WHISPER])
    places = np.stack([(placed[name][0] + mirrored_motion(placed[name][0])) / 2 for name in names])
    gains = np.exp(np.stack([placed[name][1] for name in names]))
    path = out / WEIGHTS
    np.savez(path, names=np.array(names), places=places.astype(np.float16), openings=gains[:, 0], widths=gains[:, 1])
    write_hash(path)
    print("of each: corners higher and farther apart, % of the distance of the eyes; how far it opens and widens")
    for name, place, (opening, width) in zip(names, places, gains, strict=True):
        print(f"{name}: {corners(place) * 100:+.1f}, {wider(place) * 100:+.1f}; {opening:.2f}, {width:.2f}")


def corners(motion: Float) -> Float:
    """(...): how much higher the corners lie than the middle of the lips, IOD, of motion (..., L, 2) or a difference of it."""
    at = {int(point): place for place, point in enumerate(face.MOTION)}
    middle = (motion[..., at[13], 1] + motion[..., at[14], 1] + motion[..., at[0], 1] + motion[..., at[17], 1]) / 4
    return np.asarray(middle - (motion[..., at[61], 1] + motion[..., at[291], 1]) / 2)


def wider(place: Float) -> Float:
    """(...): how much farther the corners are apart with a difference of motion (..., L, 2), IOD."""
    at = {int(point): index for index, point in enumerate(face.MOTION)}
    return np.asarray(place[..., at[291], 0] - place[..., at[61], 0])


def _spoken(row: dict[str, str], data: Path, cache: Path, usual: Float) -> Spoken | None:
    feeling = feeling_of(row["source"])
    if feeling is None:
        return None
    kept = cache / (row["file"].replace("/", "_") + ".face.npz")
    if not kept.exists():
        landmarks, seen, _ = track(data / row["file"])
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(kept, landmarks=landmarks, seen=seen)
    with np.load(kept, allow_pickle=False) as found:
        landmarks, seen = found["landmarks"], found["seen"]
    heads = face.to_head(landmarks[seen], face.pose(landmarks[seen]))
    own = np.median(heads, 0).astype(np.float32)
    poses = face.pose(landmarks[seen], own)
    motion = np.stack([face.motion_onto(p[face.MOTION, :2], pose, own) for p, pose in zip(landmarks[seen], poses, strict=True)])
    mouth = estimate(motion, heads)
    spoken = habit(motion)
    if spoken is None:
        return None
    place = lean(spoken, mouth.rest, unit(mouth.opening_range), usual)
    return Spoken(feeling, row["person"], row["set"] == "made", place, _gains(mouth))


def _gains(mouth: Mouth) -> Float:
    return np.log(np.array([unit(mouth.opening_range) / unit(USUAL_OPENING), mouth.width_range / USUAL_WIDTH], np.float32))
