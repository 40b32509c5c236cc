"""From what a person says, now or the last time, to devices."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from realtime.camera.devices import cameras, choose, microphones, no_camera, outputs
from realtime.camera.sinks import Camera, DriverCamera, FileCamera
from realtime.camera.sound import Ear, Mouth
from realtime.camera.stage import Door, Plan
from realtime.clock import WallClock
from realtime.errors import OutputFault
from realtime.pcm import rate_of

FILE = "camera.json"


@dataclass(frozen=True)
class Wishes:
    """Devices by name, number or "default"; None: as the last time. Output and camera may be "none"."""

    microphone: str | None = None
    output: str | None = None
    camera: str | None = None


def plan_of(wishes: Wishes, home: Path, *, actor: str, speech: str = "", rate: int = 16_000, to: str = "", **rest: Any) -> Plan:
    """Choose the devices, and remember them in `home`. Raises DeviceFault, SettingsFault, OutputFault."""
    before = _remembered(home)
    microphone = wishes.microphone or before.microphone or "default"
    output = wishes.output or before.output or "none"
    clock = WallClock()
    ear = None if speech else Ear(choose(microphones(), microphone, "microphone"), clock)
    mouth = None if output == "none" else Mouth(choose(outputs(), output, "output"), clock)
    name = wishes.camera or before.camera or ("none" if to else "")
    plan = Plan(actor, _camera(name), ear, mouth, _speech(speech), rate_of(rate), to, **rest)
    # names, not numbers: numbers change when something is plugged in
    chosen_ear = ear.device.name if ear and microphone != "default" else before.microphone
    chosen_mouth = mouth.device.name if mouth and output != "default" else wishes.output or before.output
    _remember(home, Wishes(chosen_ear if wishes.microphone != "default" else "default", chosen_mouth, wishes.camera or before.camera))
    return plan


def _speech(said: str) -> Path | Door | None:
    if "://" not in said:
        return Path(said) if said else None
    from realtime.camera.doors import door_of

    return door_of(said)


def _camera(name: str) -> Camera | None:
    if name == "none":
        return None
    if name.lower().endswith(".y4m"):
        path = Path(name)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise OutputFault(f"{name} is no plain file.", "Choose another name.")
        return FileCamera(path)
    found = cameras()
    if not found or (name and name not in found):
        if name and found:
            raise OutputFault(f"There is no camera called {name!r}.", f"Choose one of: {', '.join(found)}, or a file: camera.y4m")
        raise no_camera()
    return DriverCamera(name or found[0])


def _remembered(home: Path) -> Wishes:
    try:
        known = json.loads((home / FILE).read_text(encoding="utf-8"))
        return Wishes(**{name: str(known[name]) for name in ("microphone", "output", "camera") if known.get(name)})
    except (OSError, ValueError, AttributeError, TypeError):  # the first time, or a file that somebody broke
        return Wishes()


def _remember(home: Path, wishes: Wishes) -> None:
    home.mkdir(parents=True, exist_ok=True)
    building = home / f".{FILE}.part"
    building.write_text(json.dumps(asdict(wishes)), encoding="utf-8")
    building.replace(home / FILE)
