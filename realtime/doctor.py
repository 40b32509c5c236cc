"""What this machine has for mytalk and what it lacks, each with the command that mends it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engines.backends.choice import BACKENDS, EXTRA, PROVED, TENSORRT, UNPROVED, choose, lacks
from engines.backends.found import Found
from engines.errors import Fault
from native.cuda.compile import CompileError, nvrtc_version
from native.kept import cache_folder, kept
from realtime.settings import Settings

if TYPE_CHECKING:
    from rich.text import Text

State = Literal["there", "absent", "broken"]
_AGAIN = "pip install --force-reinstall mytalk-live"
_MARKS = {"there": ("✓", "green"), "absent": ("–", "yellow"), "broken": ("✗", "bold red")}
_UNFIT = (ImportError, OSError, RuntimeError, TypeError, AttributeError, Fault)  # what packages of wrong versions raise when they are used


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    part: str
    """The heading that it stands under."""
    name: str
    state: State
    """`broken` where mytalk cannot do without it on a CPU."""
    words: str
    mend: str = ""
    """A command, or what else to do; "" where there is nothing to mend."""


def examine(settings: Settings, found: Found) -> Iterator[Finding]:
    """Look at everything, one thing after the other; `found` is what the card's side has (`engines.backends.found.look`)."""
    yield from _machine(settings)
    for name, check in (("motion", _motion), ("pictures", _pictures), ("faces", _faces), ("video", _video), ("live", _live)):
        yield _tried("needed", name, check)
    yield from _voices(settings)
    yield from _card(found)
    yield from _devices()
    for backend in BACKENDS[1:]:
        lacking = lacks(backend, found)
        words = "; ".join(lack.what for lack in lacking) or ("ready" if backend in PROVED else f"ready; {UNPROVED}")
        yield Finding("backends", backend, "absent" if lacking else "there", words)
    choice = choose("auto", found)
    yield Finding("backends", "auto", "there", f"takes {choice.backend}")


def lines(findings: Sequence[Finding]) -> Iterator[Text]:
    """The findings as lines for a terminal, readable without colour; a mend stands under the last of those that it mends."""
    from rich.text import Text

    wide = max(len(finding.name) for finding in findings)
    for part, some in groupby(findings, lambda finding: finding.part):
        yield Text.assemble("" if part == findings[0].part else "\n", (part, "bold"))
        together = list(some)
        for at, finding in enumerate(together):
            mark, style = _MARKS[finding.state]
            yield Text.assemble(
                "  ", (mark, style), f" {finding.name:<{wide}}  ", (finding.words, "" if finding.state == "there" else style)
            )
            if finding.mend and finding.mend not in (later.mend for later in together[at + 1 :]):
                yield Text.assemble(" " * (wide + 6), ("→ ", "dim"), (finding.mend, "cyan"))


