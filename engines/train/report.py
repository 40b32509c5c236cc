"""How well motion follows speech: systems side by side over clips, phones of synthetic voices, silence, spoilt speech."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.motion.calibration import by_speech
from engines.motion.engine import DiffusionMotion, MotionState
from engines.motion.space import Habit, habit, rest_and_range, unit
from engines.spec import FPS, TICK
from engines.train import kinds
from engines.train.augment import at_tempo, band, noise, with_noise
from engines.train.data import Clip
from engines.train.figures import LEAST, all_figures, correlation, distribution_distance, lip_error, speech_frames
from engines.train.mouths import CLOSED, ROUND, TOOTHED, letter_of
from engines.train.voices import SENTENCES, Said, say, voices

Float = NDArray[np.float32]
LANGUAGES = ("en", "de", "fr", "es")
_TOGETHER = 16  # clips that the engine serves at once


def first_half(clip: Clip) -> tuple[Float, float, float, Habit | None]:
    """Rest (L, 2), opening range, width range and habit of a clip's person as enrolment finds them in its first half."""
    half = _half(clip)
    known = clip.motion[:half][clip.seen[:half]]
    return *rest_and_range(known), habit(known)


def _half(clip: Clip) -> int:
    return max(len(clip.motion) // 2, 25)


def second_half(clips: Sequence[Clip], shown: Mapping[str, Mapping[str, Float]]) -> dict[str, float]:
    """Lip error, % IOD, of systems in the speech of the clips' second halves alone, of which enrolment has seen nothing.

    Beside them: a mouth kept still where it was in the first half's speech on average, and one where it is itself in the second's.
    """
    errors: dict[str, list[float]] = {}
    for clip in clips:
        speaking = speech_frames(clip.speech, len(clip.motion)) & clip.seen
        later = np.arange(len(clip.motion)) >= _half(clip)
        if min((speaking & later).sum(), (speaking & ~later).sum()) < LEAST // 2:
            continue
        kept = {
            f"a mouth kept still, as it was in the {name} half": np.broadcast_to(clip.motion[speaking & there].mean(0), clip.motion.shape)
            for name, there in (("first", ~later), ("second", later))
        }
        for name, motion in [*((name, made[clip.file]) for name, made in shown.items()), *kept.items()]:
            errors.setdefault(name, []).append(lip_error(clip.motion, motion, speaking & later))
    return {name: float(np.mean(found)) for name, found in errors.items()} | {"clips": float(len(next(iter(errors.values()))))}


def through_engine(engine: DiffusionMotion, state: MotionState, speech: Float) -> Float:
    """Motion (N, L, 2) of speech (N * 640,), tick by tick as it is served; tick n of it belongs to tick n of the speech."""
    return through_engine_all(engine, [state], [speech])[0]


def through_engine_all(engine: DiffusionMotion, states: Sequence[MotionState], speeches: Sequence[Float]) -> list[Float]:
    """`through_engine` of several at once."""
    known, ahead = list(states), engine.look_ahead
    whole = [np.concatenate([speech, np.zeros(ahead * TICK, np.float32)]).reshape(-1, TICK) for speech in speeches]
    shown: list[list[Float]] = [[] for _ in known]
    for tick in range(max(map(len, whole))):
        there = [at for at, blocks in enumerate(whole) if tick < len(blocks)]
        after, motion = engine.step([known[at] for at in there], np.stack([whole[at][tick] for at in there]))
        for at, state, now in zip(there, after, motion, strict=True):
            known[at] = state
            shown[at].append(now)
    return [np.stack(motion[ahead:]) for motion in shown]


def said_by(
    engine: DiffusionMotion,
    clips: Sequence[Clip],
    change: Callable[[Float], Float] | None = None,
    *,
    habits: bool = True,
    calibrated: bool = True,
) -> dict[str, Float]:
    """Motion of every clip by its file; `change` is done to the speech first. Without `habits` nobody's is known.

    With `calibrated` range and habit are told by the first half's own speech, too, as enrolment has it (`engines.motion.calibration`).
    """
    states, speeches = [], []
    for at, clip in enumerate(clips):
        speeches.append(clip.speech if change is None else change(clip.speech))
        rest, reach, wide, own = first_half(clip)
        if habits and calibrated:
            reach, own = _by_speech(engine, clip) or (reach, own)
        states.append(engine.begin(rest, reach, wide, own if habits else None, seed=at))
    groups = [slice(begin, begin + _TOGETHER) for begin in range(0, len(clips), _TOGETHER)]
    made = [motion for group in groups for motion in through_engine_all(engine, states[group], speeches[group])]
    return {clip.file: motion for clip, motion in zip(clips, made, strict=True)}


def _by_speech(engine: DiffusionMotion, clip: Clip) -> tuple[float, Habit] | None:
    half = _half(clip)
    rest, reach, wide, _ = first_half(clip)
    seen = np.where(clip.seen[:half, None, None], clip.motion[:half], np.float32(np.nan))
    return by_speech(engine, seen, clip.speech[: len(seen) * TICK], rest, reach, wide)


def judged(clips: Sequence[Clip], shown: Mapping[str, Float]) -> dict[str, NDArray[np.float64]]:
    """Every figure over the clips with enough speech: (clips,) each, and one number of the distribution distance."""
    rows, true, given = [], [], []
    for clip in clips:
        motion = shown[clip.file]
        speaking = speech_frames(clip.speech, len(motion)) & clip.seen
        if speaking.sum() >= LEAST:
            rows.append(all_figures(clip.motion, motion, speaking))
            rest, reach, *_ = first_half(clip)
            true.append((clip.motion - rest) / unit(reach))
            given.append((motion - rest) / unit(reach))
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return found | {"distribution distance": np.array([distribution_distance(true, given)])}


def table(systems: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> str:
    """Markdown: a figure a row, a system a column, means over clips."""
    names = list(dict.fromkeys(name for found in systems.values() for name in found))
    lines = ["| figure | " + " | ".join(systems) + " |", "|---|" + "---|" * len(systems)]
    for name in names:
        cells = [f"{np.nanmean(found[name]):.3f}" if name in found else "" for found in systems.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spoilt(engine: DiffusionMotion, clips: Sequence[Clip]) -> dict[str, float]:
    """Mean opening r where the speech is noisy, narrow, fast or slow."""
    random = np.random.default_rng(0)

    def noisy(snr: float) -> Callable[[Float], Float]:
        return lambda speech: with_noise(speech, noise(len(speech), random), snr)

    found = {"as it is": _opening_r(clips, said_by(engine, clips))}
    changes = {"noise, 20 dB": noisy(20), "noise, 10 dB": noisy(10), "telephone": lambda speech: band(speech, 300, 3400)}
    for name, change in changes.items():
        found[name] = _opening_r(clips, said_by(engine, clips, change))
    for name, speed in (("fast, 1.5", 1.5), ("slow, 0.75", 0.75)):
        other = [faster(clip, speed) for clip in clips]
        found[name] = _opening_r(other, said_by(engine, other))
    return found


def faster(clip: Clip, speed: float) -> Clip:
    """A clip of somebody who speaks so many times as fast, at the same pitch."""
    speech = at_tempo(clip.speech, speed)
    count = min(len(speech) // TICK, int(len(clip.motion) / speed))
    at = np.minimum(np.arange(count) * speed, len(clip.motion) - 1)
    low = at.astype(int)
    high, part = np.minimum(low + 1, len(clip.motion) - 1), (at - low).astype(np.float32)[:, None, None]
    motion = clip.motion[low] * (1 - part) + clip.motion[high] * part
    return replace(clip, speech=speech[: count * TICK], motion=motion, seen=clip.seen[low])


def _opening_r(clips: Sequence[Clip], shown: Mapping[str, Float]) -> float:
    found = []
    for clip in clips:
        speaking = speech_frames(clip.speech, len(clip.motion)) & clip.seen
        if speaking.sum() >= LEAST:
            found.append(correlation(face.opening(clip.motion)[speaking], face.opening(shown[clip.file][: len(clip.motion)])[speaking]))
    return float(np.mean(found))


def of_kinds(engine: DiffusionMotion, clips: Sequence[Clip], others: Sequence[Clip]) -> str:
    """Markdown: how the engine follows kinds of speech made of the clips' own, and how much the mouth moves where they pause.

    `others` speak beside them. Movement is that of the lips and jaw, in pauses against in speech; clips' own comes first.
    """
    random = np.random.default_rng(0)

    def beside(snr: float) -> Callable[[Float], Float]:
        return lambda speech: with_noise(speech, np.resize(others[int(random.integers(len(others)))].speech, len(speech)), snr)

    def over(snr: float) -> Callable[[Float], Float]:
        return lambda speech: with_noise(speech, kinds.music(len(speech), random), snr)

    changes: dict[str, Callable[[Float], Float] | None] = {
        "as it is": None, "telephone (300 to 3400 Hz)": lambda speech: band(speech, 300, 3400),
        "music beneath, 12 dB": over(12), "music beneath, 6 dB": over(6),
        "a second voice, 15 dB lower": beside(15), "a second voice, 6 dB lower": beside(6),
        "whispered": lambda speech: kinds.whispered(speech, random), "sung, to the same beat": lambda speech: kinds.sung(speech, random),
        "like a child's (a third higher)": lambda speech: kinds.higher(speech, 1.3),
        "shouted into a microphone (clipped)": kinds.shouted,
    }  # fmt: skip
    lines = ["| kind of speech | opening r | width r | movement in pauses (clips) |", "|---|---|---|---|"]
    known = [(clip, speech_frames(clip.speech, len(clip.motion)) & clip.seen, _pauses(clip.speech, len(clip.motion))) for clip in clips]
    known = [one for one in known if one[1].sum() >= LEAST]

    def row(name: str, shown: Mapping[str, Float]) -> str:
        r = [
            [correlation(of(clip.motion)[speaking], of(shown[clip.file])[speaking]) for of in (face.opening, face.width)]
            for clip, speaking, _ in known
        ]
        moves = [
            moved[paused].mean() / max(float(moved[speaking].mean()), 1e-6)
            for clip, speaking, paused in known
            if paused.sum() >= 8 and len(moved := np.abs(np.diff(shown[clip.file], axis=0, prepend=shown[clip.file][:1])).mean((1, 2)))
        ]
        return f"| {name} | {np.mean(r, 0)[0]:.3f} | {np.mean(r, 0)[1]:.3f} | {np.mean(moves or [np.nan]):.3f} ({len(moves)}) |"

    lines.append(row("the clips' own lips", {clip.file: clip.motion for clip in clips}))
    return "\n".join(lines + [row(name, said_by(engine, clips, change)) for name, change in changes.items()])


def _pauses(speech: Float, count: int) -> NDArray[np.bool_]:
    """(count,) ticks 25 dB under what is loud in speech (count * 640,), and no speech within 4."""
    level = 10 * np.log10((speech[: count * TICK].reshape(count, TICK) ** 2).mean(1) + 1e-10)
    return np.convolve(level >= np.percentile(level, 95) - 25, np.ones(9), "same") < 0.5


def sentences() -> list[Said]:
    """What synthetic voices that nobody was trained on say, in four languages."""
    known, out = voices(held_out=True), []
    for at, language in enumerate(LANGUAGES):
        for number, text in enumerate(SENTENCES[language]):
            out.append(say(text, f"{language}+{known[(3 * at + number) % len(known)]}"))
    return out


def spoken(engine: DiffusionMotion, state: MotionState, texts: Sequence[Said]) -> list[Float]:
    """Motion of what was said, each (N, L, 2)."""
    return [through_engine(engine, state, said.speech[: len(said.speech) // TICK * TICK]) for said in texts]


def phones(texts: Sequence[Said], shown: Sequence[Float]) -> dict[str, float]:
    """Shares of phones, within a tick, that do with the lips what they must.

    /p b m/: inner lips under 15 % of the 95th percentile of opening; /f v/: under 35 %; /w u o/: narrower than the mean of the
    speech. Pauses and the first two ticks do not count.
    """
    hits: dict[str, list[bool]] = {"closed at /p b m/": [], "lip to teeth at /f v/": [], "rounded at /w u o/": []}
    for said, motion in zip(texts, shown, strict=True):
        count = len(motion)
        opening, width = face.opening(motion), face.width(motion)
        speaking = speech_frames(said.speech, count)
        reach, mean = float(np.percentile(opening, 95)), float(width[speaking].mean())
        ends = [phone.begin for phone in said.phones[1:]] + [count / FPS]
        for phone, end in zip(said.phones, ends, strict=True):
            first, last = max(int(phone.begin * FPS) - 1, 0), min(int(np.ceil(end * FPS)) + 1, count)
            letter = letter_of(phone)
            if first < 2 or last <= first:
                continue
            if letter in CLOSED:
                hits["closed at /p b m/"].append(opening[first:last].min() < 0.15 * reach)
            elif letter in TOOTHED:
                hits["lip to teeth at /f v/"].append(opening[first:last].min() < 0.35 * reach)
            elif letter in ROUND:
                hits["rounded at /w u o/"].append(width[first:last].min() < mean)
    return {name: float(np.mean(found)) for name, found in hits.items()}


def silence(engine: DiffusionMotion, state: MotionState, texts: Sequence[Said]) -> tuple[float, float]:
    """After speech ends: ms until the mouth is closed for good (95th percentile), and movement then against movement in speech."""
    waits, ratios = [], []
    for said in texts:
        loud = np.flatnonzero(np.abs(said.speech) > 0.02)
        count = int(loud[-1]) // TICK + 1
        whole = np.zeros((count + 50) * TICK, np.float32)
        whole[: count * TICK][: len(said.speech)] = said.speech[: count * TICK]
        motion = through_engine(engine, state, whole)
        opening = face.opening(motion) - face.opening(state.neutral)
        open_still = np.flatnonzero(opening > 0.1 * np.percentile(opening[:count], 95))
        waits.append(max(0, int(open_still[-1]) + 1 - count) * 1000 / FPS)
        moved = np.abs(np.diff(motion, axis=0)).mean((1, 2))
        ratios.append(moved[count + 10 :].mean() / moved[:count].mean())
    return float(np.percentile(waits, 95)), float(np.mean(ratios))
