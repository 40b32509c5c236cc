"""One session: a conversation with its peers, its speech, its tick, and what leaves when. All on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from engines.errors import Fault
from engines.frames import Picture
from realtime import timeline
from realtime.errors import without_folders
from realtime.pacer import Kind, Pacer
from realtime.server.faults import Busy, UnknownSession
from realtime.server.files import Files
from realtime.server.intake import Live, Microphone, Speech, Stream, Streams, ToEngine
from realtime.server.leaving import Leaving
from realtime.server.peer import Peer
from realtime.server.surroundings import Figures, Follower, Interrupted, Outlet, State, Surroundings
from realtime.server.tracks import mono
from realtime.timeline import Float

VIEWERS = 4
"""Peers that may watch a session beside the one that began it."""
DEAF_S = 1.0
"""A microphone from which nothing came for so long is off."""
MISSED = 5
"""Ticks that are made up for when the event loop was late; more are left out."""
TELL = 5
"""Ticks between two events that say how much was played."""
_SILENCE = np.zeros(timeline.WIRE_TICK, np.float32)


class Session:
    """A conversation plus its wires. Make it, `answer` an offer, and `close` it."""

    def __init__(self, name: str, actor: str, owner: str, around: Surroundings, ended: Callable[[Session], None]) -> None:
        self.name, self.actor, self.owner = name, actor, owner
        self._around, self._clock, self._engine, self._on_end = around, around.clock, around.engine, ended
        self._log = logging.LoggerAdapter(logging.getLogger(__name__), {"session": name})
        self.peer = Peer(around.clock, around.ice(), self._left, self._hear)
        """Who began it."""
        self.viewers: dict[str, Peer] = {}
        self.followers: set[Follower] = set()
        self.outlets: list[Outlet] = [self.peer]
        self._microphone: Live | None = None
        self._heard_at = 0.0
        self._streams = Streams()
        self._files = Files(self._streams, around.clock)
        self.generation = 0
        """Raised by each interruption: what is of an older one does not leave any more."""
        self._to_engine = ToEngine()
        self._pacer: Pacer | None = None
        self._talk = 0
        self._open = False  # the engine has the conversation
        self._sequence = self._broken_off = 0  # ticks that the engine was given; how many of them were broken off last
        self._answers = 0
        self._leaving = Leaving(self.outlets, self._shown)
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
        self._complaint: Fault | None = None
        self.opened_at = self._spoke_at = self._clock.now()

    async def answer(self, offer: str) -> str:
        """Answer the offer (SDP) of the peer that begins it. Raises OfferFault."""
        answer = await self.peer.answer(offer)
        self.begin()
        return answer

    def begin(self) -> None:
        """Begin the conversation: from now on ticks leave to all outlets."""
        self._talk = self._engine.open(self.actor, self, self.owner)
        self._tasks += [
            asyncio.create_task(self._run(), name=f"ticks {self.name}"),
            asyncio.create_task(self._files.run(), name=f"files {self.name}"),
        ]
        self._log.info("begins: actor %s", self.actor)

    async def watch(self, offer: str) -> tuple[Peer, str]:
        """Answer the offer of a peer that only watches and listens. Raises OfferFault and Busy."""
        if len(self.viewers) >= VIEWERS:
            raise Busy(f"{VIEWERS} viewers watch this session already.", "Wait until one has left.")
        viewer = Peer(self._clock, self._around.ice(), self._left)
        self.viewers[viewer.name] = viewer
        try:
            answer = await viewer.answer(offer)
        except BaseException:
            self.viewers.pop(viewer.name, None)
            await viewer.close()
            raise
        self.outlets.append(viewer)
        return viewer, answer

    def viewer(self, name: str) -> Peer:
        """A viewer by its name. Raises UnknownSession."""
        if (viewer := self.viewers.get(name)) is None:
            raise UnknownSession("There is no such viewer, or it has left.", "Begin one with POST to the session's viewers.")
        return viewer

    async def dismiss(self, viewer: Peer) -> None:
        """A viewer leaves."""
        self.viewers.pop(viewer.name, None)
        if viewer in self.outlets:
            self.outlets.remove(viewer)
        await viewer.close()

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
        await self._files.end()
        for follower in list(self.followers):
            follower.ended()
        for outlet in list(self.outlets):
            outlet.ended()
        await asyncio.gather(self.peer.close(), *(viewer.close() for viewer in self.viewers.values()))
        self._log.info("ends after %.1f s", self._clock.now() - self.opened_at)

    # speech in

    async def speak(self, file: Path) -> None:
        """Speak a sound file after those that wait already; it is deleted afterwards. Raises Busy, UnknownSession and MediaFault."""
        await self._files.put(file)

    def say(self, stream: Stream, sound: Float) -> None:
        """Samples of made speech, mono, 48 kHz. Who says asks for the stream's `room` first."""
        self._streams.put(stream, sound, self._clock.now())

    def interrupt(self) -> Interrupted:
        """Break off all speech, wherever it is: in a file, in a queue, in the engine, in a packet. Says how much had been heard."""
        self.generation += 1
        self._files.clear()
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

    @property
    def refusal(self) -> Fault | None:
        """Why the engine does not go on with it, if so."""
        return self._refusal

    @property
    def trouble(self) -> Fault | None:
        """What was wrong: with its actor, with the text that was said last, or with the file that was read last."""
        return self._refusal or self._complaint or self._files.trouble

    def complain(self, fault: Fault | None) -> None:
        """Something was wrong with the text that was said last; None: nothing."""
        self._complaint = fault

    @property
    def state(self) -> State:
        """What it does."""
        if self._ended:
            return State.ENDED
        if not self.peer.connected or self._leaving.last is None:
            return State.CONNECTING
        if self._streams or self._speaking is not None:
            return State.SPEAKING
        return State.LISTENING if self.hears else State.IDLE

    @property
    def hears(self) -> bool:
        """Whether the peer's microphone is on: packets come."""
        return self._microphone is not None and self._clock.now() - self._heard_at < DEAF_S

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
            "viewers": len(self.viewers),
            "generation": self.generation,
            "seconds": round(now - self.opened_at, 2),
            "ticks": pacer.left if pacer else 0,
            "fps": round(recent / min(5.0, max(now - times[0], 0.2)), 2) if times else 0.0,
            "gap_max_ms": round(float(gaps.max()) * 1000, 1),
            "added_ms": round(float(delays[-25:].mean()), 1) if len(delays) and now - self._spoke_at < 2 else None,
            "added_p50_ms": round(float(np.percentile(delays, 50)), 1) if len(delays) else None,
            "added_p95_ms": round(float(np.percentile(delays, 95)), 1) if len(delays) else None,
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
            except Exception:  # noqa: BLE001  the session's border
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

    # microphone

    def listen(self, microphone: Live) -> None:
        """Hear a live source of one's own, in place of the peer's microphone."""
        self._microphone = microphone

    def _hear(self, track: MediaStreamTrack) -> None:
        if self._microphone is None:
            self._tasks.append(asyncio.create_task(self._listen(track), name=f"microphone {self.name}"))

    async def _listen(self, track: MediaStreamTrack) -> None:
        microphone: Microphone | None = None
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if not isinstance(frame, AudioFrame):
                    continue
                if microphone is None:
                    microphone = self._microphone = Microphone()
                self._heard_at = self._clock.now()
                microphone.put(mono(frame), self._heard_at)
        self._microphone = None

    # wires

    def _left(self, peer: Peer) -> None:
        """A peer has gone: with who began it the session ends."""
        self._later(self.close() if peer is self.peer else self.dismiss(peer))

    def _later(self, closing: Any) -> None:
        """Close from within one of the tasks that closing cancels."""
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._log.error("does not close as it should", exc_info=error)
