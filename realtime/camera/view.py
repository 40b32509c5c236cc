"""What a person sees in the terminal while the camera runs, and the key that pauses it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live as Screen
from rich.text import Text

from realtime.camera.stage import Call
from realtime.clock import Clock, WallClock

EVERY_S = 0.1
_METER = 20


def line(figures: dict[str, object]) -> Text:
    """The figures as a line."""
    level = float(str(figures["level"]))
    bar = round(min(1.0, level**0.5) * _METER)
    text = Text()
    text.append(f" {figures['state']:<10} ", style="bold green" if figures["state"] == "live" else "bold yellow")
    text.append("█" * bar, style="red" if level > 0.97 else "green")
    text.append("·" * (_METER - bar), style="dim")
    added = figures["added_ms"]
    text.append(f"  {figures['fps']:5.1f} fps  delay {'-' if added is None else f'{added:.0f}'} ms")
    text.append(f"  drift {figures['drift_in_ppm']:+d} / {figures['drift_out_ppm']:+d} ppm")
    text.append(f"  buffers {figures['depth_in_ms']:.0f} / {figures['depth_out_ms']:.0f} ms")
    text.append(f"  space: {'talk' if figures['push_to_talk'] else 'pause'}, Ctrl-C: end" if sys.stdin.isatty() else "", style="dim")
    return text


async def look(call: Call, quiet: bool) -> None:
    """Say that it runs, then how it goes, until cancelled."""
    clock: Clock = WallClock()
    while call.plan.camera and not call.stage.shown:
        await clock.sleep_until(clock.now() + 0.02)
    name = call.plan.camera.name if call.plan.camera else call.plan.to
    sys.stdout.write("\n".join([f"{call.plan.actor} is on {name}", *call.doors]) + "\n")
    sys.stdout.flush()
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        return
    with _keys(call), Screen(console=console, transient=True, auto_refresh=False) as screen:
        while True:
            screen.update(line(call.figures()), refresh=True)
            await clock.sleep_until(clock.now() + EVERY_S)


@contextlib.contextmanager
def _keys(call: Call) -> Iterator[None]:
    """Space pauses, where standard input is a terminal that can be asked for keys."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield
        return
    if not sys.stdin.isatty() or str(call.plan.speech) == "-":
        yield
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    loop = asyncio.get_running_loop()

    def read() -> None:
        if sys.stdin.read(1) == " ":
            call.toggle()

    tty.setcbreak(number)
    loop.add_reader(number, read)
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
