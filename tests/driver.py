"""CUDA's driver, acted by the host: all that `native.cuda.device.Card` and the nets on a card ask of it.

As unkind as a card may be: nothing is done before it is waited for, threads run the last first, and while a graph is captured nothing may
be copied, taken or waited for. What it is given is first given to CUDA's bindings, which refuse arguments that they do not understand,
and answers are of their types.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import driver as bindings

from native.cuda.compile import OPERATORS, HostKernels, host

STREAM = 7
Answer = tuple[Any, ...]


def a_driver() -> bool:
    """Whether there is a true one: then it is not asked for the sake of its arguments."""
    try:
        bindings.cuInit(0)
    except RuntimeError:
        return False
    return True


class HostDriver:
    """One card, "acted", of architecture sm_89, in place of the module `cuda.bindings.driver`. Its memory is the host's."""

    def __init__(self, folder: Path, status: int = 0) -> None:
        self._acts, self._strict = Acts(folder, status), not a_driver()

    def __getattr__(self, name: str) -> Any:
        real = getattr(bindings, name)
        if not name.startswith("cu"):
            return real  # types and numbers are as they are
        acted = getattr(self._acts, name)

        def ask(*given: Any) -> Any:
            if self._strict:
                with suppress(RuntimeError):  # there is no driver; other errors are of what was given
                    real(*given)
            return acted(*given)

        return ask

    @property
    def freed(self) -> int:
        """How often memory was given back."""
        return self._acts.freed

    @property
    def taken(self) -> int:
        """How often it was taken."""
        return self._acts.taken

    @property
    def graphs(self) -> int:
        """How many graphs are ready."""
        return self._acts.ready

    def enqueue(self, work: Callable[[], None], stream: int) -> None:
        """What libraries do on a stream."""
        self._acts.enqueue(work, stream)

    @property
    def capturing(self) -> bool:
        """Whether a graph is being captured."""
        return self._acts.capturing is not None

    def code(self, operator: str, architecture: str, cache: Path | None) -> bytes:
        """In the place of `cubin`: a card's code says nothing to a host."""
        assert architecture == "sm_89"
        return operator.encode()


