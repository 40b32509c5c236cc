"""A call over a wire that loses packets: the page in a real Chromium, a relay on loopback between it and the server, both ways.

Each round connects anew and lasts a minute, with the browser's made-up microphone on. A freeze lasts from one picture's
expected display time to the next. A round has recovered if pictures still come in its last second, in the call that it began.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from benchmarks.browser import FLAGS, FREEZES, Lossy

ROUND_S = 60.0
WATCH = """
() => {
  window.shown = [];
  window.begun = session;
  const look = (now, frame) => {
    video.requestVideoFrameCallback(look);
    shown.push(frame.expectedDisplayTime || now);
  };
  video.requestVideoFrameCallback(look);
}
"""


async def lossy(server: Any, client: object, times: int, share: float, chromium: str) -> dict[str, Any]:
    """So many rounds with a `Server` of `benchmarks.endurance`."""
    return await asyncio.to_thread(rounds, server.url, times, share, chromium)


def rounds(url: str, times: int, share: float, chromium: str, seconds: float = ROUND_S) -> dict[str, Any]:
    """So many rounds with the server at an address."""
    relay = Lossy(share)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        seen = [one_round(browser, url, relay, seconds) for _ in range(times)]
        browser.close()
    return {
        "rounds": times,
        "lost": round(relay.lost / max(1, relay.lost + relay.passed), 3),
        "fps": round(float(np.mean([one["fps"] for one in seen])), 2),
        "longest_freeze_ms": max(one["longest"] for one in seen),
        "freezes": sum(one["freezes"] for one in seen),
        "recovered": sum(one["recovered"] for one in seen),
    }


def one_round(browser: Browser, url: str, relay: Lossy, seconds: float) -> dict[str, Any]:
    """Connect, watch, leave."""
    page = browser.new_context(bypass_csp=True, permissions=["microphone"]).new_page()
    page.route("**/v1/sessions*", relay.answer)
    page.goto(url)
    page.click("#power")
    page.wait_for_function("session && session.marks.shown")
    page.click("#microphone")
    page.evaluate(WATCH)
    page.wait_for_timeout(seconds * 1000)
    now, shown, same = page.evaluate("[performance.now(), shown, session === begun]")
    freezes = page.evaluate(FREEZES)
    page.click("#power")  # the session is gone before the next begins
    page.wait_for_timeout(500)
    page.context.close()
    gaps = np.diff([*shown, now])
    return {
        "fps": (len(shown) - 1) / (shown[-1] - shown[0]) * 1000,
        "longest": round(float(gaps.max()), 1),
        "freezes": freezes,
        "recovered": bool(same and now - shown[-1] < 1000),
    }
