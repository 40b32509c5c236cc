"""The command `mytalk`: thin. The only place that sets up logging or exits."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from engines.errors import Fault
from realtime.errors import EXIT_FAULT, EXIT_INTERRUPTED, OutputFault, SettingsFault, fault_of, sentences
from realtime.fleet import SHARED, begin_serving, drain, front
from realtime.logs import plain_lines
from realtime.machine import bench, build, devices, doctor, voices
from realtime.terminal import example, progress_bar, settings_of, tell, warn

if TYPE_CHECKING:  # numpy and all that follows are loaded by the commands that need them
    from engines.actor import Actor, Store
    from engines.motion.manner import Manner
    from engines.pipeline import Pipeline
    from realtime.settings import Settings
    from realtime.store import SharedStore

FILE = click.Path(path_type=Path)
BACKEND = click.option(
    "--backend", metavar="auto|cpu|cuda|tensorrt", help="What makes the pictures [default: auto, the quickest that can]."
)
VOICE_COMMAND = click.option("--voice-command", metavar="COMMAND", help="A voice of your own: reads text from stdin, writes WAV to stdout.")
MANNER = click.option("--manner", metavar="NAME|ACTOR|VIDEO", help="How things are said: calm, happy, ..., or as somebody does.")
STRENGTH = click.option("--strength", type=float, help="How much of that manner, 0 to 1 [default: 1].")
LIPS = click.option("--lips", metavar="VIDEO|PHOTO|ACTOR", help="Take the lips' and teeth's pixels from there.")
log = logging.getLogger(__name__)


def _store(settings: Settings) -> Store | SharedStore:
    if settings.store:
        from realtime.store import store_at

        return store_at(settings.store, settings.home, settings.store_cache)
    from engines.actor import Store

    return Store(settings.actors)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=example(
        "mytalk demo -o demo.mp4",
        "mytalk dub photo.jpg speech.wav -o out.mp4",
        'mytalk say presenter "Hello." -o hello.mp4',
        "mytalk serve",
    ),
)
@click.option("--home", type=FILE, help="Data folder (else MYTALK_HOME, else the user's own).")
@click.option("--store", metavar="FOLDER|URL", help="Actors that machines share: a folder, or s3://BUCKET/FOLDER and the like.")
@click.option("--config", type=FILE, help="Settings file (else ./mytalk.toml).")
@click.option("--debug", is_flag=True, help="Log more; show tracebacks.")
@click.version_option(package_name="mytalk-live", prog_name="mytalk", message="%(prog)s %(version)s")
@click.pass_context
def mytalk(context: click.Context, home: Path | None, store: str | None, config: Path | None, debug: bool) -> None:
    """Speech comes in; a face comes out whose lips say it: into a file, or live.

    Only for faces and voices of people who agreed to it: see docs/consent.md.
    """
    context.obj = {"home": home, "store": store, "config": config, "debug": debug}
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[plain_lines()])


@mytalk.group(epilog=example("mytalk actor add anna anna.mp4", "mytalk actor list"))
def actor() -> None:
    """Add, list, show and remove actors: people that can talk."""


@actor.command(epilog=example("mytalk actor add anna anna.mp4", "mytalk actor add bob photo.jpg --still"))
@click.argument("name")
@click.argument("source", type=FILE, metavar="VIDEO|PHOTO")
@click.option("--face", type=click.IntRange(min=1), help="Which face, by size, where there are several.")
@click.option("--still", is_flag=True, help="A photo stays still but for its mouth: no sway, no blinks.")
@LIPS
@click.pass_obj
def add(given: dict[str, Any], name: str, source: Path, face: int | None, still: bool, lips: str | None) -> None:
    """Enrol the person of a video or photo as NAME."""
    store = _store(settings_of(given))
    if name in store.names() or store.folder(name).exists():
        from engines.errors import ActorFault

        raise ActorFault(f"There is an actor called {name!r} already.", f"Choose another name, or: mytalk actor remove {name}")
    with _enrolled(source, face, still=still, name=name) as someone, _giver(lips, store) as giver:
        from engines.portrait import preview

        made = _lent(someone, giver)
        store.add(made, preview(made))
        words = f"{len(made.frames)} frames of {made.size[0]}x{made.size[1]}, references: {len(made.references.frame)}"
    click.echo(f"{name} is enrolled: {words}.")


@actor.command("list", epilog=example("mytalk actor list"))
@click.pass_obj
def list_(given: dict[str, Any]) -> None:
    """List all actors."""
    for name in _store(settings_of(given)).names():
        click.echo(name)


@actor.command(epilog=example("mytalk actor show anna -o anna.png"))
@click.argument("name")
@click.option("-o", "--output", type=FILE, help="Picture to write; NAME.png in this folder if not given.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.pass_obj
def show(given: dict[str, Any], name: str, output: Path | None, overwrite: bool) -> None:
    """Tell what an actor can do, what had to be guessed, and what to film for better; and write a picture of it."""
    store = _store(settings_of(given))
    store.find(name)
    out = output or Path(f"{name}.png")
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise OutputFault(f"{out.name} is not a name for a picture.", "Let it end in .png, .jpg or .webp.")
    if out.exists() and not overwrite:
        raise OutputFault(f"{out} exists already.", "Choose another name with -o, or say --overwrite.")
    from engines.portrait import describe, sheet

    shown = store.load(name)
    _write(out, _encoded(sheet(shown), out.suffix))
    size = f"{shown.size[0]}x{shown.size[1]}"
    click.echo(f"{name}: {len(shown.frames) / 25:.1f} s of {size}, from {shown.source or 'a file'}; see {out}")
    for sentence in describe(shown):
        click.echo(sentence)


@actor.command(epilog=example("mytalk actor remove anna"))
@click.argument("name")
@click.pass_obj
def remove(given: dict[str, Any], name: str) -> None:
    """Remove an actor and its files."""
    _store(settings_of(given)).remove(name)
    click.echo(f"{name} is removed.")


@dataclass(frozen=True)
class _Wishes:
    """What `dub` and `say` are told beside who says what."""

    output: Path
    start: float
    fps: float
    face: int | None
    still: bool
    lips: str | None
    seed: int
    overwrite: bool
    quiet: bool


def _dubbing(command: Callable[..., None]) -> Callable[..., None]:
    """The options of `dub` and `say`."""
    for option in reversed((
        click.option("-o", "--output", type=FILE, required=True, help="Video to write: .mp4, .m4v, .mov or .mkv."),
        click.option("--start", type=float, default=0.0, metavar="SECONDS", help="Where in the actor's own video to begin."),
        click.option("--fps", type=float, default=25.0, show_default=True, help="Pictures a second of the output."),
        click.option("--crf", type=int, help="Quality, 0 (largest) to 51 [default: 16]."),
        click.option("--face", type=click.IntRange(min=1), help="Which face of a video or photo, by size."),
        click.option("--still", is_flag=True, help="A photo stays still but for its mouth: no sway, no blinks."),
        click.option("--expressiveness", type=float, help="How far the mouth moves, 0 to 2 [default: 1, as the actor does]."),
        MANNER,
        STRENGTH,
        LIPS,
        click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same lips."),
        BACKEND,
        click.option("--overwrite", is_flag=True, help="Replace the output if it exists."),
        click.option("-q", "--quiet", is_flag=True, help="No progress bar."),
    )):  # fmt: skip
        command = option(command)
    return command


@mytalk.command(epilog=example("mytalk dub presenter speech.wav -o out.mp4", "mytalk dub photo.jpg speech.wav -o out.mp4 --still"))
@click.argument("who", metavar="ACTOR|VIDEO|PHOTO")
@click.argument("speech", type=FILE)
@_dubbing
@click.pass_obj
def dub(
    given: dict[str, Any], /, who: str, speech: Path, crf: int | None, expressiveness: float | None, manner: str | None,
    strength: float | None, backend: str | None, **wishes: Any,
) -> None:  # fmt: skip
    """Make an actor, or the person of a video or photo, say SPEECH: any file with sound."""
    settings = settings_of(given, crf=crf, expressiveness=expressiveness, manner=manner, strength=strength, backend=backend)
    wished = _Wishes(**wishes)
    _check(who, settings, wished, speech)
    _must_have_sound(speech)
    _dub_whom(who, speech, settings, wished)


@mytalk.command(epilog=example('mytalk say presenter "Hello there." -o hello.mp4', "mytalk say anna.mp4 - -o out.mp4 < text.txt"))
@click.argument("who", metavar="ACTOR|VIDEO|PHOTO")
@click.argument("text")
@click.option("--voice", help="Who says it: see mytalk voices [default: the first of them].")
@click.option("--speed", type=float, default=1.0, show_default=True, help="How fast, 0.5 to 2; a command of yours has its own.")
@VOICE_COMMAND
@_dubbing
@click.pass_obj
def say(
    given: dict[str, Any], /, who: str, text: str, voice: str | None, speed: float, voice_command: str | None, crf: int | None,
    expressiveness: float | None, manner: str | None, strength: float | None, backend: str | None, **wishes: Any,
) -> None:  # fmt: skip
    """Make an actor, or the person of a video or photo, say TEXT with a voice of this machine; - reads it from stdin."""
    settings = settings_of(
        given, voice=voice, voice_command=voice_command, crf=crf, expressiveness=expressiveness, manner=manner, strength=strength,
        backend=backend,
    )  # fmt: skip
    from realtime.voices import check_command, checked, choose, found, write

    wished = _Wishes(**wishes)
    _check(who, settings, wished)
    check_command(settings.voice_command)
    chosen = choose(settings.voice, found(settings.voice_command))
    words = sys.stdin.read() if text == "-" else text
    checked(words, speed)
    with tempfile.TemporaryDirectory(prefix="mytalk-") as folder:
        speech = Path(folder) / "speech.wav"
        write(speech, words, chosen, speed, settings.voice_command)
        _dub_whom(who, speech, settings, wished)


def _check(who: str, settings: Settings, wished: _Wishes, *inputs: Path) -> None:
    """Refuse what cannot be done before anything else is."""
    from realtime.dub import check_options, check_output

    check_options(wished.fps, settings.crf)
    source = Path(who)
    is_file = source.is_file()
    check_output(wished.output, (source, *inputs) if is_file else inputs, overwrite=wished.overwrite)
    if is_file:
        return
    _must_be_a_name(source)
    if wished.face is not None:
        raise SettingsFault("--face is for videos and photos: an actor has one face.", "Leave it out.")
    if wished.still:
        raise SettingsFault("--still is for photos: an actor is as it was enrolled.", "Leave it out, or: mytalk actor add --still")
    _store(settings).find(who)


def _dub_whom(who: str, speech: Path, settings: Settings, wished: _Wishes) -> None:
    pipeline, store = _pipeline(settings, wished.quiet), _store(settings)
    options: dict[str, Any] = {name: getattr(wished, name) for name in ("start", "fps", "seed", "overwrite")}
    with ExitStack() as stack:
        if Path(who).is_file():
            someone = stack.enter_context(_enrolled(Path(who), wished.face, wished.quiet, wished.still))
        else:
            someone = store.load(who)
        giver = stack.enter_context(_giver(wished.lips, store, wished.quiet))
        _dub(_lent(someone, giver), speech, wished.output, wished.quiet, settings, pipeline=pipeline, **options)


@mytalk.command(epilog=example("mytalk demo -o demo.mp4"))
@click.option("-o", "--output", type=FILE, default=Path("demo.mp4"), show_default=True, help="Video to write.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.pass_obj
def demo(given: dict[str, Any], output: Path, overwrite: bool, quiet: bool) -> None:
    """Write a video of the drawn presenter saying the shipped speech."""
    settings = settings_of(given)
    from realtime.demo import shipped_speech
    from realtime.dub import check_output

    check_output(output, (), overwrite=overwrite)
    pipeline = _pipeline(settings)
    with shipped_speech() as speech:
        _dub(_store(settings).load(settings.actor), speech, output, quiet, settings, overwrite=overwrite, pipeline=pipeline)


@mytalk.command(epilog=example("mytalk serve", "MYTALK_TOKEN=$(openssl rand -hex 24) mytalk serve --host 0.0.0.0"))
@click.option("--voice", help="Who says text where nobody is named: see mytalk voices.")
@VOICE_COMMAND
@SHARED
@click.option("--sessions", type=int, help="Sessions at a time [default: as many as were measured to fit].")
@click.option("--loops", type=int, help="Event loops, each a process, that peers are spread over [default: as many as are needed].")
@click.option("--largest", type=int, help="Pixels of the longest side of live pictures; larger actors are scaled [default: 1280].")
@click.option("--label", is_flag=False, flag_value="AI-generated", metavar="[TEXT]", help="Lay a small text upon live pictures.")
@click.option("--idle", type=float, help="Seconds of silence after which a session ends [default: 1800].")
@click.option("--limit", type=float, help="Seconds after which any session ends [default: 14400].")
@click.option("--name", help="What this machine is called among several [default: a name that is drawn at each start].")
@click.option("--drain", type=float, help="When told to end, take nobody and wait for so many seconds for the last session [default: 0].")
@click.option("--expressiveness", type=float, help="How far mouths move, 0 to 2 [default: 1, as the actor does].")
@MANNER
@STRENGTH
@BACKEND
@click.pass_obj
def serve(given: dict[str, Any], /, json_logs: bool, **options: Any) -> None:
    """Serve talking actors over WebRTC, with a page to try them."""
    settings = settings_of(given, **options)
    begin_serving(json_logs)
    from realtime.voices import check_command, choose, found

    check_command(settings.voice_command)
    if settings.voice:
        choose(settings.voice, found(settings.voice_command))
    pipeline = _pipeline(settings)
    from realtime.server.app import serve as run
    from realtime.server.options import options_of

    run(store=_store(settings), options=options_of(settings), port=settings.port, pipeline=pipeline)


@mytalk.command(epilog=example("mytalk camera --actor anna", "mytalk camera --speech talk.wav --camera out.y4m"))
@click.option("--actor", help="Who is shown [default: presenter].")
@click.option("--microphone", metavar="NAME|NUMBER|default", help="What is heard.")
@click.option("--output", metavar="NAME|NUMBER|default|none", help="Where the voice goes: a virtual cable, or headphones.")
@click.option("--camera", metavar="NAME|FILE.y4m", help="The virtual camera, or a file that Chromium takes for one.")
@click.option(
    "--speech", default="", metavar="FILE|-|ws://127.0.0.1:PORT", help="In place of the microphone: a file, raw samples, a websocket."
)
@click.option("--rate", type=int, default=16_000, show_default=True, help="Hz of raw samples (16-bit, mono).")
@click.option(
    "--to", default="", metavar="FILE|URL", help="Also send all of it there: .mp4, .mkv, rtmp://, srt://, udp://, https:// (WHIP)."
)
@click.option("--to-secret", default="", envvar="MYTALK_TO_SECRET", help="What a WHIP address asks for; better given as MYTALK_TO_SECRET.")
@click.option(
    "--preview", type=click.IntRange(0, 65535), is_flag=False, flag_value=0, metavar="[PORT]", help="Show it on a page for this machine."
)
@click.option("--push-to-talk", is_flag=True, help="Hear nothing but while space is held on the preview's page.")
@click.option("--expressiveness", type=float, help="How far the mouth moves, 0 to 2 [default: 1, as the actor does].")
@MANNER
@STRENGTH
@BACKEND
@click.option("-q", "--quiet", is_flag=True, help="No view.")
@click.pass_obj
def camera(
    given: dict[str, Any], actor: str | None, microphone: str | None, output: str | None, camera: str | None, speech: str, rate: int,
    to: str, to_secret: str, preview: int | None, push_to_talk: bool, expressiveness: float | None, manner: str | None,
    strength: float | None, backend: str | None, quiet: bool,
) -> None:  # fmt: skip
    """Be the actor in any video call: a microphone in; a camera, and the voice in step with it, out."""
    settings = settings_of(given, actor=actor, expressiveness=expressiveness, manner=manner, strength=strength, backend=backend)
    pipeline = _pipeline(settings, quiet)
    from realtime.camera.choice import Wishes, plan_of
    from realtime.camera.run import run
    from realtime.camera.view import look
    from realtime.server.options import options_of

    store = _store(settings)
    store.find(settings.actor)
    if speech and speech != "-" and "://" not in speech:
        _must_have_sound(Path(speech))
    if push_to_talk:
        if speech:
            raise SettingsFault("--push-to-talk is for microphones.", "Leave it or --speech out.")
        preview = preview or 0
    plan = plan_of(
        Wishes(microphone, output, camera), settings.home, actor=settings.actor, speech=speech, rate=rate,
        to=to, secret=to_secret, preview=preview, push=push_to_talk, manner=options_of(settings).begun,
    )  # fmt: skip
    run(plan, store=store, pipeline=pipeline, view=partial(look, quiet=quiet))


for command in (devices, voices, bench, build, doctor, front, drain):
    mytalk.add_command(command)


def _must_have_sound(path: Path) -> None:
    """Refuse a file without sound before anything else is done."""
    from realtime.errors import MediaFault
    from realtime.media import probe

    if not probe(path).sound:
        raise MediaFault(f"{path.name} has no sound.", "Give a recording of speech.")


def _pipeline(settings: Settings, quiet: bool = False) -> Callable[[], Pipeline]:
    """What makes the engines, on the backend that is chosen. Raises BackendFault where one was asked for that cannot be had.

    Raises MannerFault, and what enrolment raises, where there is no such manner.
    """
    from engines.backends.choice import choose
    from engines.backends.found import Found, look

    found = Found() if settings.backend == "cpu" else look()
    choice = choose(settings.backend, found)
    # Who has a card is told without asking why it lies idle.
    log.log(logging.WARNING if choice.reason and found.cards else logging.INFO, "%s", choice)
    from engines.pipeline import Pipeline

    manner = _manner(settings, quiet) if settings.manner else None
    return partial(Pipeline, expressiveness=settings.expressiveness, backend=choice.backend, manner=manner, strength=settings.strength)


def _manner(settings: Settings, quiet: bool) -> Manner | None:
    """How things are said: by its name, or as somebody does in a video."""
    from engines.motion.manner import manner_of
    from realtime.manners import manner_called

    source = Path(settings.manner)
    if source.is_file():
        with _enrolled(source, None, quiet, still=True) as someone:
            return manner_of(someone)
    _must_be_a_name(source)
    return manner_called(settings.manner, _store(settings))


def _dub(
    who: Actor, speech: Path, output: Path, quiet: bool, settings: Settings, *, pipeline: Callable[[], Pipeline], **options: Any
) -> None:
    from realtime.dub import dub

    made = pipeline()
    with progress_bar(f"{who.name} speaks", quiet) as progress:
        report = dub(who, speech, output, pipeline=made, crf=settings.crf, warn=warn, progress=progress, **options)
    if not quiet:
        click.echo(f"{output}: {report.pictures} pictures, {report.seconds:.2f} s of speech.")


@contextmanager
def _enrolled(source: Path, face: int | None, quiet: bool = False, still: bool = False, name: str | None = None) -> Iterator[Actor]:
    from realtime.dub import enrolled

    with ExitStack() as stack:
        with progress_bar(f"looking at {source.name}", quiet) as progress:
            seen = enrolled(source, name=name, face_number=face, still=still, warn=warn, progress=lambda done: progress(done, None))
            someone = stack.enter_context(seen)
        yield someone


@contextmanager
def _giver(source: str | None, store: Store | SharedStore, quiet: bool = False) -> Iterator[Actor | None]:
    """Whose lips are asked for, if anybody's: of a file, or an actor."""
    if source is None:
        yield None
    elif Path(source).is_file():
        with _enrolled(Path(source), None, quiet, still=True) as someone:
            yield someone
    else:
        _must_be_a_name(Path(source))
        yield store.load(source)


