"""What the commands of `mytalk` share: settings, sentences on stderr, bars of progress. Sets up nothing, exits nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # loaded by the commands that need them
    from realtime.settings import Settings


def settings_of(given: dict[str, Any], **more: Any) -> Settings:
    """The settings, with what the command line gave: the group's options, and `more` of a command's own. Raises SettingsFault."""
    from realtime.settings import load

    return load({"home": given["home"], "store": given["store"], **more}, os.environ, given["config"])


def example(*lines: str) -> str:
    """The end of a help text: commands as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def tell(sentence: str) -> None:
    """A line on stderr."""
    click.echo(sentence, err=True)


def warn(sentence: str) -> None:
    """A line on stderr about what is not as it might be."""
    tell(f"warning: {sentence}")


@contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, where that is a terminal: pictures a second, times real time, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        """Pictures a second, and how many times real time that is."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed or 0.0
            return Text(f"{speed:5.1f} fps {speed / 25:4.1f}x")

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} pictures"),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def steps_bar(title: str, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, where that is a terminal: what is being done, and how much of it all is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
