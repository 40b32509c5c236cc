"""One session: a peer connection, its speech, its tick, and what leaves when. All on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription
from av import AudioFrame

from engines.errors import Fault
from engines.frames import Picture
from realtime import timeline
from realtime.clock import Clock
from realtime.engine import Engine
from realtime.media import read_speech
from realtime.pacer import Kind, Pacer
from realtime.server.faults import Busy, OfferFault
from realtime.server.intake import Microphone, Speech, Stream, ToEngine
from realtime.server.tracks import PictureTrack, SoundTrack, hear_at_once, mono, prefer_vp8

log = logging.getLogger(__name__)

CONNECT_S = 20.0
"""A peer that has not connected after so long is let go."""
FILES = 8
"""Sound files that may wait."""
MISSED = 5
"""Ticks that are made up for when the event loop was late; more are left out."""
_SILENCE = np.zeros(timeline.WIRE_TICK, np.float32)


class State(Enum):
    """What a session does, in words."""

    CONNECTING = "connecting"
    IDLE = "idle"
    LISTENING = "listening"
    SPEAKING = "speaking"
    ENDED = "ended"


class Session:
    """A conversation plus its wires. Make it, `answer` an offer, and `close` it."""

    def __init__(self, name: str, actor: str, engine: Engine, clock: Clock, ended: Callable[[Session], None]) -> None:
        self.name, self.actor = name, actor
        self._engine, self._clock, self._on_end = engine, clock, ended
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._pictures, self._sounds = PictureTrack(clock), SoundTrack(clock)
        self._microphone: Microphone | None = None
        self._stream = Stream()
        self._files: asyncio.Queue[Path] = asyncio.Queue(FILES)
        self._generation = 0
        self._to_engine = ToEngine()
        self._pacer: Pacer | None = None
        self._talk = 0
        self._open = False  # the engine has the conversation
        self._sequence = 0
        self._answers = 0
        self._asked: deque[Speech] = deque()  # given to the engine, picture not back yet
        self._waiting: deque[tuple[Speech, Picture]] = deque()
        self._last: Picture | None = None
        self._last_sound: float | None = 0.0  # where the last sound ended; None after a hold
        self._last_kind = Kind.SILENCE
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = False
        self._delays: deque[float] = deque(maxlen=1500)
        self._times: deque[float] = deque(maxlen=1500)
        self.trouble: Fault | None = None
        self.opened_at = clock.now()

    async def answer(self, offer: str) -> str:
        """Answer a peer's offer (SDP) and begin. Raises OfferFault."""
        connection = self._connection
        kinds = kinds_of(offer)
        self._talk = self._engine.open(self.actor, self)
        connection.on("track", self._hear)
        connection.on("connectionstatechange", self._changed)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(without_mdns(offer), "offer"))
            connection.addTrack(self._pictures)
            if "audio" in kinds:
                connection.addTrack(self._sounds)
            prefer_vp8(connection)
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # the session's border: aiortc raises anything at an odd offer
            log.info("offer refused: %s: %s", type(error).__name__, error)
            raise OfferFault("The offer cannot be answered.", "Offer VP8 or H.264 and Opus, as browsers do.") from error
        self._tasks = [
            asyncio.create_task(self._run(), name=f"ticks {self.name}"),
            asyncio.create_task(self._read_files(), name=f"files {self.name}"),
            asyncio.create_task(self._expect(), name=f"expect {self.name}"),
        ]
        return connection.localDescription.sdp

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
        self.interrupt()
        self._pictures.stop()
        self._sounds.stop()
        await self._connection.close()

    def speak(self, file: Path) -> None:
        """Speak a sound file after those that wait already; it is deleted afterwards. Raises Busy."""
        try:
            self._files.put_nowait(file)
        except asyncio.QueueFull:
            raise Busy(f"{FILES} files are waiting to be spoken.", "Wait until one has been spoken, or interrupt.") from None

    def interrupt(self) -> None:
        """Forget all made speech that has not been given to the engine."""
        self._generation += 1
        self._stream.clear()
        while not self._files.empty():
            self._files.get_nowait().unlink(missing_ok=True)

    @property
    def state(self) -> State:
        """What it does."""
        if self._ended:
            return State.ENDED
        if self._connection.connectionState != "connected" or self._last is None:
            return State.CONNECTING
        if self._stream.ready or self._last_kind is Kind.STREAM:
            return State.SPEAKING
        return State.LISTENING if self._microphone else State.IDLE

    def report(self) -> dict[str, Any]:
        """Its state and figures, for JSON. Delays: from the arrival of a tick's last sample to its picture leaving."""
        now = self._clock.now()
        recent = sum(1 for time in self._times if time > now - 5)
        gaps = np.diff(np.array(self._times)) if len(self._times) > 1 else np.zeros(1)
        delays = np.array(self._delays) * 1000
        pacer = self._pacer
        return {
            "id": self.name,
            "actor": self.actor,
            "state": self.state.value,
            "trouble": self.trouble.message if self.trouble else None,
            "microphone": self._microphone is not None,
            "seconds": round(now - self.opened_at, 2),
            "ticks": pacer.left if pacer else 0,
            "fps": round(recent / min(5.0, max(now - self._times[0], 0.2)), 2) if self._times else 0.0,
            "gap_max_ms": round(float(gaps.max()) * 1000, 1),
            "added_p50_ms": round(float(np.percentile(delays, 50)), 1) if len(delays) else None,
            "added_p95_ms": round(float(np.percentile(delays, 95)), 1) if len(delays) else None,
            "look_ahead": pacer.look_ahead if pacer else None,
            "holds": pacer.held if pacer else 0,
            "skips": pacer.skipped if pacer else 0,
            "lag_ticks": pacer.lag if pacer and pacer.started else 0,
            "dropped_ms": round(self._microphone.dropped / timeline.WIRE_RATE * 1000) if self._microphone else 0,
            "engine_restarts": self._engine.restarts,
        }

    # what the engine says (`realtime.engine.Listener`)

    def opened(self, look_ahead: int) -> None:
        """See `Listener.opened`."""
        if self._pacer is None:
            self._pacer = Pacer(look_ahead)
        else:
            self._pacer.reset()
            lost = [*(speech for speech, _ in self._waiting), *self._asked]
            self._stream.give_back([speech for speech in lost if speech.kind is Kind.STREAM])
        self._asked.clear()
        self._waiting.clear()
        self._sequence = self._answers = 0
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
        if self._answers > self._pacer.look_ahead and self._asked:
            picture = picture if picture is not None else self._last
            if picture is not None:
                self._waiting.append((self._asked.popleft(), picture))
            self._release()

    def refused(self, fault: Fault) -> None:
        """See `Listener.refused`."""
        self.trouble = fault
        log.warning("session %s: %s", self.name, fault)
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
            except Exception:
                log.exception("session %s ends", self.name)
                self._later(self.close())
                return
            tick += 1

    def _tick(self) -> None:
        pacer = self._pacer
        if pacer is None:
            return
        kind = Kind.SILENCE
        if self._stream.ready:
            kind = Kind.STREAM
        elif self._microphone and self._microphone.ready:
            kind = Kind.LIVE
        step = pacer.tick(kind, self._open)
        for tick in range(pacer.left - step.holds, pacer.left):
            self._hold(tick)
        if step.feed:
            speech = self._take(kind)
            self._asked.append(speech)
            self._engine.hear(self._talk, self._sequence, self._to_engine(speech.sound))
            self._sequence += 1
        self._release()

    def _take(self, kind: Kind) -> Speech:
        now = self._clock.now()
        if kind is Kind.STREAM:
            return self._stream.take(now)
        if self._microphone and kind is Kind.LIVE:
            return self._microphone.take()
        if self._microphone:
            self._microphone.starve()
        return Speech(Kind.SILENCE, _SILENCE, now)

    def _hold(self, tick: int) -> None:
        self._sounds.put(tick, timeline.fade_from(self._last_sound or 0.0))
        self._last_sound = None
        if self._last is not None:
            self._pictures.put(tick, self._last)

    def _release(self) -> None:
        """Sound and picture of a tick leave together."""
        if self._pacer is None:
            return
        for tick in self._pacer.release(len(self._waiting)):
            speech, picture = self._waiting.popleft()
            sound = speech.sound if self._last_sound is not None else timeline.fade_in(speech.sound)
            self._sounds.put(tick, sound)
            self._pictures.put(tick, picture)
            self._last, self._last_sound, self._last_kind = picture, float(sound[-1]), speech.kind
            now = self._clock.now()
            self._times.append(now)
            if speech.kind is not Kind.SILENCE:
                self._delays.append(now - speech.arrived)

    # speech in

    def _hear(self, track: MediaStreamTrack) -> None:
        if track.kind != "audio" or self._microphone is not None:
            return
        for transceiver in self._connection.getTransceivers():
            if transceiver.receiver.track is track:
                hear_at_once(transceiver.receiver)
        self._tasks.append(asyncio.create_task(self._listen(track), name=f"microphone {self.name}"))

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if not isinstance(frame, AudioFrame):
                    continue
                if self._microphone is None:
                    self._microphone = Microphone()
                self._microphone.put(mono(frame), self._clock.now())
        self._microphone = None

    async def _read_files(self) -> None:
        """Decode one file after the other, in a thread, no faster than it is spoken."""
        while True:
            file = await self._files.get()
            generation = self._generation
            try:
                await self._read_file(file, generation)
            except Fault as fault:
                self.trouble = fault
            except Exception:
                log.exception("session %s: a file ends early", self.name)
            finally:
                self._stream.end()
                file.unlink(missing_ok=True)

    async def _read_file(self, file: Path, generation: int) -> None:
        self.trouble = None
        blocks = read_speech(file, timeline.WIRE_RATE)
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            while not self._stream.room and generation == self._generation:
                await self._clock.sleep_until(self._clock.now() + timeline.TICK_S)
            if generation != self._generation:
                return
            if len(block):
                self._stream.put(block, self._clock.now())

    # wires

    async def _expect(self) -> None:
        await self._clock.sleep_until(self._clock.now() + CONNECT_S)
        if self._connection.connectionState != "connected":
            log.info("session %s: the peer never connected", self.name)
            self._later(self.close())

    def _changed(self) -> None:
        log.info("session %s: %s", self.name, self._connection.connectionState)
        if self._connection.connectionState in ("failed", "closed"):
            self._later(self.close())

    def _later(self, closing: Any) -> None:
        """Close from within one of the tasks that closing cancels."""
        task = asyncio.get_running_loop().create_task(closing)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


def kinds_of(offer: str) -> set[str]:
    """The kinds of media that an offer has. Raises OfferFault where it is none, or has no place for pictures."""
    try:
        description = SessionDescription.parse(offer)
        media = [section.kind for section in description.media]
        whole = all(
            section.ice and section.ice.usernameFragment and section.dtls and section.dtls.fingerprints for section in description.media
        )
    except Exception as error:  # aiortc's parser raises anything at what is no SDP
        raise OfferFault(
            "The body is not a session description.", "Send an SDP offer, as RTCPeerConnection.createOffer makes it."
        ) from error
    if not media or not whole:
        raise OfferFault("The session description is incomplete.", "Send the whole SDP offer, with ICE credentials and fingerprint.")
    if media.count("video") != 1 or media.count("audio") > 1:
        raise OfferFault("The offer must have one video section and at most one of audio.", "Use addTransceiver('video') once.")
    return set(media)


def without_mdns(offer: str) -> str:
    """The offer without candidates behind .local names: resolving them takes seconds, and the peer finds us."""
    return re.sub(r"(?m)^a=candidate:.*\.local .*\r?\n", "", offer)
