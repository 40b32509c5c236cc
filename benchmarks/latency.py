"""The server under a real browser: headless Chromium, a recorded voice as its microphone, the page as it is shipped.

    mytalk bench latency --seconds 300             # the real engine and the drawn presenter
    mytalk bench latency --seconds 60 --engine clapper    # the wires alone

What is measured, all at the listener's end unless said:
- fps, longest gap: pictures composited (`requestVideoFrameCallback`); a gap is between their expected display times.
  Freezes are the browser's own count.
- session_create: from the offer's POST to its answer; webrtc_first_frame: from there to the first picture's expected
  display time; over `--joins` new sessions.
- added delay: the server's own count, from the arrival of a tick's last sample (decoded) to its picture's leaving.
- shown: from a burst of sound in the browser's microphone to the picture that shows it, both on the page's clock. An
  AudioWorklet taps the microphone. Each picture carries a stamp (`realtime.testing.stamp`) that says which 5 ms
  of the speech that it shows were loud.
- sound against picture: an AudioWorklet taps the received sound where the browser takes it from its jitter buffer (the
  delay of the loudspeaker comes on top, not counted). The offset is (picture's display time + place of the first loud
  part) - (first loud block of sound), per burst; positive means that the picture is late. It is the wires' offset under
  the engine's true load; how well lips fit speech is `benchmarks/quality.py`'s to say. av_drift is what it moved from
  the first to the last quarter.
- interruption: while a long file is spoken the page posts an interrupt; until the last loud block of sound is taken from
  the jitter buffer, and until the last picture with a loud part is shown; over `--interrupts`.
- `--loss 0.05` puts a relay between the two that loses so many of the packets with media.
- first picture after speech: from the POST of a sound file to the first picture with a loud part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.browser import Seen, watch
from benchmarks.clapper import clapper_offsets, heard_at, ms, shown_after, voice

SERVE = """
import sys
from pathlib import Path
from realtime.server.app import serve
from realtime.server.options import Options
if __name__ == "__main__":
    if sys.argv[1] == "clapper":
        from realtime.testing import FakePipeline, FakeStore
        serve(store=FakeStore(), port=0, pipeline=FakePipeline)
    else:
        from engines.actor import Store
        from realtime.testing import StampedPipeline
        serve(store=Store(Path(sys.argv[2])), port=0, options=Options(actor=sys.argv[3]), pipeline=StampedPipeline)
