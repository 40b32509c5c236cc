"""Who may ask what: secrets, join tokens, guests, other sites; and what is told to whoever may not."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any

import pytest
from playwright.async_api import async_playwright

from realtime.errors import SettingsFault
from realtime.server import peer as peer_module
from realtime.server import sessions
from realtime.server.keys import SESSIONS
from realtime.server.options import Options, ice_servers
from tests.peers import SDP, WAV, Client, Peer, bursts, offer, problem, serving, wav
from tests.test_live_browser import CHROMIUM, FLAGS

TOKEN = "a-secret-of-sixteen-or-more"
OWNER = {"Authorization": f"Bearer {TOKEN}"}

EVERY = [
    ("GET", "/metrics"),
    ("GET", "/v1/actors"),
    ("POST", "/v1/actors?name=anna"),
    ("GET", "/v1/actors/presenter/preview.jpg"),
    ("DELETE", "/v1/actors/presenter"),
    ("GET", "/v1/enrolments/none"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/sessions"),
    ("GET", "/v1/sessions/none"),
    ("PATCH", "/v1/sessions/none"),
    ("DELETE", "/v1/sessions/none"),
    ("POST", "/v1/sessions/none/viewers"),
    ("PATCH", "/v1/sessions/none/viewers/none"),
    ("DELETE", "/v1/sessions/none/viewers/none"),
    ("GET", "/v1/sessions/none/speech"),
    ("POST", "/v1/sessions/none/speech"),
    ("POST", "/v1/sessions/none/say"),
    ("GET", "/v1/voices"),
    ("POST", "/v1/sessions/none/interrupt"),
    ("POST", "/v1/sessions/none/recording"),
    ("GET", "/v1/sessions/none/recording"),
    ("DELETE", "/v1/sessions/none/recording"),
    ("GET", "/v1/manners"),
    ("POST", "/v1/sessions/none/manner"),
    ("GET", "/v1/recordings/none.mp4"),
    ("DELETE", "/v1/recordings/none.mp4"),
    ("GET", "/v1/recordings"),
    ("POST", "/v1/rooms"),
    ("POST", "/v1/joins"),
    ("GET", "/v1/me"),
    ("GET", "/v1/machine"),
    ("POST", "/v1/drain"),
    ("DELETE", "/v1/drain"),
    ("POST", "/v1/claims"),
    ("GET", "/sample.flac"),
    ("GET", "/nowhere"),
]


async def test_every_address_wants_the_secret() -> None:
    async with serving(token=TOKEN) as client:
        told = {route.resource.canonical for route in client.server.app.router.routes() if route.resource}  # type: ignore[attr-defined]
        asked = {path.split("?")[0].replace("none.mp4", "{recording}.mp4") for _, path in EVERY}
        for address in told - {"/", "/favicon.ico", "/openapi.json", "/healthz", "/readyz", "/v1/guests", "/v1/owners"}:
            if "file" not in address:
                pattern = address.replace("{actor}", "presenter")
                for name in ("session", "viewer", "enrolment"):
                    pattern = pattern.replace("{" + name + "}", "none")
                assert pattern in asked, address
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "mytalk=guess"}):
            for method, path in EVERY:
                response = await client.request(method, path, headers=wrong)
                await problem(response, 401, "secret")
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
        for path in ("/", "/app.js", "/style.css", "/healthz", "/readyz", "/openapi.json"):
            assert (await client.get(path)).status in (200, 503), path
        async with Peer(client, headers=OWNER) as peer:
            await peer.until(lambda: len(peer.pictures) > 3)
            assert (await client.delete(peer.url, headers=OWNER)).status == 200


async def join(client: Client) -> str:
    made = await (await client.post("/v1/joins", headers=OWNER)).json()
    assert made["page"] == f"/#join={made['join']}"
    return str(made["join"])


async def test_a_browser_joins_once_and_sees_its_own_sessions_only() -> None:
    async with serving(token=TOKEN) as client:
        token = await join(client)
        response = await client.post("/v1/guests", json={"join": token})
        assert response.status == 204
        (cookie,) = response.headers.getall("Set-Cookie")
        assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
        assert "Secure" not in cookie  # or a browser would not send it here
        for body in ({"join": token}, {"join": "guess"}):
            await problem(await client.post("/v1/guests", json=body), 401, "secret")
        for text in ("", "{", "[]", '{"join": 5}'):
            await problem(await client.post("/v1/guests", data=text), 400, "request")
        assert (await client.get("/v1/actors")).status == 200  # the client keeps the cookie
        async with Peer(client) as mine, Peer(client, headers=OWNER) as other:
            await mine.until(lambda: len(mine.pictures) > 3)
            assert (await client.post(f"{mine.url}/speech", data=wav(bursts(1)), headers=WAV)).status == 202
            for method, path in (
                ("GET", other.url),
                ("DELETE", other.url),
                ("POST", f"{other.url}/interrupt"),
                ("GET", "/v1/sessions"),
                ("GET", "/metrics"),
                ("POST", "/v1/joins"),
                ("POST", "/v1/rooms"),
                ("POST", "/v1/actors?name=anna"),
                ("DELETE", "/v1/actors/presenter"),
            ):
                await problem(await client.request(method, path), 403, "origin")
            assert (await client.get(mine.url, headers=OWNER)).status == 200


async def recorded(client: Client, session: str, headers: dict[str, str] | None = None) -> str:
    """Where a recording of a session lies, that was ended at once."""
    made = await client.post(f"{session}/recording", headers=headers)
    assert made.status == 201, await made.text()
    assert (await client.delete(f"{session}/recording", headers=headers)).status == 200
    return made.headers["Location"]


async def test_a_guest_s_recordings_push_out_its_own_only() -> None:
    async with serving(token=TOKEN) as client:
        assert (await client.post("/v1/guests", json={"join": await join(client)})).status == 204
        async with Peer(client) as mine, Peer(client) as second, Peer(client, headers=OWNER) as other:
            await mine.until(lambda: len(mine.pictures) > 3 and len(second.pictures) > 3 and len(other.pictures) > 3)
            kept = await recorded(client, other.url, OWNER)
            assert (await client.post(f"{second.url}/recording")).status == 201
            await problem(await client.post(f"{mine.url}/recording"), 429, "too-many")  # one at a time, and others may make one
            assert (await client.post(f"{other.url}/recording", headers=OWNER)).status == 201
            assert (await client.delete(f"{other.url}/recording", headers=OWNER)).status == 200
            await client.delete(f"{second.url}/recording")
            places = [await recorded(client, mine.url) for _ in range(5)]
            found = [(await client.get(place, headers=OWNER)).status for place in (kept, *places)]
            assert found[0] != 404
            assert [status == 404 for status in found[1:]] == [True, False, False, False, False]


async def test_a_cookie_is_for_tls_only_where_a_browser_came_by_it() -> None:
    async with serving(token=TOKEN) as client:
        behind = await client.post("/v1/guests", json={"join": await join(client)}, headers={"X-Forwarded-Proto": "https"})
        assert "; Secure" in behind.headers["Set-Cookie"]


async def test_other_sites_pages_ask_nothing_in_ways_that_bear_no_origin() -> None:
    async with serving() as client:
        for site in ("cross-site", "same-site"):
            for mode, path in (
                ("no-cors", "/v1/actors"),
                ("no-cors", "/"),
                ("navigate", "/v1/actors"),
                ("websocket", "/v1/sessions/none/speech"),
            ):
                headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
                await problem(await client.get(path, headers=headers), 403, "origin")
            link = await client.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"})
            assert (link.status, link.headers["Cross-Origin-Resource-Policy"]) == (200, "same-origin")
        for site in ("same-origin", "none"):
            assert (await client.get("/v1/actors", headers={"Sec-Fetch-Site": site})).status == 200


async def test_an_invitation_says_what_a_guest_may() -> None:
    async with serving(token=TOKEN, max_sessions=4) as client:
        for wrong in ({"actors": []}, {"actors": "second"}, {"recording": 1}, {"sessions": 0}, {"sessions": True}, {"all": True}):
            await problem(await client.post("/v1/joins", headers=OWNER, json=wrong), 400, "request")
        said = {"actors": ["second"], "recording": False, "sessions": 1}
        made = await (await client.post("/v1/joins", headers=OWNER, json=said)).json()
        assert (await client.post("/v1/guests", json={"join": made["join"]})).status == 204
        listed = await (await client.get("/v1/actors")).json()
        assert ([actor["name"] for actor in listed["actors"]], listed["default"]) == (["second"], "second")
        await problem(await client.get("/v1/actors/presenter/preview.jpg"), 403, "origin")
        await problem(await client.post("/v1/sessions?actor=presenter", data=await offer(), headers=SDP), 403, "origin")
        async with Peer(client, "second") as peer:
            await peer.until(lambda: len(peer.pictures) > 3)
            await problem(await client.post(f"{peer.url}/recording"), 403, "origin")
            await problem(await client.post("/v1/sessions?actor=second", data=await offer(), headers=SDP), 429, "busy")
            assert (await client.post(f"{peer.url}/recording", headers=OWNER)).status == 201


async def test_a_guest_leaves_room_and_a_refusal_leaves_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CONNECT_S", 0.5)
    monkeypatch.setattr(peer_module, "CONNECT_S", 30.0)
    async with serving(token=TOKEN, max_sessions=3) as client:
        assert (await client.post("/v1/guests", json={"join": await join(client)})).status == 204
        dead = await client.post("/v1/sessions", data=await offer(), headers=SDP)  # nobody ever connects
        assert dead.status == 201
        late = {"Authorization": f"Bearer {await join(client)}"}
        await problem(await client.post("/v1/sessions", data=await offer(), headers=SDP | late), 503, "full")
        assert (await client.delete(dead.headers["Location"])).status == 200
        async with Peer(client) as one, Peer(client) as two:
            await two.until(lambda: len(one.pictures) > 3 and len(two.pictures) > 3)
            await problem(await client.post("/v1/sessions", data=await offer(), headers=SDP), 429, "busy")  # half of the room, and more
            async with Peer(client, headers=late) as three:  # with the token that was refused before
                await three.until(lambda: len(three.pictures) > 3)


async def test_a_join_token_may_begin_one_session_as_a_bearer() -> None:
    async with serving(token=TOKEN) as client:
        bearer = {"Authorization": f"Bearer {await join(client)}"}
        async with Peer(client, headers=bearer) as peer:
            await problem(await client.post("/v1/sessions", data=await offer(), headers=SDP | bearer), 403, "origin")
            assert (await client.post(f"{peer.url}/interrupt", headers=bearer)).status == 200
            assert (await client.delete(peer.url, headers=bearer)).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.0.2.1"},
        {"token": "short"},
        {"token": "ein-geheimnis-für-alle"},
        {"origins": ("https://example.org/",)},
        {"origins": ("*",)},
        {"idle_s": 0.0},
        {"max_sessions": 0},
    ],
)
def test_what_is_not_safe_is_not_begun(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsFault) as caught:
        Options(**wrong)
    assert caught.value.hint


async def test_turn_servers_that_share_a_secret_are_opened_for_a_while_only() -> None:
    from realtime.clock import unix_time

    async with serving(ice=ice_servers("turn:127.0.0.1:9", "shared"), turn_secret="shared", total_s=60.0) as client:
        (link,) = (await client.options("/v1/sessions")).headers.getall("Link")
        found = re.fullmatch(
            r'<turn:127.0.0.1:9>; rel="ice-server"; username="(\d+):(\w+)"; credential="(.+)"; credential-type="password"', link
        )
        assert found
        assert 60 < int(found[1]) - unix_time() < 1000
        assert base64.b64decode(found[3]) == hmac.digest(b"shared", f"{found[1]}:{found[2]}".encode(), "sha1")
        assert (await client.options("/v1/sessions")).headers["Link"] != link


@pytest.mark.parametrize("wrong", ["example.org", "turn:example.org", "stun:me:secret@example.org", "http://example.org", "stun:"])
def test_what_is_no_ice_server_is_said(wrong: str) -> None:
    with pytest.raises(SettingsFault):
        ice_servers(wrong)


async def test_a_session_ends_by_its_limits() -> None:
    async with serving(idle_s=0.6) as client, Peer(client) as peer:
        await peer.until(lambda: not len(client.server.app[SESSIONS]))  # type: ignore[attr-defined]
    async with serving(total_s=0.6) as client, Peer(client) as peer:
        await peer.until(lambda: not len(client.server.app[SESSIONS]))  # type: ignore[attr-defined]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_the_page_joins_signs_in_invites_and_lets_watch() -> None:
    async with serving(token=TOKEN) as client, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await (await browser.new_context(bypass_csp=True)).new_page()
        await page.goto(str(client.make_url("/")) + f"#join={await join(client)}")
        await page.click("#power")
        await page.wait_for_function("session && session.marks.shown", timeout=60_000)
        assert "#" not in page.url
        assert not await page.is_visible("#add")  # guests add nobody
        assert not await page.is_visible("#invite")
        await page.reload()
        await page.click("#power")
        await page.wait_for_function("session && session.marks.shown", timeout=60_000)

        owner = await (await browser.new_context(bypass_csp=True)).new_page()
        await owner.goto(str(client.make_url("/")))
        await owner.fill("#door-secret", "not it")
        await owner.press("#door-secret", "Enter")
        await owner.wait_for_function("document.getElementById('door-state').textContent.includes('not the secret')", timeout=60_000)
        await owner.fill("#door-secret", TOKEN)
        await owner.press("#door-secret", "Enter")
        await owner.click("#power", timeout=60_000)
        await owner.wait_for_function("session && session.marks.shown", timeout=60_000)
        await owner.click("#invite")
        await owner.wait_for_function("document.getElementById('sharing-link').value.includes('#join=')")
        await owner.keyboard.press("Escape")
        await owner.click("#viewers")
        await owner.wait_for_function("document.getElementById('sharing-link').value.includes('#watch=')")
        link = await owner.input_value("#sharing-link")

        viewer = await (await browser.new_context(bypass_csp=True)).new_page()
        await viewer.goto(link)
        await viewer.wait_for_function("session && session.marks.shown", timeout=60_000)
        assert not await viewer.is_visible("#power")  # who watches controls nothing
        offer = "{ method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: 'v=0' }"
        begin = f"call('/v1/sessions', {offer}).catch(error => error.message)"
        assert "invited to watch" in await viewer.evaluate(begin)
        await owner.keyboard.press("Escape")
        await owner.click("#power")
        await viewer.wait_for_function("document.getElementById('trouble').textContent.includes('ended')", timeout=60_000)
        await browser.close()
