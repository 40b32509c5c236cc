"""Distils the audio encoder: our causal `Ears`, begun with the teacher's own first blocks, gives the teacher's features back.

The teacher hears clean speech whole; the student hears it spoilt (`engines.train.augment`) and only its look-ahead ahead.
Losses: scaled squares, squares of the differences in time, and how far a small head is from what lips do (`Labels`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from engines.motion.net import CIRCLE, Ears
from engines.motion.space import IDENTITY
from engines.train import teacher
from engines.train.augment import spoil
from engines.train.corpus import SPEECH, sound
from engines.train.device import half
from engines.train.pairs import COMPONENTS, mel

Float = NDArray[np.float32]
SIZE = 8  # windows of 8 s in a batch
RATE, CHANGE, LIPS = 6e-4, 0.3, 1.0
TAUGHT = "taught.npy"
_JUDGES = 24  # held-out windows
_SETTLED = slice(40, 390)  # tokens that are judged: not the first second
_KEEP = 200  # steps between checkpoints


@dataclass(frozen=True)
class Labels:
    """What lips do in windows of speech without a face, as nets think that hear through the teacher."""

    components: NDArray[np.float16]
    """(N, 200, C)."""
    who: Float
    """(N, I) the identity that was asked for."""
    weight: Float
    """(C,) what a component's error counts."""


class Windows(IterableDataset[Any]):
    """Batches for ever: numbers of windows (8,), log-mel (8, 803, 80) of their speech, spoilt, and the teacher's features (8, 400, 384)."""

    def __init__(self, speech: Path, features: Path, rows: list[int], seed: int) -> None:
        self.speech, self.features, self.rows, self.seed = speech, features, rows, seed

    def __iter__(self) -> Iterator[tuple[list[int], Float, NDArray[np.float16]]]:
        """See the class."""
        random, speech, taught = (
            np.random.default_rng(self.seed),
            np.load(self.speech, mmap_mode="r"),
            np.load(self.features, mmap_mode="r"),
        )

        def clean(row: int) -> Float:
            return sound(speech[row])

        def other() -> Float:
            return clean(self.rows[int(random.integers(len(self.rows)))])

        while True:
            rows = [self.rows[at] for at in random.integers(0, len(self.rows), SIZE)]
            yield rows, np.stack([mel(spoil(clean(row), random, other)) for row in rows]), np.stack([taught[row] for row in rows])


def teach(cache: Path, speech: NDArray[np.int16]) -> Path:
    """The teacher's features of all windows, (N, 400, 384) float16, in a file that is made once."""
    path = cache / TAUGHT
    if not path.exists():
        heard = teacher.Teacher(teacher.fetch(cache))
        partial = cache / "taught.part.npy"
        out = np.lib.format.open_memmap(partial, "w+", np.float16, (len(speech), teacher.TOKENS, teacher.WIDTH))
        for row, window in enumerate(speech):
            out[row] = heard.hear(sound(window))
        out.flush()
        partial.replace(path)
    return path


def transplanted(cache: Path, look_ahead: tuple[int, ...]) -> Ears:
    """An encoder with the teacher's weights."""
    ears = Ears(look_ahead=look_ahead)
    given = {name: torch.tensor(value) for name, value in teacher.parts(teacher.fetch(cache)).items() if name != "positions"}
    ears.load_state_dict(given)
    return ears


def distil(
    cache: Path, kept: Path, rows: list[int], held: list[int], look_ahead: tuple[int, ...], steps: int, labels: Labels | None, seed: int = 0
) -> Ears:
    """The encoder, distilled on windows `rows` and judged on `held`; a run that was cut off goes on from its checkpoint `kept`."""
    ears = transplanted(cache, look_ahead)
    head = nn.Sequential(nn.Linear(2 * ears.width + IDENTITY, 256), nn.SiLU(), nn.Linear(256, COMPONENTS))
    both = nn.ModuleList([ears, head])
    optimizer = torch.optim.AdamW(both.parameters(), RATE, weight_decay=0.01, betas=(0.9, 0.98))
    begun = 0
    if kept.exists():
        found = torch.load(kept, weights_only=True)
        ears.load_state_dict(found["ears"])
        begun = found["step"]
        if begun < steps:
            head.load_state_dict(found["head"])
            optimizer.load_state_dict(found["optimizer"])
    if begun >= steps:
        return ears.eval()
    torch.manual_seed(seed + begun)
    speech, taught = cache / SPEECH, cache / TAUGHT
    judge = _Judge(np.load(speech, mmap_mode="r")[held[:_JUDGES]], np.load(taught, mmap_mode="r")[held[:_JUDGES]])
    batches = iter(
        DataLoader(Windows(speech, taught, rows, seed + begun), batch_size=None, num_workers=1, prefetch_factor=4, collate_fn=_as_it_is)
    )
    for step in range(begun + 1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, step / 50) * max(0.02, 1 - step / steps)
        drawn, heard, wanted = next(batches)
        with half():
            given = ears(torch.tensor(heard), torch.randint(0, CIRCLE, (SIZE,)))
        error = judge.error(given.float(), torch.tensor(wanted).float())[:, 10:]
        loss = (error**2).mean() + CHANGE * (error.diff(dim=1) ** 2).mean()
        if labels is not None:
            who = torch.tensor(labels.who[drawn])[:, None].expand(-1, given.shape[1], -1)
            away = head(torch.cat([given.float(), who], -1)) - torch.tensor(labels.components[drawn].astype(np.float32))
            loss = loss + LIPS * ((away * torch.tensor(labels.weight)) ** 2)[:, 5:].sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        if step % _KEEP == 0 or step == steps:
            print(f"{kept.stem}, {step} steps: loss {loss.item():.3f}, held-out R2 {judge(ears):.3f}", flush=True)
            states = {"ears": ears.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(states, kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
    return ears.eval()


def _as_it_is(batch: Any) -> Any:
    return batch


class _Judge:
    """How much of the teacher's features is explained on held-out speech."""

    def __init__(self, speech: NDArray[np.int16], taught: NDArray[np.float16]) -> None:
        self.heard = torch.tensor(np.stack([mel(sound(window)) for window in speech]))
        self.wanted = torch.tensor(taught.astype(np.float32))
        self.scale = self.wanted.flatten(0, 1).std(0)

    def error(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Scaled errors of features (B, T, 2 * W) against tokens (B, 400, W). Our token j is centred where theirs j - 1 is."""
        return (given.unflatten(-1, (2, -1)).flatten(1, 2)[:, 1:] - wanted[:, :-1]) / self.scale

    def __call__(self, ears: Ears) -> float:
        """R2."""
        ears.eval()
        with torch.no_grad(), half():
            given = ears(self.heard, torch.arange(len(self.heard)) * 17)
        ears.train()
        error = self.error(given.float(), self.wanted)[:, _SETTLED]
        spread = (self.wanted - self.wanted.flatten(0, 1).mean(0))[:, _SETTLED] / self.scale
        return 1 - float((error**2).mean() / (spread**2).mean())
