"""Raw sound of any rate, in pieces of any size, to the wire's 48 kHz."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from av import AudioFrame, AudioResampler

from engines.errors import SpeechFault
from realtime.timeline import WIRE_RATE, Float

SLOWEST, FASTEST = 8_000, 96_000
"""Hz of sound that is taken."""
_PIECE = 0.1  # seconds that are converted at a time, so that a large message does not keep others waiting


def rate_of(value: object) -> int:
    """A sample rate as somebody said it. Raises SpeechFault."""
    try:
        rate = int(str(value))
    except ValueError:
        rate = 0
    if not SLOWEST <= rate <= FASTEST:
        raise SpeechFault(f"{value} is no sample rate that is taken.", f"Say rate={SLOWEST} to {FASTEST}, in Hz.")
    return rate


class Pcm:
    """16-bit samples, little-endian, mono, as they come: a sample may be split between two messages."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.came = 0
        """Samples so far, at `rate`."""
        self._half = b""
        self._resampler: AudioResampler | None = None
        self._before = self._given = 0  # samples since the last flush: of the rate, of the wire

    def put(self, data: bytes) -> Iterator[Float]:
        """Samples for the wire, in pieces."""
        data = self._half + data
        self._half = data[len(data) & ~1 :]
        samples = np.frombuffer(data, "<i2", len(data) // 2)
        size = int(self.rate * _PIECE)
        for at in range(0, len(samples), size):
            yield self._convert(samples[at : at + size])

    def flush(self) -> Float:
        """What the conversion still holds: nothing more belongs to this piece of speech. Raises SpeechFault for half a sample."""
        odd = bool(self._half)
        rest = -(-self._before * WIRE_RATE // self.rate) - self._given
        parts = [frame.to_ndarray()[0] for frame in self._resampler.resample(None)] if self._resampler else []
        tail = np.concatenate([np.zeros(0, np.float32), *parts]).astype(np.float32)
        self.clear()
        if odd:
            raise SpeechFault("The sound has an odd number of bytes.", "Send 16-bit samples: two bytes each.")
        return np.pad(tail, (0, max(0, rest - len(tail))))[: max(0, rest)]

    def clear(self) -> None:
        """Forget what the conversion still holds."""
        self._half, self._resampler, self._before, self._given = b"", None, 0, 0

    def place(self, wire: int) -> int:
        """The place of a wire's sample among those that came."""
        return min(self.came, round(wire * self.rate / WIRE_RATE))

    def _convert(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Float:
        self.came += len(samples)
        self._before += len(samples)
        if self.rate == WIRE_RATE:
            self._given += len(samples)
            return (samples / 32768).astype(np.float32)
        if self._resampler is None:
            self._resampler = AudioResampler(format="fltp", layout="mono", rate=WIRE_RATE)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        frame.sample_rate = self.rate
        sound = np.concatenate([np.zeros(0, np.float32), *(out.to_ndarray()[0] for out in self._resampler.resample(frame))])
        self._given += len(sound)
        return sound.astype(np.float32)
