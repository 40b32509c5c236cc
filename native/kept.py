"""What was made once for a card and a version, kept in the user's cache folder: whole, checked by its hash, or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

_DIGEST = 32  # bytes of the hash at a file's head


def cache_folder(kind: str) -> Path:
    """Where things of a kind are kept, such as "kernels". It need not be there yet."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("mytalk")) / kind


def kept(place: Path) -> bytes | None:
    """What lies there; None where nothing does, or what does was cut short or changed."""
    try:
        whole = place.read_bytes()
    except FileNotFoundError:
        return None
    digest, data = whole[:_DIGEST], whole[_DIGEST:]
    return data if hashlib.sha256(data).digest() == digest else None


def keep(place: Path, data: bytes) -> None:
    """Put it there, whole or not at all: other processes may be reading or writing the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
        building = Path(file.name)
        try:
            file.write(hashlib.sha256(data).digest() + data)
            file.close()
            building.replace(place)
        finally:
            building.unlink(missing_ok=True)
