"""The quick twin of `reference.py`, with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from native.interior.softness import softness

Float = NDArray[np.float32]
_DARK, _TONGUE = np.array([70, 36, 34], np.float32), np.array([150, 74, 72], np.float32)


def interior(
    patch: NDArray[np.uint8], corner: tuple[int, int], inside: NDArray[np.uint8], upper: Float, lower: Float, above: int,
    unit: float, share: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """See `op.interior`."""
    (x, y), (height, width) = corner, inside.shape
    mask = np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), softness(unit)), np.float32)
    across = np.arange(width, dtype=np.float32)[None, :]
    down = np.arange(height, dtype=np.float32)[:, None]
    depth = np.clip((down - upper) / np.maximum(lower - upper, 1), 0, 1)
    half = np.clip(np.abs(across - width / 2) / (width / 2), 0, 1)
    skin = patch[above, x : x + width].reshape(-1, 3).mean(0).astype(np.float32) + 1
    light = float(min(skin.mean() / 170, 1.15))
    tint = 0.25 + 0.75 * skin / skin.max()  # a warm light, or an old varnish, is on teeth and tongue, too
    colour = _DARK * tint * light + np.zeros((height, width, 3), np.float32)
    tongue = np.clip((depth - 0.4) * 1.6, 0, 0.8) * np.clip(1.1 - half**2 * 1.6, 0, 1)
    colour += tongue[:, :, None] * (_TONGUE * (0.5 + 0.5 * tint) * light - colour)
    reach = np.minimum(0.17 * unit, 0.65 * (lower - upper))  # the teeth end here, or earlier at the sides
    teeth = np.clip((reach * (1 - 0.55 * half**2) - (down - upper)) / max(0.03 * unit, 1), 0, 1) * np.clip((0.92 - half) * 6, 0, 1)
    shade = (0.6 + 0.4 * np.clip((down - upper) / (0.05 * unit), 0, 1)) * (1 - 0.35 * half**2)
    ivory = np.array([206, 198, 188], np.float32) * (1 + 2 * tint) / 3 * light * shade[:, :, None]  # teeth are whiter than skin
    colour += teeth[:, :, None] * 0.8 * (ivory - colour)
    out = patch.copy()
    part = out[y : y + height, x : x + width]
    mixed = part + (mask * share)[:, :, None] * (np.clip(colour, 0, 255) - part)
    part[:] = (mixed + 0.5).astype(np.uint8)
    return out
