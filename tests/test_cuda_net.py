"""The nets through torch: the operations that a card runs, run here on the CPU (on a card too where there is one)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the backend needs the extra `gpu`")
onnx = pytest.importorskip("onnx", reason="the backend needs the extra `gpu`")

from benchmarks import kernels  # noqa: E402
from engines import features  # noqa: E402
from engines.backends.cpu import CpuNet  # noqa: E402
from engines.backends.cuda import BUCKETS, CudaNet, divided  # noqa: E402
from engines.backends.weights import read_weights  # noqa: E402
from engines.errors import WeightsFault  # noqa: E402
from engines.motion.config import EARS, LIPS, Config, read_config  # noqa: E402
from engines.motion.engine import DiffusionMotion  # noqa: E402
from native.cuda.compile import host  # noqa: E402
from tests.people import small_actor  # noqa: E402
from tests.test_features import speech  # noqa: E402


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def nets(request: pytest.FixtureRequest) -> dict[str, CudaNet]:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no NVIDIA card here")
    both = {name: CudaNet(read_weights(name), device=request.param) for name in (EARS, LIPS)}
    both[LIPS].prepare(2)
    return both


def inputs(name: str, config: Config, count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(count)
    sides = {"mel": (features.FRAMES, features.BANDS), "waiting": (config.waiting,), **dict.fromkeys(config.ring, config.memory[1:])}
    if name == LIPS:
        sides = {"heard": (config.heard,), "noisy": (config.components,), "who": (8,), "hidden": (config.hidden,)}
    made = {key: random.normal(0, 0.5, (count, *side)).astype(np.float32) for key, side in sides.items()}
    if name == EARS:
        return made | {"age": random.integers(0, 5000, count).astype(np.float32)}
    return made | {"level": random.uniform(0, 0.9, count).astype(np.float32)}


@pytest.mark.parametrize("name", [EARS, LIPS])
def test_outputs_are_those_of_the_cpu_for_any_batch(nets: dict[str, CudaNet], name: str) -> None:
    data = read_weights(name)
    cpu = CpuNet(data)
    assert nets[name].metadata["mytalk"] == cpu.metadata["mytalk"]
    config = read_config(cpu.metadata, name)
    for count in (1, 3, 1, BUCKETS[-1] + 6):
        given = inputs(name, config, count)
        made, true = nets[name].run(given), cpu.run(given)
        assert set(made) <= set(true)  # what has two names has both on the CPU
        for key, array in ((key, true[key]) for key in made):
            assert made[key].dtype == np.float32
            assert made[key].shape == array.shape
            assert np.abs(made[key] - array).max() < 2e-4 * max(1.0, float(np.abs(array).max()))
    again = nets[name].run(given)
    assert all(np.array_equal(again[key], made[key]) and again[key] is not made[key] for key in made)


def test_landmarks_are_those_of_the_cpu(nets: dict[str, CudaNet]) -> None:
    engines, actor = (DiffusionMotion(), DiffusionMotion(ears=nets[EARS], lips=nets[LIPS])), small_actor()
    states = [[engine.start(actor, seed) for seed in range(3)] for engine in engines]
    worst = 0.0
    for block in speech(2).reshape(-1, 640):
        motion = []
        for k, engine in enumerate(engines):
            states[k], made = engine.step(states[k], np.stack([block, 0.3 * block, np.roll(block, 99)]))
            motion.append(made)
        worst = max(worst, float(np.abs(motion[0] - motion[1]).max()))
    assert worst < 0.001  # of the inter-ocular distance


def test_batches_are_cut_into_the_fewest_equal_parts() -> None:
    assert divided(1) == [0, 1]
    assert divided(64) == [0, 64]
    assert divided(65) == [0, 32, 65]
    for count in range(1, 400):
        cuts = divided(count)
        sizes = np.diff(cuts)
        assert cuts[-1] == count
        assert sizes.min() > 0
        assert sizes.max() <= BUCKETS[-1]
        assert sizes.max() - sizes.min() <= 1


def test_a_net_that_it_cannot_run_is_refused_in_words() -> None:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("TopK", ["x", "k"], ["y", "i"])
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, ["b", 4]), value("k", 7, [1])], [value("y", 1, ["b", 2])])
    with pytest.raises(WeightsFault, match=r"operators .* TopK.*--backend cpu"):
        CudaNet(onnx.helper.make_model(graph).SerializeToString(), device="cpu")


class OnHost:
    """torch, whose card is the host."""

    def __getattr__(self, name: str) -> Any:
        real = getattr(torch, name)
        if not callable(real):
            return real
        return lambda *given, **named: real(*given, **{key: value for key, value in named.items() if key != "device"})

    cuda = SimpleNamespace(empty_cache=lambda: None)


def once(torch: Any, work: Any, rounds: int) -> tuple[float, float]:
    work()
    return 1.0, 2.0


@pytest.mark.slow
def test_the_kernels_benchmark_measures_the_same_work_twice(
    kernels_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it but the card and the clock: it compares what torch makes with what the kernels make, and raises where they differ."""
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    monkeypatch.setattr(kernels, "milliseconds", once)
    monkeypatch.setattr(kernels, "bandwidth", lambda torch: 100.0)
    card = SimpleNamespace(name="host", architecture="", kernels=lambda operator: host(operator, kernels_folder))
    kernels.report(OnHost(), card, batch=1, rounds=1)
    said = capsys.readouterr().out
    for operator in ("warp", "sharpen", "interior", "composite", "copy"):
        assert f"| {operator}, " in said
    apart = [line.rsplit("|", 2)[1] for line in said.splitlines() if line.startswith(("| warp", "| composite"))]
    assert all(float(mean.split("/")[0]) < 1 for mean in apart)
