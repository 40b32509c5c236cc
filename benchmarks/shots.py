"""Actors of films, judged: clips joined by cuts and dissolves, and clips with something drawn over the mouth.

`cuts`: the clip's two halves (`one`), the same with the second seen closer and elsewhere (`takes`), and the clip and another person's
(`two`), joined by a hard cut and by a dissolve of ten frames, make an actor that talks. `between painted` and `others painted` count
frames that differ from the film's own where no whole face is, or another person's.
`covered`: a hand, a caption or a microphone is drawn over the mouth for a third of the clip. `psnr` is that of what covers against the
film, dB; `ghosts` the references that show it; `faded` the share of the other frames in which the mouth fades though it is not
covered.
`small`: the clip's head, 24 pixels between the eyes, is laid into a scene of 1920x1080 in which it drifts. `found` is the share of the
frames in which the face is found there, `off` the landmarks' median distance from the true ones, % of the eyes' distance, `painted` the
share of the frames with a mouth that is made, `psnr` that of all around the head against the film, dB.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import pictures
from benchmarks.clips import Clip, make_engine
from benchmarks.tracker import Person, hit, lay, scene
from engines import face
from engines.actor import Actor
from engines.enrol import Follower, enrol
from engines.errors import FaceFault
from engines.frames import Picture
from engines.tracker import Tracker
from native.planes import from_rgb, planes, to_rgb

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]
_DISSOLVE, _LONGEST = 10, 75
_SMALL, _EYES, _SCENE = 40, 24.0, (1920, 1080)  # frames; pixels between the eyes; width and height


def cuts(clip: Clip, other: Clip | None, appearance: str, sheet: Path) -> dict[str, float]:
    """Figures of a clip that is joined with itself and with one of somebody else."""
    found: dict[str, float] = {}
    half = min(len(clip.frames) // 2, _LONGEST)
    second = clip.frames[half : 2 * half]
    parts = {
        "one": (clip.frames[:half], second),
        "takes": (clip.frames[:half], [_closer(one, clip.tracks.landmarks[half]) for one in second]),
    }
    if other is not None:
        small = [_fitted(picture, clip.frames[0]) for picture in other.frames[: half * 3 // 4]]
        parts["two"] = (clip.frames[:half], small)
    lines = []
    for name, (first, second) in parts.items():
        for kind, mixed in (("cut", 0), ("dissolve", min(_DISSOLVE, len(first) // 3, len(second) // 3))):
            film, between = _joined(first, second, mixed)
            strange = np.arange(len(film)) >= len(first) if name == "two" else np.zeros(len(film), np.bool_)
            painted, shown = _painted(film, appearance)
            found[f"{name}, {kind}: between painted"] = float((painted & between).sum())
            found[f"{name}, {kind}: others painted"] = float((painted & strange & ~between).sum())
            found[f"{name}, {kind}: own painted, share"] = float(painted[~between & ~strange].mean())
            at = np.linspace(max(len(first) - 9, 0), min(len(first) + 5, len(film) - 1), 6).astype(int)
            lines.append(np.concatenate([_small(to_rgb(shown[int(index)])) for index in at], 1))
    _write(sheet, lines)
    return found


def covered(clip: Clip, appearance: str, sheet: Path) -> dict[str, float]:
    """Figures of a clip before whose mouth there is something for a while."""
    found: dict[str, float] = {}
    count, lines = min(len(clip.frames), 2 * _LONGEST), []
    first, last = count // 3, 2 * count // 3
    for kind in ("hand", "caption", "microphone"):
        film, masks = list(clip.frames[:count]), {}
        for at in range(first, last):
            film[at], masks[at] = _drawn(film[at], clip.tracks.landmarks[at], kind)
        with tempfile.TemporaryDirectory() as folder:
            try:
                actor = enrol(iter(film), Path(folder), clip.name)
            except FaceFault:
                continue  # the tracker itself does not see the face behind it
            shown = _said(actor, appearance)
            own = np.array([
                pictures.psnr(to_rgb(shown[at]), to_rgb(actor.frames[at]), mask) for at, mask in masks.items() if mask.any()
            ])  # fmt: skip
            frames = actor.references.frame
            found[f"{kind}: psnr, least"] = float(min(own.min(), 99))
            found[f"{kind}: psnr over 38 dB, share"] = float((own >= 38).mean())
            found[f"{kind}: ghosts"] = float(((frames >= first) & (frames < last)).sum())
            away = np.ones(count, np.bool_)
            away[max(first - 8, 0) : last + 8] = False
            hidden = np.zeros(count) if actor.shown is None else 1 - actor.shown
            found[f"{kind}: faded"] = float((hidden[away & clip.tracks.seen[:count]] > 0).mean())
            at = [first - 8, first, (first + last) // 2, last - 1, last + 8]
            lines.append(np.concatenate([_small(to_rgb(shown[max(index, 0)])) for index in at], 1))
    _write(sheet, lines)
    return found


def small(clip: Clip, other: Clip, appearance: str, sheet: Path) -> dict[str, float]:
    """Figures of a clip's head, far away in a scene of somebody else's room."""
    person, room = (Person(one.name, [to_rgb(f) for f in one.frames[:_SMALL]], one.tracks.landmarks[:_SMALL]) for one in (clip, other))
    random, true, film = np.random.default_rng(0), [], []
    background = scene(room, _SCENE, random)
    place, drift = random.uniform([4 * _EYES] * 2, np.array(_SCENE) - 4 * _EYES), random.uniform(-_EYES / 25, _EYES / 25, 2)
    for at, (picture, landmarks) in enumerate(zip(person.pictures, person.landmarks, strict=True)):
        shown = background.copy()
        true.append(lay(shown, picture, landmarks, _EYES, place + at * drift))
        film.append(from_rgb(shown))
    with Tracker() as tracker:
        follower = Follower(tracker)
        for picture in film:
            follower.see(picture)
    try:
        tracks = follower.tracks()
    except FaceFault:
        return {"found": 0.0}
    off = [hit([one], own) for one, own, seen in zip(tracks.landmarks, true, tracks.seen, strict=True) if seen]
    near = np.array([one for one in off if one is not None])
    painted, spoken = _painted(film, appearance)
    low = np.maximum(np.floor(true[0][:, :2].min(0) - _EYES).astype(int), 0)
    high = np.ceil(true[-1][:, :2].max(0) + _EYES).astype(int)
    around = np.ones(_SCENE[::-1], np.bool_)
    around[min(low[1], high[1]) : max(low[1], high[1]), min(low[0], high[0]) : max(low[0], high[0])] = False
    middle = len(film) // 2
    at = np.clip(np.round(true[middle][:, :2].mean(0) - 60).astype(int), 0, np.array(_SCENE) - 120)
    _write(sheet, [np.concatenate([to_rgb(one[middle])[at[1] : at[1] + 120, at[0] : at[0] + 120] for one in (film, spoken)], 1)])
    return {
        "found": len(near) / len(film), "off, median": float(np.median(near)) if len(near) else float("nan"),
        "painted": float(painted.mean()), "psnr": pictures.psnr(to_rgb(spoken[middle]), to_rgb(film[middle]), around),
    }  # fmt: skip


def _closer(picture: Picture, landmarks: Float) -> Picture:
    """A picture as another take may show it: a little larger, the face elsewhere."""
    rgb, (x, y) = to_rgb(picture), landmarks[1, :2]
    away = 0.4 * float(face.iod(landmarks))
    matrix = np.array([[1.15, 0, away - 0.15 * x], [0, 1.15, -0.3 * away - 0.15 * y]])
    return from_rgb(np.asarray(cv2.warpAffine(rgb, matrix, rgb.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8))


def _joined(first: list[Picture], second: list[Picture], mixed: int) -> tuple[list[Picture], NDArray[np.bool_]]:
    """A film of two shots, the last frames of the first `mixed` with the first of the second; and (N,) which are."""
    shares = (np.arange(mixed) + 1) / (mixed + 1)
    middle = [
        np.round(a * (1 - share) + b * share).astype(np.uint8)
        for a, b, share in zip(first[len(first) - mixed :], second[:mixed], shares, strict=True)
    ]
    film = [*first[: len(first) - mixed], *middle, *second[mixed:]]
    between = np.zeros(len(film), np.bool_)
    between[len(first) - mixed : len(first)] = True
    return film, between


def _painted(film: list[Picture], appearance: str) -> tuple[NDArray[np.bool_], list[Picture]]:
    """(N,) which frames of a film's actor differ from the film's own when it talks, and how they look."""
    with tempfile.TemporaryDirectory() as folder:
        actor = enrol(iter(film), Path(folder), "film")
        shown = _said(actor, appearance)
        away = [float((planes(one)[0] != planes(actor.frames[at])[0]).mean()) for at, one in enumerate(shown)]
        return np.array(away) > 0, shown


def _said(actor: Actor, appearance: str) -> list[Picture]:
    """All frames of an actor with a mouth that is wide open."""
    engine = make_engine(appearance)
    state, shown = engine.start(actor), []
    motion = actor.references.motion[int(np.argmax(actor.references.opening))]
    for index in range(len(actor.poses)):
        (state,), (picture,) = engine.step([state], [index], motion[None])
        shown.append(picture)
    return shown


def _drawn(picture: Picture, landmarks: Float, kind: str) -> tuple[Picture, NDArray[np.bool_]]:
    """A picture (I420) with something drawn over the mouth of landmarks (478, 3), and (h, w) where it is."""
    rgb, unit = to_rgb(picture).copy(), float(face.iod(landmarks))
    mask = np.zeros(rgb.shape[:2], np.uint8)
    x, y = landmarks[list(face.LIPS), :2].mean(0)
    if kind == "hand":
        cheek = np.clip(np.round(landmarks[50, :2]).astype(int), 1, np.array(rgb.shape[1::-1]) - 2)
        colour = rgb[cheek[1] - 1 : cheek[1] + 2, cheek[0] - 1 : cheek[0] + 2].reshape(-1, 3).mean(0) * 0.9
        layer = rgb.copy()
        for finger in range(4):
            at = (int(x + 0.55 * unit), int(y + (finger - 1.5) * 0.27 * unit))
            thick = max(int(0.25 * unit), 2)
            cv2.line(mask, at, (int(x - 3 * unit), at[1] + int(0.8 * unit)), 255, thick, cv2.LINE_AA)
            cv2.line(layer, at, (int(x - 3 * unit), at[1] + int(0.8 * unit)), (colour * 0.75).tolist(), thick, cv2.LINE_AA)
            cv2.line(layer, at, (int(x - 3 * unit), at[1] + int(0.8 * unit)), colour.tolist(), max(thick * 2 // 3, 1), cv2.LINE_AA)
        rgb = np.asarray(np.where(mask[..., None] > 0, layer, rgb), np.uint8)
    elif kind == "caption":
        size = unit / 45
        at = (max(int(x - 2.2 * unit), 2), int(y + 0.2 * unit))
        for thick, ink in ((max(int(size * 8), 2), (0, 0, 0)), (max(int(size * 3), 1), (255, 255, 255))):
            cv2.putText(rgb, "WHAT WE SAID TODAY", at, cv2.FONT_HERSHEY_DUPLEX, size, ink, thick, cv2.LINE_AA)
            cv2.putText(mask, "WHAT WE SAID TODAY", at, cv2.FONT_HERSHEY_DUPLEX, size, 255, thick, cv2.LINE_AA)
    else:
        for target, ink in ((rgb, (30, 30, 32)), (mask, 255)):
            cv2.circle(target, (int(x), int(y + 0.1 * unit)), int(0.4 * unit), ink, -1, cv2.LINE_AA)
            cv2.line(target, (int(x), int(y)), (int(x + 0.8 * unit), int(y + 3 * unit)), ink, max(int(0.3 * unit), 2), cv2.LINE_AA)
    reach = np.linalg.norm(np.mgrid[: mask.shape[0], : mask.shape[1]].transpose(1, 2, 0) - np.array([y, x]), axis=2)
    return from_rgb(rgb), np.asarray((mask > 128) & (reach < unit), np.bool_)


def _fitted(picture: Picture, like: Picture) -> Picture:
    """A picture in the size of another."""
    height, width = like.shape[0] * 2 // 3, like.shape[1]
    return from_rgb(np.asarray(cv2.resize(to_rgb(picture), (width, height), interpolation=cv2.INTER_AREA), np.uint8))


def _small(picture: Bytes) -> Bytes:
    return np.asarray(cv2.resize(picture, (240, 240 * picture.shape[0] // picture.shape[1]), interpolation=cv2.INTER_AREA), np.uint8)


def _write(path: Path, lines: list[Bytes]) -> None:
    if lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        wide = min(line.shape[1] for line in lines)
        cv2.imwrite(str(path), np.concatenate([line[:, :wide] for line in lines])[:, :, ::-1])