class Acts:
    """What the driver answers."""

    def __init__(self, folder: Path, status: int) -> None:
        self._folder, self._status = folder, bindings.CUresult(status)
        self._memory: dict[int, Any] = {}
        self._modules: list[str] = []
        self._functions: list[tuple[str, str]] = []
        self._kernels: dict[str, HostKernels] = {}
        self._graphs: list[list[Callable[[], None]]] = []
        self._queues: dict[int, list[Callable[[], None]]] = {}  # what waits, of each stream
        self._copied: dict[int, list[tuple[int, int]]] = {}  # memory of the host that it reads or writes
        self._streams, self._events = STREAM - 1, [(0, 0)]  # of each event: its stream, and how much of that must be done
        self._done: dict[int, int] = {}
        self._current, self._lock = threading.local(), threading.RLock()
        self.capturing: list[Callable[[], None]] | None = None
        self.freed = self.taken = self.ready = 0

    def enqueue(self, work: Callable[[], None], stream: Any) -> None:
        assert self._current.context == 40, "CUDA wants a context in each thread"
        with self._lock:
            queue = self._queues.setdefault(int(stream), [])
            (queue if self.capturing is None or int(stream) != STREAM else self.capturing).append(work)

    def work_off(self, stream: int, until: int | None = None) -> None:
        """Do what waits of a stream: all, or until so much has been done of it."""
        assert self._current.context == 40, "CUDA wants a context in each thread"
        with self._lock:
            queue = self._queues.setdefault(stream, [])
            while queue and (until is None or self._done.get(stream, 0) < until):
                queue.pop(0)()
                self._done[stream] = self._done.get(stream, 0) + 1
            if not queue:
                self._copied.pop(stream, None)

    def cuInit(self, flags: int) -> Answer:  # noqa: N802 these are the driver's names
        return (self._status,)

    def cuGetErrorName(self, status: int) -> Answer:  # noqa: N802
        return 0, b"CUDA_ERROR_NO_DEVICE"

    def cuDeviceGet(self, number: int) -> Answer:  # noqa: N802
        return 0, bindings.CUdevice(number)

    def cuDevicePrimaryCtxRetain(self, device: Any) -> Answer:  # noqa: N802
        return 0, bindings.CUcontext(40 + int(device))

    def cuCtxSetCurrent(self, context: Any) -> Answer:  # noqa: N802
        assert int(context) == 40
        self._current.context = 40
        return (0,)

    def cuDeviceGetName(self, length: int, device: Any) -> Answer:  # noqa: N802
        return 0, b"acted".ljust(length, b"\0")

    def cuDeviceGetAttribute(self, which: Any, device: Any) -> Answer:  # noqa: N802
        return 0, {75: 8, 76: 9}[int(which)]

    def cuMemGetInfo(self) -> Answer:  # noqa: N802
        return 0, 1 << 30, 2 << 30

    def cuStreamCreate(self, flags: int) -> Answer:  # noqa: N802
        assert int(flags) == 1  # it waits for nobody else's work
        self._streams += 1
        return 0, bindings.CUstream(self._streams)

    def cuMemAlloc(self, size: int) -> Answer:  # noqa: N802
        assert self.capturing is None
        assert self._current.context == 40, "CUDA wants a context in each thread"
        self.taken += 1
        memory = np.full(size + 256, 0xCD, np.uint8)
        address = -(-memory.ctypes.data // 256) * 256
        self._memory[address] = memory
        return 0, bindings.CUdeviceptr(address)

    def cuMemFree(self, address: Any) -> Answer:  # noqa: N802
        assert not self._queues.get(STREAM)
        del self._memory[int(address)]
        self.freed += 1
        return (0,)

    def cuMemHostAlloc(self, size: int, flags: int) -> Answer:  # noqa: N802
        return 0, int(self.cuMemAlloc(size)[1])

    def cuMemFreeHost(self, address: int) -> Answer:  # noqa: N802
        assert self._current.context == 40, "CUDA wants a context in each thread"
        memory = self._memory.pop(address)
        with self._lock:
            waiting = [part for parts in self._copied.values() for part in parts]
        assert not any(first < address + len(memory) and last > address for first, last in waiting)
        self.freed += 1
        return (0,)

    def cuMemcpyHtoDAsync(self, target: Any, source: int, size: int, stream: Any) -> Answer:  # noqa: N802
        assert self.capturing is None
        self._copied.setdefault(int(stream), []).append((source, source + size))
        self.enqueue(lambda: ctypes.memmove(int(target), source, size), stream)
        return (0,)

    def cuMemcpyDtoHAsync(self, target: int, source: Any, size: int, stream: Any) -> Answer:  # noqa: N802
        assert self.capturing is None
        self._copied.setdefault(int(stream), []).append((target, target + size))
        self.enqueue(lambda: ctypes.memmove(target, int(source), size), stream)
        return (0,)

    def cuStreamSynchronize(self, stream: Any) -> Answer:  # noqa: N802
        assert self.capturing is None or int(stream) != STREAM
        self.work_off(int(stream))
        return (0,)

    def cuEventCreate(self, flags: int) -> Answer:  # noqa: N802
        assert int(flags) == 2  # it takes no time
        self._events.append((0, 0))
        return 0, bindings.CUevent(len(self._events) - 1)

    def cuEventRecord(self, event: Any, stream: Any) -> Answer:  # noqa: N802
        assert self.capturing is None
        with self._lock:
            waits = len(self._queues.get(int(stream), []))
            self._events[int(event)] = int(stream), self._done.get(int(stream), 0) + waits
        return (0,)

    def cuEventSynchronize(self, event: Any) -> Answer:  # noqa: N802
        assert self.capturing is None
        self.work_off(*self._events[int(event)])
        return (0,)

    def cuModuleLoadData(self, code: int) -> Answer:  # noqa: N802
        operator = next(name for name in OPERATORS if ctypes.string_at(code, len(name)) == name.encode())
        assert operator not in self._modules  # each is loaded once
        self._modules.append(operator)
        return 0, bindings.CUmodule(len(self._modules))

    def cuModuleGetFunction(self, module: Any, name: bytes) -> Answer:  # noqa: N802
        operator = self._modules[int(module) - 1]
        assert name.decode() in OPERATORS[operator]
        self._functions.append((operator, name.decode()))
        return 0, bindings.CUfunction(len(self._functions))

    def cuLaunchKernel(  # noqa: N802
        self, function: Any, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: Any,
        arguments: Any, extra: int,
    ) -> Answer:  # fmt: skip
        assert (gz, by, bz, shared, extra) == (1, 1, 1, 0, 0)
        (sessions, count), (first, second) = arguments
        assert (first, second) == (ctypes.c_void_p, ctypes.c_int)
        operator, kernel = self._functions[int(function) - 1]
        if operator not in self._kernels:
            self._kernels[operator] = replace(host(operator, self._folder), backwards=True)
        self.enqueue(lambda: self._kernels[operator].launch(kernel, (gx, gy), bx, sessions, count), stream)
        return (0,)

    def cuStreamBeginCapture(self, stream: Any, mode: Any) -> Answer:  # noqa: N802
        assert int(stream) == STREAM
        assert self.capturing is None
        self.capturing = []
        return (0,)

    def cuStreamEndCapture(self, stream: Any) -> Answer:  # noqa: N802
        assert int(stream) == STREAM
        assert self.capturing is not None
        self._graphs.append(self.capturing)
        self.capturing = None
        return 0, bindings.CUgraph(len(self._graphs))

    def cuGraphInstantiate(self, graph: Any, flags: int) -> Answer:  # noqa: N802
        self._graphs.append(list(self._graphs[int(graph) - 1]))
        self.ready += 1
        return 0, bindings.CUgraphExec(len(self._graphs))

    def cuGraphLaunch(self, graph: Any, stream: Any) -> Answer:  # noqa: N802
        assert self._graphs[int(graph) - 1]
        for work in self._graphs[int(graph) - 1]:
            self.enqueue(work, stream)
        return (0,)

    def cuGraphDestroy(self, graph: Any) -> Answer:  # noqa: N802
        self._graphs[int(graph) - 1] = []
        return (0,)

    def cuGraphExecDestroy(self, graph: Any) -> Answer:  # noqa: N802
        return self.cuGraphDestroy(graph)
