"""How soft the edge of a drawn mouth is."""


def softness(unit: float) -> float:
    """Standard deviation of the edge's Gaussian, in pixels. unit: pixels in an IOD."""
    return max(0.6, 0.012 * unit)
