"""What happens to speech before it reaches us: rooms, microphones, noise, other people, telephones, codecs, levels."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from io import BytesIO

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from engines.spec import RATE

Float = NDArray[np.float32]
Random = np.random.Generator


def spoil(speech: Float, random: Random, other: Callable[[], Float] | None = None, codecs: bool = True) -> Float:
    """Speech (N,) as it may arrive, never later than it was. `other` gives some other people's speech."""
    out = speech
    if random.random() < 0.35:
        out = in_room(out, random.uniform(0.1, 0.7), random.uniform(-4, 14), random)
    if random.random() < 0.5:
        out = coloured(out, random)
    if random.random() < 0.65:
        out = with_noise(out, noise(len(out), random), random.uniform(3, 35))
    if other is not None and random.random() < 0.2:
        voices = np.sum([np.resize(other(), len(out)) for _ in range(int(random.integers(1, 4)))], 0)
        out = with_noise(out, voices, random.uniform(6, 25))
    if random.random() < 0.18:
        low, high = (300, 3400) if random.random() < 0.6 else (random.uniform(20, 200), random.uniform(2500, 7500))
        out = band(out, low, high)
    out = out * np.float32(10 ** (random.uniform(-14, 9) / 20))
    if random.random() < 0.05:
        out = np.clip(out * 4, -0.5, 0.5)
    if codecs and random.random() < 0.06:
        out = coded(out, int(random.choice([8, 12, 16, 24])) * 1000)
    return out.astype(np.float32)


def noise(count: int, random: Random) -> Float:
    """Noise of a random colour, from white to brown, some of it with hum."""
    spectrum = np.fft.rfft(random.standard_normal(count).astype(np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20) ** -random.uniform(0, 1)
    out = np.fft.irfft(spectrum, count)
    out /= out.std()
    if random.random() < 0.3:
        out += random.uniform(0.2, 1) * np.sin(2 * np.pi * float(random.choice([50, 60, 100, 120])) * np.arange(count) / RATE)
    if random.random() < 0.3:  # comes and goes
        slow = np.interp(np.arange(count), np.linspace(0, count, 12), random.uniform(0.1, 1.5, 12))
        out *= slow
    return out.astype(np.float32)


def with_noise(speech: Float, added: Float, snr: float) -> Float:
    """Speech with something added, `snr` dB under the speech's own level (pauses not counted)."""
    blocks = (speech[: len(speech) // 320 * 320].reshape(-1, 320) ** 2).mean(1)
    loud = blocks[blocks > blocks.max() * 1e-3] if len(blocks) else blocks
    power = float(loud.mean()) if len(loud) else 0.0
    scale = np.sqrt(power / max(float((added**2).mean()), 1e-12)) * 10 ** (-snr / 20)
    return (speech + added * np.float32(scale)).astype(np.float32)


def in_room(speech: Float, seconds: float, direct: float, random: Random) -> Float:
    """Speech in a room whose sound falls by 60 dB in `seconds`; the direct sound stands `direct` dB over the room's."""
    count = int(seconds * RATE)
    tail = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[: int(0.002 * RATE)] = 0
    tail *= 10 ** (-direct / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    size = 1 << (len(speech) + count).bit_length()
    return np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(tail, size), size)[: len(speech)].astype(np.float32)


def coloured(speech: Float, random: Random) -> Float:
    """Speech through a microphone with a smooth response of up to +-8 dB."""
    spectrum = np.fft.rfft(speech)
    octave = np.log2(np.maximum(np.arange(len(spectrum)) / len(spectrum) * RATE / 2, 60) / 60)
    response = np.interp(octave, np.linspace(0, 7.1, 7), random.uniform(-8, 8, 7))
    return np.fft.irfft(spectrum * 10 ** (response / 20), len(speech)).astype(np.float32)


def band(speech: Float, low: float, high: float) -> Float:
    """Only what lies between two frequencies in Hz."""
    spectrum = np.fft.rfft(speech)
    hertz = np.arange(len(spectrum)) / len(spectrum) * RATE / 2
    keep = np.clip((hertz - low * 0.8) / (low * 0.2), 0, 1) * np.clip((high * 1.1 - hertz) / (high * 0.1), 0, 1)
    return np.fft.irfft(spectrum * keep, len(speech)).astype(np.float32)


def coded(speech: Float, bits: int) -> Float:
    """Through Opus at so many bits a second, in step with what went in."""
    out, parts = BytesIO(), []
    with av.open(out, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, bit_rate=bits, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(speech[None]), "flt", "mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler("s16", "mono", RATE, frame_size=320)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    out.seek(0)
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(out, "r") as coded_speech:
        for found in coded_speech.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(found)]
    whole = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return np.pad(whole, (0, max(0, len(speech) - len(whole))))[: len(speech)].astype(np.float32)


def at_tempo(speech: Float, speed: float) -> Float:
    """Speech so many times as fast (0.5 to 2), at the same pitch: FFmpeg's `atempo`."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="flt", layout="mono", time_base=Fraction(1, RATE))
    tempo, out = graph.add("atempo", str(speed)), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(out)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(speech[None], np.float32), "flt", "mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    parts: list[Float] = []
    for given in (frame, None):
        source.push(given)
        while True:
            try:
                made = out.pull()
            except (BlockingIOError, EOFError):
                break
            assert isinstance(made, av.AudioFrame)
            parts.append(made.to_ndarray()[0])
    return np.concatenate(parts).astype(np.float32)
