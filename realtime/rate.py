"""How often something may come: so many a second, and some at once."""

from __future__ import annotations

from realtime.clock import Clock


class Rate:
    """`a_second` in the long run, and `at_once` after a pause."""

    def __init__(self, clock: Clock, a_second: float, at_once: float) -> None:
        self._clock, self._every, self._slack = clock, 1 / a_second, at_once / a_second
        self._due = -1e9  # when the last of them would have come, if all had come evenly

    def wait(self) -> float:
        """One more: after so many seconds, which are none within the rate."""
        now = self._clock.now()
        self._due = max(self._due, now - self._slack) + self._every
        return max(0.0, self._due - now)

    def allows(self) -> bool:
        """Whether one more may come now; if so, it does."""
        if not self.wait():
            return True
        self.take_back()
        return False

    def take_back(self) -> None:
        """The last of them did not come."""
        self._due -= self._every

    async def pace(self) -> None:
        """One more, as soon as it may come; in any case after others had their turn."""
        await self._clock.sleep_until(self._clock.now() + self.wait())
