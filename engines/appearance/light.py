"""The light on an actor's references: what colour a tooth would have in it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.spec import Float

_CHEEKS = ((205, 50, 187, 207, 216, 206), (425, 280, 411, 427, 436, 426))
_LUMA = np.array([0.299, 0.587, 0.114])
# Fitted on open mouths of 75 people: logarithms of a bright tooth's luminance over the skin's, and of its red and blue over its green.
_LUMINANCE, _MIDDLING = (0.290, -0.390), 130
_RED, _BLUE = (-0.112, 0.885), (0.046, 0.485)
_SIDES = 0.7  # of the difference between the cheeks, how much is between the teeth: they are more in the middle
_BRIGHT = (0.85, 0.97)  # of an open mouth's pixels, from dark to bright: teeth without glints, if they are seen
_DRAWN = 0.92  # of a well-lit tooth's light is what such pixels have of teeth that are drawn
_PIXELS = 60  # of an open mouth's that are enough

Pixels = NDArray[np.float64]


def lights(actor: Actor) -> Float:
    """(K, 2, 3): the colour, 0..255 RGB, of a well-lit tooth on the left and on the right of each reference's mouth.

    It follows from the skin's, which is in the same light; how, was learned from people of many colours in much and little light.
    Where references show the actor's own teeth, it is as much brighter or otherwise coloured as these are.
    """
    references = actor.references
    made, own, seen = [], np.zeros(3), 0.0
    for frame, motion, crop, picture in zip(references.frame, references.motion, references.crops, references.pictures, strict=True):
        solid = face.from_head(face.with_motion(actor.neutral, motion), actor.poses[frame])
        points = (solid[:, :2] - crop[:2]) * crop[2]
        skins = _skins(picture, points)
        skin = np.maximum(skins[np.argmax(skins @ _LUMA)], 4)
        tooth = _tooth(skin)
        made.append(tooth * np.clip((skins + 8) / (skin + 8), 0.3, 1.2) ** _SIDES)
        colour, trust = _teeth(_pixels(picture, points[list(face.INNER_LIPS)]), skin)
        own, seen = own + trust * np.log(np.maximum(colour, 4) / (_DRAWN * tooth)), seen + trust
    return np.clip(np.stack(made) * np.exp(np.clip(own / max(seen, 1.0), -0.5, 0.5)), 0, 255).astype(np.float32)


def _tooth(skin: Pixels) -> Pixels:
    """The colour (3,) of a well-lit tooth beside skin (3,)."""
    red, blue = np.log(skin[[0, 2]] / skin[1])
    tooth = np.exp([_RED[0] + _RED[1] * red, 0, _BLUE[0] + _BLUE[1] * blue])
    light = float(skin @ _LUMA)
    return np.asarray(tooth * light * np.exp(_LUMINANCE[0] + _LUMINANCE[1] * np.log(light / _MIDDLING)) / (tooth @ _LUMA))


def _skins(picture: NDArray[np.uint8], points: Float) -> Pixels:
    """(2, 3): the colours of the cheeks of a face with landmarks (478, 2); of one that is hardly seen, the other's is taken."""
    cheeks = [_pixels(picture, points[list(cheek)]) for cheek in _CHEEKS]
    areas = np.array([len(cheek) for cheek in cheeks]) + 1e-6
    seen = np.clip(2 * areas / areas.max() - 0.4, 0, 1)[:, None]
    colours = np.stack([np.median(cheek, 0) if len(cheek) else picture.mean((0, 1)) for cheek in cheeks])
    return np.asarray(colours + (1 - seen) * (colours[np.argmax(areas)] - colours))


def _teeth(mouth: Pixels, skin: Pixels) -> tuple[Pixels, float]:
    """The colour (3,) of the bright pixels of a mouth (P, 3), and how certainly they are teeth, 0..1: these are less red than skin."""
    if not len(mouth):
        return skin, 0.0
    bright = mouth[np.argsort(mouth @ _LUMA)][int(_BRIGHT[0] * len(mouth)) : int(_BRIGHT[1] * len(mouth)) + 1].mean(0)
    paler = float(np.log(skin[0] / skin[1]) - np.log(max(bright[0], 4) / max(bright[1], 4)))
    lighter = float(bright @ _LUMA) / float(skin @ _LUMA)
    trust = np.clip([(paler - 0.06) / 0.08, (lighter - 0.7) / 0.2, len(mouth) / _PIXELS], 0, 1).prod()
    return bright, float(trust)


def _pixels(picture: NDArray[np.uint8], outline: Float) -> Pixels:
    """(P, 3): the pixels of a picture within an outline (Q, 2)."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1, lineType=cv2.LINE_8, shift=4)
    return picture[mask > 0].astype(np.float64)