"""


def figures_of(seen: Seen, engine: str) -> dict[str, Any]:
    """All figures of what a browser saw."""
    frames, report, joins, breaks = seen.frames, seen.report, seen.joins, seen.breaks
    at = np.array([frame[0] for frame in frames])
    offsets = clapper_offsets(frames, heard_at(seen.sound), seen.sound[:, 1])
    shown = shown_after(frames, heard_at(seen.spoken), seen.spoken[:, 1])
    quarter = max(1, len(offsets) // 4)
    return {
        "engine": engine,
        "loss": seen.lost,
        "size": seen.size,
        "seconds": round(float(at[-1] - at[0]) / 1000, 1),
        "fps": round((frames[-1][1] - frames[0][1]) / (at[-1] - at[0]) * 1000, 2),
        "gap_max_ms": ms(np.diff(at), 100),
        "freezes": seen.freezes,
        "session_create_ms": ms(joins[:, 0], 50),
        "webrtc_first_frame_ms": ms(joins[:, 1], 50),
        "webrtc_first_frame_p95_ms": ms(joins[:, 1], 95),
        "joins": len(joins),
        "first_picture_after_speech_ms": ms(breaks[:, 0], 50),
        "added_p50_ms": report["added_p50_ms"],
        "added_p95_ms": report["added_p95_ms"],
        "shown_p50_ms": ms(shown, 50),
        "shown_p95_ms": ms(shown, 95),
        "av_offsets": len(offsets),
        "av_offset_p50_ms": ms(offsets, 50),
        "av_offset_p95_ms": ms(np.abs(offsets), 95),
        "av_drift_ms": round(float(np.median(offsets[-quarter:]) - np.median(offsets[:quarter])), 1) if len(offsets) else None,
        "interrupt_sound_p95_ms": ms(breaks[:, 1], 95),
        "interrupt_picture_p95_ms": ms(breaks[:, 2], 95),
        "interrupts": len(breaks),
        "queue_depth": report["queue_depth"],
        "holds": report["holds"],
        "dropped_ms": report["dropped_ms"],
        "look_ahead": report["look_ahead"],
        "loop_lag_p99_ms": seen.health["loop_lag_p99_ms"],
        "capacity": seen.health["capacity"],
        "pictures_every": seen.health["pictures_every"],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}",
        "browser": f"Chromium {seen.version}",
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engine", choices=["real", "clapper"], default="real")
    parser.add_argument("--actor", default="presenter", help="who talks")
    parser.add_argument("--home", type=Path, default=None, help="the folder of the actors")
    parser.add_argument("--wav", type=Path, help="the voice; made with espeak-ng or flite if left out")
    parser.add_argument("--joins", type=int, default=30, help="how many times to connect anew for the first picture")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets that a relay loses, both ways")
    parser.add_argument("--interrupts", type=int, default=20, help="how many times to interrupt")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wav, made = args.wav, "a file"
        if wav is None:
            wav = Path(folder) / "voice.wav"
            made = voice(wav)
        home = args.home or Path(folder)
        command = [sys.executable, "-c", SERVE, args.engine, str(home), args.actor]
        root = Path(__file__).resolve().parent.parent
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as server:
            assert server.stdout is not None
            try:
                line = server.stdout.readline()
                if not line.startswith("Serving on "):
                    raise SystemExit("The server did not start.")
                start = time.monotonic()
                seen = watch(
                    line.split()[-1], wav.resolve(), chromium=args.chromium, seconds=args.seconds,
                    joins=args.joins, interrupts=args.interrupts, loss=args.loss,
                )  # fmt: skip
            finally:
                server.terminate()
    figures = figures_of(seen, args.engine) | {"voice": made, "took_s": round(time.monotonic() - start)}
    print_table(figures)
    print(json.dumps(figures))


def print_table(figures: dict[str, Any]) -> None:
    """The figures for people."""
    rows = [
        ("frames shown per second / longest gap, ms / freezes", ("fps", "gap_max_ms", "freezes"), ">= 24.5 / < 190 / 0"),
        ("added by the server, ms, p50 / p95", ("added_p50_ms", "added_p95_ms"), "<= 150 / <= 200"),
        ("sound in to its picture shown, ms, p50 / p95", ("shown_p50_ms", "shown_p95_ms"), "p95 <= 300"),
        ("picture after sound, ms, p50 / p95 of |x| / drift", ("av_offset_p50_ms", "av_offset_p95_ms", "av_drift_ms"), "p95 <= 40"),
        ("interrupt to last old sound / last old picture, ms, p95", ("interrupt_sound_p95_ms", "interrupt_picture_p95_ms"), "<= 250 shown"),
        ("offer to answer / to first picture, ms, median", ("session_create_ms", "webrtc_first_frame_ms"), ""),
        ("offer to first picture, ms, p95 / of joins", ("webrtc_first_frame_p95_ms", "joins"), "<= 1000 / 30"),
        ("file posted to its first picture, ms, median", ("first_picture_after_speech_ms",), ""),
        ("event loop late, ms, p99 / sessions that fit", ("loop_lag_p99_ms", "capacity"), "<= 10 / >= 2"),
        ("holds / speech dropped, ms / queue", ("holds", "dropped_ms", "queue_depth"), ""),
    ]
    print("| what | measured | at least |\n|---|---|---|")
    for what, keys, wanted in rows:
        print(f"| {what} | {' / '.join(str(figures[key]) for key in keys)} | {wanted} |")


if __name__ == "__main__":
    main()
