"""Which backend is taken, what is said where it cannot be; what a driver shows, and what the doctor makes of it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from engines.backends.choice import PROVED, UNPROVED, choose, lacks
from engines.backends.found import Card, Found, look
from engines.errors import BackendFault
from realtime.doctor import examine, lines
from realtime.settings import Settings

ALL = ("cpu", "cuda", "tensorrt")
PACKAGES = {"cuda-bindings": "13.5.0", "nvidia-cuda-nvrtc": "13.2.86", "onnx": "1.22.0", "torch": "2.15.0", "tensorrt-rtx": "1.7.1"}
WHOLE = Found("13.2", "", (Card("NVIDIA L4", "sm_89", 24 << 30),), PACKAGES, "13.0")


def without(*names: str) -> Found:
    return replace(WHOLE, packages={name: version for name, version in PACKAGES.items() if name not in names})


@pytest.mark.parametrize(
    ("found", "proved", "backend", "words"),
    [
        (WHOLE, ALL, "tensorrt", ""),
        (WHOLE, ("cpu", "cuda"), "cuda", ""),
        (WHOLE, ("cpu",), "cpu", UNPROVED),
        (without("tensorrt-rtx"), ALL, "cuda", ""),
        (without("tensorrt-rtx", "torch"), ALL, "cpu", "torch is not installed"),
        (Found(), ALL, "cpu", "no NVIDIA driver was found"),
        (replace(WHOLE, cards=(), trouble="CUDA_ERROR_NO_DEVICE"), ALL, "cpu", "CUDA_ERROR_NO_DEVICE"),
        (replace(without("tensorrt-rtx"), torch_cuda=""), ALL, "cpu", "built for the CPU"),
        (replace(without("tensorrt-rtx"), driver="12.4"), ALL, "cpu", "the driver goes to 12.4"),
        (
            replace(WHOLE, driver="12.4"),
            ALL,
            "cpu",
            "cuda-bindings wants CUDA 13, nvidia-cuda-nvrtc wants CUDA 13, the driver goes to 12.4",
        ),
    ],
)
def test_auto_takes_the_quickest_that_can_be_had_and_says_why_not_another(
    found: Found, proved: tuple[str, ...], backend: str, words: str
) -> None:
    choice = choose("auto", found, proved)
    assert choice.backend == backend
    assert words in choice.reason
    assert bool(choice.reason) == (backend == "cpu")


def test_what_was_asked_for_is_taken_or_refused_with_the_remedy() -> None:
    for backend in ALL:
        assert choose(backend, WHOLE, ALL).backend == backend
        assert not lacks(backend, WHOLE)
    assert choose("cpu", Found()).backend == "cpu"
    with pytest.raises(BackendFault, match=r"torch is not installed\. To have it: pip install"):
        choose("cuda", without("torch"), ALL)
    with pytest.raises(BackendFault, match=r"no NVIDIA driver was found.*nvidia\.com/drivers"):
        choose("tensorrt", Found(packages=PACKAGES), ALL)
    with pytest.raises(BackendFault, match="no backend 'gpu'"):
        choose("gpu", WHOLE, ALL)
    for backend in ALL:  # who asks for what no card has run yet is told
        assert choose(backend, WHOLE).reason == ("" if backend in PROVED else UNPROVED)


def test_packages_for_a_newer_cuda_than_the_drivers_are_named_with_the_remedy() -> None:
    older = {"cuda-bindings": "12.9.4", "nvidia-cuda-nvrtc-cu12": "12.9.86", "onnx": "1.22.0", "tensorrt-rtx": "1.7.1", "torch": "2.15.0"}
    found = replace(WHOLE, driver="12.8", packages=older | {"tensorrt-rtx-cu13": "1.7.1"}, torch_cuda="12.8")
    with pytest.raises(BackendFault, match=r"tensorrt-rtx wants CUDA 13, the driver goes to 12\.8.*update NVIDIA's driver, or .*CUDA 12"):
        choose("tensorrt", found, ALL)
    assert not lacks("cuda", found)
    assert not lacks("tensorrt", replace(found, packages=older | {"tensorrt-rtx-cu12": "1.7.1"}))
    for backend in ("cuda", "tensorrt"):  # what is for an older one runs
        assert not lacks(backend, replace(found, driver="13.2", packages=PACKAGES | {"tensorrt-rtx-cu12": "1.7.1"}))


DRIVER = """
#include <cstring>
extern "C" {
int cuDriverGetVersion(int *v) { *v = 13020; return 0; }
int cuInit(unsigned) { return INIT; }
int cuGetErrorName(int e, const char **s) { *s = "CUDA_ERROR_NO_DEVICE"; return e == 100 ? 0 : 1; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int at) { *d = at + 40; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, d == 40 ? "NVIDIA L4" : "NVIDIA GeForce RTX 5090", n); return 0; }
int cuDeviceTotalMem_v2(size_t *s, int d) { *s = (size_t)(d == 40 ? 24 : 32) << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? (d == 40 ? 8 : 12) : a == 76 ? (d == 40 ? 9 : 0) : -1; return 0; }
}
"""


def driver(folder: Path, init: int) -> str:
    """A CUDA driver that shows two cards, or none."""
    source, built = folder / f"driver{init}.cpp", folder / f"libcuda{init}.so"
    source.write_text(DRIVER)
    compiler = shutil.which("g++") or shutil.which("clang++")
    assert compiler
    subprocess.run([compiler, "-shared", "-fPIC", f"-DINIT={init}", str(source), "-o", str(built)], check=True)
    return str(built)


def test_the_driver_is_asked_for_its_cards(tmp_path: Path) -> None:
    found = look(driver(tmp_path, 0))
    assert (found.driver, found.trouble) == ("13.2", "")
    assert found.cards == (Card("NVIDIA L4", "sm_89", 24 << 30), Card("NVIDIA GeForce RTX 5090", "sm_120", 32 << 30))
    assert "cuda-bindings" in found.packages
    none = look(driver(tmp_path, 100))
    assert (none.driver, none.trouble, none.cards) == ("13.2", "CUDA_ERROR_NO_DEVICE", ())
    assert look(str(tmp_path / "nowhere.so")).driver == ""


def test_the_doctor_names_card_libraries_and_what_was_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "mytalk" / "plans"
    folder.mkdir(parents=True)
    (folder / "lips-sm_89-0123.plan").write_bytes(b"cut short")
    for check in ("_motion", "_faces", "_video", "_live"):
        monkeypatch.setattr(f"realtime.doctor.{check}", lambda: "")
    said = "\n".join(line.plain for line in lines(list(examine(Settings(home=tmp_path), without("torch", "tensorrt-rtx")))))
    for words in (
        "NVIDIA L4, sm_89, 24 GiB",
        "CUDA up to 13.2",
        "neither tensorrt-rtx nor tensorrt",
        "pip install 'mytalk-live[gpu]'",
        "1 for sm_89",
        "1 damaged",
    ):
        assert words in said
