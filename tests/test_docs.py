"""What docs/serving.md shows is run; what /openapi.json says is what the server has."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import async_playwright

from realtime.server.app import make_app
from realtime.server.keys import SESSIONS
from realtime.server.options import Options
from realtime.testing import FakePipeline, FakeStore
from tests.made import write_wav
from tests.peers import Peer, bursts, serving
from tests.test_live_browser import CHROMIUM, FLAGS

TEXT = (Path(__file__).parent.parent / "docs" / "serving.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


async def test_every_address_is_described_and_every_description_is_an_address() -> None:
    async with serving() as client:
        described = await (await client.get("/openapi.json")).json()
        assert described["openapi"].startswith("3.1")
        routes = client.server.app.router.routes()  # type: ignore[attr-defined]
        has = {(route.method.lower(), route.resource.canonical) for route in routes if route.resource and route.method != "HEAD"}
        has = {(method, path) for method, path in has if "file" not in path and path not in ("/", "/favicon.ico", "/openapi.json")}
        said = {
            (method, path) for path, item in described["paths"].items() for method in item if method in ("get", "post", "patch", "delete")
        }
        assert said == has
        for reference in re.findall(r'"#/([^"]+)"', json.dumps(described)):
            at = described
            for part in reference.split("/"):
                at = at[part]
        for method, path in said:
            operation = described["paths"][path][method]
            assert operation["summary"]
            named = {one["name"] for one in [*described["paths"][path].get("parameters", []), *operation.get("parameters", [])]}
            assert set(re.findall(r"{(\w+)}", path)) <= named, path


async def test_answers_are_as_they_are_described() -> None:
    async with serving() as client, Peer(client) as peer:
        schemas = (await (await client.get("/openapi.json")).json())["components"]["schemas"]
        for path, schema in ((peer.url, "Session"), ("/healthz", "Health"), ("/v1/actors", "Actors")):
            assert set(await (await client.get(path)).json()) == set(schemas[schema]["properties"]), schema
        broken = await (await client.post(f"{peer.url}/interrupt")).json()
        assert set(broken) == set(schemas["Interrupted"]["properties"])
        assert set(await (await client.get("/nowhere")).json()) == set(schemas["Problem"]["properties"])
        assert set(await (await client.post("/v1/joins")).json()) == set(schemas["Join"]["properties"])


async def test_the_python_example_says_a_file(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text(example("python"))
    file = write_wav(tmp_path / "speech.wav", (bursts(2, rate=24_000) * 32767).astype("int16"), 24_000)
    async with serving() as client, Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        url = str(client.make_url(peer.url))
        run = await asyncio.create_subprocess_exec(sys.executable, str(script), url, str(file), stdout=subprocess.PIPE)
        said = (await run.communicate())[0].decode()
        assert run.returncode == 0
        assert said.splitlines()[0].startswith("{'type': 'speaking'")
        assert "{'type': 'idle', 'samples': 48000, 'ms': 2000}" in said
        await peer.until(lambda: sum(loud > 1500 for _, loud in peer.sounds) > 10)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_the_browser_example_shows_an_actor() -> None:
    app = make_app(store=FakeStore(size=(256, 256)), pipeline=FakePipeline, options=Options(max_sessions=3))
    async with TestServer(app) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(bypass_csp=True)
        await page.goto(str(server.make_url("/healthz")))
        await page.evaluate("document.body.innerHTML = '<video autoplay muted></video>'")
        await page.evaluate(f"(async () => {{ {example('js')} }})()")
        seen = "document.querySelector('video').videoWidth === 256"
        await page.wait_for_function(f"{seen} && document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 10")
        assert len(app[SESSIONS]) == 1
        await browser.close()
