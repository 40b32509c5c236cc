"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.cli import main


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's data folder, cache or settings."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    monkeypatch.setenv("MYTALK_HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    for name in (
        "HOST",
        "PORT",
        "ACTOR",
        "BACKEND",
        "CRF",
        "VOICE",
        "VOICE_COMMAND",
        "EXPRESSIVENESS",
        "MANNER",
        "STRENGTH",
        "TOKEN",
        "ORIGINS",
        "ICE",
        "TURN_SECRET",
        "SESSIONS",
        "IDLE",
        "LIMIT",
        "LOOPS",
        "NAME",
        "MACHINES",
        "DRAIN",
        "STORE",
    ):
        monkeypatch.delenv(f"MYTALK_{name}", raising=False)


@pytest.fixture
def mytalk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in an empty folder: its exit code, stdout, stderr."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> SimpleNamespace:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=left.value.code, out=out, err=err, files=sorted(path.name for path in folder.iterdir()))

    return run


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A pipeline that only counts, with a grey actor for every name."""
    from tests.test_dub import ACTOR, Counting

    pipeline = Counting()
    monkeypatch.setattr("engines.pipeline.Pipeline", lambda **options: pipeline)
    monkeypatch.setattr("engines.actor.Store.load", lambda self, name: ACTOR)
    monkeypatch.setattr("engines.actor.Store.find", lambda self, name: tmp_path)
    return pipeline


def _shared(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder of all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache: what is made ready there once is ready for all tests, also for what is set up before any of them."""
    folder = _shared(tmp_path_factory, "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _nets_once() -> Iterator[None]:
    """The tracker's nets are read once in a process: most tests enrol somebody."""
    from engines.tracking import nets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nets, "_net", cache(nets._net))
        yield


@pytest.fixture(scope="session")
def kernels_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the kernels are built for the host: once, whichever of several workers comes first."""
    return _shared(tmp_path_factory, "kernels")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests are shared out: browsers come one after the other, and what takes long begins first."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.xdist_group("browser"))
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("browser", "slow")])
