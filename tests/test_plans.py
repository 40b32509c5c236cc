"""Plans without a card: built for architectures, kept, found again, built anew; and how a plan is run, on a card that is acted."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.appearance.config import REFINER
from engines.backends import plans
from engines.backends.ahead import nets
from engines.backends.found import Card
from engines.backends.half import half
from engines.backends.plans import RANGES, Builder, Plan, build, builder, parse, plan
from engines.backends.tensorrt import BATCHES, TensorRTNet, on_card
from engines.backends.weights import read_weights
from engines.errors import BackendFault
from engines.motion.config import EARS, LIPS
from engines.pipeline import Pipeline
from native.cuda.compile import CompileError
from native.cuda.device import Card as Opened
from native.kept import keep, kept
from tests.driver import HostDriver
from tests.people import small_actor
from tests.test_card import a_card, step_both
from tests.test_features import speech
from tests.trt import COMPILED, Context, Engine, Options, acted

trt = pytest.importorskip("tensorrt_rtx", reason="plans need TensorRT-RTX, which is not for this machine")


@pytest.fixture(scope="module")
def ready() -> dict[str, bytes]:
    return dict(nets()) | {REFINER: half(read_weights(REFINER))}


def test_networks_are_of_standard_layers_in_float16(ready: dict[str, bytes]) -> None:
    by = builder("sm_89")
    for name, net in ready.items():
        _, network, _ = parse(name, net, by)
        layers = [network.get_layer(at) for at in range(network.num_layers)]
        assert not [layer.name for layer in layers if "PLUGIN" in str(layer.type)], name
        for layer in layers:
            if str(layer.type).endswith(("MATRIX_MULTIPLY", "CONVOLUTION", "NORMALIZATION", "SOFTMAX")):
                assert layer.get_output(0).dtype == by.module.float16, layer.name
        sides = [network.get_input(at) for at in range(network.num_inputs)] + [network.get_output(at) for at in range(network.num_outputs)]
        assert all(min(side.shape[1:], default=1) > 0 for side in sides), name  # only the batch is open


@pytest.mark.parametrize("architecture", ["sm_75", "sm_86", "sm_120"])
def test_every_net_is_built_for_other_architectures(architecture: str, ready: dict[str, bytes]) -> None:
    by = builder(architecture)
    assert by.rtx
    for name, net in ready.items():
        assert len(build(name, net, by, RANGES[:1])) > 0.8 * len(net), name  # the weights are in it


def test_a_plan_is_kept_and_built_anew_where_anything_differs(ready: dict[str, bytes], tmp_path: Path) -> None:
    net, by = ready[REFINER], builder("sm_89")
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
    here = builder("sm_90", [H100])
    assert (here.name, here.card) == ("tensorrt_rtx", "NVIDIA H100")  # by the card's own compiler
    with pytest.raises(BackendFault, match=r"refuses a.onnx for sm_89"):
        plan("a.onnx", b"no net", builder("sm_89"), tmp_path)
    assert not list(tmp_path.iterdir())


H100 = Card("NVIDIA H100", "sm_90", 80 << 30)


def test_where_one_library_does_not_name_a_card_the_other_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.13"))
    other = builder("sm_90", [H100])
    assert (other.name, other.card) == ("tensorrt", "NVIDIA H100")
    assert builder("sm_89", [Card("NVIDIA L4", "sm_89", 24 << 30)]).rtx  # which builds for it, whatever else there is
    with pytest.raises(BackendFault, match=r"sm_90 cannot be built here.*TensorRT 10\.13 builds for the card that is there"):
        builder("sm_90")


def test_what_a_plan_was_built_with_tells_it_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    by = builder("sm_89")
    before = by.key(b"net")
    assert by.flags == ("REQUIRE_USER_ALLOCATION",)
    monkeypatch.setitem(plans._FLAGS, by.name, ())
    assert by.key(b"net") != before


@pytest.fixture
def driver(kernels_folder: Path, monkeypatch: pytest.MonkeyPatch) -> HostDriver:
    """A card that is acted."""
    driver = HostDriver(kernels_folder)
    monkeypatch.setattr("cuda.bindings.driver", driver)
    monkeypatch.setattr("native.cuda.device.cubin", driver.code)
    return driver


def halved() -> bytes:
    """A net: y = x / 2 in float16, of three numbers a row."""
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["n", 3]) for name in "xy"]
    half_of = numpy_helper.from_array(np.array([0.5], np.float16), "half")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "half"], ["y"])], "g", sides[:1], sides[1:], [half_of])
    model = helper.make_model(graph)
    helper.set_model_props(model, {"a": "b"})
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("library", ["tensorrt_rtx", "tensorrt"])
def test_a_batch_is_filled_up_to_the_next_size_and_parted_where_it_is_too_large(driver: HostDriver, library: str, tmp_path: Path) -> None:
    by, card, net, compiled = acted(trt, driver, library), Opened(None), halved(), tmp_path / "a.compiled"
    ready = build("a.onnx", net, by)
    made = TensorRTNet(ready, net, by, card, compiled=compiled)
    assert driver.graphs == len(BATCHES)
    assert made.metadata == {"a": "b"}
    taken = driver.taken
    for batch in (1, 2, 3, 64, 150):
        x = np.random.default_rng(batch).normal(size=(batch, 3)).astype(np.float16).astype(np.float32)
        out = made.run({"x": x})
        assert out["y"].dtype == np.float32
        assert np.array_equal(out["y"], (x.astype(np.float16) / 2).astype(np.float32))
    assert driver.taken == taken
    made.close()
    with pytest.raises(BackendFault, match="cannot load its plan"):
        TensorRTNet(b"of another version", net, by, card)
    with pytest.raises(ValueError, match="default stream"):
        TensorRTNet(net, net, by, Opened(0))
    if library == "tensorrt":
        assert not compiled.exists()
        return
    assert kept(compiled) == COMPILED
    for harm, known in ((COMPILED, COMPILED), (b"for another card", b"")):
        keep(compiled, harm)
        TensorRTNet(ready, net, by, card, compiled=compiled)
        assert by.module.caches[-1].known == known  # what was compiled is not compiled again
        assert kept(compiled) == COMPILED


def test_what_cannot_be_captured_is_enqueued(driver: HostDriver, caplog: pytest.LogCaptureFixture) -> None:
    by, net = acted(trt, driver), halved()
    made = TensorRTNet(net, net, by, Opened(None), (1, 4))  # built without the flag that TensorRT-RTX wants for it
    assert driver.graphs == 0
    assert "not captured" in caplog.text
    assert made.run({"x": np.full((3, 3), 3, np.float32)})["y"].tolist() == [[1.5] * 3] * 3
    made.close()


def test_what_the_library_says_is_of_this_time(driver: HostDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    by, net = acted(trt, driver), halved()
    made = TensorRTNet(build("a.onnx", net, by), net, by, Opened(None), (1,))
    made._said.log(trt.ILogger.ERROR, "an old one, of no consequence")
    with monkeypatch.context() as patch:
        patch.setattr(Context, "execute_async_v3", lambda self, stream: made._said.log(trt.ILogger.ERROR, "out of memory"))
        with pytest.raises(BackendFault, match=r"cannot run its plan: out of memory\."):
            made._enqueue(made._buckets[1].context)
    for kind, name, answer in (
        (Options, "set_runtime_cache", False),
        (Options, "create_runtime_cache", None),
        (Engine, "create_runtime_config", None),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(kind, name, lambda *given, answer=answer: answer)
            with pytest.raises(BackendFault, match=r"cannot prepare its plan: without a word"):
                TensorRTNet(net, net, by, Opened(None), (1,))


def test_kernels_that_cannot_be_compiled_are_said_before_the_first_picture(driver: HostDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> bytes:
        raise CompileError("NVRTC is not here: pip install cuda-bindings nvidia-cuda-nvrtc")

    monkeypatch.setattr("native.cuda.device.cubin", refuse)
    with pytest.raises(BackendFault, match=r"The card does not go on: .*NVRTC is not here"):
        on_card()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["acted", "card"])
def test_a_whole_conversation_looks_the_same(
    where: str, ready: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """All that a card does, from speech to picture, against the CPU. Where it is acted, plans are run as ONNX defines them."""
    if where == "acted":
        by = acted(trt, request.getfixturevalue("driver"))
        monkeypatch.setattr("engines.backends.ahead.nets", lambda: ((name, ready[name]) for name in (EARS, LIPS)))
        monkeypatch.setattr("engines.backends.tensorrt.builder", lambda architecture, cards: by)
        monkeypatch.setattr(
            "engines.backends.tensorrt.plan", lambda name, net, by: Plan(tmp_path / f"{name}.plan", build(name, net, by), built=True)
        )
        monkeypatch.setattr("engines.backends.tensorrt.BATCHES", (1, 3))
    elif a_card() is None:
        pytest.skip("no NVIDIA card here")
    pipelines, actor = (Pipeline(), Pipeline(backend="tensorrt")), small_actor()
    assert pipelines[1].backend == "tensorrt"
    talks = [[pipeline.start(actor, seed=at, first=8 * at) for at in range(2)] for pipeline in pipelines]
    device, worst, taken = pipelines[1].appearance.painter.device, 0.0, 0
    for tick, block in enumerate(speech(1).reshape(-1, 640)[:10]):
        step_both(pipelines, talks, np.stack([block, 0.3 * block]))
        for one, other in zip(*talks, strict=True):
            worst = max(worst, float(np.linalg.norm(one.motion.shown - other.motion.shown, axis=-1).max()))
        if tick == 5:
            taken = device.taken
    assert worst < 0.001  # of the inter-ocular distance
    assert device.taken == taken  # no memory is asked for in a tick
    assert len(list(tmp_path.glob("*.compiled"))) == (2 if where == "acted" else 0)
