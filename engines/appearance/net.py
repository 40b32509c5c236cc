"""The refiner's net. For training and export.

After the separate encoders of "Make Your Actor Talk" (MyTalk, arXiv 2406.08096, figure 2), with what is ours: what it is given is a
finished picture, made of warps of the actor's own pixels, and it says only what to correct in it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as f
from torch import Tensor, nn

from engines.appearance.zone import NUMBERS, K

FLOW, ADDED = 0.02, 0.2  # units of what is said: a share of the zone's side, and of half of 255
TOP, MIDDLE, LOW = 24, 48, 96  # channels at CELLS, at half and at a quarter of it


def conv(inside: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size (divided by `stride`)."""
    return nn.Conv2d(inside, out, kernel, stride, kernel // 2)


class Block(nn.Module):
    """Two convolutions around which the input goes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)
        with torch.no_grad():
            self.second.weight *= 0.3

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> the same."""
        return x + self.second(torch.relu(self.first(torch.relu(x))))


class RefinerNet(nn.Module):
    """Half a million parameters: down to a quarter of the cells and up again. Untrained it corrects nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(4 * 3 + 3 * K + 4, TOP)
        self.down, self.middle = conv(TOP, MIDDLE, stride=2), Block(MIDDLE)
        self.lower, self.low = conv(MIDDLE, LOW, stride=2), nn.Sequential(Block(LOW), Block(LOW))
        self.numbers = nn.ModuleList([nn.Linear(NUMBERS, width) for width in (TOP, MIDDLE, LOW)])
        self.raised, self.again = conv(LOW, MIDDLE, 1), Block(MIDDLE)
        self.top, self.last = conv(MIDDLE, TOP, 1), Block(TOP)
        self.head = conv(TOP, 2 + 4 * 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, picture: Tensor, references: Tensor, drawn: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """What `zone.View` holds -> flow (B, 2, CELLS, CELLS) and colours (B, 3, SIDE, SIDE), as `refine.laid` takes them.

        picture (B, 3, SIDE, SIDE) and references (B, 3 * K, CELLS, CELLS) in -1..1, drawn (B, 4, CELLS, CELLS) in 0..1,
        numbers (B, NUMBERS).
        """
        at_top, at_middle, at_low = (told(numbers)[:, :, None, None] for told in self.numbers)
        x = self.stem(torch.cat([f.pixel_unshuffle(picture, 2), references, drawn], 1)) + at_top
        half = self.middle(self.down(torch.relu(x)) + at_middle)
        low = self.low(self.lower(torch.relu(half)) + at_low)
        half = self.again(half + f.interpolate(self.raised(torch.relu(low)), scale_factor=2.0, mode="nearest"))
        x = self.last(x + f.interpolate(self.top(torch.relu(half)), scale_factor=2.0, mode="nearest"))
        said = self.head(torch.relu(x))
        return said[:, :2] * FLOW, f.pixel_shuffle(said[:, 2:], 2) * ADDED
