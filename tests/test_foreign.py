"""Clients that others wrote: Debian's simple-whip-client; npm's whip-whep and @eyevinn/whip-web-client in Chromium, from another site."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, async_playwright

from realtime.server.app import make_app
from realtime.server.keys import SESSIONS
from realtime.server.options import Options
from realtime.testing import FakePipeline, FakeStore
from tests.peers import until
from tests.test_live_browser import CHROMIUM, FLAGS

TOKEN = "a-secret-of-sixteen-or-more"
OWNER = {"Authorization": f"Bearer {TOKEN}"}
SOUND = (
    "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! queue ! opusenc ! rtpopuspay pt=100 ! queue ! "
    "application/x-rtp,media=audio,encoding-name=OPUS,payload=100"
)
PICTURES = (
    "videotestsrc is-live=true ! video/x-raw,width=160,height=120 ! videoconvert ! vp8enc deadline=1 ! rtpvp8pay pt=96 ! queue ! "
    "application/x-rtp,media=video,encoding-name=VP8,payload=96"
)
NO_UPNP = """
unsigned long gupnp_simple_igd_get_type(void) { return 20UL << 2; }
void *gupnp_simple_igd_thread_new(void) { return 0; }
void gupnp_simple_igd_add_port(void) {}
void gupnp_simple_igd_remove_port_local(void) {}
"""


@pytest.mark.slow
@pytest.mark.parametrize("trickle", [True, False])
@pytest.mark.skipif(shutil.which("whip-client") is None, reason="no simple-whip-client here")
async def test_simple_whip_client_publishes_a_voice_that_drives_the_lips(tmp_path: Path, trickle: bool) -> None:
    environment = dict(os.environ)
    if compiler := shutil.which("cc"):  # Debian 12's client needs libsoup 2, and its libnice brings libsoup 3 by way of UPnP: one must go
        (tmp_path / "none.c").write_text(NO_UPNP)
        name = "libgupnp-igd-1.0.so.4"
        build = (compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(tmp_path / name), str(tmp_path / "none.c"))
        await asyncio.to_thread(subprocess.run, build, check=True)
        environment["LD_LIBRARY_PATH"] = str(tmp_path)
    app = make_app(store=FakeStore(size=(256, 256)), pipeline=FakePipeline, options=Options(max_sessions=3, token=TOKEN))
    async with TestServer(app) as server:
        url = server.make_url("/v1/sessions?actor=second")
        command = ["whip-client", "-o", "-u", str(url), "-t", TOKEN, "-A", SOUND, "-V", PICTURES, *([] if trickle else ["-n"])]
        client = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            while not any(session.hears and session.report()["added_ms"] for session in app[SESSIONS]):
                if client.returncode is not None:
                    assert client.stdout is not None
                    said = (await client.stdout.read()).decode()
                    if "libsoup" in said or "failed to load plugin" in said.lower():
                        pytest.skip("this simple-whip-client cannot start here")
                    raise AssertionError(said[-2000:])
                await asyncio.sleep(0.1)
            (session,) = app[SESSIONS]
            assert session.actor == "second"
        finally:
            if client.returncode is None:
                client.terminate()
            await client.communicate()
        await until(lambda: not len(app[SESSIONS]))  # it said goodbye with DELETE, or DTLS did


WHIP_WHEP = """<!doctype html><video id="video" autoplay muted playsinline></video><script type="module">
import { WHIPClient } from "/whip-whep/whip.js";
import { WHEPClient } from "/whip-whep/whep.js";
window.go = async (url, token) => {
  const made = new RTCPeerConnection(), seen = new RTCPeerConnection();
  const mine = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  for (const track of mine.getTracks()) made.addTransceiver(track, { direction: "sendonly", streams: [mine] });
  const whip = window.whip = new WHIPClient();
  await whip.publish(made, url, token);
  const session = whip.resourceURL.href;
  seen.addTransceiver("video", { direction: "recvonly" });
  seen.addTransceiver("audio", { direction: "recvonly" });
  seen.ontrack = ({ streams }) => { document.getElementById("video").srcObject = streams[0]; };
  const whep = window.whep = new WHEPClient();
  await whep.view(seen, session.split("?")[0] + "/viewers", token);
  return session;
};
</script>"""
EYEVINN = """<!doctype html><script type="module">
const made = {}, texts = {};
const files = {
  "whip-client": "/whip-web-client/dist/whip-client.js", "events": "/events/events.js", "sdp-transform": "/sdp-transform/lib/index.js",
  "./parser": "/sdp-transform/lib/parser.js", "./writer": "/sdp-transform/lib/writer.js", "./grammar": "/sdp-transform/lib/grammar.js",
};
for (const [name, path] of Object.entries(files)) texts[name] = await (await fetch(path)).text();
const require = (name) => { // its packages are CommonJS, which browsers do not load by themselves
  if (!made[name]) {
    const module = made[name] = { exports: {} };
    new Function("module", "exports", "require", texts[name])(module, module.exports, require);
  }
  return made[name].exports;
};
const { WHIPClient } = require("whip-client");
window.go = async (endpoint, authkey) => {
  const client = window.client = new WHIPClient({ endpoint, opts: { authkey, iceServers: [] } });
  await client.ingest(await navigator.mediaDevices.getUserMedia({ audio: true, video: true }));
  return client.getResourceUrl();
};
</script>"""


async def packages(folder: Path, *names: str) -> None:
    """Fetch npm's packages, as they are, each into a folder of its name without its scope."""
    command = ("npm", "pack", "--silent", "--prefer-offline", *names)
    packing = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    packed = (await packing.communicate())[0].decode().split()
    if packing.returncode:
        pytest.skip(f"npm cannot fetch {' '.join(names)} here")
    for name, file in zip(names, packed, strict=True):
        with tarfile.open(folder / file) as archive:
            archive.extractall(folder, filter="data")
        (folder / "package").rename(folder / name.rpartition("/")[2].partition("@")[0])


