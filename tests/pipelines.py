"""Engines and stores that the engine's process opens: it imports what they stand in, so nothing heavy stands here."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.errors import BackendFault
from realtime.testing import FakeConversation, FakePipeline, FakeStore


class NeverLoads(FakeStore):
    """Its second actor is never there."""

    def load(self, name: str) -> Any:
        if name == "second":
            threading.Event().wait()
        return super().load(name)


class LostCard(FakePipeline):
    """Its card is gone at the third tick of anyone who talks with the second actor."""

    def step(self, conversations: Sequence[FakeConversation], *rest: Any, **how: Any) -> Any:
        if any(talk.actor.name == "second" and talk.tick == 3 for talk in conversations):
            raise BackendFault("The card does not go on: CUDA answered CUDA_ERROR_ECC_UNCORRECTABLE.")
        return super().step(conversations, *rest)


class Marking(FakePipeline):
    """Its pictures say in their first pixel whether they are plain."""

    def step(self, conversations: Sequence[FakeConversation], *rest: Any, plain: bool = False) -> Any:
        after, pictures = super().step(conversations, *rest)
        for picture in pictures:
            if picture is not None:
                picture[0, 0] = plain
        return after, pictures


class Counting(FakePipeline):
    """Its pictures say in their first pixel how many interruptions came since the last step, up to 255."""

    came: ClassVar[list[int]] = [0]

    def interrupt(self, conversation: FakeConversation) -> FakeConversation:
        self.came[0] += 1
        return super().interrupt(conversation)

    def step(self, conversations: Sequence[FakeConversation], *rest: Any, **how: Any) -> Any:
        after, pictures = super().step(conversations, *rest)
        for picture in pictures:
            if picture is not None:
                picture[0, 0] = min(255, self.came[0])
        self.came[0] = 0
        return after, pictures


class Sizes(FakeStore):
    """Its second actor is ten times as wide and high."""

    def about(self, name: str) -> dict[str, int | float | str]:
        return super().about(name) | ({"width": 2560, "height": 2560} if name == "second" else {})


class Broken(FakeStore):
    """Its disk has a bug."""

    def find(self, name: str) -> Path:
        raise RuntimeError(f"no {name}")


class Forbidden(FakeStore):
    """Its disk says no."""

    def find(self, name: str) -> Path:
        raise PermissionError(13, "no", "/home/anna/.local/share/mytalk-live/actors/anna/actor.json")
