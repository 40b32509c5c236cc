"""The way of a tick, without its wires: speech in, motion, picture out. One path for files and for live."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engines.actor import Actor
from engines.errors import BackendFault
from engines.motion.manner import Manner
from engines.spec import APPEARANCE, BACKENDS, MOTION, AppearanceEngine, Float, MotionEngine, Picture, load


@dataclass(frozen=True)
class ConversationState:
    """One stream of speech with its state. A value: passed in and handed back."""

    actor: Actor
    motion: Any
    appearance: Any
    tick: int
    """Ticks of speech heard so far."""
    first: int
    """The actor's place in its loop at tick 0."""


class Pipeline:
    """The engines together. Read-only after loading. `expressiveness` scales how far mouths move (1: as the actor does).
    Conversations begin in `manner`, at that strength.

    `backend`: "cpu"; or "cuda" or "tensorrt" for nets (through torch, or through TensorRT) and pictures on an NVIDIA card. Raises
    BackendFault where there is none, or where what it needs is not installed.
    """

    def __init__(
        self, motion: str = "diffusion", appearance: str = "refined", expressiveness: float = 1.0, backend: str = "cpu",
        manner: Manner | None = None, strength: float = 1.0,
    ) -> None:  # fmt: skip
        self.backend, self._manner, self._strength = backend, manner, strength
        """As it was given."""
        nets, pixels = ({}, {}) if backend == "cpu" else _options(backend)
        self.motion: MotionEngine[Any] = load(MOTION, motion, expressiveness=expressiveness, **nets)
        self.appearance: AppearanceEngine[Any] = load(APPEARANCE, appearance, **pixels)

    @property
    def look_ahead(self) -> int:
        """Ticks between hearing a tick of speech and having its picture."""
        return self.motion.look_ahead

    def start(self, actor: Actor, seed: int = 0, first: int = 0) -> ConversationState:
        """A new conversation with this actor, from frame `first` of its loop on."""
        begun = ConversationState(actor, self.motion.start(actor, seed), self.appearance.start(actor), 0, first)
        return begun if self._manner is None else self.speak_as(begun, self._manner, self._strength)

    def interrupt(self, conversation: ConversationState) -> ConversationState:
        """The conversation after its speech was broken off: see `MotionEngine.interrupt`. The actor's frames go on."""
        return replace(conversation, motion=self.motion.interrupt(conversation.motion))

    def speak_as(self, conversation: ConversationState, manner: Manner | None, strength: float = 1.0) -> ConversationState:
        """The conversation, going on in another manner: see `MotionEngine.speak_as`."""
        return replace(conversation, motion=self.motion.speak_as(conversation.motion, manner, strength))

    def step(
        self, conversations: Sequence[ConversationState], speech: Float, unseen: Collection[int] = (), *, plain: bool = False
    ) -> tuple[list[ConversationState], list[Picture | None]]:
        """Hear one tick, (B, 640) at 16 kHz, in each of B conversations; see the tick `look_ahead` before it.

        A picture (I420, the actor's size) is None while the conversation is younger than the look-ahead, and in the rows
        that are `unseen`: those hear and move as the others, their pictures are not made. `plain`: see `AppearanceEngine.step`.
        """
        motions, motion = self.motion.step([c.motion for c in conversations], speech)
        shown = [b for b, c in enumerate(conversations) if c.tick >= self.look_ahead and b not in unseen]
        frames = [c.actor.frame_at(c.first + c.tick - self.look_ahead) for c in (conversations[b] for b in shown)]
        appearances, pictures = self.appearance.step([conversations[b].appearance for b in shown], frames, motion[shown], plain=plain)
        seen = dict(zip(shown, zip(appearances, pictures, strict=True), strict=True))
        after, out = [], []
        for b, conversation in enumerate(conversations):
            appearance, picture = seen.get(b, (conversation.appearance, None))
            after.append(replace(conversation, motion=motions[b], appearance=appearance, tick=conversation.tick + 1))
            out.append(picture)
        return after, out


def _options(backend: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a backend gives the motion engine and the appearance engine."""
    try:
        return load(BACKENDS, backend)
    except ModuleNotFoundError as error:
        raise BackendFault(
            f"The backend {backend} needs {error.name}, which is not installed.", "pip install 'mytalk-live[gpu]', or say --backend cpu."
        ) from error
