"""CUDA's driver, acted by the host: what `native.cuda.device.Card` asks of it, with the driver's order of arguments and answers."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from native.cuda.compile import OPERATORS, HostKernels, host

STREAM = 7
Answer = tuple[Any, ...]


class HostDriver:
    """One card, "acted", of architecture sm_89. Memory is the host's; a kernel runs when it is launched."""

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
    )

    def __init__(self, folder: Path, status: int = 0) -> None:
        self._folder, self._status = folder, status
        self._memory: dict[int, Any] = {}
        self._modules: list[str] = []
        self._kernels: dict[str, HostKernels] = {}
        self.freed = 0

    def code(self, operator: str, architecture: str, cache: Path | None) -> bytes:
        """In the place of `cubin`: a card's code says nothing to a host."""
        assert architecture == "sm_89"
        return operator.encode()

    def cuInit(self, flags: int) -> Answer:  # noqa: N802 these are the driver's names
        return (self._status,)

    def cuGetErrorName(self, status: int) -> Answer:  # noqa: N802
        return 0, b"CUDA_ERROR_NO_DEVICE"

    def cuDeviceGet(self, number: int) -> Answer:  # noqa: N802
        return 0, f"device {number}"

    def cuDevicePrimaryCtxRetain(self, device: str) -> Answer:  # noqa: N802
        return 0, f"context of {device}"

    def cuCtxSetCurrent(self, context: str) -> Answer:  # noqa: N802
        assert context == "context of device 0"
        return (0,)

    def cuDeviceGetName(self, length: int, device: str) -> Answer:  # noqa: N802
        return 0, b"acted".ljust(length, b"\0")

    def cuDeviceGetAttribute(self, which: str, device: str) -> Answer:  # noqa: N802
        return 0, {"major": 8, "minor": 9}[which]

    def cuMemGetInfo(self) -> Answer:  # noqa: N802
        return 0, 1 << 30, 2 << 30

    def cuMemAlloc(self, size: int) -> Answer:  # noqa: N802
        memory = np.full(size + 256, 0xCD, np.uint8)
        address = -(-memory.ctypes.data // 256) * 256
        self._memory[address] = memory
        return 0, address

    def cuMemFree(self, address: int) -> Answer:  # noqa: N802
        del self._memory[address]
        self.freed += 1
        return (0,)

    def cuMemHostAlloc(self, size: int, flags: int) -> Answer:  # noqa: N802
        return self.cuMemAlloc(size)

    def cuMemFreeHost(self, address: int) -> Answer:  # noqa: N802
        return self.cuMemFree(address)

    def cuMemcpyHtoDAsync(self, target: int, source: int, size: int, stream: int) -> Answer:  # noqa: N802
        assert stream == STREAM
        ctypes.memmove(target, source, size)
        return (0,)

    def cuMemcpyDtoHAsync(self, target: int, source: int, size: int, stream: int) -> Answer:  # noqa: N802
        return self.cuMemcpyHtoDAsync(target, source, size, stream)

    def cuStreamSynchronize(self, stream: int) -> Answer:  # noqa: N802
        assert stream == STREAM
        return (0,)

    def cuModuleLoadData(self, code: int) -> Answer:  # noqa: N802
        operator = next(name for name in OPERATORS if ctypes.string_at(code, len(name)) == name.encode())
        assert operator not in self._modules  # each is loaded once
        self._modules.append(operator)
        return 0, operator

    def cuModuleGetFunction(self, module: str, name: bytes) -> Answer:  # noqa: N802
        assert name.decode() in OPERATORS[module]
        return 0, (module, name.decode())

    def cuLaunchKernel(  # noqa: N802
        self, function: tuple[str, str], gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int,
        arguments: Any, extra: int,
    ) -> Answer:  # fmt: skip
        assert (gz, by, bz, shared, stream, extra) == (1, 1, 1, 0, STREAM, 0)
        (sessions, count), (first, second) = arguments
        assert (first, second) == (ctypes.c_void_p, ctypes.c_int)
        operator, kernel = function
        if operator not in self._kernels:
            self._kernels[operator] = host(operator, self._folder)
        self._kernels[operator].launch(kernel, (gx, gy), bx, sessions, count)
        return (0,)