def _machine(settings: Settings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    system = f"{metadata.version('mytalk-live')}; {python}, {_processor()}, {cores} cores to use"
    yield Finding("mytalk", "version", "there", system)
    home = settings.home
    above = next((folder for folder in (home, *home.parents) if folder.exists()), home)
    if above.is_dir() and os.access(above, os.W_OK):
        actors = len(list(settings.actors.glob("*/actor.json")))
        yield Finding("mytalk", "data", "there", f"{home}: {actors} actor{'' if actors == 1 else 's'} of your own")
    else:
        yield Finding("mytalk", "data", "broken", f"{home} cannot be written", "mytalk --home FOLDER, or MYTALK_HOME")


def _processor() -> str:
    """What the processor calls itself."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in told.splitlines() if line.startswith("model name")), platform.machine())


def _tried(part: str, name: str, check: Callable[[], str]) -> Finding:
    """A check whose answer is what works, and whose error is what does not."""
    try:
        return Finding(part, name, "there", check())
    except _UNFIT as error:
        if isinstance(error, Fault):
            return Finding(part, name, "broken", error.message, error.hint)
        return Finding(part, name, "broken", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", _AGAIN)


def _motion() -> str:
    from engines.motion.config import EARS, LIPS
    from engines.motion.engine import DiffusionMotion

    DiffusionMotion()
    return f"{EARS} and {LIPS} are as shipped, and OpenVINO {metadata.version('openvino')} runs them"


def _pictures() -> str:
    from engines.appearance.config import REFINER
    from engines.appearance.refine import Refiner

    Refiner()
    return f"{REFINER} is as shipped, and OpenVINO runs it"


def _faces() -> str:
    from engines.actor import BUILT_IN, Store
    from engines.errors import FaceFault
    from engines.tracker import Tracker
    from engines.tracking.nets import DETECTOR, MESH
    from native.planes import to_rgb

    presenter = Store(Path("nowhere")).load(BUILT_IN)
    with Tracker(video=False) as tracker:
        if not tracker.track(to_rgb(presenter.frames[0])):
            raise FaceFault("The tracker does not find the presenter's face.", _AGAIN)
    return f"{DETECTOR} and {MESH} are as shipped; the tracker finds the presenter's face"


def _video() -> str:
    import av

    missing = [name for name in ("libx264", "aac", "libvpx") if name not in av.codecs_available]
    if missing:
        raise Fault(f"PyAV was built without {', '.join(missing)}.", "pip install --force-reinstall --only-binary av av")
    ffmpeg = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return f"PyAV {metadata.version('av')} brings H.264, AAC and VP8 (libavcodec {ffmpeg}; no ffmpeg program is needed)"


def _live() -> str:
    from realtime.server import app, shown

    assert shown.PAGE.is_dir(), app.__name__
    return f"aiortc {metadata.version('aiortc')}, aiohttp {metadata.version('aiohttp')}"


def _voices(settings: Settings) -> Iterator[Finding]:
    """What says text."""
    from realtime.voices import NONE_HERE, found

    voices = found(settings.voice_command)
    kinds = [f"{sum(voice.kind == kind for voice in voices)} {kind}" for kind in dict.fromkeys(voice.kind for voice in voices)]
    words = f"the first is {voices[0].name}; {', '.join(kinds)}" if voices else NONE_HERE.message
    natural = any(voice.kind == "natural" for voice in voices)
    yield Finding("text to speech (not needed)", "voices", "there" if voices else "absent", words, "" if natural else NONE_HERE.hint)


def _card(found: Found) -> Iterator[Finding]:
    """The card, its driver, the libraries, what was built ahead."""
    part = "NVIDIA card (not needed)"
    driver = next((lack for lack in lacks("cuda", found) if "driver" in lack.what), None)
    words = [f"serves CUDA up to {found.driver}"] if found.driver else []
    words += [driver.what] if driver else []
    yield Finding(part, "driver", "absent" if driver else "there", "; ".join(words), driver.mend if driver else "")
    for card in found.cards:
        yield Finding(part, "card", "there", f"{card.name}, {card.architecture}, {card.memory / 2**30:.0f} GiB")
    for name in ("cuda-bindings", "nvidia-cuda-nvrtc", "torch", "onnx"):
        yield _package(part, name, found)
    some = [name for name in TENSORRT if name in found.packages]
    if some:
        yield Finding(part, "tensorrt", "there", ", ".join(f"{name} {found.packages[name]}" for name in some))
    else:
        yield Finding(part, "tensorrt", "absent", "neither tensorrt-rtx nor tensorrt is installed", EXTRA)
    for kind, suffix, mend in (("plans", ".plan", "mytalk build"), ("kernels", ".cubin", "mytalk build")):
        yield _built(part, kind, suffix, mend if found.cards else "mytalk build --arch sm_89 (for that architecture)")


def _package(part: str, name: str, found: Found) -> Finding:
    version = found.packages.get(name)
    if version is None:
        return Finding(part, name, "absent", "is not installed", EXTRA)
    if name == "nvidia-cuda-nvrtc":
        try:
            return Finding(part, name, "there", f"{version}; compiles ({nvrtc_version()})")
        except CompileError as error:
            return Finding(part, name, "absent", str(error), EXTRA)
    if name == "torch":
        return Finding(part, name, "there", f"{version}, built for {f'CUDA {found.torch_cuda}' if found.torch_cuda else 'the CPU'}")
    return Finding(part, name, "there", version)


def _built(part: str, kind: str, suffix: str, mend: str) -> Finding:
    """What was built ahead, of one kind."""
    folder = cache_folder(kind)
    places = sorted(folder.glob(f"*{suffix}"))
    if not places:
        return Finding(part, kind, "absent", f"none in {folder}", mend)
    damaged = sum(kept(place) is None for place in places)
    size = sum(place.stat().st_size for place in places) / 1e6
    architectures = sorted({place.stem.split("-")[-2] for place in places})
    harm = f"; {damaged} damaged, which will be built anew" if damaged else ""
    return Finding(part, kind, "there", f"{len(places)} for {', '.join(architectures)}, {size:.1f} MB in {folder}{harm}")


def _devices() -> Iterator[Finding]:
    """What the camera needs."""
    from realtime.camera.devices import cameras, no_camera, sounddevice

    part = "camera (not needed elsewhere)"
    try:
        version = sounddevice().get_portaudio_version()[1].split(",")[0]
        yield Finding(part, "sound", "there", str(version))
    except Fault as fault:
        yield Finding(part, "sound", "absent", fault.message, fault.hint)
    if found := cameras():
        yield Finding(part, "picture", "there", ", ".join(found))
    else:
        none = no_camera()
        yield Finding(part, "picture", "absent", none.message, none.hint)
