"""The event loop's side of the inference process: starts it, restarts it, opens conversations, hands back pictures."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engines.motion.manner import Manner
from engines.pipeline import Pipeline
from engines.spec import Float
from realtime.clock import Clock
from realtime.listener import CrashFault as CrashFault
from realtime.listener import EngineFault as EngineFault
from realtime.listener import Listener as Listener
from realtime.listener import Reading, Receiver
from realtime.load import quicker
from realtime.processes import Process, forks, order
from realtime.worker import BATCHES, PICTURE, SPEECH, Actors, LivePipeline, Ring, main

log = logging.getLogger(__name__)

LOOK_S = 0.25
"""Seconds between two looks at the processes; each is asked then whether it answers."""
HANG_S = 10.0
"""An engine that has answered nothing for so long, although asked, is killed."""
SWITCH_S = 2.0
"""The same where a spare one answers, within `ANSWER_S`: less is lost by taking that."""
ANSWER_S = 1.0
FIRST_S = 600.0
"""A first process that is not ready after so long is given up; a later one after four times what the first took, and no less than
`READY_S`."""
READY_S = 20.0
OPEN_S = 20.0
"""A conversation that is not open after so long is given up, and the process that cannot open it ends."""
WORK_S, REST_S = 0.006, 0.018
"""How long a spare process loads, and how long it then rests, while there are conversations."""
SPARE_S = 2.0
"""Seconds after which a process that is up is given a spare one: it begins when the first has settled, not beside it."""
AGAIN_S, LONGEST_AGAIN_S = 30.0, 1800.0
"""Seconds without a conversation after which ticks are measured again; twice as many each time, while nothing is quicker than before."""
QUICKER = 0.9
ENOUGH = 5
"""So many steps of a report say what one takes at the least."""
ALONE_S = 10.0
"""Who was in a fatal step has steps of its own for so long; six times as long after each further one."""
HELD_S = 10.0
"""Who was alone in a fatal step waits so long for a new spare, before it may end another process."""
BANNED_S, MOST_BANNED_S = 30.0, 600.0
"""For so long nobody who ended two processes may begin with the same actor; twice as long the next time."""
_ENDED = (0, -signal.SIGKILL, -signal.SIGTERM)  # exits that no conversation is to blame for


@dataclass
class _Talk:
    actor: str
    receiver: Receiver
    owner: str
    ring: Ring | None = None
    asked: float | None = None
    """When its opening was asked for, while it is not open."""
    fatal: int = 0
    """Fatal steps that it was in."""
    alone_until: float = 0.0
    held_until: float = 0.0
    manner: dict[str, Any] | None = None
    """What was asked for after its opening, as the process is told it."""


class Engine:
    """One inference process, and a spare one that is warm and waits. Conversations outlive a process: the spare takes them up
    with a fresh state. `spare_s`: see `SPARE_S`. `largest`: no side of its pictures has more pixels; larger actors are scaled.
    `label`: a text that is laid upon its pictures.
    """

    def __init__(
        self,
        store: Actors,
        clock: Clock,
        factory: Callable[[], LivePipeline] = Pipeline,
        *,
        actor: str,
        spare_s: float = SPARE_S,
        largest: int | None = None,
        label: str = "",
    ) -> None:
        self._label = label
        self._largest, self._idle_since, self._again = largest, clock.now(), AGAIN_S
        self._measuring = itertools.cycle(BATCHES)
        self.store, self._clock, self._factory, self._actor, self._spare_s = store, clock, factory, actor, spare_s
        self._talks: dict[int, _Talk] = {}
        self._names = itertools.count(1)
        self._look_ahead = -1  # unknown until the process is ready
        self._ready_at = 0.0
        self._process: Process | None = None
        self._spare: Process | None = None
        self._easing: asyncio.Task[None] | None = None
        self._asked: dict[int, int] = {}  # conversation -> ticks not answered
        self._heard = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._died = asyncio.Event()
        self._took = 0.0  # seconds that the first process needed to be ready
        self._banned: dict[tuple[str, str], tuple[float, float]] = {}  # who, with which actor -> until when, for how long
        self.restarts = 0
        self.backend = ""
        """What makes the pictures ("cpu", "cuda", "tensorrt"), once the process is ready."""
        self.costs: dict[int, float] = {}
        """Seconds that a tick of so many conversations takes, measured when the process was first started."""
        self.size = (0, 0)
        """Width and height of the actor that was measured."""
        self.every = 1
        """Of so many pictures one is made; more than 1 where the machine cannot keep up."""
        self.worked: Callable[[int, float], None] = lambda conversations, seconds: None
        """Told of each step that the engine made."""

    @property
    def ready(self) -> bool:
        """Whether the process is up."""
        return self._look_ahead >= 0

    @property
    def answers(self) -> bool:
        """Whether it is up, and answers when it is asked."""
        return self.ready and self._process is not None and self._process.silent(self._clock.now()) < SWITCH_S

    @property
    def pid(self) -> int | None:
        """The process, for those who watch it."""
        return self._process.pid if self._process else None

    @property
    def spare_pid(self) -> int | None:
        """The process that would take over, once there is one."""
        return self._spare.pid if self._spare else None

    @property
    def spare_ready(self) -> bool:
        """Whether there is one, and it is warm."""
        return self._spare is not None and self._spare.ready is not None and (self._easing is None or self._easing.done())

    async def start(self) -> None:
        """Start the process, which takes a while, and keep one running."""
        self._watch = asyncio.create_task(self._supervise(), name="engine")

    async def close(self) -> None:
        """End the process."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.gather(self._end(patience=2.0), self._end_spare(patience=2.0))

    def open(self, actor: str, listener: Listener, owner: str = "") -> int:
        """Begin a conversation; its listener hears when it is open. Raises CrashFault: see `check`."""
        return self.relay(actor, Reading(listener), owner)

    def check(self, actor: str, owner: str) -> None:
        """Raise CrashFault where conversations of this owner with this actor end the engine."""
        until, _ = self._banned.get((owner, actor), (0.0, 0.0))
        if self._clock.now() < until:
            raise CrashFault("A conversation of yours with this actor ended the engine twice.", "Try again later, or with another actor.")

    def relay(self, actor: str, receiver: Receiver, owner: str) -> int:
        """See `open`: for those who read pictures elsewhere."""
        self.check(actor, owner)
        session = next(self._names)
        self._talks[session] = _Talk(actor, receiver, owner)
        if self.ready:
            self._open(session)
        return session

    def _open(self, session: int) -> None:
        talk, now = self._talks[session], self._clock.now()
        if now >= talk.held_until:
            talk.asked = now
            self._tell("open", session, actor=talk.actor, alone=max(0.0, talk.alone_until - now))

    def hear(self, session: int, sequence: int, speech: Float) -> None:
        """Give one tick of speech, (640,) at 16 kHz, to a conversation that is open."""
        if not any(self._asked.values()):
            self._heard = self._clock.now()
        self._asked[session] = self._asked.get(session, 0) + 1
        if self._process:
            self._process.outbox.put(SPEECH.pack(b"S", session, sequence) + speech.tobytes())

    def forget(self, actor: str) -> None:
        """An actor of this name is gone, or will be another: it is loaded anew when it is asked for."""
        for process in (self._process, self._spare):
            if process:
                process.outbox.put(order("forget", 0, actor=actor))

    def interrupt(self, session: int) -> None:
        """Break off the speech of a conversation: what it was given and has not shown is silence."""
        if self.ready:
            self._tell("interrupt", session)

    def speak_as(self, session: int, manner: Manner | None, strength: float) -> None:
        """Have a conversation go on in another manner; also where the process is another one by then."""
        if talk := self._talks.get(session):
            talk.manner = {"manner": None if manner is None else manner.to_words(), "strength": strength}
            if self.ready:
                self._tell("manner", session, **talk.manner)

    def shut(self, session: int) -> None:
        """End a conversation."""
        self._asked.pop(session, None)
        if talk := self._talks.pop(session, None):
            if talk.ring:
                talk.ring.close()
            if self.ready:
                self._tell("close", session)

    def _tell(self, what: str, session: int, **rest: Any) -> None:
        if self._process:
            self._process.outbox.put(order(what, session, **rest))

    async def _spawn(self) -> Process:
        context: Any = await asyncio.to_thread(forks)
        ours, theirs = context.Pipe()
        args = (
            theirs,
            self._factory,
            self.store,
            self._actor,
            not self.costs,
            self._largest,
            self._label,
        )
        process = context.Process(target=main, args=args, daemon=True, name="mytalk-engine")
        await asyncio.to_thread(process.start)
        theirs.close()
        return Process(process, ours, self._clock.now(), self._said)

    def _take_up(self, process: Process) -> None:
        """From now on this process is the engine."""
        self._died.clear()
        if self._easing:
            self._easing.cancel()
        self._process = process
        if process.ready:
            self._begin(process.ready)
            self._ready_at -= self._spare_s  # it has settled long since
        else:
            process.born = self._clock.now()  # a spare that was held back until now has its time yet

    def _begin(self, news: dict[str, Any]) -> None:
        """The process is ready: open all conversations."""
        self._look_ahead, self._ready_at, self.backend = news["look_ahead"], self._clock.now(), news["backend"]
        if news["costs"]:
            self.costs, self.size = {int(count): seconds for count, seconds in news["costs"].items()}, tuple(news["size"])
        for session in self._talks:
            self._open(session)

    async def _end(self, patience: float = 0.0) -> int | None:
        process, self._process = self._process, None
        code = await process.end(patience) if process is not None else None
        self._look_ahead = -1
        self._asked.clear()
        for talk in list(self._talks.values()):
            talk.asked = None
            if talk.ring:
                talk.ring.close()
                talk.ring = None
                talk.receiver.lost()
        return code

    async def _end_spare(self, patience: float = 0.0) -> None:
        spare, self._spare = self._spare, None
        if self._easing:
            self._easing.cancel()
            await asyncio.gather(self._easing, return_exceptions=True)
        if spare is not None:
            await spare.end(patience)

    async def _supervise(self) -> None:
        pause, first = 0.1, await self._spawned()
        if first is not None:
            self._take_up(first)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._died.wait(), min(LOOK_S, self._spare_s))
            hangs = "" if self._died.is_set() else self._hangs()
            if hangs:
                log.error("%s: it is killed", hangs)
            elif not self._died.is_set():
                pause = 0.1 if self.ready else pause
                await self._look_after()
                continue
            self.restarts += 1
            suspects = self._suspects()
            code = await self._end(0.0 if hangs else 0.5)
            if hangs or code not in _ENDED:
                self._blame(suspects)
            spare, self._spare = self._spare, None
            if spare is not None and not await self._fit(spare):
                log.warning("the spare engine does not answer")
                await spare.end()
                spare = None
            log.warning("the engine's process ended; %s", "the spare one takes over" if spare else "it is started again")
            if spare is None:
                await self._clock.sleep_until(self._clock.now() + pause)
                pause = min(pause * 2, 5.0)
                spare = await self._spawned()
                if spare is None:
                    continue
            self._take_up(spare)

    async def _spawned(self) -> Process | None:
        """A new process; where there is no memory for it now, it is tried again."""
        try:
            return await self._spawn()
        except OSError as error:
            log.error("the engine cannot be started: %s", error)
            self._died.set()
            return None

    def _hangs(self) -> str:
        """What the process does not do any more, in words; nothing where it does all."""
        process, now = self._process, self._clock.now()
        if process is None:
            return ""
        if process.ready is None:
            late = now - process.born > (max(READY_S, 4 * self._took) if self._took else FIRST_S)
            return "the engine does not get ready" if late else ""
        fit = self._spare is not None and self._spare.ready and now - self._spare.answered < ANSWER_S
        if process.silent(now) > (SWITCH_S if fit else HANG_S):
            return "the engine hangs"
        if any(self._asked.values()) and now - self._heard > HANG_S:
            return "the engine makes no pictures"
        if any(talk.asked is not None and now - talk.asked > OPEN_S for talk in self._talks.values()):
            return "the engine does not open a conversation"
        return ""

    def _suspects(self) -> list[int]:
        """Who may have ended the process: those in its last step, and who was being opened."""
        opening = [(talk.asked, session) for session, talk in self._talks.items() if talk.asked is not None]
        return [session for session, talk in self._talks.items() if talk.ring and talk.ring.stepping] + [
            one for _, one in sorted(opening)[:1]
        ]

    def _blame(self, suspects: list[int]) -> None:
        """A step was fatal. Who was in one alone, after another, is refused; others have steps of their own for a while."""
        now = self._clock.now()
        for session in suspects:
            if (talk := self._talks.get(session)) is None:
                continue
            talk.fatal += 1
            talk.alone_until = now + ALONE_S * 6.0 ** (talk.fatal - 1)
            if len(suspects) == 1 and talk.fatal > 1:
                _, before = self._banned.get((talk.owner, talk.actor), (0.0, BANNED_S / 2))
                self._banned = {who: ban for who, ban in self._banned.items() if ban[0] + MOST_BANNED_S > now}
                self._banned[talk.owner, talk.actor] = now + min(2 * before, MOST_BANNED_S), min(2 * before, MOST_BANNED_S)
                log.error("conversation %d with %s ended the engine twice: it is refused", session, talk.actor)
                talk.receiver.refused(
                    CrashFault("This conversation ended the engine twice.", "Begin a new one later, or with another actor.")
                )
                self.shut(session)
            elif len(suspects) == 1:
                talk.held_until = now + HELD_S

    async def _fit(self, spare: Process) -> bool:
        """Whether a spare can take over: it answers now, or is on its way."""
        began = self._clock.now()
        if spare.ready is None:
            return spare.alive
        number = spare.ping(began)  # what it answered before may be read only now
        while spare.alive and spare.pongs < number and self._clock.now() - began < ANSWER_S:
            await self._clock.sleep_until(self._clock.now() + 0.005)
        return spare.alive and spare.pongs >= number

    async def _look_after(self) -> None:
        """Ask both processes whether they answer, and have a spare one, once the engine has been up for a while."""
        now, spare = self._clock.now(), self._spare
        if self._process is not None and self._process.ready and self._process.pinged is None:
            self._process.ping(now)
        if spare is not None:
            late = spare.silent(now) > HANG_S or (spare.ready is None and now - spare.born > max(4 * READY_S, 16 * self._took))
            if late or not spare.alive:
                log.warning("the spare engine's process %s; it is started again", "hangs" if late else "ended")
                await self._end_spare()
            elif spare.ready and spare.pinged is None:
                spare.ping(now)
        if self._spare is None and self.ready and now - self._ready_at >= self._spare_s:
            try:
                self._spare = await self._spawn()
            except OSError as error:  # no memory for it now
                log.warning("a spare engine cannot be started: %s", error)
                self._ready_at = now
                return
            self._easing = asyncio.create_task(self._ease(self._spare), name="spare engine")
        if self._talks or not self.ready:
            self._idle_since = now
        elif self.costs and now - self._idle_since > self._again:
            self._idle_since = now
            self._tell("measure", 0, count=next(self._measuring))
        for session, talk in self._talks.items():
            if talk.held_until and self.ready and (now >= talk.held_until or (self._spare is not None and self._spare.ready)):
                talk.held_until = 0.0
                self._open(session)

    def _remeasured(self, count: int, seconds: float, size: tuple[int, int]) -> None:
        """What a tick of so many conversations takes while nobody talks: where it is less than before, the machine was busy then."""
        if size != self.size:
            return
        found = quicker(self.costs, count, seconds)
        gained = any(found[one] < QUICKER * self.costs.get(one, math.inf) for one in found)
        self._again = AGAIN_S if gained else min(2 * self._again, LONGEST_AGAIN_S)
        self.costs = found

    def _learn(self, steps: Sequence[tuple[int, float, bool]]) -> None:
        """Steps of conversations (how many, seconds, whether all of it was done): where they are quicker than what was measured, the
        machine was busy then."""
        for count in set(self.costs):
            took = [seconds for conversations, seconds, whole in steps if whole and conversations == count]
            if len(took) >= ENOUGH:
                self.costs = quicker(self.costs, count, min(took))

    async def _ease(self, spare: Process) -> None:
        """Let it load a little at a time while others talk: at once, it would take a core from them for seconds."""
        try:
            while spare.alive and spare.ready is None:
                if self._talks:
                    spare.pause(True)
                    await self._clock.sleep_until(self._clock.now() + REST_S)
                    spare.pause(False)
                await self._clock.sleep_until(self._clock.now() + WORK_S)
        finally:
            spare.pause(False)

    def _said(self, process: Process, message: bytes | None) -> None:
        """A process says something, or has ended."""
        if message is not None:
            self._take(process, message)
        elif process is self._process:
            self._died.set()

    def _take(self, process: Process, message: bytes) -> None:
        if message[:1] == b"P":
            self._heard = self._clock.now()
            _, session, sequence, shown = PICTURE.unpack(message)
            talk = self._talks.get(session)
            if talk and talk.ring:
                self._asked[session] = max(0, self._asked.get(session, 0) - 1)
                talk.receiver.answered(sequence, shown)
            return
        news = json.loads(message[1:])
        if news["what"] == "pong":
            process.pong(news["number"], self._clock.now())
        elif news["what"] == "ready":
            process.ready, process.answered = news, self._clock.now()
            self._took = self._took or process.answered - process.born
            if process is self._process:
                self._begin(news)
        elif news["what"] == "measured":
            self._remeasured(news["count"], news["seconds"], tuple(news["size"]))
        elif news["what"] == "load":
            self.every = news["every"]
            for conversations, seconds, _ in news["steps"]:
                self.worked(conversations, seconds)
            self._learn(news["steps"])
        elif news["what"] == "opened":
            ring = Ring(news["width"], news["height"], news["ring"])
            if talk := self._talks.get(news["session"]):
                talk.ring, talk.asked = ring, None
                if talk.manner is not None:
                    self._tell("manner", news["session"], **talk.manner)
                talk.receiver.opened(self._look_ahead, ring)
            else:
                ring.forget()
                ring.close()
        elif talk := self._talks.get(news["session"]):
            fault = EngineFault(news["message"], news["hint"])
            fault.code = news["code"]
            talk.asked = None
            talk.receiver.refused(fault)
