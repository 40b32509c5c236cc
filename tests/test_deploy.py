"""What deploys a server is as the server is: the container files copy what there is, set what can be set, and are clean."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from realtime.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
SETTINGS = {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_container_files_are_clean(name: str) -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if hadolint is None:
        pytest.skip("hadolint is not here")
    done = subprocess.run([hadolint, "--no-color", name], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_container_files_copy_what_there_is_and_no_more(name: str) -> None:
    build, final = re.split(r"\nFROM ", text(name))[1:]
    copied = [word for line in re.findall(r"^COPY (?!--)(.+)$", build, re.MULTILINE) for word in line.split()[:-1]]
    ignored = text(".dockerignore").splitlines()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    for word in copied:
        assert (ROOT / word).exists(), word
    packages = re.search(r"^packages = \[(.+)\]", text("pyproject.toml"), re.MULTILINE)
    assert packages
    assert set(re.findall(r'"(\w+)"', packages[1])) <= set(copied)
    assert not re.search(r"^COPY (?!--from)", final, re.MULTILINE)  # nothing but what was installed
    assert re.search(r"^USER \d{4,}$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    assert "/healthz" in final
    assert set(re.findall(r"\bMYTALK_\w+", text(name))) - {"MYTALK_TOKEN"} <= SETTINGS


def test_what_is_composed_can_be_set_and_shares_its_secrets() -> None:
    compose = text("compose.yaml")
    assert set(re.findall(r"^\s+(MYTALK_\w+):", compose, re.MULTILINE)) <= SETTINGS
    said = set(re.findall(r"\$\{(\w+)", compose))
    assert said == {"DOMAIN", "ADDRESS", "MYTALK_TOKEN", "TURN_SECRET"}
    for name in said:  # each is asked for in words where it lacks
        assert re.search(rf"\${{{name}:\?[a-z ]+", compose) or f"${{{name}:?" in compose, name
        assert name in compose.split("docker compose up")[0]
    for block in ("docs/deploy.md", "README.md"):
        assert set(re.findall(r"\bMYTALK_[A-Z_]+\b", text(block))) <= SETTINGS | {"MYTALK_TRACKER"}, block


def test_links_of_the_documentation_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob(".github/**/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", path.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (path.parent / target).exists(), f"{path.name}: {target}"
