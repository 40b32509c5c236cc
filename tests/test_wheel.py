"""What is installed: the wheel, in an empty environment, dubs. On two versions of Python where there are two, with what uv.lock says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from realtime.media import probe
from tests.made import noise, write_wav

ROOT = Path(__file__).parent.parent
UNREACHED = (
    "error sending request",
    "Failed to fetch",
    "dns error",
    "Connection refused",
    "timed out",
    "No solution found when resolving: `hatchling",
)
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]  # built once


@cache
def uv() -> str:
    found = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return found or pytest.skip("uv is not here")


@cache
def pythons() -> list[str]:
    """The oldest and the newest Python here that we run on."""
    found: dict[int, str] = {sys.version_info.minor: sys.executable}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(11, 20):
        for name in (shutil.which(f"python3.{minor}") or "", *map(str, pyenv.glob(f"3.{minor}.*/bin/python3.{minor}"))):
            asked = [name, "-c", "import sys; print(sys.version_info.minor)"]
            if name and minor not in found and subprocess.run(asked, capture_output=True, text=True).stdout.strip() == str(minor):
                found[minor] = name
    return [found[min(found)], found[max(found)]]


def run(*command: object, cwd: Path = ROOT) -> str:
    """Run a program; skip where no registry can be reached."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "MYTALK_", "UV_PROJECT"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=110, env=env)
    if done.returncode and any(words in done.stderr for words in UNREACHED):
        pytest.skip("no package registry can be reached")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(uv(), "build", "--quiet", "--wheel", "--out-dir", folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What uv.lock says of what is installed without extras."""
    file = tmp_path_factory.mktemp("lock") / "constraints.txt"
    run(uv(), "export", "--quiet", "--frozen", "--no-emit-project", "--no-hashes", "--no-annotate", "--output-file", file)
    return file


def test_the_lock_is_that_of_the_project_and_of_no_machine() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (own,) = (package for package in locked["package"] if package["name"] == "mytalk-live")
    wanted = {(one["name"], one.get("specifier", "")) for one in own["metadata"]["requires-dist"] if "marker" not in one}
    said = {requirement.split(";")[0].strip() for requirement in project["dependencies"]}
    assert {f"{name}{specifier}" for name, specifier in wanted} == said
    assert locked["requires-python"] == project["requires-python"]
    sources = {source for package in locked["package"] for source in package["source"].values()}
    assert sources == {"https://pypi.org/simple", "."}


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_the_wheel_dubs_in_an_empty_environment(wheel: Path, locked: Path, which: str, tmp_path: Path) -> None:
    oldest, newest = pythons()
    if which == "newest" and oldest == newest:
        pytest.skip("there is one Python here")
    python = oldest if which == "oldest" else newest
    run(uv(), "venv", "--quiet", "--python", python, tmp_path / "env")
    bin_ = tmp_path / "env" / "bin"
    run(uv(), "pip", "install", "--quiet", "--python", bin_ / "python", "--constraint", locked, wheel)
    here = tmp_path / "here"
    here.mkdir()
    speech = write_wav(here / "speech.wav", noise(3200))
    home = here / "home"
    run(bin_ / "mytalk", "--home", home, "dub", "presenter", speech, "-o", "out.mp4", "--quiet", cwd=here)
    assert probe(here / "out.mp4").size == (512, 512)
    said = run(bin_ / "python", "-c", "import mytalk; print(mytalk.__version__, mytalk.__file__, mytalk.actors(home='.'))", cwd=here)
    assert str(tmp_path / "env") in said
    assert "'presenter'" in said
