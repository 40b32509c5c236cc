"""Requests at a front, and the machines that answer them: the one that a name begins with, the one that has room, any, or all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from random import Random
from typing import Any

from aiohttp import ClientError, ClientTimeout, web
from yarl import URL

from engines.errors import Fault
from realtime.clock import Clock
from realtime.front.placement import order
from realtime.front.registry import HOMES, Registry, Row
from realtime.server.faults import Busy, Full, Gone, InUse, Silent, UnknownSession
from realtime.server.forward import answered, pass_on
from realtime.server.guard import ASKER, GUARD, VISITOR, Asker, must_own, used_up
from realtime.server.keys import CLOCK, OPTIONS
from realtime.server.placed import machine_of
from realtime.server.uploads import read
from realtime.server.whip import default_actor

JOIN_S = 15.0
"""A machine that takes nobody in so long is given up, though it answers otherwise."""
LOOK_S, LOOK_GONE_S = 0.05, 1.0
"""Seconds between two looks whether a machine that is asked to take a session is silent; whether one that has it is gone."""
ALL_S = 5.0
"""What all machines are asked is answered by then, by those that answer."""
_NEXT = ("full", "busy", "engine", "store", "card-full")
"""Codes of refusals that are a machine's own: the next may take whoever asks."""
_BEARS = ("Authorization", "Cookie")
_BEGINS = ("Content-Type", "Accept")

REGISTRY = web.AppKey("registry", Registry)
DRAWS = web.AppKey("draws", Random)