def _lent(actor: Actor, giver: Actor | None) -> Actor:
    """The actor with the giver's lips."""
    if giver is None:
        return actor
    from engines.appearance.lips import with_lips

    return with_lips(actor, giver)


def _must_be_a_name(source: Path) -> None:
    """Refuse what looks like a file's name, where there is no such file, before it is taken for an actor's."""
    if (source.suffix and len(source.suffix) < 6) or len(source.parts) > 1:
        raise FileNotFoundError(2, "", str(source))


def _encoded(picture: Any, suffix: str) -> bytes:
    """An RGB picture as the bytes of a file."""
    import cv2

    return bytes(cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])


def _write(path: Path, data: bytes) -> None:
    """Write a file beside its name, then rename it."""
    building = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        building.write_bytes(data)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def _stop(number: int, frame: object) -> NoReturn:
    """A polite kill cleans up as Ctrl-C does."""
    sys.exit(128 + number)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command. Faults end in one sentence, a hint and exit code 2; bugs in a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        mytalk.main(arguments, prog_name="mytalk", standalone_mode=False)
    except Fault as fault:
        _leave(fault)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        mended = fault_of(error)
        if mended is None:
            raise
        _leave(mended)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted: nothing is left behind.")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def _leave(fault: Fault) -> NoReturn:
    log.debug("fault", exc_info=True)
    tell(sentences(fault))
    sys.exit(EXIT_FAULT)
