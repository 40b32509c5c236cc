"""Peers: mouths that others' programs make of the same speech, against the lips that were filmed.

    python -m benchmarks.peers --data ../shared/data --split val-unseen --cache cache/motion

- rhubarb: Rhubarb Lip Sync (npm `rhubarb-lip-sync-wasm`), offline: recognizes English words, then places mouth shapes, each
  held until the next begins. This port has one recognizer, PocketSphinx; the phonetic one's model is not in the package.
- headaudio: HeadAudio (npm `@met4citizen/headaudio`), live: an AudioWorklet that tells visemes by their sound and blends
  them. Its own code runs in node, and gives what it gives in Chromium, to the message. Its own delay counts, that of a
  browser does not. Version 0.1.0 never shows the viseme aa (its number is 0, which it takes for none); it stays so.

Both are given 16 kHz speech brought to one level (headaudio at 48 kHz, as a browser would), and neither is told the text.
Neither makes lips: the tables below turn shapes and visemes into a mouth's opening and width, in no unit, so that only
correlations and lags mean anything; those are `engines.train.figures`'. Each peer is there twice: with numbers that follow
what its shapes are described as, and "fitted" to filmed lips of `train`, which shows how much is lost by the numbers alone.
The best common lag is found on the clips that are judged, to a peer's favour.
Both need node and npm; the packages (MIT) are installed into the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.spec import FPS, TICK
from engines.train import figures
from engines.train.data import prepare

Float = NDArray[np.float32]
Curves = dict[str, tuple[Float, Float]]
PACKAGES = {"rhubarb": ("rhubarb-lip-sync-wasm", "0.1.8"), "headaudio": ("@met4citizen/headaudio", "0.1.0")}
SCRIPT = Path(__file__).with_suffix(".mjs")
LEVEL = 0.1  # root mean square of speech that peers are given
SHIFTS = range(-6, 7)
# Of each shape: opening and width against rest, after Rhubarb's own descriptions of them; then the same fitted: what
# lips did on average in such ticks of speech of 69 clips of `train`, in a clip's standard deviations.
SHAPES = {
    "X": (0.0, 0.0, 0.0, 0.0), "A": (0.0, 0.0, -0.3, -0.5), "B": (0.2, 0.4, 0.6, -0.1), "C": (0.6, 0.3, 0.7, 0.0),
    "D": (1.0, 0.2, 0.8, -0.3), "E": (0.5, -0.4, 0.25, -1.1), "F": (0.25, -1.0, -0.05, -0.9), "G": (0.1, 0.1, -0.05, -0.25),
    "H": (0.6, 0.1, -0.45, -1.3),
}  # fmt: skip
# The same of visemes shown whole, after the sounds that they stand for; fitted by least squares on 274 clips of
# `train`, its delay of 3 ticks taken back.
VISEMES = {
    "sil": (0.0, 0.0, 0.0, 0.0), "PP": (0.0, 0.0, 1.1, -0.35), "FF": (0.1, 0.1, 0.8, 0.0), "TH": (0.25, 0.1, 0.05, -0.4),
    "DD": (0.25, 0.1, 1.15, 0.25), "kk": (0.3, 0.1, 0.85, -0.2), "CH": (0.2, -0.4, 0.85, 0.2), "SS": (0.15, 0.3, 0.45, 0.55),
    "nn": (0.25, 0.1, 0.6, -0.5), "RR": (0.3, -0.3, 0.55, -0.5), "aa": (1.0, 0.1, 0.0, 0.0), "E": (0.55, 0.3, 0.8, 0.3),
    "I": (0.3, 0.5, 0.7, 0.25), "O": (0.7, -0.5, 0.6, -1.2), "U": (0.25, -1.0, 0.3, -0.8),
}  # fmt: skip


def openings(speeches: dict[str, Float], cache: Path) -> dict[str, Curves]:
    """Of each peer, of each clip's speech (16 kHz): opening and width, (N,) each, n at n * 40 ms, N = samples // 640.

    Each peer is there twice, the second time with fitted numbers. What it said is kept in `cache`/peers.
    """
    modules, made = install(cache / "node"), {}
    for peer in PACKAGES:
        said = run(peer, speeches, modules, cache / "peers")
        curves = {clip: _of_cues(v, len(speeches[clip]) // TICK) if peer == "rhubarb" else _of_visemes(v) for clip, v in said.items()}
        made[peer] = {clip: (c[0], c[1]) for clip, c in curves.items()}
        made[f"{peer}, fitted"] = {clip: (c[2], c[3]) for clip, c in curves.items()}
    return made


def install(folder: Path) -> Path:
    """The folder of the installed packages; what is not there yet is installed."""
    npm, modules = shutil.which("npm"), folder / "node_modules"
    if npm is None or shutil.which("node") is None:
        raise RuntimeError("node or npm is missing: install them (for example apt-get install nodejs npm).")
    for name, version in PACKAGES.values():
        found = modules / name / "package.json"
        if found.exists() and json.loads(found.read_text())["version"] == version:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", f"{name}@{version}"]
        if subprocess.run(command, capture_output=True).returncode or not found.exists():
            raise RuntimeError(
                f"npm could not install {name}@{version}: see that the npm registry can be reached, delete {folder}, try again."
            )
    return modules


def run(peer: str, speeches: dict[str, Float], modules: Path, kept: Path) -> dict[str, Any]:
    """What a peer says of each clip's speech, in its own terms; see the script."""
    kept.mkdir(parents=True, exist_ok=True)
    said, waiting = {}, []
    for clip, speech in speeches.items():
        sound = _sound(speech, 48_000 if peer == "headaudio" else 16_000).tobytes()
        key = hashlib.sha256(b"\0".join([SCRIPT.read_bytes(), repr(PACKAGES[peer]).encode(), sound])).hexdigest()[:24]
        said[clip] = kept / f"{peer}-{key}.json"
        if not said[clip].exists():
            waiting.append(said[clip].with_suffix(".f32"))
            waiting[-1].write_bytes(sound)
    if waiting:
        try:
            done = subprocess.run(["node", str(SCRIPT), peer, str(modules), *map(str, waiting)], capture_output=True, text=True)
        finally:
            for path in waiting:
                path.unlink()
        if done.returncode:
            raise RuntimeError(f"{peer} failed under node: {done.stderr.strip()[-400:]}")
    return {clip: json.loads(path.read_text()) for clip, path in said.items()}


