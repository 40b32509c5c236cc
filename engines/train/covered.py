"""The net that sees things before a mouth: trained on chips of clips, with things drawn over them (`engines.train.covers`).

    python -m engines.train.covered chips.npz engines/weights/covered.onnx

`chips.npz` holds chips (N, HEIGHT, WIDTH, 3) YUV as `clean` and with something before the mouth as `covered`, `hidden` (N,) the share of
the lips that is hidden there, `usual` the median chip of each clip, `clip` (N,) which clip each is of, and `person` (N,) of whom.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines.covered import ROWS

EPOCHS, BATCH, RATE = 4, 64, 3e-3
_NOT, _IS = 0.02, 0.15  # of the lips hidden: less is not covered, more is; between them nothing is taught


class Net(nn.Module):
    """A chip's lower part and the usual one's, (B, 6, rows, columns) 0..255, to a logit (B,) that something is before the mouth."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(9, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 48, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(96, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = (x - 128) / 48
        x = self.body(torch.cat([x, x[:, :3] - x[:, 3:]], 1))
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))[:, 0]


def _graded(x: torch.Tensor) -> torch.Tensor:
    """As if filmed otherwise: lighter, darker, grey, coloured, mirrored, moved."""
    count = len(x)
    gain, lift = torch.empty(count, 1, 1, 1).uniform_(0.75, 1.25), torch.empty(count, 1, 1, 1).normal_(0, 12)
    tint = torch.empty(count, 2, 1, 1).normal_(0, 5) * (torch.rand(count, 1, 1, 1) < 0.5)
    colour = torch.where(torch.rand(count, 1, 1, 1) < 0.1, 0.0, torch.empty(count, 1, 1, 1).uniform_(0.8, 1.2))
    parts = []
    for part in (x[:, :3], x[:, 3:]):
        luma, chroma = (part[:, :1] - 110) * gain + 110 + lift, (part[:, 1:] - 128) * colour + 128 + tint
        parts.append(torch.cat([luma, chroma], 1).clamp(0, 255))
    dy, dx = (int(torch.randint(-1, 2, ())) for _ in range(2))
    out = torch.cat([torch.roll(parts[0], (dy, dx), (2, 3)), parts[1]], 1)
    return torch.flip(out, (3,)) if torch.rand(()) < 0.5 else out


def train(
    found: dict[str, NDArray[Any]], held_out: NDArray[np.bool_], seed: int = 0
) -> tuple[Net, NDArray[np.float32], NDArray[np.float32]]:
    """The net, and its logits of the clean and the covered chips that are held out (N,)."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)

    def pairs(name: str) -> torch.Tensor:
        own = np.concatenate([found[name][:, ROWS], found["usual"][found["clip"]][:, ROWS]], 3)
        return torch.from_numpy(np.ascontiguousarray(own.transpose(0, 3, 1, 2)))

    clean, covered = pairs("clean"), pairs("covered")
    kept = torch.from_numpy(~held_out)
    is_covered, not_covered = (torch.from_numpy(flag) for flag in (found["hidden"] > _IS, found["hidden"] < _NOT))
    x = torch.cat([clean[kept], covered[kept & is_covered], covered[kept & not_covered]])
    y = torch.cat([torch.zeros(int(kept.sum())), torch.ones(int((kept & is_covered).sum())), torch.zeros(int((kept & not_covered).sum()))])
    net = Net()
    steps = EPOCHS * (len(x) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        order, losses = torch.randperm(len(x)), []
        for at in range(len(x) // BATCH):
            rows = order[at * BATCH : (at + 1) * BATCH]
            loss = nn.functional.binary_cross_entropy_with_logits(net(_graded(x[rows].float())), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        print(epoch, round(float(np.mean(losses)), 4), flush=True)
    net.eval()
    with torch.no_grad():
        told = [torch.cat([net(part.float()) for part in one[~kept].split(512)]).numpy() for one in (clean, covered)]
    return net, told[0], told[1]


def export(net: Net) -> bytes:
    """The net as ONNX: input "chips" (B, 6, rows, columns) 0..255, output "covered" (B,)."""
    from io import BytesIO

    from engines.chips import WIDTH

    out = BytesIO()
    rows = ROWS.stop - ROWS.start
    torch.onnx.export(
        net, (torch.zeros(2, 6, rows, WIDTH),), out, input_names=["chips"], output_names=["covered"],
        dynamic_axes={"chips": {0: "B"}, "covered": {0: "B"}}, opset_version=17, dynamo=False,
    )  # fmt: skip
    return out.getvalue()


def main() -> None:
    """Train, say how well people who were held out are judged, and write the net."""
    with np.load(sys.argv[1]) as file:
        found = {name: file[name] for name in file.files}
    people = np.unique(found["person"])
    out = np.isin(found["person"], np.random.default_rng(5).permutation(people)[: len(people) // 5])
    net, clean, covered = train(found, out)
    hidden = found["hidden"][out]
    for level in (0.0, 1.0, 2.0, 3.0, 4.0):
        rates = [
            100 * float((covered[(hidden >= low) & (hidden < high)] > level).mean()) for low, high in ((0.15, 0.3), (0.3, 0.6), (0.6, 1.01))
        ]
        wrong = 100 * float((clean > level).mean())
        print(f"logit > {level}: clean {wrong:.2f} %; covered by 15-30, 30-60, 60-100 %: " + ", ".join(f"{rate:.1f}" for rate in rates))
    np.savez(str(Path(sys.argv[2]).with_suffix(".judged.npz")), out=out, clean=clean, covered=covered)
    Path(sys.argv[2]).write_bytes(export(net))


if __name__ == "__main__":
    main()
