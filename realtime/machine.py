"""Commands of `mytalk` about the machine: what it has, what it lacks, what is made ready for its card, how fast it is."""

from __future__ import annotations

import re
import sys
from itertools import product
from typing import Any

import click

from engines.errors import BackendFault, Fault
from realtime.errors import SettingsFault
from realtime.terminal import example, settings_of, steps_bar, tell, warn


@click.command(epilog=example("mytalk devices"))
def devices() -> None:
    """List microphones, outputs and cameras, with the names and numbers that `mytalk camera` takes."""
    from realtime.camera.devices import cameras, microphones, no_camera, outputs

    for title, found in (("Microphones", microphones()), ("Outputs", outputs())):
        click.echo(f"{title}:")
        for number, device in enumerate(found, 1):
            click.echo(f"{'*' if device.default else ' '}{number:3}  {device.name}" + (f"  ({device.about})" if device.about else ""))
        if not found:
            click.echo("     none")
    click.echo("Cameras:")
    for name in cameras():
        click.echo(f"      {name}")
    click.echo("      FILE.y4m  (a file that Chromium takes for a camera)")
    if not cameras():
        tell(f"hint: {no_camera().hint}")


@click.command(epilog=example("mytalk voices"))
@click.pass_obj
def voices(given: dict[str, Any]) -> None:
    """List the voices that can say text on this machine, the default first."""
    settings = settings_of(given)
    from realtime.voices import NONE_HERE, check_command, found

    check_command(settings.voice_command)
    here = found(settings.voice_command)
    if not here:
        raise NONE_HERE
    for voice in here:
        click.echo(f"{voice.name:18} {voice.language:10} {voice.about}")


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    epilog=example("mytalk bench latency", "mytalk bench camera --help"),
)
@click.argument("which", metavar="latency|camera|endurance|speed|voice|memory|attack|admission|plugins")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
@click.pass_context
def bench(context: click.Context, which: str, rest: tuple[str, ...]) -> None:
    """Measure: latency in a real browser, the camera, endurance of a server, speed, the voice, memory, attacks.

    Benchmarks come with the source; what each takes says its own --help.
    """
    if which in ("-h", "--help"):
        click.echo(context.get_help())
        return
    import importlib.util
    import runpy

    module = f"benchmarks.{which}"
    if importlib.util.find_spec("benchmarks") is None or importlib.util.find_spec(module) is None:
        raise SettingsFault(f"There is no benchmark {which!r} here.", "Benchmarks come with the source: see its folder benchmarks.")
    sys.argv = [f"mytalk bench {which}", *rest]
    try:
        runpy.run_module(module, run_name="__main__")
    except ModuleNotFoundError as error:
        raise SettingsFault(f"This benchmark needs {error.name}, which is not installed.", "In the source: make install") from error


@click.command(epilog=example("mytalk build", "mytalk build --arch sm_89"))
@click.option("--arch", "architectures", multiple=True, metavar="sm_NN", help="For cards of this architecture; may be given several times.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def build(architectures: tuple[str, ...], quiet: bool) -> None:
    """Make nets and kernels ready for a card ahead of time: for the one that is here, or for any other's architecture.

    What is built lies in the cache folder; what is there already, for the same versions, is left as it is.
    """
    from engines.backends.found import look

    cards = look().cards
    wanted = architectures or tuple(dict.fromkeys(card.architecture for card in cards))
    if not wanted:
        raise BackendFault("There is no card here to build for.", "Name an architecture: mytalk build --arch sm_89; see: mytalk doctor")
    for name in wanted:
        if not re.fullmatch(r"sm_\d{2,3}", name):
            raise SettingsFault(f"{name!r} is not an architecture.", "They are called sm_75, sm_86, sm_89, sm_120 and so on.")
    from engines.backends.ahead import nets
    from engines.backends.plans import builder, plan

    builders, said = [builder(name, cards) for name in wanted], []
    with steps_bar("reading the nets", quiet) as step:
        todo = [(by, name, net) for by, (name, net) in product(builders, list(nets()))]
        for at, (by, name, net) in enumerate(todo):
            step(f"{name} for {by.architecture}", at, len(todo))
            made = plan(name, net, by)
            how = "built" if made.built else "was there"
            said.append(f"{made.place}: {name} for {by.card or by.architecture}, {how}, {len(made.data) / 1e6:.1f} MB")
    for line in said:
        click.echo(line)
    for name in wanted:
        _compile(name)


def _compile(architecture: str) -> None:
    from native.cuda.compile import OPERATORS, CompileError, cubin
    from native.kept import cache_folder

    try:
        for operator in OPERATORS:
            cubin(operator, architecture)
        click.echo(f"{cache_folder('kernels')}: kernels for {architecture}")
    except CompileError as error:
        warn(f"the kernels are not compiled: {str(error).strip().splitlines()[0]}.")


@click.command(epilog=example("mytalk doctor"))
@click.pass_obj
def doctor(given: dict[str, Any]) -> None:
    """Say what was found on this machine and what is missing, with the command that mends it."""
    settings = settings_of(given)
    from rich.console import Console

    from engines.backends.found import look
    from realtime.doctor import examine, lines

    with Console(stderr=True).status("looking"):
        findings = list(examine(settings, look()))
    console = Console(highlight=False)
    for line in lines(findings):
        console.print(line, soft_wrap=True)
    broken = [finding for finding in findings if finding.state == "broken"]
    if broken:
        raise Fault(f"What mytalk needs is not all here: {', '.join(finding.name for finding in broken)}.", broken[0].mend)
