"""The kernels' source compiled: by NVRTC for a card (kept on disk), or by the system's C++ compiler for the host."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from native.kept import cache_folder, keep, kept

OPERATORS = {
    "warp": ("warp_edges", "warp_bin", "warp_field", "warp"),
    "sharpen": ("sharpen_rows", "sharpen_columns", "sharpen_sums", "sharpen_amount", "sharpen"),
    "interior": ("interior",),
    "composite": ("colour_gather", "colour_rows", "colour_columns", "composite"),
    "copy": ("copy",),
}
"""The kernels of each operator, in the order in which they are launched."""
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


class CompileError(RuntimeError):
    """A compiler that is missing, or what it said."""


def source(operator: str) -> str:
    """The text that both compilers are given."""
    native = __package__.rpartition(".")[0]
    return files(f"{native}.cuda").joinpath("common.cuh").read_text() + files(f"{native}.{operator}").joinpath("cuda.cu").read_text()


def cubin(operator: str, architecture: str, cache: Path | None = None) -> bytes:
    """The operator's kernels as machine code of an architecture such as "sm_89".

    Kept in `cache` by source, architecture and NVRTC's version; a file there that was cut short is made anew.
    Raises CompileError without NVRTC, or with what it says of the source.
    """
    text, version = source(operator), nvrtc_version()
    key = hashlib.sha256("\0".join((text, architecture, version)).encode()).hexdigest()[:24]
    place = (cache or cache_folder("kernels")) / f"{operator}-{architecture}-{key}.cubin"
    if (known := kept(place)) is not None:
        return known
    from cuda.bindings import nvrtc

    (program,) = _checked(nvrtc.nvrtcCreateProgram(text.encode(), f"{operator}.cu".encode(), 0, None, None))
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(status):
            (size,) = _checked(nvrtc.nvrtcGetProgramLogSize(program))
            log = b" " * size  # these bindings write into bytes, and take nothing else
            _checked(nvrtc.nvrtcGetProgramLog(program, log))
            raise CompileError(f"{operator} for {architecture}: {log.decode(errors='replace')}")
        (size,) = _checked(nvrtc.nvrtcGetCUBINSize(program))
        code = b" " * size
        _checked(nvrtc.nvrtcGetCUBIN(program, code))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    keep(place, code)
    return code


def nvrtc_version() -> str:
    """The version of NVRTC, such as "13.2". Raises CompileError where it is missing."""
    try:
        from cuda.bindings import nvrtc

        return ".".join(str(part) for part in _checked(nvrtc.nvrtcVersion()))
    except (ImportError, RuntimeError) as error:
        raise CompileError("NVRTC is not here: pip install cuda-bindings nvidia-cuda-nvrtc") from error


@dataclass(frozen=True)
class HostKernels:
    """An operator's kernels compiled for this machine's processor."""

    library: ctypes.CDLL
    descriptor: int
    """Bytes of a session's descriptor."""
    backwards: bool = False
    """Whether threads run the last first: what a kernel makes does not depend on it."""

    def launch(self, kernel: str, grid: tuple[int, int], block: int, sessions: int, count: int) -> None:
        """Run a kernel over the grid, thread by thread; `sessions` is the address of `count` descriptors."""
        numbers = (ctypes.c_uint(n) for n in (self.backwards, *grid, block))
        self.library[f"host_{kernel}"](*numbers, ctypes.c_void_p(sessions), ctypes.c_int(count))


def host(operator: str, folder: Path, options: Sequence[str] = ()) -> HostKernels:
    """The same source for the CPU, built into `folder` if it is not there; `options` go to the compiler, behind its usual ones.

    Raises CompileError without a C++ compiler, or with what it says.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise CompileError("No C++ compiler is here: apt-get install g++")
    struct = operator.capitalize()
    lines = ["#define MYTALK_HOST", source(operator), f'extern "C" int descriptor() {{ return sizeof({struct}); }}']
    lines += [
        f'extern "C" void host_{kernel}(unsigned back, unsigned gx, unsigned gy, unsigned block, const {struct}* sessions, int count) {{'
        " gridDim = {gx, gy, 1}; blockDim = {block, 1, 1};"
        " for (u64 n = 0, all = (u64)gx * gy * block; n < all; n++) { u64 thread = back ? all - 1 - n : n;"
        " threadIdx.x = thread % block; blockIdx.x = thread / block % gx; blockIdx.y = thread / block / gx;"
        f" {kernel}(sessions, count); }} }}"
        for kernel in OPERATORS[operator]
    ]
    text, flags = "\n".join(lines), ("-std=c++17", "-O2", "-ffp-contract=off", *options)  # a sum is never made one with a product
    built = folder / f"{operator}-{hashlib.sha256(' '.join((*flags, text)).encode()).hexdigest()[:24]}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=folder) as building:
            code, library_file = Path(building) / f"{operator}.cpp", Path(building) / "built.so"
            code.write_text(text)
            command = [compiler, *flags, "-shared", "-fPIC", str(code), "-o", str(library_file)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CompileError(done.stderr)
            library_file.replace(built)
    library = ctypes.CDLL(str(built))
    return HostKernels(library, library.descriptor())


def _checked(answer: Sequence[object]) -> list[int]:
    status, *rest = answer
    if int(status):  # type: ignore[call-overload]
        raise CompileError(f"NVRTC answered {status}")
    return rest  # type: ignore[return-value]
