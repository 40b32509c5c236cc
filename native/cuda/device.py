"""Where kernels run: a card, through CUDA's driver, or the host in its place, for tests and for machines without one."""

from __future__ import annotations

import copy
import ctypes
import weakref
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from native.cuda.compile import OPERATORS, CompileError, HostKernels, cubin, host
from native.cuda.launch import Kernels, Room, launch

Bytes = NDArray[np.uint8]
_ALIGNED = 256  # bytes, of rooms


class CardError(RuntimeError):
    """There is no card, or what its driver says."""


class Device(Protocol):
    """Memory, copies and launches, in the order in which they are asked for. Of one thread: another takes what is `beside` it."""

    name: str
    free: int
    """Bytes that were free when it was opened."""
    taken: int
    """How often memory was taken."""

    def room(self, size: int) -> Room:
        """Memory, aligned to 256 bytes."""
        ...

    def leave(self, room: Room) -> None:
        """Give memory back, once all that was asked for before is done."""
        ...

    def staging(self, size: int) -> Bytes:
        """Host memory that copies are quick from and to. It goes with the array."""
        ...

    def put(self, data: Bytes, address: int) -> None:
        """Copy contiguous data there. It must stay, and stay as it is, until `wait`: also where it is not from `staging`."""
        ...

    def get(self, address: int, data: Bytes) -> None:
        """Copy into contiguous data from there; it is whole after `wait`."""
        ...

    def run(self, operator: str, sessions: NDArray[np.void], address: int) -> None:
        """See `native.cuda.launch.launch`; every array must lie in a room."""
        ...

    def wait(self, mark: Any = None) -> None:
        """Until all of it is done; or what was asked for before a mark."""
        ...

    def mark(self, mark: Any = None) -> Any:
        """Mark what was asked for so far: anew, or with a mark that was waited for."""
        ...

    def beside(self) -> Device:
        """The same memory, for the thread that asks: its own order, in which none of this one's work is waited for."""
        ...


