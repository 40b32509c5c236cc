"""The motion nets in torch, for training and export: `Ears` (speech to features) and the denoiser. Serving runs their ONNX."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines import features

TOKENS = 2  # of the encoder in a tick: 50 Hz
CIRCLE = 400  # tokens after which positions repeat: 8 s


def positions(width: int) -> Tensor:
    """(400, width): Whisper's sinusoids, each frequency moved to the nearest that closes a circle of 400 tokens.

    So a stream never meets the end of a table. The frequencies that matter within the window hardly move.
    """
    half = width // 2
    frequency = np.exp(-np.log(10000) / (half - 1) * np.arange(half))
    turns = np.round(frequency * CIRCLE / (2 * np.pi))
    angle = 2 * np.pi * np.arange(CIRCLE)[:, None] * turns / CIRCLE
    return torch.tensor(np.concatenate([np.sin(angle), np.cos(angle)], 1), dtype=torch.float32)


class Block(nn.Module):
    """A pre-norm transformer block that reads keys and values it is given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.v, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def keys(self, x: Tensor) -> Tensor:
        """Keys and values (B, T, 2 * W) of tokens (B, T, W)."""
        h = self.norm_1(x)
        return torch.cat([self.k(h), self.v(h)], -1)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, T, W) that look at keys (B, S, 2 * W) where mask, broadcast to (B, heads, T, S), is true."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q(self.norm_1(x)), *keys.chunk(2, -1))
        )  # fmt: skip
        return self.onward(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))

    def onward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Tokens (B, T, W) after they saw what they looked at, (B, T, W)."""
        x = x + self.o(seen)
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Ears(nn.Module):
    """The audio encoder: log-mel at 100 Hz to features at 50 Hz, two tokens a tick, causal but for its look-ahead.

    The stem and the blocks are Whisper's (Radford et al., 2022), so that the teacher's weights fit. Block b of tick t looks at
    ticks t - past + 1 to t + look_ahead[b].
    """

    def __init__(self, width: int = 384, heads: int = 6, look_ahead: tuple[int, ...] = (1, 1), past: int = 32) -> None:
        super().__init__()
        self.look_ahead, self.past, self.width = look_ahead, past, width
        self.stem = nn.ModuleList([nn.Conv1d(features.BANDS, width, 3), nn.Conv1d(width, width, 3, stride=2)])
        self.register_buffer("circle", positions(width), persistent=False)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in look_ahead])
        self.norm = nn.LayerNorm(width)

    def tokens(self, mel: Tensor, place: Tensor) -> Tensor:
        """Tokens (B, 2 T, W) of features (B, 3 + 4 T, 80), whose first is at `place` (B,) of the circle."""
        x = mel.transpose(1, 2)
        for layer in self.stem:
            x = F.gelu(layer(x))
        at = (place[:, None] + torch.arange(x.shape[2], device=x.device)) % CIRCLE
        return x.transpose(1, 2) + self.circle[at]

    def forward(self, mel: Tensor, place: Tensor) -> Tensor:
        """Features (B, T, 2 * W) a tick of a whole sound's log-mel (B, 3 + 4 T, 80); tick t has heard all up to t + sum(look_ahead)."""
        x = self.tokens(mel, place)
        tick = torch.arange(x.shape[1], device=x.device) // TOKENS
        apart = tick[:, None] - tick[None]
        for block, ahead in zip(self.blocks, self.look_ahead, strict=True):
            x = block(x, block.keys(x), (apart >= -ahead) & (apart < self.past))
        return self.norm(x).unflatten(1, (-1, TOKENS)).flatten(2)


class Dropout(nn.Module):
    """Dropout whose chances are bytes: torch's own draws take a third of a training's time on a CPU."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(share * 256)

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape."""
        if not self.training or not self.dropped:
            return x
        drawn = torch.empty(x.numel() // 8 + 1, dtype=torch.int64, device=x.device).random_(-(2**63), None).view(torch.uint8)
        return x * (drawn[: x.numel()].view(x.shape) >= self.dropped) * (256 / (256 - self.dropped))


class Layer(nn.Module):
    """A causal conformer layer (Gulati et al., 2020): half an MLP, a recurrence in the place of attention, a convolution, half an MLP.

    The level of noise and who speaks scale and shift what each part reads.
    """

    TAPS = 5

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width, elementwise_affine=False) for _ in range(4)])
        self.bend = nn.Linear(width, 8 * width)
        nn.init.zeros_(self.bend.weight)
        nn.init.zeros_(self.bend.bias)
        self.first, self.last = (
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), Dropout(dropout), nn.Linear(2 * width, width), Dropout(dropout))
            for _ in range(2)
        )
        self.memory = nn.GRU(width, width, batch_first=True)
        self.gate, self.mix = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.near = nn.Conv1d(width, width, self.TAPS, groups=width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, condition: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (B, T, W), condition (B, W), state: the memory (B, W) and the convolution's past (B, 4, W)."""
        bent = self.bend(condition)[:, None].chunk(8, -1)
        parts = [lambda x, at=at: self.norms[at](x) * (1 + bent[2 * at]) + bent[2 * at + 1] for at in range(4)]
        x = x + 0.5 * self.first(parts[0](x))
        out, memory = self.memory(parts[1](x), state[0][None].contiguous())
        x = x + self.dropout(out)
        whole = torch.cat([state[1], F.glu(self.gate(parts[2](x)), -1)], 1)
        x = x + self.dropout(self.mix(F.silu(self.near(whole.transpose(1, 2)).transpose(1, 2))))
        return x + 0.5 * self.last(parts[3](x)), (memory[0], whole[:, 1 - self.TAPS :])


class Denoiser(nn.Module):
    """The motion denoiser: speech features and noisy motion in, clean motion out, tick by tick; what it remembers is explicit."""

    def __init__(self, heard: int, motion: int, who: int, width: int = 192, layers: int = 2, dropout: float = 0.3) -> None:
        super().__init__()
        self.width, self.motion, self.who = width, motion, who
        self.ear = nn.Sequential(nn.Linear(heard, 256), nn.LayerNorm(256), nn.SiLU(), Dropout(dropout), nn.Linear(256, width))
        self.deaf = nn.Parameter(torch.zeros(width))
        self.noisy = nn.Linear(motion, width)
        self.level = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.person = nn.Linear(who, width)
        self.layers = nn.ModuleList([Layer(width, dropout) for _ in range(layers)])
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, motion))

    @property
    def hidden(self) -> int:
        """Numbers that it remembers."""
        return len(self.layers) * self.width * Layer.TAPS

    def forward(
        self, heard: Tensor, noisy: Tensor, level: Tensor, who: Tensor, hidden: Tensor, deaf: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Clean motion (B, T, C) and hidden after (B, H).

        heard (B, T, 2 * W), noisy (B, T, C), level (B,) of 0 to 1, who (B, I), hidden (B, H); where deaf (B,) is true the
        speech is not heard (for guidance).
        """
        turns = level[:, None] * torch.pi * 2 ** torch.arange(8, device=level.device) / 4
        condition = F.silu(self.level(torch.cat([turns.sin(), turns.cos()], -1)) + self.person(who))
        ear = self.ear(heard)
        if deaf is not None:
            ear = torch.where(deaf[:, None, None], self.deaf, ear)
        x, after = ear + self.noisy(noisy), []
        for layer, own in zip(self.layers, hidden.chunk(len(self.layers), 1), strict=True):
            x, (memory, past) = layer(x, condition, (own[:, : self.width], own[:, self.width :].unflatten(1, (-1, self.width))))
            after += [memory, past.flatten(1)]
        return self.out(x), torch.cat(after, 1)
