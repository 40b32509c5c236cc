"""Voices of this machine: the natural one, espeak-ng's, or a command of the user's. Text in, sound out; nothing leaves the machine."""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engines.errors import Fault
from engines.voice.pieces import Piece, pieces
from realtime.media import Sound, read_speech
from realtime.timeline import Float

if TYPE_CHECKING:  # the net is loaded by the first word
    from engines.voice.kokoro import Kokoro

RATE = 24_000
"""Hz of what voices give, mono."""
LONGEST = 5000
"""Characters of a text, at most."""
SLOWEST, FASTEST = 0.5, 2.0
"""Times the usual speed."""
WITHIN_S = 60.0
"""A command that has not ended after so many seconds is given up."""
MOST_BYTES = 64 << 20
COMMAND, ESPEAK = "command", "espeak"
_KNOWN = {  # natural voices by the names that they have here: the first is the default
    "heart": ("af_heart", "American English, a woman, warm"),
    "bella": ("af_bella", "American English, a woman, lively"),
    "sarah": ("af_sarah", "American English, a woman, calm"),
    "nicole": ("af_nicole", "American English, a woman, whispering"),
    "michael": ("am_michael", "American English, a man"),
    "fenrir": ("am_fenrir", "American English, a man, deep"),
    "puck": ("am_puck", "American English, a man, bright"),
    "dora": ("ef_dora", "Spanish, a woman"),
    "alex": ("em_alex", "Spanish, a man"),
    "siwis": ("ff_siwis", "French, a woman"),
    "sara": ("if_sara", "Italian, a woman"),
    "nicola": ("im_nicola", "Italian, a man"),
    "dora-br": ("pf_dora", "Brazilian Portuguese, a woman"),
    "alex-br": ("pm_alex", "Brazilian Portuguese, a man"),
}


class VoiceFault(Fault):
    """A voice that this machine has not, or a text that it cannot say."""

    code = "voice"
    status = 422


class NoVoice(VoiceFault):
    """There is no voice here at all."""

    code = "no-voice"
    status = 501


NONE_HERE = NoVoice(
    "This machine has no voice.", "pip install 'mytalk-live[voice]', or apt-get install espeak-ng, or name a command: --voice-command."
)


@dataclass(frozen=True)
class Voice:
    """A voice by its name, with the language that it speaks."""

    name: str
    language: str
    about: str
    kind: str
    """"natural", "espeak" or "command"."""


def found(command: str = "") -> list[Voice]:
    """All voices of this machine, the default first: the user's command where one is given, else natural ones, else espeak-ng's."""
    voices = [Voice(COMMAND, "any", "what the command says", COMMAND)] if command else []
    espeak = shutil.which("espeak-ng")
    from engines.voice import kokoro

    if not kokoro.lacking():
        for name, (style, about) in _KNOWN.items():
            language = kokoro.LANGUAGES[style[0]]
            if language == "en-us" or espeak:  # which has the phones of other languages
                voices.append(Voice(name, language, about, "natural"))
    if espeak:
        voices += [Voice(f"{ESPEAK}:{code}", code, f"{language}, espeak-ng", ESPEAK) for code, language in _espeak_languages(espeak)]
    return voices


def check_command(command: str) -> None:
    """Raise VoiceFault where a command of the user's cannot be one."""
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise VoiceFault("The voice's command has a quote that is not closed.", "Write it as in a terminal, in quotes.") from error
    if parts and shutil.which(parts[0]) is None:
        raise VoiceFault(f"There is no program {parts[0]!r} for the voice's command.", "Check --voice-command, and try it in a terminal.")


def choose(name: str, voices: list[Voice]) -> Voice:
    """The voice of this name, or the first of this kind or language; without one the default.

    Raises NoVoice where there is none at all, VoiceFault for an unknown one.
    """
    if not voices:
        raise NONE_HERE
    fits = [voice for voice in voices if name in ("", voice.name, voice.language, voice.kind)]
    chosen = next((voice for voice in fits if voice.name == name), fits[0] if fits else None)
    if chosen is None:
        near = difflib.get_close_matches(name, [voice.name for voice in voices], 3)
        raise VoiceFault(f"There is no voice {name!r} here.", f"Did you mean {', '.join(near)}?" if near else "mytalk voices lists them.")
    return chosen