def _sound(speech: Float, rate: int) -> Float:
    """Speech (16 kHz) at a multiple of its rate, its spoken ticks at one level, within -1..1."""
    count = len(speech) // TICK
    whole = speech[: count * TICK].astype(np.float64)
    spoken = whole.reshape(count, TICK)[figures.speech_frames(speech, count)]
    whole *= LEVEL / max(float(np.sqrt((spoken**2).mean())), 1e-4) if len(spoken) else 1.0
    times = rate // 16_000
    return np.clip(np.fft.irfft(np.fft.rfft(whole), len(whole) * times) * times, -1, 1).astype(np.float32)


def _of_cues(cues: list[tuple[float, str]], count: int) -> Float:
    """(4, count): the numbers of Rhubarb's shapes. Cues of this port overlap at times: the one that began last is shown."""
    starts = np.array([0.0] + [start for start, _ in cues])
    values = np.array([SHAPES["X"]] + [SHAPES[shape] for _, shape in cues], np.float32)
    order = np.argsort(starts, kind="stable")
    at = np.searchsorted(starts[order], np.arange(count) / FPS + 1e-6, "right") - 1
    return np.ascontiguousarray(values[order][at].T)


def _of_visemes(said: dict[str, Any]) -> Float:
    """(4, N): the numbers of HeadAudio's visemes, each as far as it is shown."""
    table = np.array([VISEMES[name.removeprefix("viseme_")] for name in said["visemes"]], np.float32)
    return np.ascontiguousarray((np.array(said["values"], np.float32) @ table).T)


def as_motion(opening: Float, width: Float) -> Float:
    """Motion (N, L, 2) with this opening and this width, both shifted to be above zero, and nothing else."""
    motion = np.zeros((len(opening), face.L, 2), np.float32)
    points = list(face.MOTION)
    motion[:, points.index(face.INNER_MIDDLE[1]), 1] = 2 + opening
    motion[:, points.index(face.CORNERS[1]), 0] = 3 + width
    return motion


def shifted(true: Float, shown: Float, speaking: NDArray[np.bool_]) -> list[float]:
    """Opening r with the shown curve taken back by each of SHIFTS ticks."""
    at = np.flatnonzero(speaking)
    kept = [(at[(at + shift >= 0) & (at + shift < len(shown))], shift) for shift in SHIFTS]
    return [figures.correlation(true[there], shown[there + shift]) for there, shift in kept]


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--split", default="val-unseen")
    parser.add_argument("--every", type=int, default=1, help="each n-th clip")
    parser.add_argument("--cache", type=Path, default=Path("cache/motion"), help="folder of packed clips; others' outputs go there too")
    options = parser.parse_args()
    clips = [clip for clip in prepare(options.data, options.cache) if clip.split == options.split][:: options.every]
    made = openings({clip.file: clip.speech for clip in clips}, options.cache)
    print("| peer | set | clips | opening r, mean / median | width r | best lag, ms | opening r there | lag of each clip, ms, absolute |")
    print("|---|---|---|---|---|---|---|---|")
    for peer, curves in made.items():
        rows: list[tuple[str, dict[str, float], list[float]]] = []
        for clip in clips:
            speaking = figures.speech_frames(clip.speech, len(clip.seen)) & clip.seen
            if found := figures.all_figures(clip.motion, as_motion(*curves[clip.file]), speaking):
                rows.append((clip.set, found, shifted(face.opening(clip.motion), curves[clip.file][0], speaking)))
        best = int(np.argmax(np.mean([r for _, _, r in rows], 0)))
        for group in ("all", "grid"):
            chosen = [(found, r) for set_, found, r in rows if group in ("all", set_)]
            if chosen:
                values = [[f["opening r"], f["width r"], r[best], f["lag, ms, absolute"]] for f, r in chosen]
                opening, width, there = (f"{np.mean(v):.2f} / {np.median(v):.2f}" for v in np.transpose(values)[:3])
                lag = f"{np.mean(values, 0)[3]:.0f} / {np.median(values, 0)[3]:.0f}"
                print(f"| {peer} | {group} | {len(chosen)} | {opening} | {width} | {SHIFTS[best] * 40} | {there} | {lag} |")


if __name__ == "__main__":
    main()
