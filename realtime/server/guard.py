"""Who may ask what. Middlewares that stand before every route: hosts, origins, secrets, and what leaves when something is wrong."""

from __future__ import annotations

import contextlib
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

from engines.errors import Fault
from realtime.clock import Clock, unix_time
from realtime.errors import fault_of, problem
from realtime.loopback import is_loopback
from realtime.server.faults import Internal, NotAllowed, NotHere, RequestFault, TooLarge, Unknown, UnknownRoute, WrongSecret
from realtime.server.options import Options, link_of
from realtime.server.rates import Rates
from realtime.server.signed import Signer

log = logging.getLogger(__name__)

JOIN_S, LONGEST_JOIN_S = 60.0, 7 * 24 * 3600.0
"""A join token that was not used by then is void, where it does not say when; and the most that it may say."""
GUEST_S = 12 * 3600.0
"""A browser that joined may come back for so long."""
SESSIONS_AT_ONCE = 4
"""Of a guest, where its invitation does not say."""
REQUESTS, REQUESTS_AT_ONCE, PATIENCE_S = 100, 100, 1.0
"""Requests of one guest, or of one address, that are answered a second, and at once; for how long one beyond them waits."""
OFFERS, OFFERS_AT_ONCE = 20, 10
"""The same of offers: a connection, with its keys and sockets, takes tens of milliseconds to be made."""
SIGNS, SIGNS_AT_ONCE = 1, 5
"""The same of secrets that are tried at the page."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(self)",
    "Cache-Control": "no-cache",
}
COOKIE = "mytalk"
OWNER = ""
"""Who bears the secret, or sits at this machine where there is none. Guests have names."""
FRONT, VISITOR = "X-Mytalk-Front", "X-Mytalk-Visitor"
"""Headers in which a front says that it is one, signed, and who asks it."""
FRONT_S = 300.0
"""Seconds for which what a front has signed is good."""
_MANY = 1000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SCRIPTS = ("page", "chart", "session", "speech", "cast", "devices", "recordings", "app")
PAGE_FILES = ("index.html", "style.css", *(f"{name}.js" for name in _SCRIPTS))
_OPEN = ("/", *(f"/{name}" for name in PAGE_FILES), "/favicon.ico", "/healthz", "/readyz", "/v1/guests", "/v1/owners", "/openapi.json")
_CORS = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, ETag",
    "Access-Control-Max-Age": "600",
}
_SHOWN = "Location, Link, ETag, Accept-Patch, Retry-After, Access-Control-Allow-Methods"


@dataclass(frozen=True)
class Rights:
    """What whoever was invited may do."""

    actors: frozenset[str] | None = None
    """With whom it may talk; None: with all."""
    recording: bool = True
    """Whether it may record its sessions."""
    sessions: int = SESSIONS_AT_ONCE
    """How many it may have at a time."""
    watch: str = ""
    """The only session that it may watch, if it may begin none."""

    def may_show(self, actor: str) -> bool:
        """Whether it may talk with an actor."""
        return self.actors is None or actor in self.actors

    def to_words(self) -> dict[str, Any]:
        """As JSON; what is usual is left out."""
        words = {
            "actors": None if self.actors is None else sorted(self.actors), "recording": self.recording, "sessions": self.sessions,
            "watch": self.watch,
        }  # fmt: skip
        usual = {"actors": None, "recording": True, "sessions": SESSIONS_AT_ONCE, "watch": ""}
        return {name: value for name, value in words.items() if value != usual[name]}

    @classmethod
    def from_words(cls, words: dict[str, Any]) -> Rights:
        """What `to_words` gave."""
        actors = words.get("actors")
        named = None if actors is None else frozenset(actors)
        return cls(named, words.get("recording", True), words.get("sessions", SESSIONS_AT_ONCE), words.get("watch", ""))


@dataclass(frozen=True)
class Asker:
    """Who asks."""

    name: str = OWNER
    """OWNER, or what a guest is called: it says nothing of its secret."""
    rights: Rights | None = None
    """What a guest may do; None for the owner, who may do all."""
    join: str = ""
    """The name of the join token that it bears, where that is for one session."""
    until: float = 0.0
    """Unix time until which that token is good."""


class Claims(Protocol):
    """Keeps in mind which join tokens were used."""

    async def take(self, join: str, use: str, until: float) -> str:
        """Use a join token, by its name, that is good until a Unix time. Returns "", or for what it was used before: then it is not now."""
        ...

    async def give_back(self, join: str) -> None:
        """It was not used after all."""
        ...


class Used:
    """`Claims` of this process."""

    def __init__(self) -> None:
        self._used: dict[str, tuple[str, float]] = {}

    async def take(self, join: str, use: str, until: float) -> str:
        """See `Claims.take`."""
        now = unix_time()
        if len(self._used) >= _MANY:
            self._used = {name: used for name, used in self._used.items() if used[1] > now}
        before, _ = self._used.setdefault(join, ("", 0.0))
        if not before:
            self._used[join] = use, until
        return before

    async def give_back(self, join: str) -> None:
        """See `Claims.give_back`."""
        self._used.pop(join, None)


class Guard:
    """The secrets of a server: its token; and join tokens and keys of browsers, all signed with it, so that nothing is kept of them but
    which join tokens were used (`claims`)."""

    def __init__(self, options: Options, clock: Clock, claims: Claims | None = None) -> None:
        self.options, self._clock = options, clock
        self.signer = Signer(options.token)
        self.claims = claims or Used()
        self.requests = Rates(clock, REQUESTS, REQUESTS_AT_ONCE, PATIENCE_S)
        self.offers = Rates(clock, OFFERS, OFFERS_AT_ONCE, PATIENCE_S)
        self.signs = Rates(clock, SIGNS, SIGNS_AT_ONCE, PATIENCE_S)
        self._began: dict[str, float] = {}
        self._fronts: dict[str, float] = {}

    def sign_in(self, secret: str) -> str:
        """A key for the browser of the owner, who gives the server's secret. Raises WrongSecret, RequestFault."""
        if not secret.isascii():
            raise RequestFault("The secret has characters that none has.", "Send it as it was given out.")
        if not self.options.token or not _same(secret, self.options.token):
            raise WrongSecret("This is not the secret of this server.", "It is what MYTALK_TOKEN said when the server was started.")
        return self.signer.sign("owner", {}, GUEST_S)

    def join_token(self, rights: Rights, seconds: float = JOIN_S) -> str:
        """A new token with which one browser may join, once, within so many seconds."""
        return self.signer.sign("join", {"name": secrets.token_urlsafe(9), **rights.to_words()}, seconds)

    async def redeem(self, join: str) -> str:
        """A guest's key for a join token, which is used up by that. Raises WrongSecret, and RequestFault for what cannot be one."""
        if not join.isascii():
            raise RequestFault("The join token has characters that none has.", "Send it as it was given out.")
        said = self.signer.fresh("join", join)
        if said is None or await self.claims.take(said["name"], "browser", said["until"]):
            raise WrongSecret("This join token is unknown, used, or too old.", "Ask for a new one.")
        return self.signer.sign("guest", {"name": secrets.token_urlsafe(9), **Rights.from_words(said).to_words()}, GUEST_S)

    def who(self, request: web.Request) -> Asker:
        """Who asks. Raises WrongSecret for anybody else, and RequestFault for what cannot be a secret."""
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if not given.isascii():
            raise RequestFault("The secret has characters that none has.", "Send it as it was given out.")
        if not self.options.token:
            return Asker()
        if kind.lower() == "bearer" and given:
            if _same(given, self.options.token):
                return Asker()
            if (said := self.signer.read("join", given)) and self.takes(request, said):
                return Asker(f"join.{said['name']}", Rights.from_words(said), said["name"], said["until"])
        else:
            given = request.cookies.get(COOKIE, "")
            if self.signer.fresh("owner", given):
                return Asker()
        if (said := self.signer.fresh("guest", given)) is None:
            raise WrongSecret("This server needs a secret.", "Send it as Authorization: Bearer TOKEN, or join with a join token.")
        return Asker(said["name"], Rights.from_words(said))

    def takes(self, request: web.Request, join: dict[str, Any]) -> bool:
        """Whether a join token is taken for who asks: to begin its session, and then as long as it may be in that."""
        now = unix_time()
        may_begin = (request.method, request.path) == ("POST", "/v1/sessions") or self.from_front(request)
        return (may_begin and join["until"] >= now) or self._began.get(join["name"], 0.0) >= now

    def from_front(self, request: web.Request) -> bool:
        """Whether a front with our secret (`realtime.front`) passes a request on: what it says of who asks is believed."""
        proof = request.headers.get(FRONT)
        if not proof or self.signer.fresh("front", proof) is None:
            return False
        self._fronts[str(request.remote)] = unix_time() + FRONT_S
        while len(self._fronts) > _MANY:
            self._fronts.pop(next(iter(self._fronts)))
        return True

    def is_front(self, address: str) -> bool:
        """Whether a front was lately there: many guests are behind it."""
        return self._fronts.get(address, 0.0) > unix_time()

    def visitor(self, request: web.Request) -> str:
        """Who asks, as far as it matters for how often: a guest, or an address."""
        if VISITOR in request.headers and self.from_front(request):
            return request.headers[VISITOR]
        said = self.signer.fresh("guest", request.cookies.get(COOKIE, ""))
        return str(said["name"]) if said else str(request.remote)

    async def begins(self, request: web.Request) -> None:
        """Whoever asks begins a session; `began` says whether it did. Raises NotAllowed, WrongSecret where its join token was used."""
        asker = request[ASKER]
        if not asker.join or self.from_front(request):  # which has asked where it has to
            return
        if before := await self.claims.take(asker.join, "session", asker.until):
            raise used_up(before)

    async def began(self, request: web.Request, so: bool) -> None:
        """Whether a session that somebody was to begin was begun: a join token is used up by that only."""
        join = request[ASKER].join
        if join and so:
            now = unix_time()
            self._began = {name: until for name, until in self._began.items() if until > now} | {join: now + GUEST_S}
        elif join and not self.from_front(request):
            await self.claims.give_back(join)

    def origin_allowed(self, request: web.Request) -> bool:
        """Whether the page that asks, if it is one, is ours or one of those that were named."""
        origin = request.headers.get("Origin")
        return origin is None or origin in self.options.origins or _parts(origin, "Origin").netloc == request.host

    def foreign(self, request: web.Request) -> bool:
        """Whether a browser says that another site's page asks, in a way that bears no Origin. Links to the page are no such way."""
        if (
            request.headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site")
            or request.headers.get("Origin") in self.options.origins
        ):
            return False
        return not (request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET" and request.path == "/")


def by_tls(request: web.Request) -> bool:
    """Whether a browser asks over TLS, which may end at a proxy before us."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def _same(given: str, known: str) -> bool:
    """Whether two secrets are the same, in a time that says nothing of where they are not."""
    return hmac.compare_digest(given.encode(), known.encode())


def _parts(address: str, header: str) -> SplitResult:
    """An address in its parts. Raises RequestFault for what is none."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  it is read when it is asked for
    except ValueError as error:
        raise RequestFault(f"The header {header} is no address.", "Send it as a browser does.") from error
    return parts


def used_up(before: str) -> Fault:
    """What is said of a join token that was used for something before."""
    if before == "session":
        return NotAllowed("This join token was for one session.", "Ask for a new one.")
    return WrongSecret("This join token is unknown, used, or too old.", "Ask for a new one.")


GUARD = web.AppKey("guard", Guard)
ASKER = web.RequestKey("asker", Asker)
WHO = web.RequestKey("who", str)
"""The name of the asker."""


def rights_of(request: web.Request) -> Rights | None:
    """What whoever asks may do; None for the owner, who may do all."""
    return request[ASKER].rights


@web.middleware
async def answer_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The border of a route: whatever goes wrong leaves as a problem."""
    try:
        return await handler(request)
    except Fault as fault:
        return _problem(fault)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(_http_fault(error), error.headers.get("Allow"))
    except ConnectionError:  # whoever asked has gone
        raise
    except web.RequestPayloadError:
        return _problem(RequestFault("The body is not encoded as its headers say.", "Send it as it is, without Content-Encoding."))
    except OSError as error:
        if (mended := fault_of(error)) is None:
            log.exception("%s %s failed", request.method, request.rel_url.raw_path)  # quoted, so that it is one line of the log
        return _problem(mended or Internal("Something went wrong in the server.", "See its log."))
    except Exception:
        log.exception("%s %s failed", request.method, request.rel_url.raw_path)
        return _problem(Internal("Something went wrong in the server.", "See its log."))


@web.middleware
async def stand_guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come in."""
    guard = request.app[GUARD]
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":  # a little of it may be made of a lot
        raise RequestFault("Bodies are taken as they are, not encoded.", "Send it without Content-Encoding.")
    if VISITOR in request.headers or not guard.from_front(request):  # a front's own questions are few
        await guard.requests.pace(guard.visitor(request))
    host = _parts(f"//{request.host}", "Host").hostname or ""
    if guard.options.loopback and not is_loopback(host):
        raise NotAllowed(
            f"This server answers for this machine only, not for {host!r}.",
            "Open it as http://127.0.0.1 or http://localhost.",
        )
    if not guard.origin_allowed(request):
        raise NotAllowed(
            "Another site's page may not use this server.", "Use the server's own page or a program, or name the site in --origins."
        )
    if guard.options.loopback and guard.foreign(request):
        raise NotAllowed("Another site's page may not use this server.", "Use the server's own page or a program.")
    missing = request.match_info.http_exception
    if request.method == "OPTIONS" and isinstance(missing, web.HTTPMethodNotAllowed):
        return _preflight(request, sorted(missing.allowed_methods | {"OPTIONS"}))
    if request.path not in _OPEN:
        request[ASKER] = guard.who(request)
        request[WHO] = request[ASKER].name
    return await handler(request)


def must_own(request: web.Request, owner: str = OWNER) -> None:
    """Raise NotAllowed where whoever asks is neither the server's owner nor this one."""
    if request[WHO] not in (OWNER, owner):
        raise NotAllowed("This is not for guests.", "Ask with the server's own secret.")


def must_see(request: web.Request, session: str, owner: str) -> None:
    """Raise NotAllowed where whoever asks may not watch a session: its owner may, and who was invited to it."""
    rights = rights_of(request)
    if rights is None or rights.watch != session:
        must_own(request, owner)


def must_may_record(request: web.Request) -> None:
    """Raise NotAllowed where whoever asks was not invited to record."""
    rights = rights_of(request)
    if rights and not rights.recording:
        raise NotAllowed("You were not invited to record.", "Ask whoever invited you.")


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Say what browsers may do with an answer (`on_response_prepare`)."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def cors(request: web.Request, response: web.StreamResponse) -> None:
    """Let pages of sites that were named see the answer."""
    origin = request.headers.get("Origin")
    if origin in request.app[GUARD].options.origins:
        response.headers["Access-Control-Allow-Origin"] = str(origin)
        response.headers["Access-Control-Expose-Headers"] = _SHOWN
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Vary"] = "Origin"


def _preflight(request: web.Request, methods: list[str]) -> web.Response:
    response = web.Response(status=200, headers={"Allow": ", ".join(methods)} | _CORS)
    if request.path.endswith(("/sessions", "/viewers")):
        response.headers["Accept-Post"] = "application/sdp"
        with contextlib.suppress(WrongSecret):  # who may begin learns of the ICE servers before the first offer
            request.app[GUARD].who(request)
            for server in request.app[GUARD].options.ice_now():
                response.headers.add("Link", link_of(server))
    return response


def _http_fault(error: web.HTTPException) -> Fault:
    if error.status == 404:
        return UnknownRoute("There is nothing at this address.", "The page is at /, sessions at /v1/sessions, all of it at /openapi.json.")
    if error.status == 405:
        return NotHere("This address does not take this method.")
    if error.status == 413:
        return TooLarge("The body is too large.", "An offer has at most 64 KiB.")
    return Unknown(error.status, f"{error.reason}.")


def _problem(fault: Fault, allow: str | None = None) -> web.Response:
    body = problem(fault)
    headers = {"Allow": allow} if allow else {}
    if body["status"] in (429, 503):
        headers["Retry-After"] = "5"
    if body["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="mytalk"'
    response = web.json_response(body, status=body["status"], content_type="application/problem+json", headers=headers)
    if body["status"] == 408:
        response.force_close()
    return response