class RemoteClaims:
    """`guard.Claims` of many machines: those that a token's name leads to keep it in mind."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def take(self, join: str, use: str, until: float) -> str:
        """See `Claims.take`. Raises Silent where no machine answers."""
        taken = 0
        async for said in self._asked({"join": join, "use": use, "until": until}):
            if said["before"] and not taken:
                return str(said["before"])
            taken += 1
            if taken == HOMES:
                break
        if not taken:
            raise Silent("No machine answers now.", "Try again in a moment.")
        return ""

    async def give_back(self, join: str) -> None:
        """See `Claims.give_back`."""
        given = 0
        async for _ in self._asked({"join": join, "use": ""}):
            given += 1
            if given == HOMES:
                break

    async def _asked(self, what: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """What machines say, one after the other, of those that answer."""
        for row in self._registry.homes(what["join"]):
            if (said := await told(self._registry, row, "POST", "/v1/claims", json=what)) is not None:
                yield said


async def told(registry: Registry, row: Row, method: str, path: str, **more: Any) -> dict[str, Any] | None:
    """What a machine answers a front, as JSON; None where it does not, or refuses."""
    try:
        async with asyncio.timeout(ALL_S), registry.client.request(method, row.url + path, headers=registry.as_owner(), **more) as answer:
            return await answer.json(content_type=None) if answer.status == 200 else None
    except (ClientError, TimeoutError, ValueError):
        return None


def passed(request: web.Request) -> dict[str, str]:
    """The headers that say to a machine who asks."""
    bears = {name: request.headers[name] for name in _BEARS if name in request.headers}
    return bears | request.app[REGISTRY].proof() | {VISITOR: request.app[GUARD].visitor(request)}


async def begin(request: web.Request) -> web.StreamResponse:
    """POST an offer: a session on the first machine that takes it."""
    app, asker = request.app, request[ASKER]
    await app[GUARD].offers.pace(app[GUARD].visitor(request))
    offer = await read(request)
    actor = request.query.get("actor") or default_actor(app[OPTIONS].actor, asker.rights)
    _must_have_fewer(app[REGISTRY].rows(), asker)
    if asker.join and (before := await app[GUARD].claims.take(asker.join, "session", asker.until)):
        raise used_up(before)
    response: web.Response | None = None
    try:
        response = await _placed(request, offer, actor, asker.name)
    finally:
        if asker.join and (response is None or response.status != 201):
            await app[GUARD].claims.give_back(asker.join)
    return response


async def begin_room(request: web.Request) -> web.StreamResponse:
    """POST the words of a room, for the owner: a session there, on the first machine that takes it, which says what is wrong with them."""
    must_own(request)
    await request.app[GUARD].offers.pace(request.app[GUARD].visitor(request))
    words = await read(request)
    try:
        actor = json.loads(words)["actor"]
    except (ValueError, KeyError, TypeError):
        actor = ""
    actor = actor if isinstance(actor, str) and actor else request.app[OPTIONS].actor
    return await _placed(request, words, actor, request[ASKER].name)


def _must_have_fewer(rows: Sequence[Row], asker: Asker) -> None:
    """Raise Busy where a guest has as many sessions as it may: over all machines, of no more than half of their room."""
    if asker.rights is None:
        return
    mine, room = sum(row.of_guest(asker.name) for row in rows), sum(int(row.said["capacity"]) for row in rows)
    if mine >= min(asker.rights.sessions, max(1, (room + 1) // 2)):
        raise Busy(f"You have {mine} sessions already, as many as you may at a time.", "End one.")


async def _placed(request: web.Request, offer: bytes, actor: str, who: str) -> web.Response:
    """The answer of the machine that took a session, or refused it for good. Raises Full."""
    registry, clock = request.app[REGISTRY], request.app[CLOCK]
    now = clock.now()
    rows = {row.name: row for row in registry.rows()}
    refusal: web.Response | None = None
    for machine in order([row.machine(now) for row in rows.values()], actor, request.app[DRAWS]):
        row = rows[machine.name]
        placed = clock.now(), actor, who
        row.placed.append(placed)
        response = await _asked(request, row, offer)
        if response is not None and response.status == 201:
            return response
        if placed in row.placed:
            row.placed.remove(placed)
        if response is None:
            continue
        code = _code(response)
        if code not in _NEXT:
            return response
        if code == "full":
            row.full_at = clock.now()
        else:
            refusal = response
    if refusal is not None:
        return refusal
    raise Full("All machines are full." if rows else "There is no machine.", "Try again in a moment.")


def _code(response: web.Response) -> str:
    try:
        return str(json.loads(response.body or b"")["code"])  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError):
        return ""


async def _asked(request: web.Request, row: Row, offer: bytes) -> web.Response | None:
    """What a machine says to an offer; None where it is silent."""
    registry = request.app[REGISTRY]
    headers = passed(request) | {name: request.headers[name] for name in _BEGINS if name in request.headers}
    url = URL(f"{row.url}{request.rel_url.raw_path_qs}", encoded=True)

    async def ask() -> web.Response:
        async with registry.client.post(url, data=offer, headers=headers, timeout=ClientTimeout(total=JOIN_S)) as answer:
            return web.Response(status=answer.status, body=await answer.read(), headers=answered(answer))

    try:
        return await _unless_silent(ask(), row, request.app[CLOCK])
    except ClientError as error:
        row.refused = row.refused or isinstance(error, OSError)
        return None
    except TimeoutError:
        return None


async def _unless_silent(asking: Coroutine[Any, Any, web.Response], row: Row, clock: Clock) -> web.Response:
    """The same, as long as the machine answers what else it is asked. Raises TimeoutError."""
    task = asyncio.create_task(asking)
    try:
        while not (await asyncio.wait([task], timeout=LOOK_S))[0]:
            if row.silent(clock.now()):
                raise TimeoutError
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def to_owner(request: web.Request) -> web.StreamResponse:
    """Any request for a session, a recording or an enrolment: its machine answers."""
    name = next(iter(request.match_info[key] for key in ("session", "recording", "enrolment") if key in request.match_info))
    if not (machine := machine_of(name)):
        raise UnknownSession("There is nothing of this name, or not any more.", "Begin a session with POST /v1/sessions.")
    if (row := await request.app[REGISTRY].find(machine)) is None:
        raise Gone("The machine that had this is gone, and all that it had.", "Begin a session with POST /v1/sessions.")
    return await _pass(request, row)


async def _pass(request: web.Request, row: Row) -> web.StreamResponse:
    registry, clock = request.app[REGISTRY], request.app[CLOCK]

    def gone(error: ClientError) -> Fault:
        if row.gone(clock.now()) or isinstance(error, ConnectionRefusedError | ConnectionResetError) or _refuses(error):
            row.refused = True
            return Gone("The machine that had this is gone, and all that it had.", "Begin a session with POST /v1/sessions.")
        return Silent("The machine that has this does not answer now.", "Try again in a moment.")

    url = URL(f"{row.url}{request.rel_url.raw_path_qs}", encoded=True)
    task = asyncio.ensure_future(pass_on(request, registry.client, url, passed(request), gone))
    try:
        while not (await asyncio.wait([task], timeout=LOOK_GONE_S))[0]:
            if row.gone(clock.now()):
                raise Silent("The machine that has this does not answer now.", "Try again in a moment.")
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _refuses(error: ClientError) -> bool:
    """Whether nobody listens there."""
    return isinstance(getattr(error, "os_error", None), ConnectionRefusedError)


async def anywhere(request: web.Request) -> web.StreamResponse:
    """Any request that all machines answer alike: one does, that has the actor, if one is asked for, and room."""
    registry, clock = request.app[REGISTRY], request.app[CLOCK]
    rows = {row.name: row for row in registry.live()}
    now = clock.now()
    machines = order([row.machine(now) for row in rows.values()], request.match_info.get("actor", ""), request.app[DRAWS])
    for machine in machines:
        return await _pass(request, rows[machine.name])
    for row in rows.values():  # those that are draining
        return await _pass(request, row)
    raise Silent("No machine answers now.", "Try again in a moment.")


async def list_everywhere(request: web.Request) -> web.StreamResponse:
    """GET a list that each machine has its part of."""
    registry, name = request.app[REGISTRY], request.path.rpartition("/")[2]
    answers = await asyncio.gather(*(_answer(request, row, "GET") for row in registry.live()))
    refused = next((answer for answer in answers if answer.status in (400, 401, 403)), None)
    if refused is not None:
        return refused
    found = [one for answer in answers if answer.status == 200 for one in json.loads(answer.body or b"{}")[name]]  # type: ignore[arg-type]
    return web.json_response({name: sorted(found, key=lambda one: -one.get("begun", 0.0))})


async def remove_everywhere(request: web.Request) -> web.StreamResponse:
    """DELETE an actor: from the store, and from all machines."""
    must_own(request)
    registry, actor = request.app[REGISTRY], request.match_info["actor"]
    if any(actor in row.said["busy"] for row in registry.rows()):
        raise InUse(f"{actor} is in a session now.", "Try again when it has ended.")
    answers = await asyncio.gather(*(_answer(request, row, "DELETE") for row in registry.live()))
    if not answers:
        raise Silent("No machine answers now.", "Try again in a moment.")
    worst = max(answers, key=lambda answer: answer.status if answer.status != 404 else 0)  # where it is not, it need not be removed
    return worst if worst.status > 299 and worst.status != 404 else next((one for one in answers if one.status == 204), answers[0])


async def _answer(request: web.Request, row: Row, method: str) -> web.Response:
    """What a machine answers the same request; 503 where it does not."""
    registry = request.app[REGISTRY]
    url = URL(f"{row.url}{request.rel_url.raw_path_qs}", encoded=True)
    try:
        async with asyncio.timeout(ALL_S), registry.client.request(method, url, headers=passed(request)) as answer:
            return web.Response(status=answer.status, body=await answer.read(), headers=answered(answer))
    except (ClientError, TimeoutError):
        return web.Response(status=503)
