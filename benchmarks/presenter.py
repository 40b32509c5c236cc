"""The drawn presenter says the shipped speech: how well what is seen fits what is known.

    python -m benchmarks.presenter [--sheet strip.png]

Two truths are known. `shown`: the motion that the engine asked for; the pictures are tracked again and their opening is
compared with it. `spoken`: the phones of the shipped speech and their times; each phone opens the mouth to a target, the
curve is smoothed as a mouth is (120 ms), and the tracked opening is compared with that. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

import realtime
from engines import face
from engines.actor import BUILT_IN, Store
from engines.pipeline import Pipeline
from engines.spec import FPS, RATE, TICK, Float
from engines.tracker import Tracker
from engines.train.figures import correlation, lag, speech_frames
from native.planes import to_rgb
from realtime.media import read_speech, ticks

# how far open, 0..1: after the usual order of vowel height; closed for the lips' closures
_OPEN = {
    "aa": 1.0, "ae": 0.95, "ah": 0.6, "ao": 0.85, "aw": 0.9, "ax": 0.45, "ay": 0.9, "eh": 0.75, "er": 0.45, "ey": 0.6, "ih": 0.45,
    "iy": 0.4, "ow": 0.6, "oy": 0.65, "uh": 0.4, "uw": 0.3, "m": 0.0, "b": 0.0, "p": 0.0, "f": 0.1, "v": 0.1, "w": 0.2, "pau": 0.0,
}  # fmt: skip
_OTHER = 0.3
_SMOOTH = 0.12  # seconds


def spoken_opening(phones: list[tuple[str, float, float]], count: int) -> Float:
    """(count,): the opening, 0..1, that phones with start and end in seconds ask for at 25 a second."""
    fine = 400
    curve = np.zeros(int(count * fine / FPS) + fine)
    for phone, start, end in phones:
        curve[int(start * fine) : int(end * fine)] = _OPEN.get(phone, _OTHER)
    kernel = np.hanning(int(_SMOOTH * fine) + 2)
    smooth = np.convolve(curve, kernel / kernel.sum(), "same")
    return np.asarray(smooth[((np.arange(count) + 0.5) * fine / FPS).astype(int)], np.float32)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sheet", type=Path, help="write a strip of mouths here")
    options = parser.parse_args()
    folder = Path(realtime.__file__).parent / "speech"
    speech = np.concatenate(list(read_speech(folder / "hello.flac", RATE)))
    actor, pipeline = Store(folder / "none").load(BUILT_IN), Pipeline()
    blocks = [*ticks(iter([speech]), TICK), *[np.zeros(TICK, np.float32)] * pipeline.look_ahead]
    motion, look, asked, seen, shown = pipeline.motion.start(actor), pipeline.appearance.start(actor), [], [], []
    with Tracker() as tracker:
        for at, block in enumerate(blocks):
            (motion,), moved = pipeline.motion.step([motion], block[None])
            if at < pipeline.look_ahead:
                continue
            index = actor.frame_at(at - pipeline.look_ahead)
            (look,), (picture,) = pipeline.appearance.step([look], [index], moved)
            rgb = to_rgb(picture)
            shown.append(rgb)
            asked.append(moved[0])
            found = tracker.track(rgb)[0]
            seen.append(face.motion_onto(found[face.MOTION, :2], actor.poses[index], actor.neutral))
    count = len(asked)
    speaking = speech_frames(speech, count)
    phones = [(str(p), float(a), float(b)) for p, a, b in json.loads((folder / "hello.json").read_text())["phones"]]
    truth = spoken_opening(phones, count)
    wanted, tracked = np.stack(asked), np.stack(seen)
    figures = {
        "opening r, tracked against shown": correlation(face.opening(wanted)[speaking], face.opening(tracked)[speaking]),
        "lag, ms, tracked against shown": lag(wanted, tracked, speaking),
        "opening r, tracked against spoken": correlation(truth[speaking], face.opening(tracked)[speaking]),
        "opening r, shown against spoken": correlation(truth[speaking], face.opening(wanted)[speaking]),
    }
    print("| the presenter says the shipped speech | |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:.3f} |")
    if options.sheet:
        chosen = np.linspace(4, count - 5, 24).astype(int)
        tiles = [cv2.resize(shown[at][200:400, 156:356], (160, 160), interpolation=cv2.INTER_AREA) for at in chosen]
        rows = [np.concatenate(tiles[row : row + 8], 1) for row in range(0, 24, 8)]
        cv2.imwrite(str(options.sheet), np.concatenate(rows)[:, :, ::-1])
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
