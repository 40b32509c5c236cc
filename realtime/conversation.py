"""One conversation: its speech, its tick, what the engine makes of it, and what leaves when. On the event loop; knows no wire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np

from engines.errors import Fault
from engines.frames import Picture
from realtime import timeline
from realtime.errors import without_folders
from realtime.intake import Live, Speech, Stream, Streams, ToEngine
from realtime.leaving import Leaving
from realtime.pacer import Kind, Pacer
from realtime.surroundings import Figures, Follower, Interrupted, Outlet, State, Surroundings
from realtime.timeline import Float

MISSED = 5
"""Ticks that are made up for when the event loop was late; more are left out."""
TELL = 5
"""Ticks between two events that say how much was played."""
_SILENCE = np.zeros(timeline.WIRE_TICK, np.float32)


class Conversation:
    """`attach` what its ticks leave to, `begin` it, `say` speech or let it `listen`, and `close` it. `ended` is called once, when it ends.

    An `engine.Listener`.
    """

    def __init__(self, name: str, actor: str, owner: str, around: Surroundings, ended: Callable[[Conversation], None]) -> None:
        self.name, self.actor, self.owner = name, actor, owner
        self._around, self._clock, self._engine, self._on_end = around, around.clock, around.engine, ended
        self._log = logging.LoggerAdapter(logging.getLogger(__name__), {"session": name})
        self.followers: set[Follower] = set()
        self._outlets: list[Outlet] = []
        self._microphone: Live | None = None
        self._streams = Streams()
        self.manner, self.strength = around.begun
        """How it says things, and how much so."""
        self.generation = 0
        """Raised by each interruption: what is of an older one does not leave any more."""
        self._to_engine = ToEngine()
        self._pacer: Pacer | None = None
        self._talk = 0
        self._open = False  # the engine has the conversation
        self._sequence = self._broken_off = 0  # ticks that the engine was given; how many of them were broken off last
        self._answers = 0
        self._leaving = Leaving(self._outlets, self._shown)
        self._cut: Float | None = None  # the first tick of live speech that was dropped, where the next is not taken yet
        self._speaking: Stream | None = None  # whose sound left last
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._ended = False
        self._figures = Figures()
        self.underruns = 0
        """Ticks of silence in the middle of speech, because none had come."""
        self.skipped = 0
        """Samples of live speech that were dropped to stay current."""
        self._refusal: Fault | None = None
        self.said: Callable[[int, Speech], None] = lambda tick, speech: None
        """Told of each tick whose sound has left, and what it was of."""
        self.opened_at = self._spoke_at = self._clock.now()

    def attach(self, outlet: Outlet) -> None:
        """Let ticks leave to an outlet, too, from now on."""
        self._outlets.append(outlet)

    def detach(self, outlet: Outlet) -> None:
        """No more ticks to an outlet. Twice is once."""
        if outlet in self._outlets:
            self._outlets.remove(outlet)

    def begin(self) -> None:
        """Begin: from now on ticks leave to all outlets. Raises CrashFault (`Engine.open`)."""
        self._talk = self._engine.open(self.actor, self, self.owner)
        self._tasks.append(asyncio.create_task(self._run(), name=f"ticks {self.name}"))
        self._log.info("begins: actor %s", self.actor)

    async def close(self) -> None:
        """End it. Twice is once."""
        if self._ended:
            return
        self._ended = True
        self._on_end(self)
        self._engine.shut(self._talk)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for follower in list(self.followers):
            follower.ended()
        for outlet in list(self._outlets):
            outlet.ended()
        self._log.info("ends after %.1f s", self._clock.now() - self.opened_at)

    def leave(self) -> None:
        """Close it, while nobody waits for that."""
        self._later(self.close())

    # speech in

    def listen(self, microphone: Live | None) -> None:
        """Hear a live source from now on; None: no longer."""
        self._microphone = microphone

    def say(self, stream: Stream, sound: Float) -> None:
        """Samples of made speech, mono, 48 kHz. Who says asks for the stream's `room` first."""
        self._streams.put(stream, sound, self._clock.now())

    def interrupt(self) -> Interrupted:
        """Break off all speech, wherever it is: in a queue, in the engine, in a packet. Says how much had been heard."""
        self.generation += 1
        flying = [speech.stream for speech in self._leaving.asked if speech.stream]
        streams = dict.fromkeys([*([self._speaking] if self._speaking else []), *flying, *self._streams.clear()])
        if not streams and self._broken_off == self._sequence:
            return Interrupted(0.0, 0.0)  # nothing was said since the last time
        if self._microphone:
            self._microphone.clear()
        self._to_engine = ToEngine()
        if self._open and self._broken_off != self._sequence:  # else it has been given nothing since the last time
            self._engine.interrupt(self._talk)
            self._broken_off = self._sequence
        self._leaving.hush()
        self._speaking = self._cut = None
        heard = dropped = 0
        for stream in streams:
            played, begun = stream.played, stream.begun
            gone = stream.clear()
            heard, dropped = heard + played - begun, dropped + gone
            for follower in list(self.followers):
                follower.interrupted(stream, played, gone)
        self._log.info("interrupted: %.2f s heard, %.2f s dropped", heard / timeline.WIRE_RATE, dropped / timeline.WIRE_RATE)
        return Interrupted(heard / timeline.WIRE_RATE, dropped / timeline.WIRE_RATE)

    async def speak_as(self, name: str, strength: float = 1.0) -> None:
        """Go on in another manner (`realtime.manners`). Raises MannerFault."""
        manner = await asyncio.to_thread(self._around.manner, name)
        self._engine.speak_as(self._talk, manner, strength)
        self.manner, self.strength = name, strength

    # what is told of it

    @property
    def refusal(self) -> Fault | None:
        """Why the engine does not go on with it, if so."""
        return self._refusal

    @property
    def trouble(self) -> Fault | None:
        """What was wrong, if anything."""
        return self._refusal

    @property
    def state(self) -> State:
        """What it does."""
        if self._ended:
            return State.ENDED
        if self._leaving.last is None:
            return State.CONNECTING
        if self._streams or self._speaking is not None:
            return State.SPEAKING
        return State.LISTENING if self.hears else State.IDLE

    @property
    def hears(self) -> bool:
        """Whether it has a live source."""
        return self._microphone is not None

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of what it shows, once it does."""
        last = self._leaving.last
        return None if last is None else (last.shape[1], last.shape[0] * 2 // 3)

    def report(self) -> dict[str, Any]:
        """Its state and figures, for JSON. Delays: from the arrival of a tick's last sample to its picture leaving."""
        now, times = self._clock.now(), self._figures.times
        recent = sum(1 for time in times if time > now - 5)
        gaps = np.diff(np.array(times)) if len(times) > 1 else np.zeros(1)
        delays = np.array(self._figures.delays) * 1000
        pacer = self._pacer
        return {
            "id": self.name,
            "actor": self.actor,
            "state": self.state.value,
            "trouble": without_folders(self.trouble.message) if self.trouble else None,
            "microphone": self.hears,
            "manner": self.manner,
            "strength": self.strength,
            "generation": self.generation,
            "seconds": round(now - self.opened_at, 2),
            "ticks": pacer.left if pacer else 0,
            "fps": round(recent / min(5.0, max(now - times[0], 0.2)), 2) if times else 0.0,
            "gap_max_ms": round(float(gaps.max()) * 1000, 1),
            "added_ms": round(float(delays[-25:].mean()), 1) if len(delays) and now - self._spoke_at < 2 else None,
            "added_p50_ms": round(float(np.percentile(delays, 50)), 1) if len(delays) else None,
            "added_p95_ms": round(float(np.percentile(delays, 95)), 1) if len(delays) else None,
            "added_p99_ms": round(float(np.percentile(delays, 99)), 1) if len(delays) else None,
            "look_ahead": pacer.look_ahead if pacer else None,
            "holds": pacer.held if pacer else 0,
            "skips": pacer.skipped if pacer else 0,
            "lag_ticks": pacer.lag if pacer and pacer.started else 0,
            "waiting_ms": round(self._streams.waiting / timeline.WIRE_RATE * 1000),
            "queue_depth": len(self._leaving),
            "underruns": self.underruns,
            "dropped_ms": round((self.skipped + (self._microphone.dropped if self._microphone else 0)) / timeline.WIRE_RATE * 1000),
            "engine_restarts": self._engine.restarts,
        }

    # what the engine says (`realtime.engine.Listener`)

    def opened(self, look_ahead: int) -> None:
        """See `Listener.opened`."""
        if self._pacer is None:
            self._pacer = Pacer(look_ahead)
        else:
            self._pacer.reset()
            self._streams.give_back(self._leaving.renew())
        self._sequence = self._answers = self._broken_off = 0
        self._to_engine = ToEngine()
        self._open = True

    def lost(self) -> None:
        """See `Listener.lost`."""
        self._open = False

    def answered(self, sequence: int, picture: Picture | None) -> None:
        """See `Listener.answered`."""
        if self._pacer is None or self._ended:
            return
        self._pacer.answered()
        self._answers += 1
        if self._answers <= self._pacer.look_ahead:
            return
        self._leaving.came(picture)
        if not self._pacer.started:
            self._pacer.begin()
            self._say(self._pacer.left - 1)
        self._leaving.show()

    def refused(self, fault: Fault) -> None:
        """See `Listener.refused`."""
        self._refusal = fault
        self._log.warning("%s", fault)
        self._later(self.close())

    # time

    async def _run(self) -> None:
        """The tick: from an absolute grid, so that nothing drifts."""
        origin = timeline.next_origin(self._clock.now())
        tick = 0
        while True:
            await self._clock.sleep_until(timeline.start_of(tick, origin))
            missed = int((self._clock.now() - timeline.start_of(tick, origin)) / timeline.TICK_S)
            if missed > MISSED:
                tick += missed
                if self._pacer:
                    self._pacer.jump(missed)
            try:
                self._tick()
            except Exception:  # noqa: BLE001  the conversation's border
                self._log.exception("ends")
                self._later(self.close())
                return
            tick += 1

    def _tick(self) -> None:
        pacer = self._pacer
        now = self._clock.now()
        if now - self._spoke_at > self._around.idle_s or now - self.opened_at > self._around.total_s:
            self._log.info("has come to its limit")
            self._later(self.close())
        if pacer is None:
            return
        stream = self._streams.next(now)
        kind = Kind.STREAM if stream else Kind.LIVE if self._microphone and self._microphone.ready else Kind.SILENCE
        step = pacer.tick(kind, self._open)
        if step.feed:
            speech = self._take(kind, stream, now)
            self._leaving.ask(speech)
            self._engine.hear(self._talk, self._sequence, self._to_engine(speech.sound))
            self._sequence += 1
        elif kind is Kind.LIVE and pacer.started:
            self._skip()
        if step.leaves:
            self._say(pacer.left - 1)
        elif step.holds:
            self._leaving.hold(pacer.left - 1)
            self._around.gauges.held(1)
        self._leaving.show()

    def _take(self, kind: Kind, stream: Stream | None, now: float) -> Speech:
        if stream:
            return stream.take(now)
        hole = self._streams.starve()
        cut, self._cut = self._cut, None
        if self._microphone and kind is Kind.LIVE:
            speech = self._microphone.take()
            return speech if cut is None else replace(speech, sound=timeline.joined(cut, speech.sound))
        if self._microphone:
            hole = self._microphone.starve() or hole
        self.underruns += hole
        return Speech(Kind.SILENCE, _SILENCE, now)

    def _skip(self) -> None:
        """Drop a tick of live speech, so that what follows is not late; the cut is not heard as a click."""
        if self._microphone:
            speech = self._microphone.take()
            self._cut = speech.sound if self._cut is None else self._cut
            self.skipped += len(speech.sound)

    def _say(self, tick: int) -> None:
        """The sound of a tick leaves, and followers hear how the speech goes on."""
        speech = self._leaving.say(tick)
        before, self._speaking = self._speaking, speech.stream
        if before is not None and speech.stream is not before:
            self._all("played", before)
            if not self._streams:
                self._all("idle", before)
        if speech.stream is not None:
            speech.stream.played = speech.upto
            if speech.stream is not before:
                self._all("speaking", speech.stream)
            elif tick % TELL == 0:
                self._all("played", speech.stream)
        self.said(tick, speech)

    def _shown(self, speech: Speech) -> None:
        left = self._clock.now()
        self._figures.times.append(left)
        silent = speech.kind is Kind.SILENCE
        self._around.gauges.left(None if silent else left - speech.arrived)
        if not silent:
            self._figures.delays.append(left - speech.arrived)
            self._spoke_at = left

    def _all(self, what: str, stream: Stream) -> None:
        for follower in list(self.followers):
            getattr(follower, what)(stream)

    def _later(self, closing: Coroutine[Any, Any, None]) -> None:
        """Close from within one of the tasks that closing cancels."""
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._log.error("does not close as it should", exc_info=error)
