"""What runs a net: `run(inputs) -> outputs`, arrays in, arrays out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import BackendFault

Array = NDArray[np.float32]


@contextmanager
def card_trouble(*errors: type[Exception]) -> Iterator[None]:
    """What a card's driver or library raises becomes BackendFault: of this process's card nothing more is to be had."""
    try:
        yield
    except errors as error:
        what = str(error).strip().partition("\n")[0].rstrip(".")
        raise BackendFault(f"The card does not go on: {what}.", "See: mytalk doctor, nvidia-smi; or say --backend cpu.") from error


class Net(Protocol):
    """A net on some backend. Not for several threads at once."""

    metadata: dict[str, str]
    """The strings that its file carries."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, the caller's own; inputs are (B, ...) float32."""

    def remember(
        self, inputs: Mapping[str, Array], rings: Sequence[Any], names: Sequence[str], ticks: Sequence[int]
    ) -> tuple[dict[str, Array], list[Any]]:
        """`run` of a net that reads what it made before: the outputs, and the rings after it.

        Each of B conversations has a ring (G, heads, tokens, width), of which the net is given part g as its input `names[g]`; its output
        `new` (B, G, heads, n, width) is laid over the ring at `ticks[b]` * n modulo its tokens. Rings are arrays on the host at first,
        then what a backend likes to keep; those given stay as they are.
        """
        memory = np.stack(rings, 1)
        made = self.run({**inputs, **dict(zip(names, memory, strict=True))})
        new = made["new"]
        for b, tick in enumerate(ticks):
            at = tick * new.shape[3] % memory.shape[3]
            memory[:, b, :, at : at + new.shape[3]] = new[b]
        return made, list(memory.swapaxes(0, 1))
