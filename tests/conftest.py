"""What holds for every test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's data folder or settings."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MYTALK_HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    for name in ("HOST", "PORT", "ACTOR", "CRF", "EXPRESSIVENESS", "TOKEN", "ORIGINS", "ICE", "SESSIONS", "IDLE", "LIMIT"):
        monkeypatch.delenv(f"MYTALK_{name}", raising=False)
