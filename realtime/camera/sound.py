"""Sound devices: streams whose callbacks fill or empty a `Bridge`, and that come back after their device was away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from typing import Any

import numpy as np

from realtime.camera.devices import PORTAUDIO, Device, DeviceFault, plugged, sounddevice
from realtime.camera.drift import Bridge
from realtime.clock import Clock
from realtime.intake import Speech
from realtime.pacer import Kind
from realtime.timeline import TICK_S, WIRE_RATE, WIRE_TICK, Float

log = logging.getLogger(__name__)

BLOCK_S = 0.01
DEAF_S = 0.8
"""A device whose callback did not come for so long is gone."""
FIRST_S = 2.0
"""A device that was just opened has so long to come into its stride."""
ASK_S = 1.0
"""A sound server lets a stream go on at another device when its own goes; so it is asked this often whether it is there."""
AGAIN_S = 0.25
"""After so long it is tried again."""
EASE = 0.02
"""How much of what a callback says of its device's latency counts."""
MOST_AHEAD_S = 0.5
SPARE_S = 0.006
"""What is left in a buffer at the least, beyond what its two sides are early and late by; it grows where that is too little."""
MOST_S = 0.16
"""More than this never waits."""


class _Line:
    """One direction of sound: a stream that is opened, watched, and opened again."""

    _side, _channels, _stream, _variable = "", "", "", ""

    def __init__(self, device: Device, clock: Clock) -> None:
        self.device, self._clock = device, clock
        self._lock = threading.Lock()
        self._open: Any = None
        self._called = self._patience = 0.0
        self.level = 0.0
        """Loudness of the last block, 0 to 1."""
        self.returns = 0
        """Times that the device was away and came back."""
        self.latency = 0.0
        """Seconds that sound spends in the device's own buffers."""
        self.rate = 0
        self._number = ""  # the sound server's, of the device while it stays plugged in

    @property
    def runs(self) -> bool:
        """Whether sound flows."""
        return self._open is not None and self._open.active and self._clock.now() < max(self._called + DEAF_S, self._patience)

    def open(self) -> None:
        """Open the device: at 48 kHz and one channel if it can, else as it likes. Raises DeviceFault."""
        module = sounddevice()
        if self.device.server:
            self._number = plugged(self.device, self._side)
            if not self._number:
                raise DeviceFault(f"{self.device.name} was unplugged.", "Plug it in again, or choose another: mytalk devices")
            os.environ[self._variable] = self.device.server
            os.environ.setdefault("PULSE_LATENCY_MSEC", "20")  # else what nobody asks for in a hurry comes every two seconds
        try:
            with PORTAUDIO:
                about = module.query_devices(self.device.index)
                own = int(about["default_samplerate"]), about[self._channels]
                self._open = self._first(module, [(WIRE_RATE, 1), (WIRE_RATE, min(2, own[1])), own])
        except module.PortAudioError as error:
            raise DeviceFault(
                f"{self.device.name} cannot be opened: it is busy, or was unplugged.",
                "Close other programs that use it, or choose another: mytalk devices",
            ) from error
        self._patience = self._clock.now() + FIRST_S
        self.latency = float(self._open.latency)

    def _first(self, module: Any, tries: list[tuple[int, int]]) -> Any:
        for n, (rate, channels) in enumerate(tries):
            self.rate = rate
            self._ready()
            try:
                stream = getattr(module, self._stream)(
                    samplerate=rate,
                    blocksize=int(rate * BLOCK_S),
                    device=self.device.index,
                    channels=channels,
                    dtype="float32",
                    latency="low",
                    callback=self._call,
                )
                stream.start()
            except module.PortAudioError:
                if n == len(tries) - 1:
                    raise
            else:
                return stream
        raise AssertionError

    async def watch(self) -> None:
        """Open it again whenever it was gone."""
        gone, asked = False, self._clock.now()
        while True:
            await self._clock.sleep_until(self._clock.now() + (AGAIN_S if gone else 0.1))
            moved = False
            if self.device.server and not gone and self._clock.now() - asked > ASK_S:
                moved = await asyncio.to_thread(plugged, self.device, self._side) != self._number
                asked = self._clock.now()
            if self.runs and not moved:
                self.returns, gone = self.returns + gone, False
                continue
            if not gone:
                log.warning("%s is gone; it is awaited", self.device.name)
            gone = True
            await asyncio.to_thread(self.close)
            with contextlib.suppress(DeviceFault):
                await asyncio.to_thread(self.open)

    def close(self) -> None:
        """Let go of the device."""
        stream, self._open = self._open, None
        if stream is not None:
            with PORTAUDIO, contextlib.suppress(sounddevice().PortAudioError):
                stream.abort()
            with PORTAUDIO, contextlib.suppress(sounddevice().PortAudioError):
                stream.close()

    def _ready(self) -> None:
        raise NotImplementedError

    def _call(self, data: Any, frames: int, times: Any, status: Any) -> None:
        raise NotImplementedError


