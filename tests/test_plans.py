"""Plans without a card: built for architectures, kept, found again, built anew; and how a plan is run, on a card that is played."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver

from engines.backends.ahead import nets
from engines.backends.found import Card
from engines.backends.half import half
from engines.backends.plans import RANGES, Builder, build, builder, parse, plan
from engines.backends.tensorrt import BATCHES, TensorRTNet, bucket
from engines.errors import BackendFault
from tests.nets import renderer_nets

pytest.importorskip("tensorrt_rtx", reason="plans need TensorRT-RTX, which is not for this machine")


@pytest.fixture(scope="module")
def ready() -> dict[str, bytes]:
    return dict(nets()) | {name: half(data) for name, data in renderer_nets().items()}


def test_networks_are_of_standard_layers_in_float16(ready: dict[str, bytes]) -> None:
    by, grids = builder("sm_89"), 0
    for name, net in ready.items():
        _, network, _ = parse(name, net, by)
        layers = [network.get_layer(at) for at in range(network.num_layers)]
        assert not [layer.name for layer in layers if "PLUGIN" in str(layer.type)], name
        for layer in layers:
            if "GRID_SAMPLE" in str(layer.type):
                grids += 1
                assert len(layer.get_input(0).shape) == 4
            if str(layer.type).endswith(("MATRIX_MULTIPLY", "CONVOLUTION", "NORMALIZATION", "SOFTMAX")):
                assert layer.get_output(0).dtype == by.module.float16, layer.name
        sides = [network.get_input(at) for at in range(network.num_inputs)] + [network.get_output(at) for at in range(network.num_outputs)]
        assert all(min(side.shape[1:], default=1) > 0 for side in sides), name  # only the batch is open
    assert grids == 1


@pytest.mark.parametrize("architecture", ["sm_75", "sm_86", "sm_120"])
def test_every_net_is_built_for_other_architectures(architecture: str, ready: dict[str, bytes]) -> None:
    by = builder(architecture)
    assert by.rtx
    for name, net in ready.items():
        assert len(build(name, net, by, RANGES[:1])) > 0.8 * len(net), name  # the weights are in it


def test_a_plan_is_kept_and_built_anew_where_anything_differs(ready: dict[str, bytes], tmp_path: Path) -> None:
    net, by = ready["picture-decoder.onnx"], builder("sm_89")
    first = plan("a.onnx", net, by, tmp_path)
    again = plan("a.onnx", net, by, tmp_path)
    assert (first.built, again.built) == (True, False)
    assert (first.place, first.data) == (again.place, again.data)
    first.place.write_bytes(first.place.read_bytes()[:1000])
    assert plan("a.onnx", net, by, tmp_path).built
    assert not plan("a.onnx", net, by, tmp_path).built
    other = Builder(by.module, by.name, "0.0", by.architecture, by.card)
    keys = {one.key(some) for one in (by, other, builder("sm_120")) for some in (net, net + b" ")}
    assert len(keys) == 6
    assert [path.name for path in tmp_path.iterdir()] == [first.place.name]


def test_what_cannot_be_built_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackendFault, match=r"sm_90 cannot be built here.*sm_89.*pip install tensorrt"):
        builder("sm_90")
    here = builder("sm_90", [Card("NVIDIA H100", "sm_90", 80 << 30)])
    assert here.card == "NVIDIA H100"  # by the card's own compiler
    with pytest.raises(BackendFault, match=r"refuses a.onnx for sm_89"):
        plan("a.onnx", b"no net", builder("sm_89"), tmp_path)
    assert not list(tmp_path.iterdir())


class PlayedCard:
    """Memory of this machine in the place of a card's."""

    stream = 7

    def __init__(self) -> None:
        self.rooms: dict[int, Any] = {}

    def room(self, size: int) -> Any:
        memory = np.full(size, 0xFF, np.uint8)
        self.rooms[memory.ctypes.data] = memory
        return SimpleNamespace(address=memory.ctypes.data)

    def leave(self, room: Any) -> None:
        del self.rooms[room.address]

    def staging(self, size: int) -> Any:
        return np.zeros(size, np.uint8)

    def put(self, data: Any, address: int) -> None:
        ctypes.memmove(address, data.ctypes.data, data.nbytes)

    def get(self, address: int, data: Any) -> None:
        ctypes.memmove(data.ctypes.data, address, data.nbytes)

    def wait(self) -> None:
        pass


