"""The warp engine's constants. Lengths are in IOD unless said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WarpConfig:
    """Which references are taken, and how they are joined."""

    blended: int = 4
    """References that are blended into a picture, at most 4."""
    sharp: float = 0.02
    """Lip distance over which a reference's weight falls to 1/e."""
    turn: float = 0.15
    """Cost of a radian between the heads."""
    inside: float = 1.0
    """Weight of the inner lips against the outer ones."""
    gap: float = 0.5
    """Weight of the opening's difference: a shut mouth must not show teeth."""
    steady: float = 0.004
    """What a reference of the last picture is given ahead, times its weight there: against flicker."""
    shade: float = 0.35
    """Standard deviation of the colour matching's Gaussian."""
    crisp: float = 0.6
    """Share of the fine detail that is added again after blending."""
    crisp_radius: float = 0.01
    """What counts as fine."""
    stretch: float = 2.2
    """A mouth may be opened this many times as far as in the reference before its inside is drawn."""
