"""An actor: a person that can talk, in memory and on disk; and the store of actors."""

from __future__ import annotations

import difflib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.errors import ActorFault, UnknownActor
from engines.frames import Frames, Picture, write_frames
from engines.motion.space import Habit

FORMAT = 1
BUILT_IN = "presenter"
"""Who is shown where nobody is named."""
Float = NDArray[np.float32]


@dataclass(frozen=True)
class References:
    """Frames from which mouth pixels may be taken: K crops of one size S."""

    frame: NDArray[np.int32]
    """(K,) which frame of the actor each is."""
    pictures: NDArray[np.uint8]
    """(K, S, S, 3) RGB crops around the lower face, at most at the frames' own resolution."""
    crops: Float
    """(K, 3) where each crop lies: x, y of its corner in the frame, and crop pixels per frame pixel (at most 1)."""
    motion: Float
    """(K, L, 2) the motion that each shows, in the head's frame."""

    @cached_property
    def opening(self) -> Float:
        """(K,) how far each mouth is open, IOD."""
        return face.opening(self.motion)


@dataclass(frozen=True)
class Actor:
    """Immutable; shared by all its conversations. Arrays are float32; landmarks are `engines.face`'s."""

    name: str
    size: tuple[int, int]
    """Width and height of its frames, both even."""
    loop: Literal["to-and-fro", "round"]
    """How its frames repeat under long speech: `round` where the last leads into the first."""
    poses: Float
    """(N, 3, 4) the head's pose in each frame (`engines.face.pose`), smoothed."""
    neutral: Float
    """(478, 3) the actor's face in the head's frame, mouth at rest."""
    opening_range: float
    """95th percentile of the mouth's opening above neutral in the actor's own video, IOD."""
    width_range: float
    """Standard deviation of the mouth's width in the actor's own video, IOD."""
    references: References
    frames: Sequence[Picture] = field(repr=False)
    """N pictures (I420)."""
    source: str = ""
    """What it was made from, in words."""
    habit: Habit | None = None
    """Of the actor's own speech; None where there is none to be seen, as in a photo."""
    shown: Float | None = None
    """(N,) 0..1: how much of the made mouth is shown in each frame, 0 where the face is lost; None: all of it everywhere."""
    resting: Float | None = None
    """(N,) IOD: how far the lips in each frame are from rest, infinite where that is not known; None: known of no frame."""
    motion: Float | None = None
    """(N, L, 2) the motion that each frame shows itself, NaN where that is not known; None: not kept (before 0.2.0)."""
    shot: NDArray[np.int32] | None = None
    """(N,) the shot of each frame: 0, 1, ...; None: all are of one."""
    grade: Float | None = None
    """(S, 3) the skin's luma, U and V in each shot, 0..255, NaN where that is not known; None: all are of one shot."""
    guessed: tuple[float, float] | None = None
    """How certain `neutral` and `opening_range` are: standard deviations of a lip point, IOD, and of the range's logarithm."""

    @cached_property
    def mouths(self) -> Float:
        """(N, L, 2) `motion`, or what is known of it."""
        if self.motion is not None:
            return self.motion
        known = np.zeros(len(self.poses), np.bool_) if self.resting is None else self.resting < _RESTS
        return np.where(known[:, None, None], face.motion_of(self.neutral), np.float32(np.nan)).astype(np.float32)

    @cached_property
    def turns(self) -> Float:
        """(N, 3) yaw, pitch and roll of the head in each frame."""
        return face.angles(self.poses)

    @cached_property
    def units(self) -> Float:
        """(N,) pixels in an IOD in each frame."""
        return face.unit(self.poses)

    def frame_at(self, tick: int) -> int:
        """Which of the N frames is shown at a tick (0, 1, 2, ...) of any length of speech."""
        count = len(self.poses)
        if count == 1:
            return 0
        if self.loop == "round":
            return tick % count
        at = tick % (2 * count - 2)
        return at if at < count else 2 * count - 2 - at


_ARRAYS = ("poses", "neutral")
_OPTIONAL = ("shown", "resting", "motion", "shot", "grade")
_RESTS = 0.02  # IOD from rest: a mouth that is as good as at rest
_REFERENCES = ("frame", "pictures", "crops", "motion")


