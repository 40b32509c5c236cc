"""An actor for people to look at: what it can do, in a picture and in words; and its preview."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.appearance.layout import vertices
from engines.appearance.mesh import mesh
from engines.appearance.references import covered
from engines.person import PRESENTER, Mouth, shape
from engines.pipeline import Pipeline
from engines.spec import Float
from native.planes import to_rgb
from native.warp.cpu import mesh_values

Picture = NDArray[np.uint8]
_GREEN, _BLUE, _WHITE, _DARK, _TILE = (90, 220, 120), (90, 150, 255), (235, 235, 235), (24, 24, 24), 128
_BAR = 18  # rows of a line of words
_SHAPES = {
    "rest": Mouth(), "half open": Mouth(10.0), "widest": Mouth(20.0), "wide, as in bee": Mouth(7.0, 0.7),
    "round, as in who": Mouth(7.0, -0.9),
}  # fmt: skip
_CLOSED, _OPEN = 0.02, 0.6  # IOD that lips may be apart; of the widest opening
_CERTAIN, _USUAL = 0.018, 0.3  # what an estimate of rest, IOD, and of the range's logarithm may be wrong by and count as seen
_FAR = 15.0  # degrees to each side that an actor should have been seen turned


def preview(actor: Actor, height: int = 480) -> bytes:
    """The actor's calmest frame as a JPEG file's bytes, `height` pixels high."""
    rgb = to_rgb(actor.frames[_calm(actor)])
    width = round(rgb.shape[1] * height / rgb.shape[0])
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise RuntimeError("OpenCV could not write a JPEG")
    return data.tobytes()


def sheet(actor: Actor, height: int = 640) -> Picture:
    """RGB: the calmest frame with landmarks and mask, what the actor can do, and its references, most closed first."""
    index = _calm(actor)
    rgb = to_rgb(actor.frames[index])
    target, values = vertices(actor, mesh(), index, face.motion_of(actor.neutral))
    alpha = mesh_values(target[:, :2], mesh().triangles, values, rgb.shape[:2])[:, :, :1]
    shown = (rgb + 0.35 * alpha * (np.array(_BLUE) - rgb)).astype(np.uint8)
    scale = height / rgb.shape[0]
    shown = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    points = face.from_head(actor.neutral, actor.poses[index])[:, :2]
    for at, point in enumerate(np.round(points * scale * 8).astype(int)):
        cv2.circle(shown, point.tolist(), 12 if at in face.MOTION else 6, _GREEN, -1, cv2.LINE_AA, 3)
    tiles = [_tile(picture, name) for name, picture in _said(actor, index).items()]
    order = np.argsort(actor.references.opening, kind="stable")
    references = actor.references
    tiles += [_tile(references.pictures[k], f"frame {references.frame[k]}") for k in order]
    rows = height // (_TILE + _BAR)
    columns = -(-len(tiles) // rows)
    wall = np.full((height, columns * _TILE, 3), _DARK[0], np.uint8)
    for at, tile in enumerate(tiles):
        column, row = divmod(at, rows)
        wall[row * len(tile) : (row + 1) * len(tile), column * _TILE : (column + 1) * _TILE] = tile
    return np.concatenate([shown, wall], 1)


def describe(actor: Actor) -> list[str]:
    """What the actor can do, what had to be guessed, and what to film for better: a sentence each."""
    opening, turns = actor.references.opening, np.degrees(actor.turns[actor.references.frame, 0])
    rest, reach = face.opening(face.motion_of(actor.neutral)), actor.opening_range
    closed, wide = opening < rest + _CLOSED, opening > rest + _OPEN * reach
    sentences, wishes = [], []
    if actor.guessed is None:
        sentences.append("Rest and range: as they were kept.")
    else:
        how = f"within {100 * actor.guessed[0]:.1f} % of the distance of the eyes"
        if actor.guessed[0] < _CERTAIN:
            sentences.append(f"Rest: seen, {how}.")
        else:
            why = "from one picture" if len(opening) == 1 else "lips are hardly ever seen closed and relaxed"
            sentences.append(f"Rest: estimated, {how}: {why}.")
            wishes.append("a second with the mouth closed and relaxed")
        range_ = f"{100 * reach:.0f} % of the distance of the eyes"
        if actor.guessed[1] < _USUAL:
            sentences.append(f"Opening in speech: {range_}, as seen.")
        else:
            sentences.append(f"Opening in speech: {range_}, mostly a usual person's: hardly any speech is seen.")
            wishes.append("ten seconds of lively speech")
    sentences.append(
        f"Mouth shapes: {len(opening)} from {len(actor.poses)} frames; {int(closed.sum())} closed, {int(wide.sum())} wide open; "
        f"the widest is frame {int(actor.references.frame[int(np.argmax(opening))])}."
    )
    if WarpConfig().stretch * float(opening.max()) < rest + reach:
        sentences.append("Teeth and tongue: drawn where the mouth opens wide, because no frame shows enough of them.")
        wishes.append("a wide open mouth, such as an aah")
    sentences.append(f"Head: mouth shapes are from {turns.min():.0f} to {turns.max():.0f} degrees to the side.")
    hidden = float((covered(actor, WarpConfig()) < 0.5).mean())
    if hidden > 0.005:
        sentences.append(f"In {100 * hidden:.0f} % of the frames the mouth stays as filmed: the face is lost, or turned as in no other.")
    if len(actor.poses) > 1 and (turns.min() > -_FAR or turns.max() < _FAR) and hidden > 0.005:
        wishes.append("speech with the head turned to both sides")
    if wishes:
        sentences.append("For better, film " + ", ".join(dict.fromkeys(wishes)) + ".")
    return sentences


def _said(actor: Actor, index: int) -> dict[str, Picture]:
    """The lower face in the calmest frame in some mouth shapes, those of a usual person scaled to this actor."""
    engine, base = Pipeline().appearance, face.motion_of(shape(PRESENTER, Mouth()))
    scale = actor.opening_range / 0.2
    found = {}
    for name, mouth in _SHAPES.items():
        motion = face.motion_of(actor.neutral) + scale * (face.motion_of(shape(PRESENTER, mouth)) - base)
        _, (picture,) = engine.step([engine.start(actor)], [index], motion[None].astype(np.float32))
        found[name] = _lower_face(to_rgb(picture), actor.poses[index])
    return found


def _lower_face(rgb: Picture, pose: Float) -> Picture:
    reach = 1.1 * float(face.unit(pose))
    middle = face.from_head(np.array([[0.0, 1.1, 0.0]], np.float32), pose)[0, :2]
    matrix = np.array([[1, 0, reach - middle[0]], [0, 1, reach - middle[1]]]) * (_TILE / 2 / reach)
    return np.asarray(cv2.warpAffine(rgb, matrix, (_TILE, _TILE), flags=cv2.INTER_AREA), np.uint8)


def _tile(picture: Picture, words: str) -> Picture:
    bar = np.full((_BAR, _TILE, 3), _DARK[0], np.uint8)
    cv2.putText(bar, words, (4, _BAR - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, _WHITE, 1, cv2.LINE_AA)
    return np.concatenate([cv2.resize(picture, (_TILE, _TILE), interpolation=cv2.INTER_AREA), bar]).astype(np.uint8)


def _calm(actor: Actor) -> int:
    """The frame of the reference whose mouth is nearest to rest."""
    apart = np.linalg.norm(actor.references.motion - face.motion_of(actor.neutral), axis=-1).mean(1)
    return int(actor.references.frame[int(np.argmin(apart))])
