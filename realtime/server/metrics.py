"""What can be watched: figures in Prometheus' format. A registry for each server, nothing global."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from realtime.clock import Clock
from realtime.engine import Engine
from realtime.server.sessions import Sessions

LAG_EVERY = 0.05
"""Seconds between two looks at how late the event loop is."""
_DELAYS = (0.04, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.5, 1.0)
_STEPS = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.06, 0.1, 0.2)
_LAGS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)


_EACH = {
    "fps": "Pictures a second",
    "lag_ticks": "Ticks by which speech is late",
    "skips": "Ticks left out",
    "underruns": "Ticks of silence in the middle of speech",
    "dropped_ms": "Speech of a microphone that was left out to stay current, ms",
}


def mark_of(session: str) -> str:
    """What a session is called where figures are kept: with its id whoever reads them could end it."""
    return hashlib.sha256(session.encode()).hexdigest()[:12]


class Metrics(Collector):
    """Counts events as they come, and asks sessions and engine when it is looked at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._sessions: Sessions | None = None
        self._engine: Engine | None = None
        self._lags: deque[float] = deque(maxlen=1200)
        self._ticks = self._counter("pictures", "Pictures that left")
        self._held = self._counter("holds", "Ticks in which the last picture stayed, because the engine was late")
        self._refusals = self._counter("refusals", "Requests that were refused", "status")
        self._added = self._histogram("added_delay_seconds", "From the arrival of a tick's last sample to its picture leaving", _DELAYS)
        self._step = self._histogram("engine_step_seconds", "A step of the engine, of all conversations due", _STEPS)
        self._batch = self._histogram("engine_batch", "Conversations in a step of the engine", (1, 2, 3, 4, 6, 8, 16))
        self._lag = self._histogram("loop_lag_seconds", "How late the event loop was", _LAGS)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # memory, descriptors, processor time

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"mytalk_{name}", words, labels, registry=self._registry)

    def _histogram(self, name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"mytalk_{name}", words, buckets=buckets, registry=self._registry)

    def watch(self, sessions: Sessions, engine: Engine) -> None:
        """Whom to ask."""
        self._sessions, self._engine = sessions, engine
        engine.worked = self.worked

    def left(self, added: float | None) -> None:
        """See `surroundings.Gauges.left`."""
        self._ticks.inc()
        if added is not None:
            self._added.observe(added)

    def held(self, ticks: int) -> None:
        """See `surroundings.Gauges.held`."""
        self._held.inc(ticks)

    def worked(self, conversations: int, seconds: float) -> None:
        """The engine made a step."""
        self._step.observe(seconds)
        self._batch.observe(conversations)

    def refused(self, status: str) -> None:
        """A request was refused."""
        self._refusals.labels(status).inc()

    async def watch_loop(self) -> None:
        """Look, again and again, how late the event loop is."""
        while True:
            due = self._clock.now() + LAG_EVERY
            await self._clock.sleep_until(due)
            late = max(0.0, self._clock.now() - due)
            self._lag.observe(late)
            self._lags.append(late)

    @property
    def lag_p99(self) -> float:
        """How late the event loop was in the last minute, seconds; 99 of 100 looks were less."""
        lags = sorted(self._lags)
        return lags[int(len(lags) * 0.99)] if lags else 0.0

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What sessions and engine say now (called by the registry)."""
        if self._sessions is None or self._engine is None:
            return
        reports = [session.report() for session in self._sessions]
        now = {
            "mytalk_sessions": ("Sessions now", len(reports)),
            "mytalk_peers": ("Peers now, viewers included", self._sessions.peers),
            "mytalk_capacity": ("Sessions that this machine carries", self._sessions.capacity),
            "mytalk_load": ("Sessions now, of those that this machine carries: 1 is full", len(reports) / self._sessions.capacity),
            "mytalk_draining": ("Whether nobody begins a session here any more", int(self._sessions.draining)),
            "mytalk_sessions_refused": ("Sessions that there was no room for", self._sessions.refused),
            "mytalk_tasks": ("Tasks of the event loop", len(asyncio.all_tasks())),
            "mytalk_engine_ready": ("Whether the engine is up", int(self._engine.ready)),
            "mytalk_engine_restarts": ("How often the engine was started again", self._engine.restarts),
            "mytalk_engine_every": ("Of so many pictures one is made; 1 where the machine keeps up", self._engine.every),
        }
        for name, (words, value) in now.items():
            yield GaugeMetricFamily(name, words, value=value)
        backend = GaugeMetricFamily("mytalk_backend", "1 for what makes the pictures", labels=["backend"])
        if self._engine.backend:
            backend.add_metric([self._engine.backend], 1)
        yield backend
        for key, words in _EACH.items():
            family = GaugeMetricFamily(f"mytalk_session_{key}", f"{words}, of each session", labels=["session"])
            for report in reports:
                family.add_metric([mark_of(report["id"])], report[key])
            yield family