def checked(text: str, speed: float = 1.0) -> list[Piece]:
    """The text in pieces. Raises VoiceFault where nothing can be said, or too much."""
    if len(text) > LONGEST:
        raise VoiceFault(f"The text is longer than {LONGEST} characters.", "Say it in parts.")
    if not SLOWEST <= speed <= FASTEST:
        raise VoiceFault(f"A speed of {speed:g} does not exist.", f"Choose one from {SLOWEST:g} to {FASTEST:g}; 1 is usual.")
    cut = pieces(text)
    if not cut:
        raise VoiceFault("There is nothing to say.", "Write some words.")
    return cut


class Speaker:
    """What says pieces of text. The natural voice's net is loaded when it is first needed. Not to be shared between threads."""

    def __init__(self, command: str = "", threads: int | None = None) -> None:
        self._command = command
        self._threads = threads or max(1, min(4, len(os.sched_getaffinity(0))))
        self._kokoro: Kokoro | None = None

    def warm(self, voice: Voice) -> None:
        """Load what a voice needs, so that its first word comes sooner."""
        if voice.kind == "natural":
            self.say("Hello.", voice)

    def say(self, text: str, voice: Voice, speed: float = 1.0) -> Float:
        """A piece of text as sound (n,) at `RATE`, without silence around it where the voice is natural.

        Raises VoiceFault and WeightsFault.
        """
        if voice.kind == COMMAND:
            return _said(shlex.split(self._command), text)
        if voice.kind == ESPEAK:
            return _said(["espeak-ng", "--stdout", "-v", voice.language, "-s", str(round(165 * speed))], text)
        return self._natural(text, voice, speed)

    def speak(self, text: str, voice: Voice, speed: float = 1.0) -> Iterator[Float]:
        """A text as blocks of sound at `RATE`, piece by piece, with its pauses. Raises VoiceFault and WeightsFault."""
        for piece in checked(text, speed):
            yield self.say(piece.text, voice, speed)
            yield np.zeros(int(piece.pause * RATE / speed), np.float32)

    def _natural(self, text: str, voice: Voice, speed: float) -> Float:
        from engines.voice import kokoro, other

        if self._kokoro is None:
            from engines.voice.english import English

            self._kokoro, self._english = kokoro.Kokoro(self._threads), English()
        phones = self._english.phones(text) if voice.language == "en-us" else other.phones(text, voice.language, _ipa)
        return self._kokoro.say(phones, _KNOWN[voice.name][0], speed)


def write(path: Path, text: str, voice: Voice, speed: float = 1.0, command: str = "") -> None:
    """Write a text as a WAV file: 16 bits, mono, `RATE`. Raises VoiceFault and WeightsFault."""
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        for sound in Speaker(command).speak(text, voice, speed):
            out.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


def _said(command: list[str], text: str) -> Sound:
    """What a command that reads text and writes WAV makes of a text."""
    with tempfile.NamedTemporaryFile(prefix="mytalk-", suffix=".wav") as out:
        try:
            done = subprocess.run(
                command, input=text.encode(), stdout=out, stderr=subprocess.PIPE, timeout=WITHIN_S, check=False, start_new_session=True
            )
        except (OSError, ValueError) as error:
            name = command[0] if command else ""
            raise VoiceFault(
                f"The voice's command {name!r} cannot be started.", "Check --voice-command, and try it in a terminal."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise VoiceFault(f"The voice's command took more than {WITHIN_S:.0f} s.", "Try it in a terminal.") from error
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise VoiceFault(f"The voice's command failed: {last[:200]}.".replace("..", "."), "Try it in a terminal.")
        if out.tell() > MOST_BYTES:
            raise VoiceFault("The voice's command wrote too much sound.", "It reads text from stdin and writes one WAV file to stdout.")
        try:
            blocks = list(read_speech(Path(out.name), RATE, formats="wav"))
        except Fault as fault:
            raise VoiceFault(
                "The voice's command wrote no WAV file.", "It reads text from stdin and writes a WAV file to stdout."
            ) from fault
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def _ipa(text: str, language: str) -> str:
    """Words as espeak-ng pronounces them."""
    done = subprocess.run(
        ["espeak-ng", "-q", "--ipa", "-v", language], input=text.encode(), capture_output=True, timeout=WITHIN_S, check=False
    )
    return " ".join(done.stdout.decode(errors="replace").split())


def _espeak_languages(program: str) -> list[tuple[str, str]]:
    """What espeak-ng speaks: codes and names, English first."""
    done = subprocess.run([program, "--voices"], capture_output=True, timeout=WITHIN_S, check=False, text=True)
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    known = {parts[1]: parts[3].replace("_", " ") for parts in lines if len(parts) > 3}
    return sorted(known.items(), key=lambda one: (not one[0].startswith("en-us"), not one[0].startswith("en"), one[0]))
