"""How often each of many may ask for something. Who asks for more waits, or is refused."""

from __future__ import annotations

from collections import OrderedDict

from realtime.clock import Clock
from realtime.rate import Rate
from realtime.server.faults import TooMany

REFUSALS = 100
"""Of one that asks too often, so many are answered a second: all at once they would keep others waiting."""
KNOWN = 1000
"""Of so many that asked last it is known how often they did."""


class Rates:
    """A rate for each of many. `patience` is for how many seconds somebody waits before it is refused."""

    def __init__(self, clock: Clock, a_second: float, at_once: float, patience: float) -> None:
        self._clock, self._a_second, self._at_once, self._patience = clock, a_second, at_once, patience
        self._all: OrderedDict[str, tuple[Rate, Rate]] = OrderedDict()

    async def pace(self, who: str) -> None:
        """One more of somebody, as soon as it may come. Raises TooMany where that is too long."""
        rate, refusals = self._all.get(who) or (Rate(self._clock, self._a_second, self._at_once), Rate(self._clock, REFUSALS, 1))
        self._all[who] = rate, refusals
        self._all.move_to_end(who)
        while len(self._all) > KNOWN:
            self._all.popitem(last=False)
        if wait := rate.wait():
            if wait > self._patience:
                rate.take_back()
                # who is refused at once asks again at once
                await self._clock.sleep_until(self._clock.now() + self._patience + refusals.wait())
                raise TooMany("You ask more often than is answered.", "Wait a moment between two requests.")
            await self._clock.sleep_until(self._clock.now() + wait)
