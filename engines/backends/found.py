"""What a machine has for running nets on a card. Looking starts nothing and imports none of the heavy packages."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
PACKAGES = {
    "cuda-bindings": "cuda.bindings",
    "nvidia-cuda-nvrtc": "",
    "onnx": "onnx",
    "torch": "torch",
    "tensorrt-rtx": "tensorrt_rtx",
    "tensorrt": "tensorrt",
    "nvidia-cuda-nvrtc-cu12": "",
    "tensorrt-rtx-cu12": "",
    "tensorrt-rtx-cu13": "",
    "tensorrt-cu12": "",
    "tensorrt-cu13": "",
}
"""What the extra `gpu` brings, and what takes its place: distributions, each with the module that it must have. Of some the name says for
which CUDA they are."""
_MAJOR, _MINOR = 75, 76  # of cuDeviceGetAttribute: the compute capability


@dataclass(frozen=True)
class Card:
    """An NVIDIA card that the driver lets this process use."""

    name: str
    architecture: str
    """As compilers call it: "sm_89"."""
    memory: int
    """Bytes."""


@dataclass(frozen=True)
class Found:
    """What was found."""

    driver: str = ""
    """The CUDA version up to which the driver goes, such as "13.0"; "" without a driver."""
    trouble: str = ""
    """What the driver said where it shows no card."""
    cards: tuple[Card, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of those of `PACKAGES` that are installed."""
    torch_cuda: str = ""
    """The CUDA version that torch was built for; "" where it was built for the CPU or is not there."""


def look(driver: str = DRIVER) -> Found:
    """Look at this machine. `driver` is the CUDA driver's library."""
    version, trouble, cards = _ask(driver)
    return Found(version, trouble, cards, {name: found for name in PACKAGES if (found := _version(name))}, _torch_cuda())


def _version(name: str) -> str:
    """Of a distribution whose module can be imported; "" where it is not there."""
    module = PACKAGES[name]
    try:
        return metadata.version(name) if not module or find_spec(module) else ""
    except (metadata.PackageNotFoundError, ModuleNotFoundError):
        return ""


def _torch_cuda() -> str:
    """What torch says of itself in a file: importing it would take seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    try:
        said = re.search(r"^cuda\b.*=\s*'([\d.]+)'", (Path(spec.origin).parent / "version.py").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return said[1] if said else ""


def _ask(library: str) -> tuple[str, str, tuple[Card, ...]]:
    """The driver's version, its trouble, its cards."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return "", "", ()
    number = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(number))  # thousands and tens: 13000 is 13.0
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    if status := cuda.cuInit(0):
        name = ctypes.c_char_p()
        known = cuda.cuGetErrorName(status, ctypes.byref(name)) == 0 and name.value
        return version, name.value.decode() if known and name.value else f"CUDA error {status}", ()
    cuda.cuDeviceGetCount(ctypes.byref(number))
    return version, "", tuple(_card(cuda, at) for at in range(number.value))


def _card(cuda: ctypes.CDLL, at: int) -> Card:
    device, number, size, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(128)
    cuda.cuDeviceGet(ctypes.byref(device), at)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    parts = []
    for attribute in (_MAJOR, _MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        parts.append(number.value)
    return Card(name.value.decode(), f"sm_{parts[0]}{parts[1]}", size.value)
