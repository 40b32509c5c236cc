"""Things before the mouth, drawn over chips of faces: hands, captions, microphones, masks and whatever else.

They teach `engines/weights/covered.onnx` what does not belong to a face: `python -m engines.train covered`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.chips import HEIGHT, WIDTH

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
_FINE = 4  # drawn so many times as large
_LETTERS = "ABCDEFGHIKLMNOPRSTUVWabcdefghiklmnoprstuvw0123456789"
LIPS = (slice(36, 52), slice(11, 37))
"""Rows and columns of a chip where lips are."""


def cover(chip: Bytes, other: Bytes, random: np.random.Generator) -> tuple[Bytes, float]:
    """A chip (HEIGHT, WIDTH, 3) YUV with something before it, and the share of `LIPS` that is hidden. other: a chip of somebody else."""
    kind = random.choice(["hand", "hand", "hand", "caption", "microphone", "mask", "thing"])
    colour, alpha = {"hand": _hand, "caption": _caption, "microphone": _microphone, "mask": _mask, "thing": _thing}[kind](
        chip, other, random
    )
    colour, alpha = (np.asarray(cv2.resize(one, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.float32) for one in (colour, alpha))
    hidden = float(alpha[LIPS].mean())
    return np.round(chip * (1 - alpha[..., None]) + colour * alpha[..., None]).clip(0, 255).astype(np.uint8), hidden


def _canvas() -> tuple[Float, Float]:
    return np.zeros((HEIGHT * _FINE, WIDTH * _FINE, 3), np.float32), np.zeros((HEIGHT * _FINE, WIDTH * _FINE), np.float32)


def _place(random: np.random.Generator, spread: float = 8) -> NDArray[np.float64]:
    return np.array([24.0, 44.0]) * _FINE + random.normal(0, spread, 2) * _FINE


def _lit(shape: tuple[int, ...], random: np.random.Generator) -> Float:
    """Light that changes over a canvas, about 1."""
    small = random.normal(1, random.uniform(0.02, 0.2), (4, 4)).astype(np.float32)
    return np.asarray(cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _hand(chip: Bytes, _: Bytes, random: np.random.Generator) -> tuple[Float, Float]:
    """Fingers of the face's own colour, or a palm."""
    colour, alpha = _canvas()
    skin = np.median(chip[18:34, 12:36].reshape(-1, 3), 0) * [random.uniform(0.7, 1.25), 1, 1] + [0, *random.normal(0, 3, 2)]
    angle, middle, thick = random.uniform(0, 2 * np.pi), _place(random), random.uniform(5, 11) * _FINE
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    fingers = int(random.integers(1, 6))
    depth = np.zeros_like(alpha)
    for finger in range(fingers):
        tip = middle + across * thick * 1.02 * (finger - (fingers - 1) / 2) + along * random.normal(0, 3) * _FINE
        back = tip - along * 80 * _FINE + across * random.normal(0, 6) * _FINE
        one = np.zeros_like(alpha)
        cv2.line(one, tuple(np.round(tip).astype(int).tolist()), tuple(np.round(back).astype(int).tolist()), 1.0, int(thick), cv2.LINE_AA)
        away = np.minimum(cv2.distanceTransform((one > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (thick / 2), 1)
        depth = np.where(one > 0.5, away, depth)
        alpha = np.maximum(alpha, one)
    if random.random() < 0.4:  # a palm or a fist
        at = middle - along * random.uniform(0, 10) * _FINE
        one = np.zeros_like(alpha)
        axes = tuple((random.uniform(9, 20, 2) * _FINE).astype(int).tolist())
        cv2.ellipse(one, tuple(np.round(at).astype(int).tolist()), axes, float(np.degrees(angle)), 0, 360, 1.0, -1, cv2.LINE_AA)
        depth = np.where(one > 0.5, np.maximum(depth, random.uniform(0.6, 1)), depth)
        alpha = np.maximum(alpha, one)
    colour[:] = skin
    colour[..., 0] *= (random.uniform(0.5, 0.9) + 0.35 * depth) * _lit(alpha.shape, random)
    return colour, alpha


def _caption(chip: Bytes, _: Bytes, random: np.random.Generator) -> tuple[Float, Float]:
    """Rows of letters, on a bar or not."""
    colour, alpha = _canvas()
    y, size = random.uniform(36, 54) * _FINE, random.uniform(0.5, 2.2)
    ink = [float(random.choice([235, 220, 16, 180])), *(random.choice([[128, 128], [40, 150], [128, 128]]))]
    bar = random.random() < 0.5
    colour[:] = ink
    if bar:
        height = int(size * 34)
        alpha[max(int(y) - height, 0) : int(y) + height // 3] = random.uniform(0.6, 1)
        colour[max(int(y) - height, 0) : int(y) + height // 3] = [random.uniform(16, 235), *random.uniform(90, 166, 2)]
        ink = [16.0 if colour[min(int(y), len(colour) - 1), 0, 0] > 120 else 235.0, 128, 128]
    text = "".join(random.choice(list(_LETTERS + "   "), 24))
    font = int(random.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
    at = (-int(random.uniform(0, 60)), int(y))
    thick = int(random.integers(2, 5) * max(size, 1))
    rows = [(thick, ink)] if bar or random.random() < 0.4 else [(thick + 5, [16.0, 128, 128]), (thick, ink)]
    for width, paint in rows:
        letters = np.zeros(alpha.shape, np.uint8)
        cv2.putText(letters, text, at, font, size, 255, width, cv2.LINE_AA)
        colour[letters > 80] = paint
        alpha = np.maximum(alpha, letters.astype(np.float32) / 255)
    return colour, alpha


def _microphone(chip: Bytes, _: Bytes, random: np.random.Generator) -> tuple[Float, Float]:
    """A ball of foam or wire, and its handle."""
    colour, alpha = _canvas()
    at, radius = _place(random, 9), random.uniform(5, 15) * _FINE
    angle = random.uniform(0.15, 0.85) * np.pi
    end = at + np.array([np.cos(angle), np.sin(angle)]) * 90 * _FINE
    cv2.line(
        alpha, tuple(at.astype(int).tolist()), tuple(end.astype(int).tolist()), 1.0, int(radius * random.uniform(0.5, 1.2)), cv2.LINE_AA
    )
    axes = (int(radius), int(radius * random.uniform(0.8, 1.4)))
    cv2.ellipse(alpha, tuple(at.astype(int).tolist()), axes, float(np.degrees(angle)), 0, 360, 1.0, -1, cv2.LINE_AA)
    shade = random.uniform(16, 80) if random.random() < 0.7 else random.uniform(80, 200)
    colour[:] = [shade, *random.normal(128, 8, 2)]
    rough = random.normal(1, random.uniform(0.02, 0.4), (alpha.shape[0] // 3 + 1, alpha.shape[1] // 3 + 1)).astype(np.float32)
    colour[..., 0] *= cv2.resize(rough, alpha.shape[::-1]) * _lit(alpha.shape, random)
    return colour, alpha


def _mask(chip: Bytes, _: Bytes, random: np.random.Generator) -> tuple[Float, Float]:
    """A cloth over the lower face."""
    colour, alpha = _canvas()
    top = random.uniform(20, 36) * _FINE
    side = random.uniform(6, 14) * _FINE
    wide, high = WIDTH * _FINE, HEIGHT * _FINE
    points = np.array([[0, top + side], [wide * 0.35, top], [wide * 0.65, top], [wide, top + side], [wide, high * 1.1], [0, high * 1.1]])
    points += random.normal(0, 2 * _FINE, points.shape)
    cv2.fillPoly(alpha, [np.round(points).astype(np.int32)], 1.0, cv2.LINE_AA)
    colour[:] = [random.uniform(20, 225), *random.normal(128, 14, 2)]
    folds = 1 + random.uniform(0, 0.15) * np.sin(np.arange(high) / random.uniform(8, 30) + random.uniform(0, 6))
    colour[..., 0] *= folds[:, None].astype(np.float32) * _lit(alpha.shape, random)
    return colour, alpha


def _thing(_: Bytes, other: Bytes, random: np.random.Generator) -> tuple[Float, Float]:
    """Anything: a cup, a page, a part of another picture."""
    colour, alpha = _canvas()
    at = _place(random)
    reach = random.uniform(8, 26, 2) * _FINE
    angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 9))))
    points = at + np.stack([np.cos(angles), np.sin(angles)], 1) * reach * random.uniform(0.8, 1.2, (len(angles), 1))
    if random.random() < 0.5:
        cv2.fillPoly(alpha, [np.round(points).astype(np.int32)], 1.0, cv2.LINE_AA)
    else:
        axes = tuple(reach.astype(int).tolist())
        cv2.ellipse(alpha, tuple(at.astype(int).tolist()), axes, float(random.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    if random.random() < 0.4:
        turned = np.rot90(other, int(random.integers(1, 4)))
        colour[:] = cv2.resize(np.ascontiguousarray(turned), (alpha.shape[1], alpha.shape[0])).astype(np.float32)
    else:
        colour[:] = [random.uniform(16, 235), *random.normal(128, 25, 2)]
        colour[..., 0] *= _lit(alpha.shape, random)
    return colour, alpha
