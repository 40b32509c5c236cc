"""What a motion net says of itself: carried as JSON in its ONNX file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engines.backends.weights import read_said, said_of

VERSION = 3
EARS, LIPS = "ears.onnx", "lips.onnx"
EXACT = ("age", "level")
"""Inputs that half precision would spoil: ticks are counted beyond 2048, and angles of up to 100 are made of levels of noise."""


@dataclass(frozen=True)
class Config:
    """Of the two nets together: each file holds all of it, so that files of two trainings are not mixed."""

    look_ahead: int
    """Ticks that the encoder hears ahead."""
    memory: tuple[int, int, int, int]
    """The ring of what the encoder remembers: keys and values of each block, heads, tokens, width of a head."""
    waiting: int
    """Numbers that it keeps beside that: the last frames of features, and what waits for the look-ahead."""
    heard: int
    """Width of its features."""
    components: int
    """Numbers of motion between which the denoiser works: so many of noise for a tick."""
    hidden: int
    """Numbers that the denoiser remembers, for each step."""
    steps: int
    """Denoising steps that are served."""
    usual: tuple[float, ...]
    """(L * 2,) where mouths of people usually are in speech, from rest, in the actor's unit (`engines.motion.space.lean`)."""
    temperature: float
    """The noise's standard deviation that is served."""
    training: str
    """Of the training that both come from."""
    version: int = VERSION

    @property
    def ring(self) -> tuple[str, ...]:
        """The names of the encoder's inputs for `memory`, one for each of its first dimension."""
        return tuple(f"{kind}_{block}" for block in range(self.memory[0] // 2) for kind in ("keys", "values"))

    def metadata(self) -> tuple[str, str]:
        """Key and value for an ONNX file."""
        return said_of(self)


def read_config(metadata: Mapping[str, str], name: str) -> Config:
    """The configuration in a file's metadata. Raises WeightsFault where it is not one of this version."""
    found = read_said(metadata, name, Config, VERSION)
    return Config(**found | {"memory": tuple(found["memory"]), "usual": tuple(found["usual"])})
