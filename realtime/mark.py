"""A small text in the corner of live pictures, which says that they are synthetic. Files say so in their tags."""

from __future__ import annotations

import numpy as np

from engines.spec import Picture
from native.planes import planes

HEIGHT, LEAST = 0.035, 10
"""Of the letters against the picture's shorter side; and the least in pixels."""
STRENGTH = 0.85
_INK, _GROUND, _NEUTRAL = 235.0, 16.0, 128.0


class Mark:
    """A text for pictures (I420) of one size: width and height, both even."""

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        from PIL import Image, ImageDraw, ImageFont

        width, height = size
        letters = max(LEAST, round(HEIGHT * min(size)))
        font, edge = ImageFont.load_default(letters), max(1, letters // 8)
        left, top, right, bottom = font.getbbox(text, stroke_width=edge)
        wide, high = (min(most, int(np.ceil(side)) + 1) // 2 * 2 for side, most in ((right - left, width), (bottom - top, height)))
        margin = letters // 2
        x, y = (max(0, most - side - margin) // 2 * 2 for side, most in ((wide, width), (high, height)))
        ink, cover = (Image.new("L", (wide, high)) for _ in range(2))
        ImageDraw.Draw(ink).text((-left, -top), text, 255, font)
        ImageDraw.Draw(cover).text((-left, -top), text, 255, font, stroke_width=edge)
        share, tone = (np.asarray(layer, np.float32) / 255 for layer in (cover, ink))
        self._where = slice(y, y + high), slice(x, x + wide)
        self._share, self._tone = STRENGTH * share, _GROUND + tone * (_INK - _GROUND)
        self._half = self._share.reshape(high // 2, 2, wide // 2, 2).mean((1, 3))

    def onto(self, picture: Picture) -> None:
        """Lay the text into a picture, in place."""
        luma, *chroma = planes(picture)
        _mix(luma[self._where], self._tone, self._share)
        half = tuple(slice(part.start // 2, part.stop // 2) for part in self._where)
        for plane in chroma:
            _mix(plane[half], _NEUTRAL, self._half)


def _mix(part: Picture, tone: np.ndarray | float, share: np.ndarray) -> None:
    part[:] = np.rint(part + share * (tone - part)).astype(np.uint8)
