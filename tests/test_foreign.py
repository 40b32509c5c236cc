"""Clients that others wrote: Debian's simple-whip-client, and npm's whip-whep in Chromium, publishing from another site."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import async_playwright

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


PAGE = """<!doctype html><video id="video" autoplay muted playsinline></video><script type="module">
import { WHIPClient } from "/whip.js";
import { WHEPClient } from "/whep.js";
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


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or shutil.which("npm") is None, reason="no Chromium or no npm here")
async def test_whip_whep_publishes_and_views_from_another_site(tmp_path: Path) -> None:
    packing = await asyncio.create_subprocess_exec(
        "npm", "pack", "--silent", "whip-whep@1.2.0", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    packed = (await packing.communicate())[0].decode().strip()
    if packing.returncode:
        pytest.skip("npm cannot fetch whip-whep here")
    with tarfile.open(tmp_path / packed) as archive:
        archive.extractall(tmp_path, filter="data")

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    site = web.Application()
    site.router.add_get("/", page)
    site.router.add_static("/", tmp_path / "package")
    async with TestServer(site) as other:
        origin = str(other.make_url("/")).rstrip("/")
        options = Options(max_sessions=3, token=TOKEN, origins=(origin,))
        app = make_app(store=FakeStore(size=(256, 256)), pipeline=FakePipeline, options=options)
        async with TestServer(app) as server, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            tab = await (await browser.new_context(permissions=["microphone", "camera"])).new_page()
            said: list[str] = []
            tab.on("console", lambda message: said.append(message.text))
            await tab.goto(origin)
            await tab.wait_for_function("typeof window.go === 'function'")
            url = str(server.make_url("/v1/sessions?actor=second"))
            session = await tab.evaluate(f"go({json.dumps(url)}, {json.dumps(TOKEN)})")
            assert session.startswith(str(server.make_url("/v1/sessions/")))
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
            await browser.close()
