"""The nets that we ship: found beside this package, checked against their hashes before anything reads them."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

from engines.errors import WeightsFault


def read_weights(name: str) -> bytes:
    """The bytes of a shipped ONNX file, such as "lips.onnx".

    Raises WeightsFault where it is missing or is not the file that was shipped.
    """
    folder = files("engines.weights")
    mend = "Install mytalk-live again, or train it: python -m engines.train motion."
    try:
        hashes = json.loads(folder.joinpath("hashes.json").read_text())
        data = folder.joinpath(name).read_bytes()
    except (OSError, ValueError) as error:
        raise WeightsFault(f"The weights {name} cannot be read ({type(error).__name__}).", mend) from error
    if hashlib.sha256(data).hexdigest() != hashes.get(name):
        raise WeightsFault(f"The weights {name} are damaged or of another version.", mend)
    return data
