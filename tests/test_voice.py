"""Text to speech: how a text is cut, how it is pronounced, which voices there are, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import Fault, SpeechFault
from engines.voice import kokoro, other
from engines.voice.english import English
from engines.voice.numbers import spoken, year
from engines.voice.pieces import FIRST, MOST, pieces
from realtime import voices
from realtime.media import read_speech
from realtime.voices import Speaker, Voice, VoiceFault, checked, choose, found
from tests.made import noise, write_wav

TEXT = (
    "Dr. Smith, who paid $3.50 for it, left at 5 p.m. yesterday and has not been seen since then. Was he tired? "
    "No... He said: “I.B.M. has 1,000 ideas, e.g. this one!”\nAnd so on"
)


def test_a_text_is_cut_into_sentences_the_first_of_which_is_short() -> None:
    cut = pieces(TEXT)
    begin = ["Dr. Smith,", "who paid $3.50 for it, left at 5 p.m. yesterday and has not been seen since then."]
    assert [piece.text for piece in cut[:2]] == begin
    assert [piece.text for piece in cut[2:]] == ["Was he tired?", "No…", 'He said: "I.B.M. has 1,000 ideas, e.g. this one!"', "And so on"]
    assert 0 < cut[0].pause < 0.2
    assert all(piece.pause > 0.3 for piece in cut[1:])
    assert pieces("I have never been as far from any of these towns")[0].pause == 0  # cut between words
    assert pieces(" ... !? \n") == []


def test_no_piece_is_longer_than_the_net_takes_and_no_word_is_lost() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        words = ["".join(rng.choice(list("abcdefg"), rng.integers(1, 15))) + rng.choice(["", "", "", ",", ";", "."]) for _ in range(120)]
        cut = pieces(" ".join(words))
        assert " ".join(piece.text for piece in cut).split() == words
        assert max(len(piece.text) for piece in cut) <= MOST * 1.2 + 15
        assert len(cut[0].text) <= FIRST * 1.2 + 15
    assert all(len(piece.text) <= 2 * MOST for piece in pieces("a" * 5000))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("7,654,321", "seven million six hundred fifty four thousand three hundred twenty one"),
        ("-3.05 and 007", "minus three point zero five and zero zero seven"),
        ("the 21st of May 1905", "the twenty first of May nineteen oh five"),
        ("in the 1980s", "in the nineteen eighties"),
        ("12:05 and 9:00", "twelve oh five and nine o'clock"),
        ("$1 and £2.50, €3 million", "one dollar and two pounds and fifty pence, three million euros"),
        ("50% of 3km & more", "fifty percent of three kilometers and more"),
        ("see www.example.org.", "see example dot org."),
        ("pages 10-12", "pages ten to twelve"),
        ("10" * 10, " ".join(["one zero"] * 10)),
    ],
)
def test_numbers_and_signs_are_words(written: str, said: str) -> None:
    assert spoken(written).split() == said.split()
    assert year(2000) == "two thousand"


@pytest.fixture(scope="module")
def english() -> English:
    return English()


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("Hello, world.", "həlˈO, wˈɜɹld."),
        ("the apple, the pear, to eat, to go, a bee", "ði ˈæpᵊl, ðə pˈɛɹ, tʊ ˈit, tə ɡˌO, ɐ bˈi"),
        ("Dr. Bob's WebRTC", "dˈɑktəɹ bˈɑbz wˈɛb ˈɑɹtˈisˈi"),
        ("lip-synced", "lˈɪp sˈɪŋkt"),
        ("naïve café", "nɑˈiv kæfˈA"),
    ],
)
def test_english_is_pronounced(english: English, text: str, phones: str) -> None:
    assert english.phones(text) == phones


def test_words_that_no_dictionary_has_are_pronounced_by_their_spelling(english: English) -> None:
    said = {word: english.word(word) for word in ("blorfing", "zyxel", "quibnate", "ytterby", "chaushen", "MTXQ", "strzw")}
    assert said["blorfing"] == "blˈɔɹfɪŋ"
    assert said["quibnate"].endswith("At")
    assert said["MTXQ"].count("ˈ") == 4  # spelled
    for word, phones in said.items():
        assert phones, word
        assert set(phones) <= set(kokoro.alphabet()), word
    assert english.phones("日本語 123 ツ") == "wˈʌn hˈʌndɹəd twˈɛnti θɹˈi"


def test_other_languages_keep_their_marks() -> None:
    asked: list[tuple[str, str]] = []

    def ipa(words: str, language: str) -> str:
        asked.append((words, language))
        return "tʃˈao" if "ciao" in words else "(en)bˈɛ_lo(it)"

    assert other.phones("ciao, bello!", "it", ipa) == "ʧˈao, bˈɛlo!"
    assert asked == [("ciao", "it"), (" bello", "it")]


def test_styles_are_those_of_all_lengths() -> None:
    assert set(kokoro.voices()) == {name for name, _ in voices._KNOWN.values()}
    for name in kokoro.voices():
        style = kokoro.style(name)
        assert (style.shape, style.dtype) == ((510, 256), np.float32)
        assert 0.05 < np.abs(style).mean() < 0.5


HERE = [Voice("heart", "en-us", "a", "natural"), Voice("siwis", "fr", "b", "natural"), Voice("espeak:fr", "fr", "c", "espeak")]


def test_a_voice_is_chosen_by_its_name_kind_or_language() -> None:
    assert [choose(name, HERE).name for name in ("", "heart", "fr", "espeak", "espeak:fr")] == [
        "heart", "heart", "siwis", "espeak:fr", "espeak:fr",
    ]  # fmt: skip
    with pytest.raises(VoiceFault, match="Did you mean heart"):
        choose("hart", HERE)
    with pytest.raises(VoiceFault, match="no voice") as refused:
        choose("", [])
    assert "mytalk-live[voice]" in refused.value.hint


@pytest.mark.parametrize(("text", "speed"), [("", 1.0), ("?!", 1.0), ("a " * 2501, 1.0), ("hello", 0.1), ("hello", float("nan"))])
def test_texts_that_cannot_be_said(text: str, speed: float) -> None:
    with pytest.raises(VoiceFault):
        checked(text, speed)


def test_a_command_of_the_users_is_a_voice(tmp_path: Path) -> None:
    script = tmp_path / "voice.py"  # says as many tenths of a second as it hears letters
    script.write_text(
        "import sys, wave\n"
        "text = sys.stdin.read()\n"
        "if text == 'no': sys.exit('it does not like that')\n"
        "out = wave.open(sys.stdout.buffer, 'wb')\n"
        "out.setparams((2, 2, 16000, 0, 'NONE', ''))\n"
        "out.writeframesraw(b'\\1\\40' * 2 * 1600 * len(text))\n"
    )
    command = f"'{sys.executable}' '{script}'"
    here = found(command)
    assert here[0].name == "command"
    sound = np.concatenate(list(Speaker(command).speak("Hello you.", here[0])))
    assert abs(len(sound) / voices.RATE - (1.0 + 0.35)) < 0.02
    for said, bad, words in (("no", command, "it does not like that"), ("a", "cat", "no WAV"), ("a", "/dev/null", "cannot be started")):
        with pytest.raises(VoiceFault, match=words):
            Speaker(bad).say(said, here[0])
    for bad in ("'", "no-such-program -x"):
        with pytest.raises(VoiceFault):
            voices.check_command(bad)


def test_say_writes_a_video(mytalk: Any, counting: Any, tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(16000))
    outcome = mytalk("say", "grey", "Hello.", "-o", "out.mp4", "--voice-command", f"cat '{speech}'")
    assert (outcome.code, outcome.out) == (0, "out.mp4: 34 pictures, 1.35 s of speech.\n")
    assert mytalk("say", "grey", "Hello.", "-o", "out.mp4").code == 2  # it exists


def test_a_machine_without_a_voice_says_so(mytalk: Any, counting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    for command in (("say", "grey", "Hello.", "-o", "out.mp4"), ("voices",)):
        outcome = mytalk(*command)
        assert outcome.code == 2
        assert outcome.err.startswith("error: This machine has no voice.\nhint: pip install 'mytalk-live[voice]'")
        assert outcome.files == []
    with pytest.raises(Fault, match="onnxruntime lacks"):
        kokoro.Kokoro()


@pytest.mark.slow
def test_the_natural_voice_speaks(tmp_path: Path) -> None:
    if kokoro.lacking():
        pytest.skip("the extra `voice` is not installed")
    heart = next(voice for voice in found() if voice.name == "heart")
    out = tmp_path / "hello.wav"
    voices.write(out, "Hello.", heart)
    sound = np.concatenate(list(read_speech(out, 24_000)))
    said, pause = sound[: -int(0.35 * 24_000)], sound[-int(0.35 * 24_000) :]
    assert 0.3 < len(said) / 24_000 < 1.0
    assert 0.02 < np.sqrt(np.mean(said**2)) < 0.3
    assert np.abs(pause).max() < 1e-3
    speaker = kokoro.Kokoro()
    assert len(speaker.say("həlˈO.", "af_heart", 2.0)) < 0.8 * len(said)
    with pytest.raises(SpeechFault):
        speaker.say("日", "af_heart")
