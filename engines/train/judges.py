"""Two small nets that are trained beside the teacher of motion and say what its motion lacks: is it this person, is it this speech.

The identity extractor and its cosine loss are the paper's (MyTalk, arXiv 2406.08096); the other is a contrastive judge of speech and
landmarks, after SyncNet (Chung and Zisserman, 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 5  # ticks that are judged together
_SHARP = 10.0  # of similarities


class Identity(nn.Module):
    """Who moves so: motion (B, T, C) to a feature (B, E), learned by telling people apart."""

    def __init__(self, motion: int, people: int, width: int = 64) -> None:
        super().__init__()
        self.near = nn.Sequential(
            nn.Conv1d(2 * motion, width, 5, padding=2), nn.SiLU(), nn.Dropout(0.3), nn.Conv1d(width, width, 5, padding=2), nn.SiLU()
        )
        self.people = nn.Linear(2 * width, people)

    def forward(self, motion: Tensor, spoken: Tensor) -> Tensor:
        """Mean and spread over spoken ticks (B, T) of what is seen around each."""
        change = F.pad(motion.diff(dim=1), (0, 0, 1, 0))
        seen = self.near(torch.cat([motion, change], -1).transpose(1, 2))
        share = (spoken / spoken.sum(1, keepdim=True).clamp(min=1))[:, None]
        mean = (seen * share).sum(-1)
        spread = (((seen - mean[:, :, None]) ** 2 * share).sum(-1) + 1e-4).sqrt()
        return torch.cat([mean, spread], -1)

    def learns(self, true: Tensor, spoken: Tensor, person: Tensor) -> Tensor:
        """Its own loss on true motion; `person` (B,) is -1 where nobody moved."""
        return F.cross_entropy(self.people(self(true, spoken)), person, ignore_index=-1, label_smoothing=0.1)

    def asks(self, motion: Tensor, true: Tensor, spoken: Tensor) -> Tensor:
        """The loss of motion that should be by whom the true one is: one less the cosine of their features."""
        return (1 - F.cosine_similarity(self(motion, spoken), self(true, spoken).detach(), dim=-1)).mean()


class Sync(nn.Module):
    """Whether motion is of this speech: a window of each to a direction (B, E), near where they belong together."""

    def __init__(self, heard: int, motion: int, width: int = 64) -> None:
        super().__init__()
        self.hears = nn.Sequential(nn.Linear(WINDOW * heard, 2 * width), nn.SiLU(), nn.Dropout(0.3), nn.Linear(2 * width, width))
        self.sees = nn.Sequential(nn.Linear(WINDOW * motion, 2 * width), nn.SiLU(), nn.Dropout(0.3), nn.Linear(2 * width, width))

    def forward(self, heard: Tensor, motion: Tensor, at: Tensor) -> Tensor:
        """The contrastive loss over windows at tick `at` (B,) of heard (B, T, W) and motion (B, T, C): each finds its own."""
        rows, ticks = torch.arange(len(at), device=at.device)[:, None], at[:, None] + torch.arange(WINDOW, device=at.device)
        ears, eyes = (F.normalize(side(part[rows, ticks].flatten(1)), dim=-1) for side, part in ((self.hears, heard), (self.sees, motion)))
        alike = _SHARP * ears @ eyes.T
        wanted = torch.arange(len(at), device=at.device)
        return (F.cross_entropy(alike, wanted) + F.cross_entropy(alike.T, wanted)) / 2
