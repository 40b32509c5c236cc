"""The process that speaks for a server: one for all sessions, below everything else, one piece of text at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import Fault
from realtime.clock import Clock
from realtime.processes import forks
from realtime.server.closed import leave_network
from realtime.voices import WITHIN_S, Speaker, Voice, VoiceFault, found

log = logging.getLogger(__name__)

IDLE_S = 600.0
"""A process that nobody needed for so long ends: it holds 400 MB. The next word starts another, which takes a second or two."""
NICE = 10
_SOUND, _FAULT = b"S", b"F"


class Speaking:
    """The voices of a server. Texts of all sessions come to one process, in the order in which they are asked for."""

    def __init__(self, clock: Clock, command: str = "", default: str = "", speaker: Callable[[str], Speaker] = Speaker) -> None:
        self._clock, self._command, self._default, self._speaker = clock, command, default, speaker
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "speaking")
        self._voices: list[Voice] | None = None
        self._process: Any = None
        self._pipe: Connection | None = None
        self._used_at = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def voices(self) -> list[Voice]:
        """All voices here, the default first. Who asks is about to need one: its process is started."""
        if self._voices is None:
            voices = await asyncio.to_thread(found, self._command)
            first = [voice for voice in voices if voice.name == self._default]
            self._voices = first + [voice for voice in voices if voice not in first]
        if self._voices and self._pipe is None and not self._tasks:
            self._begin(self._exchange({"warm": asdict(self._voices[0])}, lambda: True))
        return self._voices

    async def say(self, text: str, voice: Voice, speed: float = 1.0, wanted: Callable[[], bool] = lambda: True) -> bytes:
        """A piece of text as 16-bit samples at `voices.RATE`; none where it is not wanted any more when its turn comes.

        Raises VoiceFault, or another Fault that the voice met. Who does not wait any longer does not break what is being made.
        """
        order = {"text": text, "voice": asdict(voice), "speed": speed}
        return await asyncio.shield(self._begin(self._exchange(order, wanted)))

    async def close(self) -> None:
        """End the process, whatever it does."""
        self._closed = True
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        process = self._process
        self._kill()
        await asyncio.gather(*tasks, return_exceptions=True)
        if process is not None:
            await asyncio.to_thread(process.join)
        self._thread.shutdown(wait=False)

    def _begin(self, work: Any) -> asyncio.Task[bytes]:
        task: asyncio.Task[bytes] = asyncio.create_task(work, name="speaking")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.log(logging.INFO if isinstance(error, Fault) else logging.ERROR, "speaking: %s", error)

    async def _exchange(self, order: dict[str, Any], wanted: Callable[[], bool]) -> bytes:
        async with self._turn:
            if self._closed or not wanted():
                return b""
            asking = asyncio.get_running_loop().run_in_executor(self._thread, self._ask, json.dumps(order).encode())
            asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())  # whoever waited may have gone
            try:
                async with asyncio.timeout(WITHIN_S + 60):
                    kind, body = await asyncio.shield(asking)
            except (TimeoutError, EOFError, OSError) as error:
                self._kill()
                raise VoiceFault("The voice's process ended, or took too long.", "Try again, or take another voice.") from error
            self._used_at = self._clock.now()
            if self._keeper is None or self._keeper.done():
                self._keeper = asyncio.create_task(self._keep(), name="speaking, idle")
        if kind == _FAULT:
            told = json.loads(body)
            fault = VoiceFault(told["message"], told["hint"])
            fault.code = told["code"]
            raise fault
        return body

    async def _keep(self) -> None:
        """End the process where it was not needed for a while."""
        while self._clock.now() - self._used_at < IDLE_S:
            await self._clock.sleep_until(self._used_at + IDLE_S)
        async with self._turn:
            self._kill()

    def _ask(self, order: bytes) -> tuple[bytes, bytes]:
        """In a thread: say it to the process, which is started where there is none, and wait for what it says."""
        if self._pipe is None:
            context: Any = forks()
            ours, theirs = context.Pipe()
            process = context.Process(target=run, args=(theirs, self._command, self._speaker), daemon=True)
            process.start()
            theirs.close()
            self._process, self._pipe = process, ours
            if self._closed:  # while it was started
                self._kill()
                raise EOFError
        pipe = self._pipe
        pipe.send_bytes(order)
        said = pipe.recv_bytes()
        return said[:1], said[1:]

    def _kill(self) -> None:
        process, self._process, self._pipe = self._process, None, None
        if process is not None:
            process.kill()  # whoever waits for it hears that its pipe has ended


def run(pipe: Connection, command: str, speaker: Callable[[str], Speaker]) -> None:
    """The process. Where no command of the user's is to be run, it leaves the network."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    os.nice(NICE)
    if not command:
        leave_network()
    with contextlib.suppress(OSError):  # the first that the kernel ends where memory is short
        Path("/proc/self/oom_score_adj").write_text("900")
    speaks = speaker(command)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            order = json.loads(pipe.recv_bytes())
            try:
                if "warm" in order:
                    speaks.warm(Voice(**order["warm"]))
                    said = _SOUND
                else:
                    sound = speaks.say(order["text"], Voice(**order["voice"]), order["speed"])
                    said = _SOUND + (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
            except Fault as fault:
                said = _FAULT + json.dumps({"code": fault.code, "message": fault.message, "hint": fault.hint}).encode()
            pipe.send_bytes(said)
