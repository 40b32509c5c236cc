"""Where the machines of a front are: named one by one, or by a name of DNS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from realtime.errors import SettingsFault
from realtime.front.registry import Source

_HINT = "Write http://HOST:PORT, with commas between several; or dns:NAME:PORT for all addresses of a name."


class Static:
    """Machines that were named."""

    def __init__(self, urls: Collection[str]) -> None:
        self._urls = tuple(urls)

    async def addresses(self) -> Collection[str]:
        """See `Source.addresses`."""
        return self._urls


class Dns:
    """All addresses of a name, as a headless service of Kubernetes has them."""

    def __init__(self, name: str, port: int) -> None:
        self._name, self._port = name, port

    async def addresses(self) -> Collection[str]:
        """See `Source.addresses`."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise OSError(f"{self._name} is not known: {error}") from error
        hosts = sorted({str(address[0]) for *_, address in found})
        return [f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}" for host in hosts]


def source_of(text: str) -> Source:
    """The machines as a person wrote them. Raises SettingsFault."""
    parts = [part.strip().rstrip("/") for part in text.split(",") if part.strip()]
    if not parts:
        raise SettingsFault("A front needs machines.", f"Name them with --machines. {_HINT}")
    if len(parts) == 1 and parts[0].startswith("dns:"):
        _, _, rest = parts[0].partition(":")
        name, _, port = rest.rpartition(":")
        if not name or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsFault(f"{parts[0]!r} is not a name with a port.", _HINT)
        return Dns(name, int(port))
    for part in parts:
        _check(part)
    return Static(parts)


def _check(url: str) -> None:
    """Refuse what is no machine's address. Raises SettingsFault."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and not (parts.path or parts.query or parts.username)
        parts.port  # noqa: B018  it is read when it is asked for
    except ValueError:
        good = False
    if not good:
        raise SettingsFault(f"{url!r} is not a machine's address.", _HINT)
