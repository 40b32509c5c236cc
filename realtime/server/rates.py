"""How often somebody may ask for something: so many a second, and some at once. Who asks for more waits, or is refused."""

from __future__ import annotations

from collections import OrderedDict

from realtime.clock import Clock
from realtime.server.faults import TooMany

KNOWN = 1000
"""Of so many that asked last it is known how often they did."""


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


class Rates:
    """A rate for each of many. `patience` is for how many seconds somebody waits before it is refused."""

    def __init__(self, clock: Clock, a_second: float, at_once: float, patience: float) -> None:
        self._clock, self._a_second, self._at_once, self._patience = clock, a_second, at_once, patience
        self._all: OrderedDict[str, Rate] = OrderedDict()

    async def pace(self, who: str) -> None:
        """One more of somebody, as soon as it may come. Raises TooMany where that is too long."""
        rate = self._all.get(who) or Rate(self._clock, self._a_second, self._at_once)
        self._all[who] = rate
        self._all.move_to_end(who)
        while len(self._all) > KNOWN:
            self._all.popitem(last=False)
        if wait := rate.wait():
            if wait > self._patience:
                rate.take_back()
                await self._clock.sleep_until(self._clock.now() + self._patience)  # who is refused at once asks again at once
                raise TooMany("You ask more often than is answered.", "Wait a moment between two requests.")
            await self._clock.sleep_until(self._clock.now() + wait)
