"""Real-time lip sync from Python: give it speech, get 25 pictures a second of a person saying it.

    import mytalk

    actor = mytalk.load("presenter")                     # or mytalk.enrol("anna.mp4", "anna")
    mytalk.dub(actor, "speech.wav", "out.mp4")           # a file
    mytalk.say(actor, "Hello there.", "hello.mp4")       # a text, with a voice of this machine
    with mytalk.Stream(actor, rate=24_000) as stream:    # samples in, pictures out
        for shown in stream.push(samples):
            show(shown.picture, shown.sound)

`mytalk.client` talks with a server (`mytalk serve`). Mistakes that a person can mend raise `Fault`: a sentence and a hint. Only for faces
and voices of people who agreed to it. Importing this loads nothing else.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.actor import Actor as Actor
    from engines.errors import Fault as Fault
    from engines.pipeline import Pipeline as Pipeline
    from mytalk import client as client
    from mytalk.files import actors as actors
    from mytalk.files import dub as dub
    from mytalk.files import enrol as enrol
    from mytalk.files import load as load
    from mytalk.files import remove as remove
    from mytalk.files import say as say
    from mytalk.files import speak as speak
    from mytalk.files import voices as voices
    from mytalk.stream import Shown as Shown
    from mytalk.stream import Stream as Stream
    from mytalk.stream import pipeline as pipeline
    from realtime.dub import DubReport as DubReport
    from realtime.voices import Voice as Voice

_HERE = {
    "mytalk.files": ("actors", "dub", "enrol", "load", "remove", "say", "speak", "voices"),
    "mytalk.stream": ("Shown", "Stream", "pipeline"),
}
_OWN = {
    "engines.actor": ("Actor",),
    "engines.errors": ("Fault",),
    "engines.pipeline": ("Pipeline",),
    "realtime.dub": ("DubReport",),
    "realtime.voices": ("Voice",),
}
_PLACES = {name: module for places in (_HERE, _OWN) for module, names in places.items() for name in names}
__all__ = [*sorted(_PLACES), "client"]  # noqa: PLE0604  names all


def __getattr__(name: str) -> Any:
    """A name is loaded when it is first used."""
    if name in _PLACES:
        from mytalk.own import own

        module = _PLACES[name]
        found = getattr(import_module(module) if module in _HERE else own(module), name)
    elif name == "client":
        found = import_module("mytalk.client")
    elif name == "__version__":
        from importlib.metadata import version

        found = version("mytalk-live")
    else:
        near = difflib.get_close_matches(name, __all__, 1, 0.5)
        raise AttributeError(f"mytalk has no {name!r}." + (f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(__all__)}."))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