@asynccontextmanager
async def elsewhere(folder: Path, text: str) -> AsyncIterator[tuple[Page, web.Application, str]]:
    """A page of another site, which has these files, in a Chromium; and a server that lets it in, with where sessions are begun."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    site = web.Application()
    site.router.add_get("/", page)
    site.router.add_static("/", folder)
    async with TestServer(site) as other:
        origin = str(other.make_url("/")).rstrip("/")
        options = Options(max_sessions=3, token=TOKEN, origins=(origin,))
        app = make_app(store=FakeStore(size=(256, 256)), pipeline=FakePipeline, options=options)
        async with TestServer(app) as server, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            tab = await (await browser.new_context(permissions=["microphone", "camera"])).new_page()
            await tab.goto(origin)
            await tab.wait_for_function("typeof window.go === 'function'")
            yield tab, app, str(server.make_url("/v1/sessions?actor=second"))
            await browser.close()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or shutil.which("npm") is None, reason="no Chromium or no npm here")
async def test_whip_whep_publishes_and_views_from_another_site(tmp_path: Path) -> None:
    await packages(tmp_path, "whip-whep@1.2.0")
    async with elsewhere(tmp_path, WHIP_WHEP) as (tab, app, url):
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        session = await tab.evaluate(f"go({json.dumps(url)}, {json.dumps(TOKEN)})")
        assert session.startswith(url.partition("?")[0] + "/")
        try:
            seen = "video.videoWidth === 256 && video.getVideoPlaybackQuality().totalVideoFrames > 20"
            await tab.wait_for_function(seen, timeout=40_000)
        except Exception as error:
            raise AssertionError(said) from error
        (only,) = app[SESSIONS]
        assert only.hears
        assert only.report()["viewers"] == 1
        await tab.evaluate("whep.stop()")
        await tab.evaluate("whip.stop()")
        await until(lambda: not len(app[SESSIONS]))


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or shutil.which("npm") is None, reason="no Chromium or no npm here")
async def test_eyevinns_client_publishes_a_voice_from_another_site_and_says_goodbye(tmp_path: Path) -> None:
    await packages(tmp_path, "@eyevinn/whip-web-client@1.1.7", "events@3.3.0", "sdp-transform@2.15.0")
    async with elsewhere(tmp_path, EYEVINN) as (tab, app, url):
        asked: list[tuple[str, int]] = []
        tab.on("response", lambda response: asked.append((response.request.method, response.status)))
        session = await tab.evaluate(f"go({json.dumps(url)}, {json.dumps(TOKEN)})")
        assert session.startswith(url.partition("?")[0] + "/")
        await until(lambda: any(one.hears and one.report()["added_ms"] for one in app[SESSIONS]), words=lambda: str(asked))
        assert [one.actor for one in app[SESSIONS]] == ["second"]
        assert ("PATCH", 204) in asked  # it trickles
        await tab.evaluate("client.destroy()")
        await until(lambda: ("DELETE", 200) in asked, words=lambda: str(asked))
        assert not len(app[SESSIONS])
        assert {status for _, status in asked} <= {200, 201, 204}
