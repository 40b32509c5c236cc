"""Text to speech: seconds until the first sound of a sentence, and how much quicker than real time the natural voice is.

    python -m benchmarks.voice [--voice heart] [--rounds 3] [--threads 2]

A sentence's first piece is what has to be made before anything is heard (`engines.voice.pieces`). For each sentence: wall and processor
seconds of its first piece, and of all of it beside the seconds of its sound. Other work on the machine adds much to the first and little
to the second. Ends in a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time

from realtime.voices import RATE, Speaker, checked, choose, found

SENTENCES = (
    "Hello.",
    "Hello there, how are you?",
    "Type something, and I will say it.",
    "The quick brown fox jumps over the lazy dog.",
    "What can this machine do for you today, and how long will it take?",
    "It makes speech piece by piece so that the first of it is heard while the rest is still being made on the same two cores.",
)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", default="heart")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    voice = choose(given.voice, found())
    speaker = Speaker(threads=given.threads)
    begin = time.perf_counter(), time.process_time()
    speaker.warm(voice)
    loaded = time.perf_counter() - begin[0], time.process_time() - begin[1]
    firsts, cpus, ratios = [], [], []
    print(f"{'first, s':>9} {'of a core':>9} {'all, s':>7} {'sound, s':>8}")
    for sentence in SENTENCES * given.rounds:
        wall, cpu, sound, first = time.perf_counter(), time.process_time(), 0, (0.0, 0.0)
        for number, piece in enumerate(checked(sentence)):
            sound += len(speaker.say(piece.text, voice)) + int(piece.pause * RATE)
            if not number:
                first = time.perf_counter() - wall, time.process_time() - cpu
        total = time.process_time() - cpu
        firsts.append(first[0])
        cpus.append(first[1])
        ratios.append(total / sound * RATE)
        print(f"{first[0]:9.2f} {first[1]:9.2f} {time.perf_counter() - wall:7.2f} {sound / RATE:8.2f}  {sentence}")
    print(json.dumps({
        "benchmark": "voice",
        "voice": voice.name,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "loaded_s": round(loaded[0], 2),
        "loaded_cpu_s": round(loaded[1], 2),
        "first_s_median": round(statistics.median(firsts), 2),
        "first_s_worst": round(max(firsts), 2),
        "first_cpu_s_median": round(statistics.median(cpus), 2),
        "first_cpu_s_worst": round(max(cpus), 2),
        "cpu_s_for_a_second_of_sound": round(statistics.median(ratios), 2),
        "memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
