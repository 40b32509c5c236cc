"""From torch to the ONNX files that are served: a tick at a time, memory in and out."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from engines import features
from engines.appearance.config import RendererConfig
from engines.motion.config import EARS, LIPS, Config
from engines.motion.net import CIRCLE, TOKENS, Denoiser, Ears
from engines.train.pairs import Space

_STEM = 3
_NEVER = -1e4


class EarsTick(nn.Module):
    """`Ears`, a tick at a time: each block keeps its keys, and the tokens that wait for its look-ahead."""

    def __init__(self, ears: Ears) -> None:
        super().__init__()
        self.ears = ears
        self.waiting = [TOKENS * ahead for ahead in ears.look_ahead]
        self.kept = [TOKENS * (ears.past + ahead) for ahead in ears.look_ahead]

    @property
    def memory(self) -> int:
        """Numbers in the memory of a conversation."""
        return sum(w * self.ears.width + k * 2 * self.ears.width for w, k in zip(self.waiting, self.kept, strict=True))

    def forward(self, mel: Tensor, age: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """mel (B, 7, 80), age (B,) ticks heard before, memory (B, M) -> features (B, 2 * W), memory after (B, M)."""
        ears, width = self.ears, self.ears.width
        x = ears.tokens(mel, (age.long() * TOKENS) % CIRCLE)
        newest, at, after = age, 0, []
        for block, waiting, kept in zip(ears.blocks, self.waiting, self.kept, strict=True):
            pending = memory[:, at : at + waiting * width].unflatten(1, (waiting, width))
            at += waiting * width
            keys = memory[:, at : at + kept * 2 * width].unflatten(1, (kept, 2 * width))
            at += kept * 2 * width
            keys = torch.cat([keys[:, TOKENS:], block.keys(x)], 1)
            pending = torch.cat([pending, x], 1)
            tick = newest[:, None] - torch.arange(kept - 1, -1, -1) // TOKENS
            x = block(pending[:, :TOKENS], keys, (tick < 0).to(x.dtype)[:, None, None] * _NEVER)
            after += [pending[:, TOKENS:].flatten(1), keys.flatten(1)]
            newest = newest - waiting // TOKENS
        return ears.norm(x).flatten(1), torch.cat(after, 1)


class LipsTick(nn.Module):
    """`Denoiser`, a tick at a time, with the motion that its components mean."""

    def __init__(self, net: Denoiser, space: Space) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(space.mean))
        self.register_buffer("decode", torch.tensor(space.decode))

    def forward(self, heard: Tensor, noisy: Tensor, level: Tensor, who: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Denoiser.forward`, without the ticks' dimension; and motion (B, L * 2), differences from rest in the actor's unit."""
        clean, after = self.net(heard[:, None], noisy[:, None], level, who, hidden)
        return clean[:, 0], self.mean + clean[:, 0] @ self.decode, after


def export(ears: Ears, net: Denoiser, space: Space, out: Path, steps: int, temperature: float, training: str) -> Config:
    """Write both files with their configuration inside, and their hashes."""
    tick, lips = EarsTick(ears).eval(), LipsTick(net, space).eval()
    config = Config(
        look_ahead=sum(ears.look_ahead), memory=tick.memory, heard=TOKENS * ears.width, components=net.motion, hidden=net.hidden,
        steps=steps, temperature=temperature, training=training,
    )  # fmt: skip
    two = torch.zeros(2)
    write(tick, {"mel": torch.zeros(2, _STEM + features.FRAMES, features.BANDS), "age": two, "memory": torch.zeros(2, tick.memory)},
          ["heard", "memory_after"], out / EARS, config)  # fmt: skip
    inputs = {"heard": torch.zeros(2, config.heard), "noisy": torch.zeros(2, net.motion), "level": two, "who": torch.zeros(2, net.who)}
    write(lips, inputs | {"hidden": torch.zeros(2, net.hidden)}, ["clean", "motion", "hidden_after"], out / LIPS, config)
    return config


def write(net: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path, config: Config | RendererConfig) -> None:
    """One ONNX file, any number of conversations; its hash goes into `hashes.json` beside it."""
    partial = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, tuple(inputs.values()), str(partial), input_names=list(inputs), output_names=outputs, dynamo=False, opset_version=17,
            dynamic_axes={name: {0: "conversations"} for name in (*inputs, *outputs)},
        )  # fmt: skip
    model = onnx.load(str(partial))
    entry = model.metadata_props.add()
    entry.key, entry.value = config.metadata()
    onnx.save(model, str(partial))
    partial.replace(path)
    hashes = path.parent / "hashes.json"
    known = json.loads(hashes.read_text()) if hashes.exists() else {}
    known = {name: found for name, found in known.items() if (path.parent / name).exists()}
    known[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    hashes.write_text(json.dumps(known, indent=1) + "\n")
