"""The renderer's nets: three encoders (lips, the rest of the face, motion), their fusion, a decoder. For training and export.

After the separate encoders of "Make Your Actor Talk" (MyTalk, arXiv 2406.08096, figure 2); that what is fused are warps of
the actor's own pixels is ours: the fusion says, for every reference and pixel, how much of it is seen and from how far beside
the landmarks' warp; the decoder corrects the colours of what comes out.

Pictures are (B, 3, S, S) in 0..1 with S = 2 * cells; fields are `cells` a side; features half of that.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as f
from torch import Tensor, nn


def conv(inside: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size (divided by `stride`)."""
    return nn.Conv2d(inside, out, kernel, stride, kernel // 2)


def silent(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer, saying nothing before it is trained: the nets begin as the landmarks' warp alone."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


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


class Encoder(nn.Module):
    """A picture to features at a quarter of its size: (B, channels, S, S) -> (B, width, S / 4, S / 4)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stem, self.down, self.block = conv(4 * channels, 24), conv(24, width, stride=2), Block(width)

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures in 0..1."""
        return self.block(self.down(torch.relu(self.stem(f.pixel_unshuffle(picture * 2 - 1, 2)))))


class Fused(NamedTuple):
    """What the fusion says; h is S / 4."""

    flow: Tensor
    """(B, K, 2, h, h) what is added to the places in the references, as shares of their side."""
    weights: Tensor
    """(B, K, h, h) sum 1 over the references."""
    features: Tensor
    """(B, width, h, h) for the decoder."""


class Fusion(nn.Module):
    """Which pixel of which reference is seen where."""

    REACH = 0.04
    """Unit of the flow: a share of a reference's side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.motion = nn.Sequential(conv(3, 24, stride=2), nn.ReLU(), conv(24, width))
        self.context = conv(2 * width, width)
        self.each = conv(width, width)
        self.far = nn.Linear(2, width)
        self.down = conv(2 * width, 2 * width, stride=2)
        self.middle = Block(2 * width)
        self.lower = conv(2 * width, 3 * width, stride=2)
        self.lowest = nn.Sequential(Block(3 * width), Block(3 * width))
        self.raised = conv(3 * width, 2 * width, 1)
        self.again = Block(2 * width)
        self.top = conv(2 * width, width, 1)
        self.last = Block(width)
        self.mixed = conv(2 * width, 24, 1)
        self.head = silent(conv(24, 3))

    def forward(self, lips: Tensor, places: Tensor, face: Tensor, drawn: Tensor, far: Tensor, prior: Tensor) -> Fused:
        """What `layout` and the encoders say, fused.

        lips (B, K, width, h', h'), places (B, K, h, h, 2) shares, face (B, width, h, h), drawn (B, 3, 2h, 2h), far (B, K, 2), prior (B, K).
        """
        b, k = prior.shape
        moved = f.grid_sample(lips.flatten(0, 1), places.flatten(0, 1) * 2 - 1, padding_mode="border", align_corners=False)
        context = self.context(torch.relu(torch.cat([face, self.motion(drawn * 2 - 1)], 1)))
        each = self.each(moved).unflatten(0, (b, k)) + context[:, None] + self.far(far * 8)[..., None, None]
        each = torch.relu(each)
        seen = (each * prior[:, :, None, None, None]).sum(1)
        x = torch.cat([seen, torch.relu(context)], 1)
        half = self.middle(self.down(x))
        low = self.lowest(self.lower(torch.relu(half)))
        half = self.again(half + f.interpolate(self.raised(torch.relu(low)), scale_factor=2.0, mode="nearest"))
        features = self.last(seen + f.interpolate(self.top(torch.relu(half)), scale_factor=2.0, mode="nearest"))
        spread = features[:, None].expand_as(each)
        said = self.head(torch.relu(self.mixed(torch.cat([each, spread], 2).flatten(0, 1)))).unflatten(0, (b, k))
        weights = torch.softmax(torch.log(prior[:, :, None, None] + 1e-3) + said[:, :, 2], 1)
        return Fused(said[:, :, :2] * self.REACH, weights, features)


class Decoder(nn.Module):
    """The blended references' correction."""

    def __init__(self, width: int, inside: int = 20) -> None:
        super().__init__()
        self.narrow = conv(width, 16, 1)
        self.first = conv(12 + 3 + 16, inside)
        self.block = Block(inside)
        self.last = silent(conv(inside, 12))

    def forward(self, blended: Tensor, features: Tensor, drawn: Tensor) -> Tensor:
        """blended (B, 3, S, S), features (B, width, S / 4, S / 4), drawn (B, 3, S / 2, S / 2) -> what to add to `blended`."""
        wide = f.interpolate(self.narrow(torch.relu(features)), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.block(self.first(torch.cat([f.pixel_unshuffle(blended * 2 - 1, 2), drawn * 2 - 1, wide], 1)))
        return f.pixel_shuffle(self.last(torch.relu(x)), 2)


class Renderer(nn.Module):
    """All of them together."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.lips = Encoder(3, width)
        self.face = Encoder(4, width)
        self.fusion = Fusion(width)
        self.decoder = Decoder(width)


def blend(references: Tensor, places: Tensor, tints: Tensor, fused: Fused) -> Tensor:
    """The references (B, K, 3, R, R), sampled and blended: (B, 3, S, S).

    places: (B, K, S, S, 2) shares of a reference's side. tints: (B, K, 3, t, t) what is added to each.
    """
    b, k, side = references.shape[0], references.shape[1], places.shape[2]
    flow = larger(fused.flow.flatten(0, 1), side).permute(0, 2, 3, 1)
    at = (places.flatten(0, 1) + flow) * 2 - 1
    seen = f.grid_sample(references.flatten(0, 1), at, mode="bilinear", padding_mode="border", align_corners=False)
    seen = (seen + larger(tints.flatten(0, 1), side)).unflatten(0, (b, k))
    return (seen * larger(fused.weights, side)[:, :, None]).sum(1)


def larger(field: Tensor, side: int) -> Tensor:
    """A field (B, C, h, h) at `side` a side."""
    return f.interpolate(field, size=(side, side), mode="bilinear", align_corners=False)
