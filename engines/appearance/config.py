"""The appearance engines' constants, and what the renderer's nets say of themselves. Lengths are in IOD unless said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from engines.errors import WeightsFault


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
    crisp: float = 0.9
    """How sharp a blended picture is made, against the references: fine detail is added until it is."""
    tried: int = 8
    """References on which that is tried."""
    around: float = 1.7
    """Box of the mouth on which it is, times the lips."""
    crisp_radius: float = 0.01
    """What counts as fine."""
    stretch: float = 2.2
    """A mouth may be opened this many times as far as in the reference before its inside is drawn."""


VERSION = 1
NETS = ("picture-lips.onnx", "picture-face.onnx", "picture-fusion.onnx", "picture-decoder.onnx")
_KEY = "mytalk"


@dataclass(frozen=True)
class RendererConfig:
    """What the renderer's nets say of themselves: each file holds all of it, so that files of two trainings are not mixed."""

    side: int
    """Of the pictures that the nets see, pixels."""
    references: int
    """That are fused."""
    training: str
    """Of the training that all come from."""
    version: int = VERSION

    def metadata(self) -> tuple[str, str]:
        """Key and value for an ONNX file."""
        return _KEY, json.dumps(asdict(self))


def read_config(metadata: Mapping[str, str], name: str) -> RendererConfig:
    """The configuration in a file's metadata. Raises WeightsFault where it is not one of this version."""
    mend = "Install mytalk-live again, or train it: python -m engines.train renderer."
    try:
        found = json.loads(metadata.get(_KEY, "{}"))
    except ValueError:
        found = {}
    if found.get("version") != VERSION or set(found) != {field.name for field in fields(RendererConfig)}:
        raise WeightsFault(f"The weights {name} have version {found.get('version')}, this program wants {VERSION}.", mend)
    return RendererConfig(**found)
