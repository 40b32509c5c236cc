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


def lights(actor: Actor) -> Float:
    """(K, 2, 3): the colour, 0..255 RGB, of a well-lit tooth on the left and on the right of each reference's mouth.

    It follows from the skin's, which is in the same light; how, was learned from people of many colours in much and little light.
    """
    references = actor.references
    made = []
    for frame, motion, crop, picture in zip(references.frame, references.motion, references.crops, references.pictures, strict=True):
        solid = face.from_head(face.with_motion(actor.neutral, motion), actor.poses[frame])
        points = (solid[:, :2] - crop[:2]) * crop[2]
        made.append(_light(picture, [_pixels(picture, points[list(cheek)]) for cheek in _CHEEKS]))
    return np.stack(made).astype(np.float32)


def _light(picture: NDArray[np.uint8], cheeks: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(2, 3), from the pixels of two cheeks; of a cheek that is hardly seen, the other's are taken."""
    areas = np.array([len(cheek) for cheek in cheeks]) + 1e-6
    seen = np.clip(2 * areas / areas.max() - 0.4, 0, 1)[:, None]
    colours = np.stack([np.median(cheek, 0) if len(cheek) else picture.mean((0, 1)) for cheek in cheeks])
    colours = colours + (1 - seen) * (colours[np.argmax(areas)] - colours)
    skin = np.maximum(colours[np.argmax(colours @ _LUMA)], 4)
    red, blue = np.log(skin[[0, 2]] / skin[1])
    tooth = np.exp([_RED[0] + _RED[1] * red, 0, _BLUE[0] + _BLUE[1] * blue])
    tooth *= (skin @ _LUMA) * np.exp(_LUMINANCE[0] + _LUMINANCE[1] * np.log(skin @ _LUMA / _MIDDLING)) / (tooth @ _LUMA)
    return np.asarray(np.clip(tooth * np.clip((colours + 8) / (skin + 8), 0.3, 1.2) ** _SIDES, 0, 255))


def _pixels(picture: NDArray[np.uint8], outline: Float) -> NDArray[np.float64]:
    """(P, 3): the pixels of a picture within an outline (Q, 2)."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1, lineType=cv2.LINE_8, shift=4)
    return picture[mask > 0].astype(np.float64)
