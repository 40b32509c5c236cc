"""The camera runs: speech in, a session of the engine, pictures and voice out on one clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from engines.errors import Fault
from realtime import timeline
from realtime.camera.sinks import Away, InThread, Muxer
from realtime.camera.stage import Call, Door, Plan, Stage
from realtime.clock import Clock, WallClock
from realtime.conversation import Conversation
from realtime.engine import Engine
from realtime.intake import Stream
from realtime.manners import manner_called
from realtime.media import read_speech
from realtime.pcm import Pcm
from realtime.surroundings import Surroundings
from realtime.timeline import Float
from realtime.worker import Actors, LivePipeline

READ = 4096


class _Uncounted:
    """`surroundings.Gauges`: nobody counts over sessions where there is one."""

    def left(self, added: float | None) -> None:
        """See `Gauges.left`."""

    def held(self, ticks: int) -> None:
        """See `Gauges.held`."""


Look = Callable[[Call], Any]


def run(plan: Plan, *, store: Actors, pipeline: Callable[[], LivePipeline], view: Look) -> None:
    """Until Ctrl-C or SIGTERM. `view` is a coroutine function that looks on. Raises Fault."""
    store.find(plan.actor)
    asyncio.run(_run(plan, store, pipeline, view))


async def _run(plan: Plan, store: Actors, pipeline: Callable[[], LivePipeline], view: Look) -> None:
    stop, loop, clock = asyncio.Event(), asyncio.get_running_loop(), WallClock()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    about = await asyncio.to_thread(store.about, plan.actor)
    engine = Engine(store, clock, pipeline, actor=plan.actor)
    lines = [line for line in (plan.ear, plan.mouth) if line]
    async with contextlib.AsyncExitStack() as stack:
        for line in lines:
            stack.push_async_callback(asyncio.to_thread, line.close)
            await asyncio.to_thread(line.open)
        if plan.camera:
            camera = InThread(plan.camera)
            plan = replace(plan, camera=camera)
            stack.push_async_callback(asyncio.to_thread, camera.close)
        away = await _away(plan, clock, (int(about["width"]), int(about["height"])))
        if away:
            stack.push_async_callback(away.close)
        stack.push_async_callback(engine.close)
        await engine.start()
        around = Surroundings(
            engine, clock, _Uncounted(), idle_s=math.inf, total_s=math.inf, begun=plan.manner, manner=partial(manner_called, store=store)
        )
        session = Conversation("camera", plan.actor, "", around, lambda ended: stop.set())
        stack.push_async_callback(session.close)
        stage = Stage(plan, clock, away)
        session.attach(stage)
        session.begin()
        call = Call(plan, session, stage, engine)
        call.hear(not plan.push)
        if plan.ear:
            session.listen(plan.ear)
        if plan.preview is not None or isinstance(plan.speech, Door):
            from realtime.camera.doors import opened

            await stack.enter_async_context(opened(call, clock))
        running = [stage.run(), view(call), *(line.watch() for line in lines)]
        if isinstance(plan.speech, Path):
            running.append(_speak(plan.speech, plan.rate, session, clock))
        await _until(stop, running)
        if session.trouble:
            raise session.trouble


async def _until(stop: asyncio.Event, running: list[Any]) -> None:
    """Run all of it until `stop`, or until something goes wrong."""
    ended, tasks = asyncio.create_task(stop.wait()), {asyncio.ensure_future(one) for one in running}
    try:
        while not ended.done():
            done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {ended}:
                tasks.discard(task)
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _away(plan: Plan, clock: Clock, size: tuple[int, int]) -> Away | None:
    """Where everything goes to as well. Raises OutputFault."""
    if not plan.to.startswith(("http://", "https://")):
        return await asyncio.to_thread(Muxer, plan.to, size) if plan.to else None
    from realtime.camera.whip import Whip

    whip = Whip(plan.to, plan.secret, clock)
    await whip.begin()
    return whip


async def _speak(source: Path, rate: int, session: Conversation, clock: Clock) -> None:
    """A file, or samples as they come, into the session, no faster than they are spoken. Then the actor idles."""
    stream = Stream(timeline.WIRE_RATE)
    sound = _raw(rate) if str(source) == "-" else read_speech(source, timeline.WIRE_RATE)
    while (block := await asyncio.to_thread(next, sound, None)) is not None:
        while not stream.room:
            await clock.sleep_until(clock.now() + timeline.TICK_S)
        if len(block):
            session.say(stream, block)
    stream.end()


def _raw(rate: int) -> Iterator[Float]:
    pcm = Pcm(rate)
    while data := os.read(sys.stdin.fileno(), READ):
        yield from pcm.put(data)
    with contextlib.suppress(Fault):  # half a sample at the end is nobody's loss
        yield pcm.flush()
