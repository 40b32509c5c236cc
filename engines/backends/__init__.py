"""What runs a net: `run(inputs) -> outputs`, arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Net(Protocol):
    """A net, on any backend."""

    metadata: dict[str, str]
    """The strings that its file carries."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name, of inputs by name: float32, a row for each conversation. The outputs are the caller's own."""
        ...
