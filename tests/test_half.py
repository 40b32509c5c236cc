"""Nets in half precision say what they say in full: lips, and the renderer's flow, weights and colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.appearance.config import NETS
from engines.backends.ahead import nets
from engines.backends.cpu import CpuNet
from engines.backends.half import half
from engines.backends.weights import read_weights
from engines.motion.config import EARS, EXACT, LIPS
from engines.motion.engine import DiffusionMotion
from engines.spec import TICK
from tests.nets import DefinedNet, renderer_nets
from tests.people import small_actor
from tests.test_features import speech


@pytest.fixture(scope="module")
def ready() -> dict[str, bytes]:
    return dict(nets()) | {name: half(data) for name, data in renderer_nets().items()}


def test_lips_stay_within_a_thousandth_of_the_eyes_distance(ready: dict[str, bytes]) -> None:
    """Three voices in one batch; the last one has talked for hours: its ticks are more than float16 counts."""
    full, rough = DiffusionMotion(), DiffusionMotion(ears=DefinedNet(ready[EARS]), lips=DefinedNet(ready[LIPS]))
    sounds = np.stack([speech(3), speech(3, seed=1) * 0.3, speech(3, seed=2)]).reshape(3, -1, TICK)
    worst, moved = 0.0, 0.0
    states = [full.start(small_actor(), seed) for seed in range(3)]
    states[2] = replace(states[2], hearing=replace(states[2].hearing, ticks=100_001))
    others = list(states)
    for at in range(sounds.shape[1]):
        states, motion = full.step(states, sounds[:, at])
        others, near = rough.step(others, sounds[:, at])
        worst = max(worst, float(np.linalg.norm(motion - near, axis=-1).max()))
        moved = max(moved, float(np.linalg.norm(motion - motion[:, :1], axis=-1).max()))
    assert moved > 0.05
    assert worst < 0.001


def test_the_renderer_says_the_same(ready: dict[str, bytes]) -> None:
    files = renderer_nets()
    full, rough = ([kind(data) for data in some] for kind, some in ((CpuNet, files.values()), (DefinedNet, [ready[name] for name in NETS])))

    def all_of(lips, face, fusion, decoder):  # type: ignore[no-untyped-def]
        seen = np.random.default_rng(6)
        sizes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in onnx.load_model_from_string(files[NETS[2]]).graph.input}
        b, k, side = 2, sizes["lips"][1], 2 * sizes["drawn"][2]
        smooth = [np.repeat(np.repeat(seen.random((b * n, c, side // 8, side // 8), np.float32), 8, 2), 8, 3) for n, c in ((k, 3), (1, 4))]
        places = seen.uniform(-0.1, 1.1, (b, k, side // 4, side // 4, 2)).astype(np.float32)  # also beyond the edge
        drawn = (seen.random((b, 3, side // 2, side // 2)) > 0.5).astype(np.float32)
        prior = seen.dirichlet(np.ones(k), b).astype(np.float32)
        of_lips = lips.run({"picture": smooth[0]})["lips"].reshape(b, k, -1, side // 4, side // 4)
        fused = fusion.run({
            "lips": of_lips, "places": places, "face": face.run({"picture": smooth[1]})["face"], "drawn": drawn,
            "far": seen.normal(0, 0.1, (b, k, 2)).astype(np.float32), "prior": prior,
        })  # fmt: skip
        added = decoder.run({"blended": smooth[0][:b], "features": fused["features"], "drawn": drawn})["added"]
        return {"flow": fused["flow"] * side, "weights": fused["weights"], "added": added * 255}

    true, near = all_of(*full), all_of(*rough)
    for name, most in (("flow", 0.1), ("weights", 0.02), ("added", 2)):
        assert true[name].std() > most / 5, name  # it says something
        assert np.abs(true[name] - near[name]).max() < most, name


def test_every_number_has_the_type_that_was_asked_for(ready: dict[str, bytes]) -> None:
    for name, data in ready.items():
        graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data), strict_mode=True, data_prop=True).graph
        assert {node.domain for node in graph.node} <= {""}, name  # no plug-ins
        sizes = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
        for node in graph.node:
            if node.op_type == "GridSample":
                assert len(sizes[node.input[0]].shape.dim) == 4
        wide = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        assert wide == {value.name for value in graph.input} & set(EXACT)
        assert all(value.type.tensor_type.elem_type == TensorProto.FLOAT16 for value in graph.output)
        assert all(dim.dim_value > 0 for value in graph.output for dim in value.type.tensor_type.shape.dim[1:]), name
        weights = [given for given in graph.initializer if given.data_type == TensorProto.FLOAT]
        assert sum(int(np.prod(given.dims)) for given in weights) < 100
        assert not [given for given in graph.initializer if given.data_type == TensorProto.INT8]


def test_what_a_file_says_of_itself_stays(ready: dict[str, bytes]) -> None:
    assert DefinedNet(ready[LIPS]).metadata == CpuNet(read_weights(LIPS)).metadata | DefinedNet(ready[LIPS]).metadata
    assert "mytalk" in DefinedNet(ready[LIPS]).metadata


def test_a_weight_that_is_too_large_is_named() -> None:
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "y")]
    big = numpy_helper.from_array(np.array([1e5], np.float32), "big")
    model = helper.make_model(helper.make_graph([helper.make_node("Mul", ["x", "big"], ["y"])], "g", sides[:1], sides[1:], [big]))
    with pytest.raises(ValueError, match="big goes to 1e"):
        half(model.SerializeToString())
