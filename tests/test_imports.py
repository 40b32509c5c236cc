"""The architect: who may import whom, and that importing does nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ABOVE = {"native": {"engines", "realtime", "mytalk"}, "engines": {"realtime", "mytalk"}, "realtime": {"mytalk"}, "mytalk": set[str]()}
OUTSIDE = {"tests", "benchmarks"}  # look at all of it; nobody imports them

NO_CLOCK_NO_WIRE = {"asyncio", "time", "socket", "threading", "multiprocessing", "logging.config", "aiohttp", "aiortc"}
MAY = {
    "engines/appearance/shelf.py": {"threading"},  # its lock: who loads actors copies them to a card beside the ticks
    "engines/tracker.py": {"os"},  # MYTALK_TRACKER chooses the reference, in whatever command or child faces are followed
    "engines/tracking/reference.py": {"os"},  # tells MediaPipe's C++ side to be quiet, which only the environment can
    "native/cuda/compile.py": {"os"},  # CXX names the compiler
}
"""Modules of engines and native that may read the environment, or know of threads, each with its reason."""

HEAVY = {
    "torch": (
        "engines/train/",
        "engines/backends/cuda.py",
        "engines/backends/operators.py",
        "engines/motion/net.py",
        "engines/appearance/net.py",
    ),
    "tensorrt": ("engines/backends/",),
    "tensorrt_rtx": ("engines/backends/",),
    "cuda": ("native/", "engines/backends/"),
    "onnx": ("engines/train/", "engines/backends/"),
    "mediapipe": ("engines/tracking/reference.py", "engines/train/tracker.py"),
    "openvino": ("engines/backends/cpu.py", "engines/train/tracker.py"),
    "onnxruntime": ("engines/voice/kokoro.py",),
    "livekit": ("realtime/plug/", "realtime/server/room.py"),
    "pipecat": ("realtime/plug/pipecat.py",),
    "aiortc": ("realtime/webrtc/", "realtime/server/", "realtime/camera/whip.py", "mytalk/client.py"),
    "aiohttp": (
        "realtime/server/",
        "realtime/front/",
        "realtime/plug/avatar.py",
        "realtime/camera/doors.py",
        "realtime/camera/whip.py",
        "mytalk/client.py",
    ),
    "PIL": ("realtime/media/photo.py", "realtime/mark.py"),
    "pi_heif": ("realtime/media/photo.py",),
    "sounddevice": ("realtime/camera/",),
    "pyvirtualcam": ("realtime/camera/",),
    "prometheus_client": ("realtime/server/", "realtime/front/app.py"),
    "av": (
        "engines/frames.py",
        "engines/train/",
        "mytalk/",
        "realtime/camera/",
        "realtime/doctor.py",
        "realtime/media/",
        "realtime/pcm.py",
        "realtime/webrtc/",
        "realtime/writer.py",
        "realtime/server/",
    ),
}
"""Heavy packages, and the only places that import them."""


def sources() -> list[Path]:
    return sorted(path for package in ABOVE for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Dotted names that a file imports, and whether it needs them when it runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively: write the whole name"
            yield str(node.module), id(node) not in typing
            yield from ((f"{node.module}.{alias.name}", id(node) not in typing) for alias in node.names)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=name)
def test_direction(path: Path) -> None:
    package = name(path).split("/")[0]
    for imported, _ in imports(path):
        top = imported.split(".")[0]
        assert top not in ABOVE[package] | OUTSIDE, f"{name(path)} imports {imported}: {package} stands below it"
    training = name(path).startswith("engines/train/")  # reads files and measures, and nothing imports it
    if package not in ("realtime", "mytalk") and not training:
        for imported, _ in imports(path):
            for banned in (NO_CLOCK_NO_WIRE | {"os"}) - MAY.get(name(path), set()):
                assert imported != banned, f"{name(path)} imports {banned}: engines and native have no clock and no wire"
                assert not imported.startswith(f"{banned}."), f"{name(path)} imports {imported}"
    if not training:
        assert not any(imported.startswith("engines.train") for imported, _ in imports(path)), "training is not the product"


@pytest.mark.parametrize("path", sources(), ids=name)
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    for imported, needed in imports(path):
        top = imported.split(".")[0]
        if needed and top in HEAVY:
            assert name(path).startswith(HEAVY[top]), f"{name(path)} imports {top}: only {', '.join(HEAVY[top])} may"


@pytest.mark.parametrize("path", [path for path in sources() if name(path).startswith("mytalk/")], ids=name)
def test_what_users_import_finds_our_packages_by_itself(path: Path) -> None:
    for imported, needed in imports(path):
        assert not needed or imported.split(".")[0] in {"mytalk"} or imported.split(".")[0] not in ABOVE, f"use own() for {imported}"


@pytest.mark.parametrize("path", sources(), ids=name)
def test_no_private_names_across_packages(path: Path) -> None:
    for imported, _ in imports(path):
        parts = imported.split(".")
        if parts[0] in ABOVE:
            private = [part for part in parts if part.startswith("_") and not part.startswith("__")]
            assert not private, f"{name(path)} imports {imported}, which is private"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_help_loads_nothing_heavy() -> None:
    heavy = set(HEAVY) | {"numpy", "cv2", "rich", "scipy", "asyncio"}
    done = run(
        "import sys; from realtime.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    assert "Usage: mytalk" in done.stdout
    assert done.stderr.strip() == "[]"


def test_importing_does_nothing(tmp_path: Path) -> None:
    """No folder is made, nothing is printed, no logging is set up, no thread begins."""
    modules = [
        "engines.pipeline",
        "engines.enrol",
        "realtime.cli",
        "realtime.dub",
        "realtime.media",
        "realtime.settings",
    ]
    done = run(
        f"import os; os.environ['HOME'] = {str(tmp_path)!r}\n"
        "del os.environ['MYTALK_HOME'], os.environ['XDG_DATA_HOME']\n"
        f"import importlib, logging, threading; [importlib.import_module(name) for name in {modules!r}]\n"
        "assert not logging.getLogger().handlers; assert threading.active_count() == 1"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_conversation_knows_no_wire_and_the_camera_little_of_the_server() -> None:
    """Dotted names of what they need, and of what that needs."""
    camera = {imported for path in (ROOT / "realtime/camera").glob("*.py") for imported, _ in imports(path)}
    assert {name for name in camera if name.startswith("realtime.server.") and name.count(".") == 2} == {
        "realtime.server.local",
        "realtime.server.speech_socket",
    }
    done = run("import sys, realtime.conversation, realtime.camera.run\nprint(sorted({'aiortc', 'aiohttp'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


def test_what_is_private_to_aiortc_is_touched_in_one_module() -> None:
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if name(path) == "realtime/webrtc/internals.py" or not ("aiortc" in text or "aioice" in text):
            continue
        assert "_RTC" not in text, name(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                assert ast.unparse(node.value) in ("self", "super()", "cls"), f"{name(path)}: {ast.unparse(node)}"
