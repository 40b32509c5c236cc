"""The nets that we ship: found beside this package, checked by their hashes before anything reads them; and what they say of themselves."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from engines.errors import WeightsFault

_KEY = "mytalk"


def read_weights(name: str, folder: Path | None = None) -> bytes:
    """The bytes of a net's file, such as "lips.onnx": a shipped one, or one of a folder that was trained into.

    Raises WeightsFault where it is missing or is not the file that was shipped.
    """
    place = files(f"{__package__.rpartition('.')[0]}.weights") if folder is None else folder
    mend = _mend(name)
    try:
        hashes = json.loads(place.joinpath("hashes.json").read_text())
        data = place.joinpath(name).read_bytes()
    except (OSError, ValueError) as error:
        raise WeightsFault(f"The weights {name} cannot be read ({type(error).__name__}).", mend) from error
    if hashlib.sha256(data).hexdigest() != hashes.get(name):
        raise WeightsFault(f"The weights {name} are damaged or of another version.", mend)
    return data


def write_hash(path: Path) -> None:
    """Note in the folder's `hashes.json` what a file holds; what is said there of files that are gone goes."""
    place = path.parent / "hashes.json"
    known = json.loads(place.read_text()) if place.exists() else {}
    known = {name: found for name, found in known.items() if (path.parent / name).exists()}
    known[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    place.write_text(json.dumps(known, indent=1) + "\n")


def said_of(config: Any) -> tuple[str, str]:
    """Key and value with which an ONNX file carries a configuration, a dataclass, in its metadata."""
    return _KEY, json.dumps(asdict(config))


def read_said(metadata: Mapping[str, str], name: str, kind: type[Any], version: int) -> dict[str, Any]:
    """The fields of the configuration in a file's metadata. Raises WeightsFault where it is not one of this kind and version."""
    try:
        found = dict(json.loads(metadata.get(_KEY, "{}")))
    except ValueError:
        found = {}
    if found.get("version") != version:
        raise WeightsFault(f"The weights {name} have version {found.get('version')}, this program wants {version}.", _mend(name))
    if set(found) != {field.name for field in fields(kind)}:
        raise WeightsFault(f"The weights {name} do not say what they are.", _mend(name))
    return found


def _mend(name: str) -> str:
    made = {"picture": "renderer", "face": "tracker", "rest": "rest", "covered": "covered", "manners": "manners"}
    command = made.get(re.split(r"[._]", name)[0], "motion")
    return f"Install mytalk-live again, or make it: python -m engines.train {command}."
