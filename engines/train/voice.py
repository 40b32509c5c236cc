"""How `engines/voice/voices.npz` and `english.txt.xz` were made: from Kokoro's styles and misaki's lexicons, packed.

    python -m engines.train.voice KOKORO_JS/voices MISAKI/data

The first is a folder of the npm package kokoro-js 1.2.1, the second of the PyPI package misaki 0.9.4, which does not install on Python
3.13: `pip download --no-deps --python-version 3.12 misaki==0.9.4`, and unzip it.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent.parent / "voice"
VOICES = (
    "af_heart", "af_bella", "af_nicole", "af_sarah", "am_michael", "am_fenrir", "am_puck", "ef_dora", "em_alex", "ff_siwis", "if_sara",
    "im_nicola", "pf_dora", "pm_alex",
)  # fmt: skip
OWN = {"mytalk": "mItˈɔk"}
RANK = 4


def pack(style: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
    """(510, 256) as a mean, `RANK` shapes and their weights: see `engines.voice.kokoro.style`, which says the inverse."""
    mean = style.mean(0)
    left, strengths, shapes = np.linalg.svd(style - mean, full_matrices=False)
    root = np.sqrt(strengths[:RANK])
    parts = mean, (shapes[:RANK] * root[:, None]).ravel(), (left[:, :RANK] * root).ravel()
    return np.concatenate(parts).astype(np.float16)


def main(styles: Path, lexicons: Path) -> None:
    """Write both files, and say how exact the styles are."""
    packed = {name: pack(np.fromfile(styles / f"{name}.bin", np.float32).reshape(510, 256)) for name in VOICES}
    np.savez_compressed(OUT / "voices.npz", **packed)  # type: ignore[arg-type]
    words: dict[str, str | dict[str, str]] = {}
    for name in ("us_silver", "us_gold"):  # the second is the better one
        words |= json.loads((lexicons / f"{name}.json").read_text(encoding="utf-8"))
    plain = {word: phones if isinstance(phones, str) else phones["DEFAULT"] for word, phones in words.items()} | OWN
    text = "".join(f"{word}\t{phones}\n" for word, phones in sorted(plain.items()))
    (OUT / "english.txt.xz").write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    from engines.voice import kokoro

    for name in VOICES:
        error = np.abs(kokoro.style(name) - np.fromfile(styles / f"{name}.bin", np.float32).reshape(510, 256))
        print(f"{name}: mean error {error.mean():.5f}, worst {error.max():.3f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