class Host:
    """The processor in place of a card. `folder` is where the kernels are built."""

    def __init__(self, folder: Path) -> None:
        self.name, self.free, self.taken = "host", 1 << 32, 0
        self._folder = folder
        self._rooms: dict[Room, Bytes] = {}
        self._kernels: dict[str, HostKernels] = {}

    def room(self, size: int) -> Room:
        """See `Device.room`."""
        self.taken += 1
        memory = np.zeros(size + _ALIGNED, np.uint8)
        room = Room(-(-memory.ctypes.data // _ALIGNED) * _ALIGNED, size)
        self._rooms[room] = memory
        return room

    def leave(self, room: Room) -> None:
        """See `Device.leave`."""
        del self._rooms[room]

    def staging(self, size: int) -> Bytes:
        """See `Device.staging`."""
        return np.zeros(size, np.uint8)

    def put(self, data: Bytes, address: int) -> None:
        """See `Device.put`."""
        ctypes.memmove(address, data.ctypes.data, data.nbytes)

    def get(self, address: int, data: Bytes) -> None:
        """See `Device.get`."""
        ctypes.memmove(data.ctypes.data, address, data.nbytes)

    def run(self, operator: str, sessions: NDArray[np.void], address: int) -> None:
        """See `Device.run`."""
        if operator not in self._kernels:
            self._kernels[operator] = host(operator, self._folder)
        launch(operator, self._kernels[operator], sessions, address, list(self._rooms))

    def wait(self, mark: Any = None) -> None:
        """See `Device.wait`."""

    def mark(self, mark: Any = None) -> Any:
        """See `Device.mark`."""

    def beside(self) -> Host:
        """See `Device.beside`: nothing here waits for anything."""
        return self


class Card:
    """An NVIDIA card, in the context that torch uses too. `stream` is the caller's, such as `torch.cuda.current_stream().cuda_stream`;
    None makes one.

    Kernels are loaded once, each when it is first run; `cache` as for `cubin`. Raises CardError where there is no card.
    """

    def __init__(self, stream: int | None = 0, number: int = 0, cache: Path | None = None) -> None:
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise CardError("CUDA's bindings are not installed: pip install cuda-bindings.") from error
        self._driver, self._cache = driver, cache
        try:
            self._asked(driver.cuInit(0))
            device = self._asked(driver.cuDeviceGet(number))
        except CardError as error:
            raise CardError(f"No NVIDIA card can be used here: {error}.") from error
        except RuntimeError as error:  # what the bindings raise where its library is missing
            raise CardError("No NVIDIA card can be used here: the driver is not installed.") from error
        self._context = self._asked(driver.cuDevicePrimaryCtxRetain(device))
        self._asked(driver.cuCtxSetCurrent(self._context))
        self.name = self._asked(driver.cuDeviceGetName(128, device)).split(b"\0")[0].decode()
        about = driver.CUdevice_attribute
        version = (about.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, about.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        major, minor = (self._asked(driver.cuDeviceGetAttribute(which, device)) for which in version)
        self.architecture = f"sm_{major}{minor}"
        self.free = int(self._asked(driver.cuMemGetInfo())[0])
        self.stream, self.taken = self._stream() if stream is None else stream, 0
        self._rooms: list[Room] = []
        self._kernels: dict[str, Kernels] = {}
        self._unused: deque[int] = deque()  # memory of the host that nobody has any more: given back where the context is current
        self._beside: Card | None = None

    def prepare(self, operators: Iterable[str] = tuple(OPERATORS)) -> None:
        """Have kernels compiled and loaded before anybody waits for them. Raises CardError where they cannot be compiled."""
        for operator in operators:
            self.kernels(operator)

    def room(self, size: int) -> Room:
        """See `Device.room`."""
        self.taken += 1
        room = Room(int(self._asked(self._driver.cuMemAlloc(max(size, 1)))), size)
        self._rooms.append(room)
        return room

    def leave(self, room: Room) -> None:
        """See `Device.leave`."""
        self._rooms.remove(room)
        self.wait()
        self._asked(self._driver.cuMemFree(room.address))

    def staging(self, size: int) -> Bytes:
        """See `Device.staging`."""
        while self._unused:
            self._asked(self._driver.cuMemFreeHost(self._unused.popleft()))
        address = int(self._asked(self._driver.cuMemHostAlloc(max(size, 1), 0)))
        memory = (ctypes.c_uint8 * size).from_address(address)
        weakref.finalize(memory, self._unused.append, address).atexit = False  # in whichever thread that is
        return np.ctypeslib.as_array(memory)

    def put(self, data: Bytes, address: int) -> None:
        """See `Device.put`."""
        self._asked(self._driver.cuMemcpyHtoDAsync(address, data.ctypes.data, data.nbytes, self.stream))

    def get(self, address: int, data: Bytes) -> None:
        """See `Device.get`."""
        self._asked(self._driver.cuMemcpyDtoHAsync(data.ctypes.data, address, data.nbytes, self.stream))

    def run(self, operator: str, sessions: NDArray[np.void], address: int) -> None:
        """See `Device.run`."""
        launch(operator, self.kernels(operator), sessions, address, tuple(self._rooms))  # another thread may take room meanwhile

    def kernels(self, operator: str) -> Kernels:
        """An operator's kernels, for memory that is not this object's own: see `native.cuda.launch.launch`."""
        if operator not in self._kernels:
            try:
                code = cubin(operator, self.architecture, self._cache)
            except CompileError as error:
                raise CardError(f"its kernels cannot be compiled: {error}") from error
            self._kernels[operator] = _CardKernels(self, self._driver, np.frombuffer(code, np.uint8))
        return self._kernels[operator]

    def wait(self, mark: Any = None) -> None:
        """See `Device.wait`."""
        self._asked(self._driver.cuStreamSynchronize(self.stream) if mark is None else self._driver.cuEventSynchronize(mark))

    def mark(self, mark: Any = None) -> Any:
        """See `Device.mark`."""
        if mark is None:
            mark = self._asked(self._driver.cuEventCreate(int(self._driver.CUevent_flags.CU_EVENT_DISABLE_TIMING)))
        self._asked(self._driver.cuEventRecord(mark, self.stream))
        return mark

    def beside(self) -> Card:
        """See `Device.beside`: a stream of its own."""
        self._asked(self._driver.cuCtxSetCurrent(self._context))
        if self._beside is None:
            self._beside = copy.copy(self)
            self._beside.stream, self._beside._beside = self._stream(), self._beside
        return self._beside

    def _stream(self) -> int:
        return int(self._asked(self._driver.cuStreamCreate(int(self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING))))

    def _asked(self, answer: tuple[Any, ...]) -> Any:
        return asked(self._driver, answer)


class _CardKernels:
    """An operator's kernels on a card."""

    def __init__(self, card: Card, driver: Any, code: Bytes) -> None:
        self._card, self._driver = card, driver
        self._module = asked(driver, driver.cuModuleLoadData(code.ctypes.data))
        self._functions: dict[str, Any] = {}

    def launch(self, kernel: str, grid: tuple[int, int], block: int, sessions: int, count: int) -> None:
        """See `native.cuda.launch.Kernels`."""
        if kernel not in self._functions:
            self._functions[kernel] = asked(self._driver, self._driver.cuModuleGetFunction(self._module, kernel.encode()))
        arguments = ((sessions, count), (ctypes.c_void_p, ctypes.c_int))
        asked(
            self._driver,
            self._driver.cuLaunchKernel(self._functions[kernel], *grid, 1, block, 1, 1, 0, self._card.stream, arguments, 0),
        )


def asked(driver: Any, answer: tuple[Any, ...]) -> Any:
    """What the driver answered: nothing, one thing, or several. Raises CardError where it refused."""
    status, *rest = answer
    if int(status):
        _, name = driver.cuGetErrorName(status)
        raise CardError(f"CUDA answered {name.decode() if name else int(status)}")
    return rest[0] if len(rest) == 1 else tuple(rest)