def save_actor(actor: Actor, folder: Path, preview: bytes = b"") -> None:
    """Write an actor as a new folder: built beside its final place, then renamed. `preview` is a JPEG file's bytes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        if isinstance(actor.frames, Frames):  # coded already: once more costs time and sharpness
            actor.frames.copy_to(building / "frames.mp4")
        else:
            write_frames(building / "frames.mp4", actor.frames)
        arrays = {name: getattr(actor, name) for name in _ARRAYS}
        arrays |= {f"references.{name}": getattr(actor.references, name) for name in _REFERENCES}
        if actor.habit is not None:
            arrays |= {"habit.mean": actor.habit.mean, "habit.frames": np.int32(actor.habit.frames)}
        arrays |= {name: value for name in _OPTIONAL if (value := getattr(actor, name)) is not None}
        np.savez(building / "arrays.npz", **arrays)
        text = {
            "format": FORMAT, "name": actor.name, "width": actor.size[0], "height": actor.size[1], "frames": len(actor.poses),
            "loop": actor.loop, "opening_range": actor.opening_range, "width_range": actor.width_range, "source": actor.source,
            "guessed": actor.guessed,
        }  # fmt: skip
        (building / "actor.json").write_text(json.dumps(text, indent=1) + "\n")
        if preview:
            (building / "preview.jpg").write_bytes(preview)
        building.chmod(0o755)
        building.replace(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def load_actor(folder: Path) -> Actor:
    """Read an actor's folder. Raises ActorFault if it is damaged or of another format version."""
    mend = f"Remove it (mytalk actor remove {folder.name}) and enrol it again."
    try:
        text = json.loads((folder / "actor.json").read_text())
        if text["format"] != FORMAT:
            raise ActorFault(f"Actor {folder.name} has format {text['format']}, this version reads {FORMAT}.", mend)
        with (folder / "arrays.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            references = References(**{name: arrays[f"references.{name}"] for name in _REFERENCES})
            own = {name: arrays[name] for name in _ARRAYS}
            known = "habit.mean" in arrays  # not in an actor of 0.1.0's first days
            habit = Habit(arrays["habit.mean"], int(arrays["habit.frames"])) if known else None
            own |= {name: arrays[name] for name in _OPTIONAL if name in arrays}
            guessed = text.get("guessed") and (float(text["guessed"][0]), float(text["guessed"][1]))
        if not (folder / "frames.mp4").stat().st_size or len(own["poses"]) != text["frames"]:
            raise ActorFault(f"Actor {folder.name} is damaged.", mend)
        return Actor(
            name=text["name"], size=(text["width"], text["height"]), loop=text["loop"], references=references,
            frames=Frames(folder / "frames.mp4", text["frames"]), opening_range=text["opening_range"],
            width_range=text["width_range"], source=text["source"], habit=habit, guessed=guessed, **own,
        )  # fmt: skip
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:  # what json, zip and numpy raise on damage
        raise ActorFault(f"Actor {folder.name} is damaged ({type(error).__name__}: {error}).", mend) from error


def _shipped(name: str) -> Path:
    return Path(__file__).with_name("actors") / name


@cache
def built_in() -> tuple[str, ...]:
    """The names of the actors that ship, the presenter first."""
    return BUILT_IN, *sorted(path.parent.name for path in _shipped("").glob("*/actor.json") if path.parent.name != BUILT_IN)


def unknown(name: str, names: Sequence[str]) -> UnknownActor:
    """What is said where there is no such actor among these."""
    near = difflib.get_close_matches(name, names, cutoff=0.5) or names[:5]
    return UnknownActor(f"There is no actor called {name!r}.", f"Did you mean: {', '.join(near)}? `mytalk actor list` shows all.")


@dataclass(frozen=True)
class Store:
    """The actors of a folder, and those that ship. What other machines share is `realtime.store`: this one is as it is."""

    root: Path

    @property
    def stage(self) -> Store:
        """Where an actor is put together before it is published: at once where it stays."""
        return self

    def publish(self, name: str) -> None:
        """An actor in `stage` is to be found: it is."""

    def changed(self) -> list[str]:
        """Actors that others removed or replaced since: nobody does."""
        return []

    def folder(self, name: str) -> Path:
        """Where an actor of this name lies or would lie. Raises ActorFault for a name that is none."""
        if not re.fullmatch(r"\w[\w .-]{0,62}\w|\w", name):
            raise ActorFault(
                f"{name!r} is not a name for an actor.", "Use up to 64 letters, digits, spaces, dots, hyphens or underscores, no slashes."
            )
        return self.root / name

    def names(self) -> list[str]:
        """All actors, those that ship first."""
        own = sorted(path.parent.name for path in self.root.glob("*/actor.json") if not path.parent.name.startswith("."))
        return [*built_in(), *(name for name in own if name not in built_in())]

    def held(self) -> list[str]:
        """Those whose files are on this machine: all."""
        return self.names()

    def find(self, name: str) -> Path:
        """The folder of an actor. Raises UnknownActor with the nearest names."""
        folder = self.folder(name)
        if (folder / "actor.json").exists():
            return folder
        if name in built_in():
            return _shipped(name)
        raise unknown(name, self.names())

    def preview(self, name: str) -> Path | None:
        """A picture of an actor, as a file; None where it has none. Raises UnknownActor."""
        path = self.find(name) / "preview.jpg"
        return path if path.is_file() else None

    def about(self, name: str) -> dict[str, int | float | str]:
        """What people are told of an actor, without loading it: its size in pixels, its frames (25 a second), what it was made from."""
        folder = self.find(name)
        try:
            text = json.loads((folder / "actor.json").read_text())
            return {
                "name": name, "width": int(text["width"]), "height": int(text["height"]),
                "frames": int(text["frames"]), "source": str(text["source"]),
            }  # fmt: skip
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ActorFault(f"Actor {name} is damaged.", f"Remove it (mytalk actor remove {name}) and enrol it again.") from error

    def load(self, name: str) -> Actor:
        """Load an actor by its name."""
        return load_actor(self.find(name))

    def add(self, actor: Actor, preview: bytes = b"") -> Path:
        """Save an actor under its name. Raises ActorFault if the name is taken."""
        folder = self.folder(actor.name)
        if folder.exists() or actor.name in built_in():
            raise ActorFault(f"There is an actor called {actor.name!r} already.", "Choose another name, or remove that one first.")
        save_actor(actor, folder, preview)
        return folder

    def remove(self, name: str) -> None:
        """Remove an actor, damaged or not. Those that ship cannot be removed."""
        folder = self.folder(name)
        if not folder.is_dir():
            self.find(name)  # raises UnknownActor, or returns the built-in's folder
            raise ActorFault(f"Actor {name!r} is built in and cannot be removed.", "`mytalk actor list` shows those that can.")
        shutil.rmtree(folder)
