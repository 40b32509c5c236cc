"""Plans: nets made ready by TensorRT-RTX or TensorRT, ahead or when they are first wanted, and kept on disk.

TensorRT-RTX builds for an architecture, on any machine, without a card; the card's own compiler finishes the plan when it is
loaded. TensorRT builds on the very card that will run it, and for no other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from engines.backends.found import Card
from engines.errors import BackendFault
from native.kept import cache_folder, keep, kept

RANGES = ((1, 1, 1), (2, 16, 64))
"""The least, usual and most conversations of a batch for which a plan is made quick: a profile each."""
_RTX = "tensorrt_rtx"
_TITLES = {_RTX: "TensorRT-RTX", "tensorrt": "TensorRT"}  # in the order in which they are asked
_FLAGS = {_RTX: ("REQUIRE_USER_ALLOCATION",), "tensorrt": ()}
"""With which each builds: TensorRT-RTX's plans would else take memory while they run, which no CUDA graph can hold."""
_MEND = "TensorRT builds for any card, on the machine that has it: pip install tensorrt"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Builder:
    """One of the two libraries, for a target that it can build for."""

    module: Any
    name: str
    version: str
    architecture: str
    """Such as "sm_89"."""
    card: str
    """The name of the card for which alone its plans are; "" where they are for the architecture."""

    @property
    def rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return self.name == _RTX

    @property
    def title(self) -> str:
        """Its name for people, and its version."""
        return f"{_TITLES[self.name]} {self.version}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Of the library's `BuilderFlag`, those with which it builds."""
        return _FLAGS[self.name]

    def key(self, net: bytes) -> str:
        """What tells a plan from all others: net, library, version, target, profiles, flags."""
        told = (self.name, self.version, self.architecture, self.card, repr(RANGES), *self.flags)
        parts = (hashlib.sha256(net).hexdigest(), *told)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Plan:
    """A net made ready."""

    place: Path
    """Where it is kept."""
    data: bytes
    built: bool
    """Whether it was made just now."""


def builder(architecture: str, cards: Sequence[Card] = ()) -> Builder:
    """Who builds for an architecture such as "sm_89"; `cards` are those of this machine.

    TensorRT-RTX is asked first; for a card of an architecture that it does not name TensorRT is, where it is here, and TensorRT-RTX only
    without it: whether it builds for such a card, only the card can say. Raises BackendFault where neither library is here, or none of
    those that are builds for it.
    """
    card = next((card for card in cards if card.architecture == architecture), None)
    known: list[str] = []
    unsure: Builder | None = None
    for name in _TITLES:
        try:
            module = import_module(name)
        except (ImportError, OSError) as error:  # the second where its own libraries are not there
            log.debug("%s cannot be imported: %s", name, error)
            continue
        by = Builder(module, name, module.__version__, architecture, "" if card is None else card.name)
        if by.rtx and architecture in _targets(module):
            return replace(by, card="")
        if card is not None and not by.rtx:
            return by
        if card is not None:
            unsure = by
            log.info("%s does not name %s: another library is asked for first", by.title, architecture)
        known.append(f"{by.title} builds for {', '.join(_targets(module)) if by.rtx else 'the card that is there'}")
    if unsure is not None:
        return unsure
    if not known:
        raise BackendFault(
            "Neither TensorRT-RTX nor TensorRT is installed: there is nothing that builds plans.", f"pip install tensorrt-rtx. {_MEND}"
        )
    raise BackendFault(f"Plans for {architecture} cannot be built here: {'; '.join(known)}.", f"Name another. {_MEND}")


def plan(name: str, net: bytes, by: Builder, folder: Path | None = None) -> Plan:
    """The plan of a net in float16 (`engines.backends.half`) that is called `name`: the one that is kept, or one built now.

    It is built anew for another net, library, version or target, and where the file was cut short or changed.
    Raises BackendFault where the library refuses the net.
    """
    place = (folder or cache_folder("plans")) / f"{Path(name).stem}-{by.architecture}-{by.key(net)}.plan"
    known = kept(place)
    if known is not None:
        return Plan(place, known, built=False)
    data = build(name, net, by)
    keep(place, data)
    return Plan(place, data, built=True)


def build(name: str, net: bytes, by: Builder, ranges: Sequence[tuple[int, int, int]] = RANGES) -> bytes:
    """Build a plan of a net, with a profile for each of `ranges`. Raises BackendFault where the library refuses it."""
    making, network, said = parse(name, net, by)
    trt, config = by.module, making.create_builder_config()
    for flag in by.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if by.rtx:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.CURRENT if by.card else _targets(trt)[by.architecture], 0)
    for sizes in ranges:
        profile = making.create_optimization_profile()
        for at in range(network.num_inputs):
            given = network.get_input(at)
            profile.set_shape(given.name, *((size, *given.shape[1:]) for size in sizes))  # raises what it does not take
        if config.add_optimization_profile(profile) < 0:
            raise _refused(name, by, said.errors)
    made = making.build_serialized_network(network, config)
    if made is None:
        raise _refused(name, by, said.errors)
    return bytes(made)


def parse(name: str, net: bytes, by: Builder) -> tuple[Any, Any, Any]:
    """The library's builder, its network, in which every type is as the net says it, and its `listener`. Raises BackendFault."""
    trt = by.module
    said = listener(trt)
    making = trt.Builder(said)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # where it cannot be asked for, it is the only way
    network = making.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, said)
    if not parser.parse(net):
        raise _refused(name, by, [parser.get_error(at).desc() for at in range(parser.num_errors)])
    return making, network, said


def listener(trt: Any) -> Any:
    """What the library speaks to: all goes into the log, errors also into `errors`."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        """See `listener`."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by the library."""
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            log.debug("%s", message)

    return Listener()


def _targets(trt: Any) -> dict[str, Any]:
    """The architectures that TensorRT-RTX builds for without a card."""
    members = getattr(trt.ComputeCapability, "__members__", {})
    return {f"sm_{name[2:]}": value for name, value in members.items() if name.startswith("SM") and name[2:].isdigit()}


def _refused(name: str, by: Builder, errors: Sequence[str]) -> BackendFault:
    why = errors[0].strip().splitlines()[0] if errors else "without a word"
    return BackendFault(f"{by.title} refuses {name} for {by.architecture}: {why}.", "Use another version of it.")
