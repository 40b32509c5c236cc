"""Settings, validated once and frozen: defaults, then mytalk.toml, then the environment, then options."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from platformdirs import user_data_dir

from engines.backends.choice import BACKENDS
from realtime.errors import SettingsFault

FILE = "mytalk.toml"
PREFIX = "MYTALK_"


@dataclass(frozen=True)
class Settings:
    """What a person may set once for all commands: so named in mytalk.toml, MYTALK_HOME etc. in the environment."""

    home: Path = Path(user_data_dir("mytalk-live", appauthor=False))
    """The data folder: actors, caches."""
    store: str = ""
    """A store of actors that machines share: a folder, or s3://BUCKET/FOLDER and the like; empty: the actors of `home`."""
    store_cache: float = 20.0
    """GiB of that store's actors that are kept on this machine."""
    host: str = "127.0.0.1"
    """Where the server listens. Other addresses than this machine's own need a token."""
    port: int = 8008
    name: str = ""
    """What a machine is called among several; empty: a name is drawn at each start."""
    machines: str = ""
    """Where the machines of a front are: addresses with commas, or dns:NAME:PORT."""
    drain: float = 0.0
    """For so many seconds a server that is told to end lets its sessions go on."""
    token: str = field(default="", repr=False)
    """The secret that every call to the server must bear."""
    origins: str = ""
    """Other sites whose pages may use the server, with commas: https://example.org."""
    ice: str = ""
    """STUN and TURN servers, with commas: stun:HOST:PORT, turn:USER:PASSWORD@HOST:PORT."""
    turn_secret: str = field(default="", repr=False)
    """The secret that TURN servers share with this one: each guest is given credentials that end."""
    sessions: int = 0
    """Sessions that the server takes; 0: as many as the machine was measured to carry."""
    loops: int = 0
    """Event loops that the server's peers are spread over; 0: as many as the machine was measured to need."""
    largest: int = 1280
    """Pixels of the longest side of live pictures; larger actors are scaled."""
    label: str = ""
    """A text that is laid upon live pictures."""
    idle: float = 1800.0
    """Seconds of silence after which a session ends."""
    limit: float = 14400.0
    """Seconds after which any session ends."""
    actor: str = "presenter"
    """Who is shown where nobody is named."""
    voice: str = ""
    """Who says text where nobody is named; empty: the first of `mytalk voices`."""
    voice_command: str = ""
    """A command that reads text from stdin and writes WAV to stdout: a voice of the user's own."""
    crf: int = 16
    """Quality of files: 0 (largest) to 51."""
    expressiveness: float = 1.0
    """How far mouths move: 1 as the actor does, 0 not at all, up to 2."""

    manner: str = ""
    """How things are said: one that ships, an actor's name, or a video; empty: as the actor does."""
    strength: float = 1.0
    """How much of that manner, 0 to 1."""
    backend: str = "auto"
    """What runs the nets and draws: one of `engines.backends.choice.BACKENDS`."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsFault(f"{self.port} is not a port.", "Choose one from 1 to 65535, or 0 for any that is free.")
        if self.store_cache <= 0:
            raise SettingsFault("The cache of a store has more than 0 GiB.", "Leave store_cache out for 20.")
        if not 0 <= self.crf <= 51:
            raise SettingsFault(
                f"A quality (crf) of {self.crf} does not exist.",
                "Choose one from 0 (largest) to 51; 18 is the default.",
            )
        if not 0 <= self.expressiveness <= 2:
            raise SettingsFault(
                f"An expressiveness of {self.expressiveness:g} does not exist.",
                "Choose one from 0 (still) to 2; 1 is how the actor moves.",
            )
        if not 0 <= self.strength <= 1:
            raise SettingsFault(f"A strength of {self.strength:g} does not exist.", "Choose one from 0 (the actor's own manner) to 1.")
        if self.backend not in BACKENDS:
            raise SettingsFault(f"There is no backend {self.backend!r}.", f"There are: {', '.join(BACKENDS)}.")
        if not self.host or not self.actor:
            raise SettingsFault("The host and the actor must have a name.", "Leave the setting out for its default.")

    @property
    def actors(self) -> Path:
        """The folder of the actors."""
        return self.home / "actors"


_KINDS = {field.name: {"Path": Path, "int": int, "float": float, "str": str}[str(field.type)] for field in fields(Settings)}


def load(options: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Put the settings together. `options` that are None count as not given. Raises SettingsFault.

    `file` is read if given; else mytalk.toml of the current folder if there is one.
    """
    values: dict[str, Any] = {}
    path = file if file is not None else Path(FILE)
    if file is not None or path.is_file():
        values |= _from_file(path)
    for name in _KINDS:
        if environment.get(PREFIX + name.upper()):
            values[name] = _typed(name, environment[PREFIX + name.upper()], f"the environment's {PREFIX}{name.upper()}")
    values |= {name: _typed(name, value, f"--{name}") for name, value in options.items() if value is not None}
    if "home" in values:
        values["home"] = values["home"].expanduser()
    return Settings(**values)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsFault(f"{path} is not valid TOML: {error}.", "Mend it, or move it away.") from error
    for name in text:
        if name not in _KINDS:
            near = difflib.get_close_matches(name, _KINDS, 1)
            raise SettingsFault(
                f"{path} has an unknown setting: {name}.",
                f"Did you mean {near[0]}?" if near else f"There are: {', '.join(_KINDS)}.",
            )
    return {name: _typed(name, value, str(path)) for name, value in text.items()}


def _typed(name: str, value: object, where: str) -> Any:
    kind = _KINDS[name]
    try:
        if isinstance(value, bool) or (kind is int and isinstance(value, float)):
            raise ValueError(value)
        return kind(value)
    except (TypeError, ValueError) as error:
        wanted = {int: "a whole number", float: "a number", str: "a text", Path: "a folder"}[kind]
        raise SettingsFault(f"{name} in {where} must be {wanted}, not {value!r}.", "Correct it or leave it out.") from error
