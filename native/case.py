"""A case of an operator: of one table that tests and benchmarks read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """Arguments of the operator, by name, and how far the twin's bytes may be from the reference's in the mean."""

    name: str
    arguments: dict[str, Any]
    tolerance: float
    bytes: int
    """That a card must move at least: everything that is given read once, what is made written once, in the formats of `cuda.cu`."""
