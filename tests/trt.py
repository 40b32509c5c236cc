"""TensorRT's libraries, acted: a plan is the ONNX file that it was made of, run as ONNX defines it, on the card that `HostDriver` acts."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import tensorrt_rtx
from onnx import TensorProto

from engines.backends.plans import RANGES, Builder
from tests.driver import HostDriver
from tests.nets import DefinedNet

CAPTURABLE = b"takes no memory"
COMPILED = b"compiled for the card that is acted"


def acted(module: Any, driver: HostDriver, name: str = "tensorrt_rtx") -> Builder:
    """A builder for it. `module` is a true library, of which everything is taken that needs no card."""
    played = SimpleNamespace(**{name: getattr(module, name) for name in dir(module) if not name.startswith("__")})
    played.caches, played.always = [], name == "tensorrt"  # whose plans take no memory while they run
    played.Builder = lambda said: _Making(module.Builder(said))
    played.OnnxParser = lambda network, said: _Parsing(module.OnnxParser(network.true, said), network)
    played.Runtime = lambda said: SimpleNamespace(deserialize_cuda_engine=lambda plan: _engine(plan, played, driver))
    return Builder(played, name, "1.0", "sm_89", "")


class _Making:
    """See `IBuilder`: what is built is the ONNX file, marked where it was asked to take no memory while it runs."""

    def __init__(self, true: Any) -> None:
        self._true = true

    def __getattr__(self, name: str) -> Any:
        return getattr(self._true, name)

    def create_network(self, flags: int) -> Any:
        return _Network(self._true.create_network(flags))

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        flag = tensorrt_rtx.BuilderFlag.REQUIRE_USER_ALLOCATION
        return (CAPTURABLE if config.get_flag(flag) else b"") + network.net


class _Network:
    def __init__(self, true: Any) -> None:
        self.true, self.net = true, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.true, name)


class _Parsing:
    def __init__(self, true: Any, network: _Network) -> None:
        self._true, self._network = true, network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._true, name)

    def parse(self, net: bytes) -> bool:
        self._network.net = net
        return bool(self._true.parse(net))


def _engine(plan: bytes, trt: Any, driver: HostDriver) -> Any:
    return None if plan == b"of another version" else Engine(plan, trt, driver)


class Engine:
    """See `ICudaEngine`."""

    def __init__(self, plan: bytes, trt: Any, driver: HostDriver) -> None:
        self.capturable, plan = trt.always or plan.startswith(CAPTURABLE), plan.removeprefix(CAPTURABLE)
        self.trt, self.driver, self.net = trt, driver, DefinedNet(plan)
        graph = onnx.load_model_from_string(plan).graph
        self.given = [value.name for value in graph.input]
        kinds = {TensorProto.FLOAT: trt.float32, TensorProto.FLOAT16: trt.float16}
        sides = {value.name: value.type.tensor_type for value in (*graph.output, *graph.input)}
        self.sides = {
            name: (kinds[side.elem_type], tuple(one.dim_value or -1 for one in side.shape.dim)) for name, side in sides.items()
        }  # outputs first: a library orders them as it likes
        self.made: list[str] = [name for name in self.sides if name not in self.given]
        shapes = self.net.run({name: np.zeros((1, *self.sides[name][1][1:]), np.float32) for name in self.given})
        for name, array in shapes.items():  # whose sides the file does not say
            self.sides[name] = (self.sides[name][0], (-1, *array.shape[1:]))
        self.num_io_tensors = len(self.sides)

    def get_tensor_name(self, at: int) -> str:
        return list(self.sides)[at]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.sides[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.sides[name][1]

    def create_runtime_config(self) -> Any:
        return Options(self.trt)

    def create_execution_context(self, options: Any = None) -> Any:
        if options is not None:
            assert options.dynamic_shapes_kernel_specialization_strategy == self.trt.DynamicShapesKernelSpecializationStrategy.EAGER
            assert options.cache is self.trt.caches[-1]
        return Context(self)


class Options:
    """See `IRuntimeConfig`."""

    def __init__(self, trt: Any) -> None:
        self.trt, self.cache = trt, None

    def create_runtime_cache(self) -> Any:
        cache = SimpleNamespace(known=b"")

        def deserialize(data: bytes) -> bool:
            cache.known = data if data == COMPILED else b""
            return data == COMPILED

        cache.deserialize, cache.serialize = deserialize, lambda: COMPILED
        self.trt.caches.append(cache)
        return cache

    def set_runtime_cache(self, cache: Any) -> bool:
        self.cache = cache
        return True


class Context:
    """See `IExecutionContext`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.at: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.profile = -1

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = RANGES[self.profile]
        self.shapes[name] = shape
        return least <= shape[0] <= most and shape[1:] == self.engine.sides[name][1][1:]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.at[name] = address
        return address % 256 == 0

    def is_stream_capturable(self, stream: int) -> bool:
        return self.engine.capturable

    def execute_async_v3(self, stream: int) -> bool:
        assert set(self.at) == set(self.engine.sides)
        assert set(self.shapes) == set(self.engine.given)
        assert self.engine.capturable or not self.engine.driver.capturing, "it takes memory while it runs"
        self.engine.driver.enqueue(self.work, stream)
        return True

    def work(self) -> None:
        """All of a batch, also the rows that fill it up."""
        size = next(iter(self.shapes.values()))[0]
        made = self.engine.net.run({name: self.array(name, size) for name in self.engine.given})
        for name, array in made.items():
            self.array(name, size)[...] = array

    def array(self, name: str, size: int) -> Any:
        """What lies at a tensor's address."""
        kind, sides = self.engine.sides[name]
        shape, plain = (size, *sides[1:]), np.dtype(self.engine.trt.nptype(kind))
        held = (ctypes.c_char * (int(np.prod(shape)) * plain.itemsize)).from_address(self.at[name])
        return np.frombuffer(held, plain).reshape(shape)
