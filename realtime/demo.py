"""What ships to be seen at once: the drawn presenter and a sentence to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path


@contextmanager
def shipped_speech() -> Iterator[Path]:
    """The shipped speech as a file: 16 kHz mono FLAC. Its phones and their times lie beside it, in hello.json."""
    with as_file(files(str(__package__)).joinpath("speech", "hello.flac")) as path:
        yield path
