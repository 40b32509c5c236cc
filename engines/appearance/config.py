"""The appearance engines' constants, and what the refiner's net says of itself. Lengths are in IOD unless said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engines.backends.weights import read_said, said_of


@dataclass(frozen=True)
class WarpConfig:
    """Which references are taken, and how they are joined."""

    blended: int = 4
    """References that are blended into a picture, at most 4."""
    sharp: float = 0.02
    """Lip distance over which a reference's weight falls to 1/e."""
    turn: float = 0.15
    """Cost of a radian between the heads."""
    grade: tuple[float, float, float] = (0.001, 0.01, 0.01)
    """Cost of a grey level between the skin's luma, U and V in two shots."""
    inside: float = 1.0
    """Weight of the inner lips against the outer ones."""
    gap: float = 0.5
    """Weight of the opening's difference: a shut mouth must not show teeth."""
    steady: float = 0.004
    """What a reference of the last picture is given ahead, times its weight there: against flicker."""
    shade: float = 0.35
    """Standard deviation of the colour matching's Gaussian."""
    crisp: float = 0.95
    """How sharp a blended mouth is made, against the references: fine detail is given back until it is."""
    quick: float = 0.3
    """How quickly that follows from picture to picture: at once it would flicker."""
    around: float = 1.7
    """Box of the mouth in which it is measured, times the lips."""
    crisp_radius: float = 0.01
    """What counts as fine."""
    turned: tuple[float, float] = (0.5, 0.8)
    """Radians between the head and the nearest reference's between which the made mouth fades: it would only smear there."""
    fade: int = 3
    """Frames before and after, over which that fades at least."""
    resting: tuple[float, float] = (0.012, 0.03)
    """Distance from rest of what is wanted, and of what the frame shows, summed, between which the made mouth takes the frame's place."""
    stretch: float = 1.3
    """A mouth may be opened this many times as far as in a reference before its inside counts as not shown."""

    def softness(self, unit: float) -> float:
        """The standard deviation, in pixels, under which what is fine is lost. unit: pixels in an IOD."""
        return max(self.crisp_radius * unit, 0.3)


VERSION = 2
REFINER = "picture.onnx"


@dataclass(frozen=True)
class RefinerConfig:
    """What the refiner's net says of itself."""

    training: str
    """That it comes from."""
    version: int = VERSION

    def metadata(self) -> tuple[str, str]:
        """Key and value for an ONNX file."""
        return said_of(self)


def read_config(metadata: Mapping[str, str], name: str) -> RefinerConfig:
    """The configuration in a file's metadata. Raises WeightsFault where it is not one of this version."""
    return RefinerConfig(**read_said(metadata, name, RefinerConfig, VERSION))
