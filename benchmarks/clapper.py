"""The clapper test: a voice of bursts, and by how much what is shown and heard of it is late. Pure, but for the file of the voice."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def voice(path: Path, seconds: float = 12.0, rate: int = 48_000) -> str:
    """Write a recording of syllables with silence between them; returns what it was made with."""
    out = np.zeros(int(seconds * rate), np.float32)
    tool = shutil.which("espeak-ng") or shutil.which("flite")
    for n, start in enumerate(np.arange(0.5, seconds - 0.9, 1.1)):
        text = ("pa pa pa", "banana", "hello there", "mama")[n % 4]
        if tool is None:
            time_s = np.arange(int(0.4 * rate)) / rate
            sound = sum(0.5 / k * np.sin(2 * np.pi * 130 * k * time_s) for k in range(1, 12)) * np.hanning(len(time_s)) ** 0.2
        else:
            part = path.with_suffix(".part.wav")
            command = [tool, "-w", str(part), text] if "espeak" in tool else [tool, "-t", text, "-o", str(part)]
            subprocess.run(command, check=True, capture_output=True)
            with wave.open(str(part)) as file:
                own, raw = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
            sound = np.interp(np.arange(0, len(raw), own / rate), np.arange(len(raw)), raw / 32768)
            part.unlink()
        at = int((start + 0.013 * n) * rate)  # bursts fall anywhere in a tick
        sound = np.asarray(sound[: int(0.75 * rate)], np.float32)
        sound = np.trim_zeros(np.where(np.abs(sound) < 1e-3, 0, sound)).astype(np.float32)
        out[at : at + len(sound)] += (sound / (np.abs(sound).max() + 1e-9) * 0.7)[: len(out) - at]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((out * 32767).astype("<i2").tobytes())
    return Path(tool).name if tool else "tones"


def heard_at(blocks: Floats, around: int = 300) -> Floats:
    """When the browser took each block of sound, ms of its own clock: the audio clock's time plus the least that its
    messages took around then (the rest is the main thread's delay)."""
    late = blocks[:, 2] - blocks[:, 0] * 1000
    padded = np.pad(late, around, mode="edge")
    least = np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1).min(1)
    return np.asarray(blocks[:, 0] * 1000 + least)


def onsets(times: Floats, loud: NDArray[np.bool_], quiet: float) -> Floats:
    """When something becomes loud after at least `quiet` ms of silence."""
    found, last = [], -1e9
    for moment, on in zip(times, loud, strict=True):
        if on and moment - last > quiet:
            found.append(moment)
        if on:
            last = moment
    return np.array(found)


def shown_after(frames: list[Any], spoken: Floats, level: Floats) -> Floats:
    """ms from a burst in the microphone to the picture that shows its beginning."""
    said, pictures = onsets(spoken, level > 0.02, 250), picture_onsets(frames)
    after = [float(later[0] - at) for at in said if len(later := pictures[pictures > at])]
    return np.array([delay for delay in after if delay < 900])


def picture_onsets(frames: list[Any]) -> Floats:
    """When loud parts begin to be shown, ms."""
    seen_at, seen = [], []
    for shown, _, _, parts in frames:
        seen_at += [shown + 5 * k for k in range(len(parts))]
        seen += [part > 120 for part in parts]
    order = np.argsort(seen_at, kind="stable")
    return onsets(np.array(seen_at)[order], np.array(seen)[order], 250)


def clapper_offsets(frames: list[Any], sound: Floats, level: Floats) -> Floats:
    """ms by which the picture is late, per burst."""
    pictures = picture_onsets(frames)
    heard = onsets(sound, level > 0.02, 250)
    pairs = [(float(heard[np.abs(heard - at).argmin()]), at) for at in pictures if len(heard)]
    offsets = np.array([at - other for other, at in pairs])
    return offsets[np.abs(offsets) < 400]


def ms(values: Floats, percentile: float) -> float | None:
    """A percentile of so many milliseconds, rounded; None of none."""
    return round(float(np.percentile(values, percentile)), 1) if len(values) else None
