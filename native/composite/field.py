"""Constants of the colour field, for twin and kernels."""

from __future__ import annotations

OUTLIER = 16.0
"""A ring pixel that differs by this much (root mean square, of 255) counts half: it shows something else, not other light."""
_COARSE = 40  # the colour field is smooth: it is computed at this size


def field_size(height: int, width: int) -> tuple[int, int, float]:
    """Columns and rows of the colour field of a patch, and the scale."""
    scale = min(1.0, _COARSE / max(height, width))
    return max(2, round(width * scale)), max(2, round(height * scale)), scale
