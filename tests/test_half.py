"""Nets in half precision say what they say in full: lips, and the refiner's flow and colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines import face
from engines.appearance.config import REFINER
from engines.appearance.zone import CELLS, NUMBERS, SIDE, K
from engines.backends.ahead import nets
from engines.backends.cpu import CpuNet
from engines.backends.half import half, read_metadata
from engines.backends.weights import read_weights
from engines.motion.config import EARS, EXACT, LIPS
from engines.motion.engine import DiffusionMotion
from engines.person import PRESENTER, Mouth, shape
from engines.spec import TICK
from tests.nets import DefinedNet
from tests.test_features import speech


@pytest.fixture(scope="module")
def ready() -> dict[str, bytes]:
    return dict(nets()) | {REFINER: half(read_weights(REFINER))}


def test_lips_stay_within_a_thousandth_of_the_eyes_distance(ready: dict[str, bytes]) -> None:
    """Three voices in one batch; the last one has talked for hours: its ticks are more than float16 counts."""
    full, rough = DiffusionMotion(), DiffusionMotion(ears=DefinedNet(ready[EARS]), lips=DefinedNet(ready[LIPS]))
    sounds = np.stack([speech(0.8), speech(0.8, seed=1) * 0.3, speech(0.8, seed=2)]).reshape(3, -1, TICK)
    worst, moved = 0.0, 0.0
    states = [full.begin(face.motion_of(shape(PRESENTER, Mouth())), 0.25, 0.05, None, seed) for seed in range(3)]
    states[2] = replace(states[2], hearing=replace(states[2].hearing, ticks=100_001))
    others = list(states)
    for at in range(sounds.shape[1]):
        states, motion = full.step(states, sounds[:, at])
        others, near = rough.step(others, sounds[:, at])
        worst = max(worst, float(np.linalg.norm(motion - near, axis=-1).max()))
        moved = max(moved, float(np.linalg.norm(motion - motion[:, :1], axis=-1).max()))
    assert moved > 0.05
    assert worst < 0.001


def test_the_refiner_says_the_same(ready: dict[str, bytes]) -> None:
    """Of two pictures by chance: flow in cells, colours of 255."""
    random, full = np.random.default_rng(6), read_weights(REFINER)
    given = {
        "picture": _picture(random, 3, SIDE), "references": _picture(random, 3 * K, CELLS),
        "drawn": (random.random((2, 4, CELLS, CELLS)) > 0.5).astype(np.float32),
        "numbers": random.normal(0, 0.5, (2, NUMBERS)).astype(np.float32),
    }  # fmt: skip
    true, defined, near = (net.run(given) for net in (CpuNet(full), DefinedNet(full), DefinedNet(ready[REFINER])))
    for name, scale in (("flow", CELLS), ("added", 127.5)):
        assert np.abs(true[name] - defined[name]).max() < 1e-4 * true[name].std(), name  # who judges is right
        assert true[name].std() * scale > 0.1, name  # it says something
        assert np.abs(true[name] - near[name]).max() < 0.03 * true[name].std(), name


def _picture(random: np.random.Generator, channels: int, side: int) -> np.ndarray:
    return np.kron(random.uniform(-1, 1, (2, channels, side // 8, side // 8)), np.ones((1, 1, 8, 8))).astype(np.float32)


def test_every_number_has_the_type_that_was_asked_for(ready: dict[str, bytes]) -> None:
    for name, data in ready.items():
        graph = onnx.load_model_from_string(data).graph
        assert {node.domain for node in graph.node} <= {""}, name  # no plug-ins
        wide = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        assert wide == {value.name for value in graph.input} & set(EXACT)
        assert all(value.type.tensor_type.elem_type == TensorProto.FLOAT16 for value in graph.output)
        weights = [given for given in graph.initializer if given.data_type == TensorProto.FLOAT]
        assert sum(int(np.prod(given.dims)) for given in weights) < 100
        assert not [given for given in graph.initializer if given.data_type == TensorProto.INT8]


def test_what_a_file_says_of_itself_stays(ready: dict[str, bytes]) -> None:
    assert read_metadata(ready[LIPS])["mytalk"] == CpuNet(read_weights(LIPS)).metadata["mytalk"]


def test_a_weight_that_is_too_large_is_named() -> None:
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "y")]
    big = numpy_helper.from_array(np.array([1e5], np.float32), "big")
    model = helper.make_model(helper.make_graph([helper.make_node("Mul", ["x", "big"], ["y"])], "g", sides[:1], sides[1:], [big]))
    with pytest.raises(ValueError, match="big goes to 1e"):
        half(model.SerializeToString())
