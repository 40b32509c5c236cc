"""Microphones, outputs and cameras: what there is, and which one a person means."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import Fault
from realtime.errors import SettingsFault

INSTALL = {
    "linux": "Install v4l2loopback (Debian, Ubuntu: sudo apt install v4l2loopback-dkms; sudo modprobe v4l2loopback exclusive_caps=1 "
    "card_label=MyTalk)",
    "darwin": "Install OBS 30 or newer, and start and stop its virtual camera once",
    "win32": "Install OBS 30 or newer: its virtual camera comes with it",
}
"""How a virtual camera gets onto a system, by `sys.platform`."""
PORTAUDIO = threading.Lock()
"""PortAudio is one, and takes one call at a time."""
_FILE = "or give Chromium a file: --camera camera.y4m."


class DeviceFault(Fault):
    """A device that is not there, is busy, or will not do."""

    code = "device"
    again = True


@dataclass(frozen=True)
class Device:
    """Something that sound comes from or goes to."""

    name: str
    about: str
    """What its system calls it."""
    index: int
    """PortAudio's number of it."""
    server: str = ""
    """Its name at the sound server, where PortAudio knows only the server."""
    default: bool = False


def sounddevice() -> Any:
    """PortAudio's module. Raises SettingsFault where it, or PortAudio itself, is missing."""
    try:
        import sounddevice as module
    except (ImportError, OSError) as error:
        what = "pip install 'mytalk-live[camera]'" if isinstance(error, ImportError) else "sudo apt install libportaudio2"
        raise SettingsFault("Sound devices need PortAudio, which is not installed.", f"Install it: {what}") from error
    _hush_alsa()
    return module


@functools.cache
def _hush_alsa() -> Any:
    """ALSA writes on stderr whatever it meets; PortAudio says what matters. Returns what ALSA calls from now on."""
    words = (ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
    nothing = ctypes.CFUNCTYPE(None, *words)(lambda *_: None)
    with contextlib.suppress(OSError, AttributeError):  # another system
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(nothing)
    return nothing


def microphones() -> list[Device]:
    """All that sound can come from."""
    return _devices("sources", "max_input_channels", 0)


def outputs() -> list[Device]:
    """All that sound can go to."""
    return _devices("sinks", "max_output_channels", 1)


def cameras() -> list[str]:
    """Virtual cameras, as their driver calls them."""
    system: str = sys.platform
    if system == "linux":
        folders = sorted(Path("/sys/devices/virtual/video4linux").glob("video*"))
        return [f"/dev/{folder.name}" for folder in folders]
    return ["OBS Virtual Camera"]


def no_camera() -> DeviceFault:
    """What is said where there is none."""
    return DeviceFault("There is no virtual camera on this system.", f"{INSTALL.get(sys.platform, INSTALL['linux'])}; {_FILE}")


def choose(devices: Sequence[Device], wanted: str, what: str) -> Device:
    """The one that a person means: by its name, a part of it, its number in the list, or "default". Raises DeviceFault."""
    if not devices:
        raise DeviceFault(f"There is no {what} on this system.", "Plug one in, or start the sound server.")
    if wanted == "default":
        return next((device for device in devices if device.default), devices[0])
    if wanted.isdigit() and 1 <= int(wanted) <= len(devices):
        return devices[int(wanted) - 1]
    low = wanted.lower()
    exact = [device for device in devices if low in (device.name.lower(), device.about.lower())]
    near = exact or [device for device in devices if low in device.name.lower() or low in device.about.lower()]
    if len(near) != 1:
        trouble = "There are several" if near else "There is no"
        names = ", ".join(device.name for device in near or devices)
        raise DeviceFault(f"{trouble} {what}{'s' if near else ''} called {wanted!r}.", f"Choose one of: {names}. See: mytalk devices")
    return near[0]


def plugged(device: Device, side: str) -> str:
    """The sound server's number of one of its devices, a new one each time that it is plugged in; "" while it is away.

    `side` is "sources" or "sinks".
    """
    tool = shutil.which("pactl")
    assert tool is not None, "who has a device of the server has asked it before"
    try:
        listed = subprocess.run([tool, "list", "short", side], capture_output=True, text=True, check=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    rows = (row.split("\t") for row in listed.splitlines())
    return next((row[0] for row in rows if len(row) > 1 and row[1] == device.server), "")


def _devices(many: str, channels: str, side: int) -> list[Device]:
    module = sounddevice()
    with PORTAUDIO:
        module._terminate()  # PortAudio looks once for what is plugged in: let it look now
        module._initialize()
    known = module.query_devices()
    server = next((n for n, device in enumerate(known) if device["name"] == "pulse" and device[channels] > 0), None)
    if server is not None and (listed := _at_server(many)) is not None:
        return [Device(name, about, server, name, default) for name, about, default in listed]
    chosen = module.default.device[side]
    return [
        Device(device["name"], str(module.query_hostapis(device["hostapi"])["name"]), n, default=n == chosen)
        for n, device in enumerate(known)
        if device[channels] > 0
    ]


def _at_server(many: str) -> list[tuple[str, str, bool]] | None:
    """What PulseAudio or PipeWire has: names, descriptions, which is the default. None where neither answers."""
    if (tool := shutil.which("pactl")) is None:
        return None
    try:
        asked = [[tool, "-f", "json", "list", many], [tool, "-f", "json", "info"]]
        listed, info = (json.loads(subprocess.run(one, capture_output=True, check=True, timeout=5, env=os.environ).stdout) for one in asked)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    default = info.get("default_source_name" if many == "sources" else "default_sink_name")
    return [(one["name"], one.get("description") or "", one["name"] == default) for one in listed]
