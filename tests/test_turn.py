"""Calls that only a TURN server can carry: coturn, on this machine, between an aiortc peer or a Chromium and the server."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioice.ice import get_host_addresses
from aiortc import RTCConfiguration, RTCIceTransportPolicy, RTCPeerConnection
from playwright.async_api import async_playwright

from realtime.server.options import ice_servers
from tests.peers import Peer, serving
from tests.test_live_browser import CHROMIUM, FLAGS

TURNSERVER = shutil.which("turnserver")
RELAY_ONLY = """
const Plain = RTCPeerConnection;
window.RTCPeerConnection = class extends Plain {
  constructor(configuration) { super({ ...configuration, iceTransportPolicy: "relay" }); }
};
"""
PATH = """
async () => {
  const stats = [...(await session.connection.getStats()).values()];
  const pair = stats.find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded");
  return pair && stats.find((one) => one.id === pair.localCandidateId)?.candidateType;
}
"""
pytestmark = pytest.mark.skipif(TURNSERVER is None, reason="no coturn here")


@pytest.fixture
async def turn(tmp_path: Path) -> AsyncIterator[str]:
    """A TURN server of our own, as --ice names it."""
    host = get_host_addresses(use_ipv4=True, use_ipv6=False)[0]
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    command = [
        str(TURNSERVER), "-n", f"--listening-ip={host}", f"--relay-ip={host}", f"--listening-port={port}", "--lt-cred-mech",
        "--user=me:secret", "--realm=test", "--no-tls", "--no-dtls", "--no-cli", "--relay-threads=1", f"--pidfile={tmp_path / 'pid'}",
        f"--userdb={tmp_path / 'users'}", "--log-file=stdout", "--simple-log",
    ]  # fmt: skip
    server = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                assert server.returncode is None, "coturn ended"
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
        yield f"turn:me:secret@{host}:{port}"
    finally:
        server.terminate()
        await server.wait()


async def test_a_peer_and_the_server_meet_at_a_relay_where_nothing_else_is_open(turn: str) -> None:
    ice = ice_servers(turn)
    policy = RTCConfiguration(iceServers=list(ice), iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    async with serving(ice=ice) as client:
        hidden = re.compile(r"a=candidate:.* typ host.*\r\n")
        async with Peer(client, connection=RTCPeerConnection(policy), taken=lambda answer: hidden.sub("", answer)) as peer:
            for description in (peer.connection.localDescription.sdp, peer.connection.remoteDescription.sdp):
                assert "typ relay" in description
                assert "typ host" not in description
            await peer.until(lambda: len(peer.pictures) > 20 and len(peer.sounds) > 20)
            assert (await client.delete(peer.url)).status == 200


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_the_page_learns_of_the_relay_and_needs_nothing_else(turn: str) -> None:
    async with serving(ice=ice_servers(turn)) as client, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await (await browser.new_context(bypass_csp=True)).new_page()
        await page.add_init_script(RELAY_ONLY)
        await page.goto(str(client.make_url("/")))
        await page.click("#power")
        await page.wait_for_function("session && video.getVideoPlaybackQuality().totalVideoFrames > 20", timeout=60_000)
        while (path := await page.evaluate(PATH)) is None:  # no pair is nominated yet, or for a moment
            await page.wait_for_timeout(100)
        assert path == "relay"
        await browser.close()
