"""The clock. The only file that touches `time.*` or `asyncio.sleep`; everything else is told the time."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that never run backwards; a wall's or a test's (`realtime.testing.VirtualClock`)."""

    def now(self) -> float:
        """Seconds since some moment in the past."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Return at `when` or, if that is past, after others have had their turn."""
        ...


def unix_time() -> float:
    """Seconds since 1970, which others' clocks show too; it may run backwards."""
    return time.time()


class WallClock:
    """Real time."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.monotonic()

    async def sleep_until(self, when: float) -> None:
        """See `Clock.sleep_until`."""
        await asyncio.sleep(max(0.0, when - time.monotonic()))
