"""Commands of `mytalk` about more than one machine: a front before them, and how one is taken away. What they share with `serve`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

import click

from realtime.errors import SettingsFault
from realtime.terminal import example, settings_of

ASK_S = 5.0
"""For so long a server's answer is waited for."""
LOOK_S = 0.5
"""Seconds between two looks whether a server's last session has ended."""


def SHARED(command: Callable[..., None]) -> Callable[..., None]:  # noqa: N802  a decorator among others that are constants
    """The options of whatever answers requests."""
    for option in reversed((
        click.option("--host", help="Address to listen on; others than this machine's own need a token [default: 127.0.0.1]."),
        click.option("--port", type=int, help="Port to listen on [default: 8008]."),
        click.option("--actor", help="Who is shown where nobody is named [default: presenter]."),
        click.option("--token", help="The secret that every call must bear; better given as MYTALK_TOKEN."),
        click.option("--origins", help="Other sites whose pages may use the server, with commas."),
        click.option("--ice", help="STUN and TURN servers, with commas: stun:HOST:PORT, turn:USER:PASSWORD@HOST:PORT."),
        click.option("--turn-secret", help="The secret that TURN servers share with this one; better given as MYTALK_TURN_SECRET."),
        click.option("--json-logs", is_flag=True, help="Log lines of JSON, with the session's id."),
    )):  # fmt: skip
        command = option(command)
    return command


def begin_serving(json_logs: bool) -> None:
    """What is done once the settings are read: logs, and no secrets for whatever is started."""
    from realtime.settings import PREFIX

    if json_logs:
        from realtime.logs import json_lines

        logging.basicConfig(level=logging.WARNING, handlers=[json_lines()], force=True)
        logging.getLogger("realtime").setLevel(logging.INFO)
    for secret in ("TOKEN", "ICE", "TURN_SECRET"):
        os.environ.pop(f"{PREFIX}{secret}", None)  # no process that we start needs them


@click.command(
    epilog=example(
        "mytalk front --machines http://10.0.0.5:8008,http://10.0.0.6:8008",
        "mytalk front --machines dns:mytalk.default.svc.cluster.local:8008 --host 10.0.0.4",
    )
)
@click.option("--machines", metavar="URL,URL,...|dns:NAME:PORT", help="Where the machines are that sessions are placed on.")
@SHARED
@click.pass_obj
def front(given: dict[str, Any], /, json_logs: bool, **options: Any) -> None:
    """One address for several machines: places each session on one of them, and leads what follows there.

    Machines are servers (mytalk serve) with the same secret. Any number of fronts may stand side by side.
    """
    settings = settings_of(given, **options)
    from realtime.front.sources import source_of

    source = source_of(settings.machines)
    begin_serving(json_logs)
    from realtime.front.app import serve as run
    from realtime.server.options import options_of

    run(source, options_of(settings), settings.port)


@click.command(epilog=example("mytalk drain", "mytalk drain --wait 3600 http://127.0.0.1:8008"))
@click.argument("url", default="")
@click.option(
    "--wait", "seconds", type=float, default=0.0, show_default=True, help="Return when the last session has ended, or after that."
)
@click.pass_obj
def drain(given: dict[str, Any], url: str, seconds: float) -> None:
    """Have the server of this machine take nobody any more; its sessions go on."""
    settings = settings_of(given)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    server = url.rstrip("/") or f"http://{shown}:{settings.port}"
    left = _ask(server, settings.token)
    import asyncio

    from realtime.clock import WallClock

    clock = WallClock()
    end = clock.now() + seconds
    while left and clock.now() < end:
        asyncio.run(clock.sleep_until(min(end, clock.now() + LOOK_S)))
        left = _ask(server, settings.token)
    click.echo(f"{server} takes nobody any more; sessions that go on: {left}")


def _ask(server: str, token: str) -> int:
    """Ask a server to take nobody any more; returns how many sessions go on there. Raises SettingsFault."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    if not server.startswith(("http://", "https://")):
        raise SettingsFault(f"{server!r} is no address of a server.", "Write http://HOST:PORT.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(f"{server}/v1/drain", method="POST", headers=headers), timeout=ASK_S) as answer:
            return int(json.load(answer)["sessions"])
    except HTTPError as error:
        raise SettingsFault(f"{server} answers {error.code}.", "Set MYTALK_TOKEN to its secret.") from error
    except (OSError, ValueError, KeyError) as error:
        raise SettingsFault(f"{server} does not answer.", "See that it runs: mytalk serve") from error
