"""What a server may be told, validated once and frozen."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiortc import RTCIceServer

from engines.actor import BUILT_IN
from realtime.clock import unix_time
from realtime.errors import SettingsFault
from realtime.loopback import is_loopback
from realtime.manners import OWN
from realtime.settings import Settings

LONGEST_LABEL = 60
LEAST_TOKEN = 16
"""Characters of a secret, at least."""
LONGEST_S, SPARE_S = 24 * 3600.0, 600.0
"""For so long credentials of TURN servers are good at most; for so long beyond a session."""


@dataclass(frozen=True)
class Options:
    """How a server is run."""

    host: str = "127.0.0.1"
    actor: str = BUILT_IN
    """Who is shown where nobody is named."""
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    """What this machine is called among several: the names of its sessions begin with it. One that is drawn is another at each start."""
    drain_s: float = 0.0
    """For so many seconds a server that is to end takes nobody and lets its sessions go on; 0: they end at once."""
    max_sessions: int | None = None
    """None: as many as this machine was measured to carry."""
    loops: int | None = 1
    """Event loops, each a process, that peers are spread over; 1: the server's own, None: as many as this machine was measured to need."""
    token: str = field(default="", repr=False)
    """The secret that every call must bear; empty: none, which only loopback allows."""
    origins: tuple[str, ...] = ()
    """Origins of other sites whose pages may use this server, each as a browser says it: https://example.org."""
    ice: tuple[RTCIceServer, ...] = ()
    turn_secret: str = field(default="", repr=False)
    """The secret that TURN servers without a name and password share with us."""
    largest: int = 1280
    """No side of live pictures has more pixels; larger actors are scaled."""
    label: str = ""
    """A text that is laid upon live pictures."""
    voice: str = ""
    """Who says text where nobody is named; empty: the first that is found."""
    voice_command: str = ""
    """What reads text from stdin and writes WAV; empty: the voices that are found here."""
    begun: tuple[str, float] = (OWN, 1.0)
    """The manner in which sessions begin, and its strength."""
    idle_s: float = 1800.0
    total_s: float = 14400.0

    def __post_init__(self) -> None:
        if self.token and len(self.token) < LEAST_TOKEN:
            raise SettingsFault(f"The token is shorter than {LEAST_TOKEN} characters.", "Take a random one: openssl rand -hex 24")
        if not self.token.isascii():
            raise SettingsFault("The token has letters beyond ASCII, which no header carries.", "Take a random one: openssl rand -hex 24")
        if not self.token and not is_loopback(self.host):
            raise SettingsFault(
                f"Other machines may reach {self.host}: a secret is needed.",
                "Set MYTALK_TOKEN (openssl rand -hex 24 makes one), or leave --host out to serve this machine only.",
            )
        for origin in self.origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
                raise SettingsFault(f"{origin!r} is not an origin.", "Write it as a browser does: https://example.org, without a slash.")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", self.name):
            raise SettingsFault(f"{self.name!r} is not a name for a machine.", "Use up to 40 small letters, digits and hyphens.")
        if self.drain_s < 0:
            raise SettingsFault("A server waits for its sessions for 0 seconds or more.", "Leave --drain out for 0.")
        if self.idle_s <= 0 or self.total_s <= 0:
            raise SettingsFault("A session's limits are seconds above 0.", "Leave them out for the defaults.")
        if not 64 <= self.largest <= 4096:
            raise SettingsFault("The longest side of live pictures has 64 to 4096 pixels.", "Leave it out for 1280.")
        if len(self.label) > LONGEST_LABEL or not self.label.isprintable():
            raise SettingsFault(f"A label is one line of at most {LONGEST_LABEL} characters.", "Leave --label alone for: AI-generated.")
        if self.loops is not None and not 1 <= self.loops <= 64:
            raise SettingsFault("A server has 1 to 64 event loops.", "Leave --loops out to have it measured.")
        if self.max_sessions is not None and self.max_sessions < 1:
            raise SettingsFault("A server takes at least one session.", "Leave --sessions out to have it measured.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def ice_now(self) -> tuple[RTCIceServer, ...]:
        """The ICE servers as somebody is told of them now; what opens a TURN server ends with the longest session."""
        until = round(unix_time() + min(self.total_s, LONGEST_S) + SPARE_S)
        return tuple(
            _until(server, until, self.turn_secret)
            if self.turn_secret and str(server.urls).startswith("turn") and not server.username
            else server
            for server in self.ice
        )


def _until(server: RTCIceServer, until: int, secret: str) -> RTCIceServer:
    """A TURN server with credentials that end at a time, as coturn's `use-auth-secret` and the like check them."""
    name = f"{until}:{secrets.token_hex(4)}"
    credential = base64.b64encode(hmac.digest(secret.encode(), name.encode(), "sha1")).decode()
    return RTCIceServer(urls=server.urls, username=name, credential=credential)


def ice_servers(text: str, secret: str = "") -> tuple[RTCIceServer, ...]:
    """STUN and TURN servers from a list with commas: stun:HOST:PORT, turn:USER:PASSWORD@HOST:PORT?transport=tcp; with a secret also
    turn:HOST:PORT. Raises SettingsFault."""
    servers = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(stuns?|turns?):(?:([^:@]+):([^@]+)@)?([\w.\-\[\]:]+)(\?transport=(?:udp|tcp))?", item)
        if found is None or (not found[1].startswith("turn") if found[2] else found[1].startswith("turn") and not secret):
            raise SettingsFault(
                f"{item!r} is not an ICE server.",
                "Write stun:HOST:PORT, or turn:USER:PASSWORD@HOST:PORT, with commas between several; turn:HOST:PORT needs --turn-secret.",
            )
        servers.append(RTCIceServer(urls=f"{found[1]}:{found[4]}{found[5] or ''}", username=found[2], credential=found[3]))
    return tuple(servers)


def link_of(server: RTCIceServer) -> str:
    """An ICE server as a Link header (RFC 9725)."""
    rest = f'; username="{server.username}"; credential="{server.credential}"; credential-type="password"' if server.username else ""
    return f'<{server.urls}>; rel="ice-server"{rest}'


def options_of(settings: Settings) -> Options:
    """What a person set, as a server is told. Raises SettingsFault."""
    return Options(
        host=settings.host,
        actor=settings.actor,
        name=settings.name or secrets.token_hex(4),
        drain_s=settings.drain,
        max_sessions=settings.sessions or None,
        loops=settings.loops or None,
        token=settings.token,
        origins=tuple(filter(None, (origin.strip() for origin in settings.origins.split(",")))),
        ice=ice_servers(settings.ice, settings.turn_secret),
        turn_secret=settings.turn_secret,
        largest=settings.largest,
        label=settings.label,
        voice=settings.voice,
        voice_command=settings.voice_command,
        idle_s=settings.idle,
        total_s=settings.limit,
        begun=(Path(settings.manner).name or OWN, settings.strength),
    )
