"""Which backend makes the pictures: what was asked for, or a sentence that says why it cannot be had."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from engines.backends.found import Found
from engines.errors import BackendFault

BACKENDS = ("auto", "cpu", "cuda", "tensorrt")
PROVED = ("cpu",)
"""Backends that have made whole pictures where they are made for: `auto` takes no other."""
UNPROVED = "it has not run on a card before this one: compare its pictures with --backend cpu, see docs/gpu.md"
_QUICKEST = ("tensorrt", "cuda")  # what `auto` takes, the first that can be had
EXTRA = "pip install 'mytalk-live[gpu]'"
_NEEDS = {"cuda": ("cuda-bindings", "nvidia-cuda-nvrtc", "onnx", "torch"), "tensorrt": ("cuda-bindings", "nvidia-cuda-nvrtc", "onnx")}
TENSORRT = ("tensorrt-rtx", "tensorrt")
"""Either will do."""
_INSTEAD = {"nvidia-cuda-nvrtc": "nvidia-cuda-nvrtc-cu12"}  # does, too
_CUDA = ("cuda-bindings", "nvidia-cuda-nvrtc")  # whose versions are CUDA's
_NAMED = {"cuda": ("nvidia-cuda-nvrtc",), "tensorrt": ("nvidia-cuda-nvrtc", *TENSORRT)}  # with "-cu12" behind, for that one


@dataclass(frozen=True)
class Lack:
    """Something that a backend needs and that is not there."""

    what: str
    """The rest of a sentence: "no NVIDIA driver was found"."""
    mend: str
    """What a person can do about it."""


@dataclass(frozen=True)
class Choice:
    """A backend, and what is said of it."""

    backend: str
    reason: str
    """Why it is not the quickest, or what is to be known of it; "" where there is nothing to be said."""

    def __str__(self) -> str:
        return f"backend {self.backend}" + (f" ({self.reason})" if self.reason else "")


def lacks(backend: str, found: Found) -> list[Lack]:
    """All that stands between this machine and a backend, what weighs most first. The CPU's is always ready."""
    if backend == "cpu":
        return []
    lacking = []
    if not found.driver:
        lacking.append(Lack("no NVIDIA driver was found", "install NVIDIA's driver: https://www.nvidia.com/drivers"))
    elif not found.cards:
        lacking.append(Lack(f"the NVIDIA driver shows no card ({found.trouble or 'it counts none'})", "nvidia-smi"))
    lacking += [
        Lack(f"{name} is not installed", EXTRA)
        for name in _NEEDS[backend]
        if name not in found.packages and _INSTEAD.get(name) not in found.packages
    ]
    if backend == "tensorrt" and not any(name in found.packages for name in TENSORRT):
        lacking.append(Lack("neither TensorRT-RTX nor TensorRT is installed", EXTRA))
    if found.driver:
        newer = {name: major for name, major in _built_for(backend, found).items() if major > _major(found.driver)}
        if newer:
            what = ", ".join(f"{name} wants CUDA {major}" for name, major in newer.items())
            older = f"or install what is for CUDA {_major(found.driver)}, such as 'cuda-bindings=={_major(found.driver)}.*'"
            lacking.append(Lack(f"{what}, the driver goes to {found.driver}", f"update NVIDIA's driver, {older}"))
    if backend == "cuda" and "torch" in found.packages:
        if not found.torch_cuda:
            lacking.append(Lack("torch was built for the CPU", "pip install --force-reinstall torch"))
        elif found.driver and _major(found.torch_cuda) > _major(found.driver):
            lacking.append(Lack(f"torch wants CUDA {found.torch_cuda}, the driver goes to {found.driver}", "update NVIDIA's driver"))
    return lacking


def choose(backend: str, found: Found, proved: Collection[str] = PROVED) -> Choice:
    """The backend for what was asked, one of `BACKENDS`. Raises BackendFault where it is not one, or cannot be had."""
    if backend == "auto":
        against = {quick: [lack.what for lack in lacks(quick, found)] or [UNPROVED] * (quick not in proved) for quick in _QUICKEST}
        ready = next((quick for quick in _QUICKEST if not against[quick]), None)
        return Choice(ready, "") if ready else Choice("cpu", "; ".join(f"{quick}: {against[quick][0]}" for quick in _QUICKEST))
    if backend not in BACKENDS:
        raise BackendFault(f"There is no backend {backend!r}.", f"There are: {', '.join(BACKENDS)}.")
    lacking = lacks(backend, found)
    if lacking:
        why = ", and ".join(lack.what for lack in lacking[:2])
        mends = "; ".join(dict.fromkeys(lack.mend for lack in lacking))
        raise BackendFault(
            f"The backend {backend} cannot be had: {why}.",
            f"To have it: {mends}. Else say --backend cpu; all that was found: mytalk doctor",
        )
    return Choice(backend, "" if backend in proved else UNPROVED)


def _built_for(backend: str, found: Found) -> dict[str, int]:
    """CUDA's major version for which packages are that a backend needs, where they say it; of two that do the same, the older one's."""
    made = {name: _major(found.packages[name]) for name in _CUDA if name in found.packages}
    for name in _NAMED[backend]:
        known = [major for major in (12, 13) if f"{name}-cu{major}" in found.packages]
        if known:
            made[name] = min(*known, made.get(name, known[0])) if name in made else min(known)
    return made


def _major(version: str) -> int:
    """A version's first number: drivers run what was built for the same one, or for an older one."""
    return int(version.split(".", maxsplit=1)[0])
