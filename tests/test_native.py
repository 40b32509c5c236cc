"""The operators against their definitions, over one table of cases each."""

from __future__ import annotations

import numpy as np
import pytest

from native.case import Case
from native.composite import cases as composite_cases
from native.composite import reference as composite_reference
from native.composite.op import composite
from native.interior import cases as interior_cases
from native.interior import reference as interior_reference
from native.interior.op import interior
from native.planes import cut, from_rgb, planes, to_rgb
from native.warp import cases as warp_cases
from native.warp import reference as warp_reference
from native.warp.op import warp


@pytest.mark.parametrize("case", list(warp_cases.cases()), ids=lambda case: case.name)
def test_warp_agrees_with_its_definition(case: Case) -> None:
    picture, values = warp(**case.arguments)
    true_picture, true_values = warp_reference.warp(**case.arguments)
    inside = np.zeros(picture.shape[:2], bool)
    inside[5:-6, 4:-5] = True  # the outermost pixels lie partly outside the mesh
    assert np.abs(picture[inside].astype(int) - true_picture[inside]).mean() <= case.tolerance
    assert np.abs(values[inside] - true_values[inside]).mean() < 0.02


def test_warp_refuses_what_does_not_fit() -> None:
    arguments = next(iter(warp_cases.cases())).arguments
    with pytest.raises(ValueError, match="sources"):
        warp(**arguments | {"sources": arguments["sources"][:, :-1]})
    with pytest.raises(ValueError, match="finite"):
        warp(**arguments | {"target": arguments["target"] * np.nan})


@pytest.mark.parametrize("case", list(composite_cases.cases()), ids=lambda case: case.name)
def test_composite_agrees_with_its_definition(case: Case) -> None:
    before = case.arguments["frame"].copy()
    frame, true_frame = composite(**case.arguments), composite_reference.composite(**case.arguments)
    assert np.array_equal(case.arguments["frame"], before)
    assert np.abs(frame.astype(int) - true_frame).mean() <= case.tolerance


def test_composite_leaves_what_is_outside_the_mask() -> None:
    for case in composite_cases.cases():
        frame, alpha, (x, y) = case.arguments["frame"], case.arguments["alpha"], case.arguments["corner"]
        masked = np.zeros((frame.shape[0] * 2 // 3, frame.shape[1]), bool)
        masked[y : y + alpha.shape[0], x : x + alpha.shape[1]] = alpha > 0
        out = composite(**case.arguments)
        assert np.array_equal(planes(out)[0][~masked], planes(frame)[0][~masked])
        if not masked.any():
            assert np.array_equal(out, frame)


def test_composite_refuses_what_does_not_fit() -> None:
    arguments = next(iter(composite_cases.cases())).arguments
    with pytest.raises(ValueError, match="even"):
        composite(**arguments | {"corner": (1, 0)})
    with pytest.raises(ValueError, match="does not fit"):
        composite(**arguments | {"corner": (60, 0)})


def test_i420_and_back() -> None:
    rgb = np.full((32, 48, 3), (200, 120, 60), np.uint8)
    frame = from_rgb(rgb)
    assert frame.shape == (48, 48)
    assert np.abs(to_rgb(frame).astype(int) - rgb).max() <= 3
    part = cut(frame, (8, 4), (12, 16))
    assert part.shape == (18, 16)
    assert np.array_equal(planes(part)[0], planes(frame)[0][4:16, 8:24])


@pytest.mark.parametrize("channels", [0, 1, 2, 5])
def test_a_mesh_carries_any_number_of_values(channels: int) -> None:
    corners = np.array([[0, 0], [299, 0], [0, 299]], np.float32)
    carried = np.arange(3 * channels, dtype=np.float32).reshape(3, channels)
    picture = np.zeros((50, 50, 3), np.uint8)
    sources, weights = np.stack([corners / 6] * 2), np.full(2, 0.5, np.float32)
    _, values = warp([picture] * 2, weights, sources, corners, np.array([[0, 1, 2]], np.int32), carried, (300, 300))
    assert values.shape == (300, 300, channels)
    np.testing.assert_allclose(values[100, 100], carried.mean(0), atol=0.05)


@pytest.mark.parametrize("case", list(interior_cases.cases()), ids=lambda case: case.name)
def test_interior_agrees_with_its_definition(case: Case) -> None:
    before = case.arguments["patch"].copy()
    patch, true_patch = interior(**case.arguments), interior_reference.interior(**case.arguments)
    assert np.array_equal(case.arguments["patch"], before)
    difference = np.abs(patch.astype(int) - true_patch)
    assert difference.mean() <= case.tolerance
    assert difference.max() <= 1
    assert (patch != before).any() == (case.name != "shut")


def test_interior_stays_within_its_part() -> None:
    for case in interior_cases.cases():
        (x, y), (rows, columns) = case.arguments["corner"], case.arguments["size"]
        outside = np.ones(case.arguments["patch"].shape[:2], bool)
        outside[y : y + rows, x : x + columns] = False
        assert np.array_equal(interior(**case.arguments)[outside], case.arguments["patch"][outside])


def test_interior_refuses_what_does_not_fit() -> None:
    arguments = next(iter(interior_cases.cases())).arguments
    with pytest.raises(ValueError, match="does not fit"):
        interior(**arguments | {"corner": (60, 60)})
    with pytest.raises(ValueError, match="profile"):
        interior(**arguments | {"profile": arguments["profile"][:-1]})
    with pytest.raises(ValueError, match="pixel"):
        interior(**arguments | {"soft": 0.5})
