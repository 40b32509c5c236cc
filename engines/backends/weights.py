"""The nets that we ship: found beside this package, checked against their hashes before anything reads them."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

from engines.errors import WeightsFault


def read_weights(name: str, folder: Path | None = None) -> bytes:
    """The bytes of an ONNX file, such as "lips.onnx": a shipped one, or one of a folder that was trained into.

    Raises WeightsFault where it is missing or is not the file that was shipped.
    """
    place = files("engines.weights") if folder is None else folder
    mend = f"Install mytalk-live again, or train it: python -m engines.train {'renderer' if name.startswith('picture') else 'motion'}."
    try:
        hashes = json.loads(place.joinpath("hashes.json").read_text())
        data = place.joinpath(name).read_bytes()
    except (OSError, ValueError) as error:
        raise WeightsFault(f"The weights {name} cannot be read ({type(error).__name__}).", mend) from error
    if hashlib.sha256(data).hexdigest() != hashes.get(name):
        raise WeightsFault(f"The weights {name} are damaged or of another version.", mend)
    return data
