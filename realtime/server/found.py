"""Actors that sessions ask for: fetched once where many ask, and told of where the store has others now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from realtime.clock import Clock
from realtime.worker import Actors

AT_ONCE = 8
"""Actors that are fetched at a time."""
LOOK_S = 2.0
"""Seconds between two looks whether others removed or replaced an actor."""


class Found:
    """Finds actors of a store. `forget` is told of each that is not the one any more that it was."""

    def __init__(self, store: Actors, clock: Clock, forget: Callable[[str], None]) -> None:
        self._store, self._clock, self._forget = store, clock, forget
        self._threads = ThreadPoolExecutor(AT_ONCE, "actors")  # a store that hangs keeps no upload waiting
        self._finding: dict[str, asyncio.Future[Path]] = {}
        self._folders: dict[str, Path] = {}

    async def find(self, name: str) -> Path:
        """The folder of an actor; who asks while it is fetched waits for the same. Raises what the store does."""
        if (finding := self._finding.get(name)) is None:
            finding = self._finding[name] = asyncio.get_running_loop().run_in_executor(self._threads, self._store.find, name)
            finding.add_done_callback(lambda _: self._finding.pop(name, None))
        folder = await asyncio.shield(finding)
        if self._folders.setdefault(name, folder) != folder:
            self._forget(name)
        self._folders[name] = folder
        return folder

    async def watch(self) -> None:
        """Look, again and again, what others did to the store."""
        while True:
            await self._clock.sleep_until(self._clock.now() + LOOK_S)
            for name in await asyncio.get_running_loop().run_in_executor(self._threads, self._store.changed):
                self._forget(name)

    def close(self) -> None:
        """Fetch no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