class Ear(_Line):
    """A microphone, as a session's live source: `realtime.intake.Live`."""

    _side, _channels, _stream, _variable = "sources", "max_input_channels", "InputStream", "PULSE_SOURCE"

    def __init__(self, device: Device, clock: Clock) -> None:
        super().__init__(device, clock)
        self.paused = False
        self.bridge = Bridge(WIRE_RATE, WIRE_RATE, BLOCK_S, SPARE_S, MOST_S)

    def _ready(self) -> None:
        with self._lock:
            self.bridge = Bridge(self.rate, WIRE_RATE, BLOCK_S, SPARE_S, MOST_S)

    def _call(self, data: Any, frames: int, times: Any, status: Any) -> None:
        self._called = self._clock.now()
        sound = data.mean(1) if data.shape[1] > 1 else data[:, 0].copy()
        self.level = float(np.abs(sound).max())
        with self._lock:
            self.bridge.put(sound, self._called)
            if self.bridge.depth > 2 * MOST_S:  # nobody takes
                self.bridge.clear()

    @property
    def ready(self) -> bool:
        """See `Live.ready`."""
        with self._lock:
            return not self.paused and self.bridge.ready(WIRE_TICK)

    def take(self) -> Speech:
        """See `Live.take`."""
        now = self._clock.now()
        with self._lock:
            sound = self.bridge.take(WIRE_TICK, now)
            return Speech(Kind.LIVE, np.clip(sound, -1, 1), self._called - self.bridge.depth)

    def starve(self) -> bool:
        """See `Live.starve`."""
        with self._lock:
            before = self.bridge.holes
            self.bridge.take(WIRE_TICK, self._clock.now()) if not self.bridge.ready(WIRE_TICK) else self.bridge.clear()
            return self.bridge.holes > before

    def clear(self) -> None:
        """See `Live.clear`."""
        with self._lock:
            self.bridge.clear()

    @property
    def dropped(self) -> int:
        """See `Live.dropped`."""
        return self.bridge.dropped


class Mouth(_Line):
    """An output: a virtual cable, or headphones."""

    _side, _channels, _stream, _variable = "sinks", "max_output_channels", "OutputStream", "PULSE_SINK"

    def __init__(self, device: Device, clock: Clock) -> None:
        super().__init__(device, clock)
        self.bridge = Bridge(WIRE_RATE, WIRE_RATE, TICK_S, SPARE_S, MOST_S)

    def _ready(self) -> None:
        with self._lock:
            self.bridge = Bridge(WIRE_RATE, self.rate, TICK_S, SPARE_S, MOST_S)

    def _call(self, data: Any, frames: int, times: Any, status: Any) -> None:
        self._called = self._clock.now()
        ahead = times.outputBufferDacTime - times.currentTime
        if 0 < ahead < MOST_AHEAD_S:  # some drivers know nothing of it
            self.latency += EASE * (ahead - self.latency)
        with self._lock:
            data[:] = self.bridge.take(frames, self._called)[:, None]

    def hush(self) -> None:
        """What waits is not heard any more."""
        with self._lock:
            self.bridge.clear()

    def say(self, sound: Float) -> float:
        """A tick of the voice; returns in how many seconds its first sample will be heard."""
        self.level = float(np.abs(sound).max())
        if not self.runs:
            return 0.0
        with self._lock:
            if self.bridge.depth > 2 * MOST_S:  # nobody takes
                self.bridge.clear()
            wait = self.bridge.wait
            self.bridge.put(sound, self._clock.now())
        return wait + self.latency