class PlayedEngine:
    """What `tensorrt_rtx` makes of a plan, for one net: y = x / 2 in float16, of three numbers a row."""

    num_io_tensors = 2

    def get_tensor_name(self, at: int) -> str:
        return "xy"[at]

    def get_tensor_dtype(self, name: str) -> Any:
        return trt().float16

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3)

    def get_tensor_mode(self, name: str) -> Any:
        return trt().TensorIOMode.INPUT if name == "x" else trt().TensorIOMode.OUTPUT

    def create_runtime_config(self) -> Any:
        return SimpleNamespace()

    def create_execution_context(self, options: Any) -> Any:
        assert options.dynamic_shapes_kernel_specialization_strategy == trt().DynamicShapesKernelSpecializationStrategy.EAGER
        return PlayedContext()


class PlayedContext:
    def __init__(self) -> None:
        self.at: dict[str, int] = {}
        self.profile = -1
        self.batch = 0

    def set_optimization_profile_async(self, profile: int, stream: int) -> None:
        self.profile = profile

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        assert self.profile == (shape[0] > 1)
        self.batch = shape[0]

    def set_tensor_address(self, name: str, address: int) -> None:
        self.at[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        x, y = (np.frombuffer((ctypes.c_char * (self.batch * 6)).from_address(self.at[name]), np.float16) for name in "xy")
        y[:] = x / 2
        Capture.last = self.execute_async_v3
        return True


class Capture:
    """CUDA's driver as far as graphs go."""

    last: Callable[[int], bool]
    launched = 0

    @classmethod
    def launch(cls, graph: Callable[[int], bool], stream: int) -> tuple[int]:
        cls.launched += 1
        return (0 if graph(stream) else 1,)


def trt() -> Any:
    return builder("sm_89").module


def test_a_batch_is_filled_up_to_the_next_size_and_parted_where_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "cuStreamBeginCapture", lambda stream, mode: (0,))
    monkeypatch.setattr(driver, "cuStreamEndCapture", lambda stream: (0, Capture.last))
    monkeypatch.setattr(driver, "cuGraphInstantiate", lambda graph, flags: (0, graph))
    monkeypatch.setattr(driver, "cuGraphDestroy", lambda graph: (0,))
    monkeypatch.setattr(driver, "cuGraphExecDestroy", lambda graph: (0,))
    monkeypatch.setattr(driver, "cuGraphLaunch", Capture.launch)
    by, card = builder("sm_89"), PlayedCard()
    played = SimpleNamespace(**{name: getattr(by.module, name) for name in dir(by.module) if not name.startswith("__")})
    played.Runtime = lambda said: SimpleNamespace(deserialize_cuda_engine=lambda data: PlayedEngine() if data == b"plan" else None)
    by = Builder(played, by.name, by.version, by.architecture, by.card)
    net = TensorRTNet(b"plan", by, card, {"a": "b"})
    assert len(card.rooms) == 2
    for batch in (1, 2, 3, 64, 150):
        x = np.random.default_rng(batch).normal(size=(batch, 3)).astype(np.float16).astype(np.float32)
        Capture.launched = 0
        out = net.run({"x": x})
        assert out["y"].dtype == np.float32
        assert np.array_equal(out["y"], (x.astype(np.float16) / 2).astype(np.float32))
        assert Capture.launched == -(-batch // 64)
    assert len(card.rooms) == 2  # nothing was taken meanwhile
    net.close()
    assert not card.rooms
    with pytest.raises(BackendFault, match="cannot load its plan"):
        TensorRTNet(b"another", by, card, {})


def test_buckets() -> None:
    assert [bucket(batch) for batch in (1, 2, 3, 5, 33, 64)] == [1, 2, 4, 8, 64, 64]
    for batch in (0, BATCHES[-1] + 1):
        with pytest.raises(ValueError, match="1 to 64"):
            bucket(batch)
