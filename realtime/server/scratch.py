"""A folder for what is kept only as long as the server runs: nobody else may look into it, and the next server removes what was left."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX, _LOCK = "mytalk-server-", "lock"


class Scratch:
    """Made with `open`, removed with `close`. A lock that the kernel drops with the process says that it is in use."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._lock = -1

    @property
    def folder(self) -> Path:
        """Where it lies. Raises RuntimeError before it is made."""
        if self._folder is None:
            raise RuntimeError("The folder is not there yet.")
        return self._folder

    def open(self) -> None:
        """Make it, readable to this user only; what servers left that were ended by force is removed. Raises OSError."""
        base = Path(tempfile.gettempdir())
        for left in base.glob(f"{_PREFIX}*"):
            _remove_left(left)
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


def _remove_left(folder: Path) -> None:
    """Remove a folder whose server is gone; one in use, or another's, stays."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
