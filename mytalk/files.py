"""Actors and files: enrol, load, dub, say."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mytalk.own import own

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engines.actor import Actor, Store
    from engines.pipeline import Pipeline
    from realtime.dub import DubReport
    from realtime.voices import Voice

    Float = NDArray[np.float32]
    File = str | os.PathLike[str]
    Progress = Callable[[int, int | None], None]


def _store(home: File | None) -> Store:
    settings = own("realtime.settings").load({"home": Path(home) if home else None}, os.environ)
    store: Store = own("engines.actor").Store(settings.actors)
    return store


def actors(*, home: File | None = None) -> list[str]:
    """The names of all actors, the drawn presenter first. `home` is the data folder, else the one that the command `mytalk` uses."""
    return _store(home).names()


def load(name: str, *, home: File | None = None) -> Actor:
    """An actor by its name. Raises Fault for an unknown or damaged one, with the nearest names."""
    return _store(home).load(name)


def remove(name: str, *, home: File | None = None) -> None:
    """Remove an actor and its files. Raises Fault for an unknown one, and for the drawn presenter."""
    _store(home).remove(name)


def enrol(
    source: File,
    name: str | None = None,
    *,
    face: int | None = None,
    still: bool = False,
    home: File | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[int], None] | None = None,
) -> Actor:
    """The person of a video or photo as an actor.

    With a `name` it is kept: `load(name)` finds it again. Without, its frames lie in a temporary folder as long as the actor is used.
    `face` chooses one of several, by size, from 1; `still` keeps a photo's head and eyes still. `warn` is called with each sentence about
    what is not as it might be, `progress` with the pictures that were looked at. Raises Fault where there is no face, the file cannot be
    read, or the name is taken.
    """
    enrolled = own("realtime.dub").enrolled
    options = {"name": name, "face_number": face, "still": still, "warn": warn, "progress": progress}
    if name is not None:
        store = _store(home)
        if store.folder(name).exists():
            raise own("engines.errors").ActorFault(
                f"There is an actor called {name!r} already.", f"Take another name, or remove({name!r})."
            )
        with enrolled(Path(source), **options) as made:
            store.add(made, own("engines.portrait").preview(made))
        return store.load(name)
    block = enrolled(Path(source), **options)
    actor: Actor = block.__enter__()
    weakref.finalize(actor, block.__exit__, None, None, None)
    return actor


def dub(
    actor: Actor | str,
    speech: File,
    output: File,
    *,
    start: float = 0.0,
    fps: float = 25.0,
    crf: int = 16,
    seed: int = 0,
    overwrite: bool = False,
    pipeline: Pipeline | None = None,
    home: File | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
    progress: Progress = lambda done, total: None,
) -> DubReport:
    """Write a video (.mp4, .m4v, .mov or .mkv) in which an actor, or the actor of this name, says a file with sound.

    `start` is where in the actor's own video to begin, in seconds; `fps` the pictures a second, 1 to 120; `crf` the quality, 0 (largest)
    to 51. The same `seed` gives the same lips. `pipeline`: see `mytalk.pipeline`; one may be used again and again. `progress` is told
    the ticks of 40 ms that are done, and all of them where the file says its length. Raises Fault, and OSError; then nothing is written.
    """
    someone = load(actor, home=home) if isinstance(actor, str) else actor
    if pipeline is None:
        from mytalk.stream import pipeline as made

        pipeline = made()
    options: dict[str, Any] = {
        "start": start,
        "fps": fps,
        "crf": crf,
        "seed": seed,
        "overwrite": overwrite,
        "warn": warn,
        "progress": progress,
    }
    report: DubReport = own("realtime.dub").dub(someone, Path(speech), Path(output), pipeline=pipeline, **options)
    return report


def say(
    actor: Actor | str, text: str, output: File, *, voice: str = "", speed: float = 1.0, voice_command: str = "", **options: Any
) -> DubReport:
    """Write a video in which an actor says a text with a voice of this machine: see `voices`; the options are those of `dub`.

    `speed` is 0.5 to 2; `voice_command` a program of your own that reads text from stdin and writes WAV to stdout. Raises Fault where there
    is no such voice, or nothing to say, and what `dub` does.
    """
    own("realtime.dub").check_output(Path(output), (), overwrite=options.get("overwrite", False))
    speech = own("realtime.voices")
    speech.check_command(voice_command)
    chosen = speech.choose(voice, speech.found(voice_command))
    speech.checked(text, speed)
    with tempfile.TemporaryDirectory(prefix="mytalk-") as folder:
        file = Path(folder) / "speech.wav"
        speech.write(file, text, chosen, speed, voice_command)
        return dub(actor, file, output, **options)


def voices(*, voice_command: str = "") -> list[Voice]:
    """The voices of this machine, the default first; none where neither the extra `voice` nor espeak-ng is installed."""
    found: list[Voice] = own("realtime.voices").found(voice_command)
    return found


def speak(text: str, *, voice: str = "", speed: float = 1.0, voice_command: str = "") -> Iterator[Float]:
    """A text as sound: blocks (n,) float32, -1 to 1, mono, at 24,000 Hz, piece by piece, so that the first is there soon.

    Raises Fault as `say` does, before the first block.
    """
    speech = own("realtime.voices")
    speech.check_command(voice_command)
    chosen = speech.choose(voice, speech.found(voice_command))
    speech.checked(text, speed)
    blocks: Iterator[Float] = speech.Speaker(voice_command).speak(text, chosen, speed)
    return blocks
