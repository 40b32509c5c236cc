"""What training stands on: nets tick by tick equal nets whole, timing is found, voices are spoilt without being moved."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("onnx", reason="training needs the extra `train`")

from engines import face, features  # noqa: E402
from engines.backends.cpu import CpuNet  # noqa: E402
from engines.chips import HEIGHT, WIDTH  # noqa: E402
from engines.frames import write_frames  # noqa: E402
from engines.motion.engine import DiffusionMotion  # noqa: E402
from engines.motion.net import CIRCLE, Denoiser, Ears  # noqa: E402
from engines.motion.sampler import noise  # noqa: E402
from engines.motion.space import IDENTITY, NEAR, parted  # noqa: E402
from engines.person import Mouth  # noqa: E402
from engines.spec import RATE, TICK  # noqa: E402
from engines.train import augment, kinds, timing  # noqa: E402
from engines.train import covered as spoiling  # noqa: E402
from engines.train.augment import at_tempo  # noqa: E402
from engines.train.data import Clip  # noqa: E402
from engines.train.diffusion import predict  # noqa: E402
from engines.train.export import export, rounded  # noqa: E402
from engines.train.judges import WINDOW, Identity, Sync  # noqa: E402
from engines.train.mouths import curves  # noqa: E402
from engines.train.onward import HEARD, LOOK_AHEAD, Onward, go_on, lessons  # noqa: E402
from engines.train.pairs import COMPONENTS, Space, mel  # noqa: E402
from engines.train.report import through_engine  # noqa: E402
from engines.train.shipped import read_back  # noqa: E402
from engines.train.voices import Phone, Said  # noqa: E402
from tests.people import filmed, small_actor  # noqa: E402
from tests.test_features import speech  # noqa: E402


def smooth(count: int, width: int, seed: int) -> np.ndarray:
    """(count, width) noise that moves as slowly as mouths do."""
    raw = np.random.default_rng(seed).normal(size=(count + 6, width))
    return np.stack([raw[at : at + 7].mean(0) for at in range(count)]).astype(np.float32)


@pytest.mark.parametrize("look_ahead", [(0, 0), (2, 0), (1, 1)])
def test_fed_tick_by_tick_is_fed_whole(look_ahead: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    ears = Ears(width=48, heads=3, look_ahead=look_ahead, past=8).eval()
    net = Denoiser(96, COMPONENTS, IDENTITY, width=32).eval()
    for parameter in net.parameters():  # as if it had been trained: none is zero
        parameter.data += 0.05 * torch.randn_like(parameter)
    ears, net = rounded(ears), rounded(net)
    mean = np.zeros(face.L * 2, np.float32)
    space = Space(mean, 0.01 * np.random.default_rng(0).normal(size=(COMPONENTS, face.L * 2)).astype(np.float32), np.ones(COMPONENTS))
    export(ears, net, space, mean, tmp_path, steps=2, temperature=0.5, training="a test")
    engine = DiffusionMotion(ears=CpuNet((tmp_path / "ears.onnx").read_bytes()), lips=CpuNet((tmp_path / "lips.onnx").read_bytes()))
    assert engine.look_ahead == sum(look_ahead)
    ahead, seconds = engine.look_ahead, 18  # longer than the circle of positions
    assert seconds * 50 > 2 * CIRCLE
    sound = (0.05 * np.random.default_rng(0).normal(size=seconds * RATE)).astype(np.float32)  # never silent: the mouth stays awake
    state = engine.start(small_actor(), 7)
    ticked = through_engine(engine, state, sound)
    with torch.no_grad():
        heard = ears(torch.tensor(mel(np.pad(sound, (0, ahead * TICK))))[None], torch.zeros(1, dtype=torch.long))[0]
    drawn = 0.5 * np.stack([noise(7, tick + ahead, COMPONENTS) for tick in range(len(ticked))])
    components = predict(net, heard.numpy()[: len(ticked)], state.who, drawn.astype(np.float32), 2)
    whole = parted(state.neutral + space.motion(components) * state.unit, NEAR * state.unit)
    assert np.abs(whole - state.neutral).max() > 0.01
    assert np.abs(ticked - whole)[2:].max() < 1e-4  # it wakes in two ticks


def test_encoder_hears_no_further_than_it_says() -> None:
    torch.manual_seed(0)
    ears = Ears(width=48, heads=3, look_ahead=(2, 0), past=8).eval()
    one, two = speech(2), speech(2)
    two[30 * TICK :] = 0
    with torch.no_grad():
        a, b = (ears(torch.tensor(mel(sound))[None], torch.zeros(1, dtype=torch.long))[0] for sound in (one, two))
    assert torch.equal(a[:28], b[:28])
    assert not torch.equal(a[28], b[28])


def test_noise_is_of_seed_and_tick_alone() -> None:
    rows = np.stack([noise(5, tick, 2000) for tick in range(4)])
    assert np.array_equal(rows[2], noise(5, 2, 2000))
    assert not np.array_equal(rows[2], noise(6, 2, 2000))
    assert rows.std() == pytest.approx(1, abs=0.03)
    near, far = np.corrcoef(rows[0], rows[1])[0, 1], np.corrcoef(rows[0], rows[3])[0, 1]
    assert near > 0.5
    assert abs(far) < 0.1


def test_timing_is_found_below_a_frame() -> None:
    count, clips, taught = 200, [], []
    weights = np.random.default_rng(0).normal(size=8)
    lags = dict(enumerate([0.03, -0.03, 0.0, 0.02] * 5 + [0.0] * 5))
    for at, lag in lags.items():
        fine = smooth(count * 8 + 80, 8, at)  # at 200 Hz
        fine = np.stack([np.convolve(column, np.ones(9) / 9, "same") for column in fine.T], 1)
        tokens = fine[40 : 40 + count * 8 : 4]  # 50 Hz
        opening = fine[np.arange(count) * 8 + 44 - round(lag * 200)] @ weights
        motion = np.repeat(face.motion_of(face.canonical())[None], count, 0)
        motion[:, list(face.MOTION).index(face.INNER_MIDDLE[1]), 1] += 1 + opening
        loud = speech(count / 25) * np.repeat(np.random.default_rng(at).random(count) > 0.4, TICK)
        seen = np.ones(count, bool)
        clips.append(Clip(f"{at}", "grid" if at > 19 else "varied", f"person {at}", "train", "yes", loud.astype(np.float32), motion, seen))
        taught.append(tokens.astype(np.float32))
    nonsense = Clip("x", "varied", "person x", "train", "yes", clips[0].speech, clips[0].motion[::-1], clips[0].seen)
    found = timing.find_timing([*clips, nonsense], [*taught, taught[0]])
    spread = [found[f"{at}"].lag for at in lags]
    assert np.corrcoef(spread, list(lags.values()))[0, 1] > 0.95
    assert [clip.file for clip in timing.trusted([*clips, nonsense], found)] == [f"{at}" for at in lags]
    later = timing.moved(clips[0], timing.Timing(0.01, 1.0))
    assert np.array_equal(later.speech[round(0.01 * RATE) :], clips[0].speech[: -round(0.01 * RATE)])


def test_speech_is_spoilt_but_not_moved() -> None:
    sound, random = speech(2), np.random.default_rng(0)
    for spoilt in (
        augment.coded(sound, 16000),
        augment.in_room(sound, 0.4, 3, random),
        augment.band(sound, 300, 3400),
        augment.with_noise(sound, augment.noise(len(sound), random), 10),
    ):
        assert spoilt.shape == sound.shape
        assert np.abs(spoilt - sound).max() > 0.01
        both = np.fft.irfft(np.fft.rfft(spoilt) * np.conj(np.fft.rfft(sound)))
        assert min(int(np.argmax(both)), len(both) - int(np.argmax(both))) <= 0.002 * RATE


def test_kinds_of_speech_are_in_step_with_what_they_are_made_of() -> None:
    sound, random = speech(2), np.random.default_rng(0)
    sound[RATE // 2 : RATE] = 0

    def level(of: np.ndarray) -> np.ndarray:
        return np.abs(of).reshape(-1, TICK).mean(1)

    for made in (kinds.whispered(sound, random), kinds.sung(sound, random), kinds.higher(sound, 1.3), kinds.shouted(sound)):
        assert made.shape == sound.shape
        assert np.abs(made - sound).max() > 0.01
        assert level(made)[14:24].max() < 0.1 * level(made).max()
        assert np.corrcoef(level(made), level(sound))[0, 1] > 0.8
    notes = kinds.music(2 * RATE, random)
    assert notes.shape == sound.shape
    assert level(notes).min() > 0
    for _ in range(20):
        assert np.isfinite(kinds.some(sound, random, lambda: notes)).all()


@pytest.mark.parametrize("speed", [0.75, 1.5])
def test_faster_speech_is_in_step_and_at_its_pitch(speed: float) -> None:
    sound = np.zeros(4 * RATE, np.float32)
    for at in (0.6, 1.7, 3.1):  # three tones of 440 Hz
        sound[int(at * RATE) :][: RATE // 4] = np.sin(2 * np.pi * 440 * np.arange(RATE // 4) / RATE)
    quick = at_tempo(sound, speed)
    assert len(quick) == pytest.approx(4 * RATE / speed, rel=0.03)
    for at in (0.6, 1.7, 3.1):
        there = slice(int((at - 0.02) / speed * RATE), int((at + 0.27) / speed * RATE))
        loud = quick[there]
        assert (loud**2).sum() > 0.9 * (quick[max(0, there.start - RATE // 4) : there.stop + RATE // 4] ** 2).sum()
        assert np.abs(np.fft.rfft(loud)).argmax() * RATE / len(loud) == pytest.approx(440, abs=10)


def test_a_synthetic_mouth_closes_rounds_and_opens() -> None:
    phones = [("", 0.0), ("a", 0.2), ("m", 0.5), ("a", 0.65), ("u", 0.95), ("i", 1.3), ("", 1.6)]
    opening, width = curves(Said(np.zeros(2 * RATE, np.float32), [Phone(name, at) for name, at in phones]))
    assert opening[14] < 0.2 < 0.5 < min(opening[9], opening[19])
    assert width[28] < -0.3 < 0.1 < width[36]
    assert opening[-3:].max() < 0.1


def test_judges_tell_right_from_wrong_once_they_have_learned() -> None:
    torch.manual_seed(0)
    motion = torch.tensor(np.stack([smooth(40, COMPONENTS, seed) for seed in range(12)]))
    motion *= 1 + torch.arange(12)[:, None, None] % 3  # three people: how far they move
    person, spoken = torch.arange(12) % 3, torch.ones(12, 40)
    heard = torch.cat([motion, motion.roll(1, 1)], -1)
    identity, sync = Identity(COMPONENTS, 3), Sync(2 * COMPONENTS, COMPONENTS)
    optimizer = torch.optim.AdamW([*identity.parameters(), *sync.parameters()], 3e-3)
    for step in range(120):
        at = torch.full((12,), step % (40 - WINDOW))
        loss = identity.learns(motion, spoken, person) + sync(heard, motion, at)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    identity.eval(), sync.eval()
    at = torch.full((12,), 20)
    with torch.no_grad():
        assert identity.asks(motion, motion, spoken) < 1e-5
        assert identity.asks(motion, motion.roll(1, 0), spoken) > 0.05  # somebody else
        assert sync(heard, motion, at) < 0.5 * sync(heard, motion.roll(2, 1), at)  # 80 ms late


def test_the_teacher_hears_in_bands_that_features_share() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    _, heard = features.step(features.start(), 0.1 * tone)
    middle = heard[40:].mean(0)
    edges = np.linspace(0, 15 + np.log(8) / (np.log(6.4) / 27), features.BANDS + 2)[1:-1]
    assert abs(edges[int(middle.argmax())] - 15) < 1  # 1 kHz is the scale's knee


def test_what_spoils_faces_is_learned_from_a_folder_of_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed, trained for a moment, exported: the file judges chips as the net does."""
    monkeypatch.setattr(spoiling, "_DRAWN", 4)
    monkeypatch.setattr(spoiling, "_POSES", 4)
    write_frames(tmp_path / "clip.mp4", filmed([Mouth(6.0 * (at % 3)) for at in range(3)] * 8))
    (tmp_path / "manifest.csv").write_text("file,set,person,split,free\nclip.mp4,varied,anna,train,yes\nclip.mp4,varied,bert,train,no\n")
    chips = spoiling.prepare_chips(tmp_path, tmp_path / "cache", jobs=1)
    assert chips.usual.shape == (5, HEIGHT, WIDTH, 3)
    assert sorted(set(chips.person)) == ["anna", "drawn 0", "drawn 1", "drawn 2", "drawn 3"]
    found = spoiling.spoilt(chips, np.arange(len(chips.clean)), np.random.default_rng(0))
    assert (found.covered[found.kind == 0] == 0).all()
    assert (found.covered[(found.kind == 1) & (found.hidden > 0.3)] == 1).all()
    assert np.isnan(found.covered[found.kind == 2]).all()
    net = spoiling.train(chips, np.arange(len(chips.clean)), spoiling.Plan(epochs=2))
    rows = np.arange(8)
    batch = spoiling._batch(chips, found, rows)
    made = CpuNet(spoiling.export(net)).run({"chips": batch.numpy()})
    with torch.no_grad():
        for name, told in zip(("covered", "mixed"), net(batch), strict=True):
            assert np.abs(made[name] - told.numpy()).max() < 1e-3
    assert "covered, logit > 0" in spoiling.judge(net, chips, np.arange(8))


def test_shipped_nets_come_back_as_they_are_served() -> None:
    shipped = read_back(Path(str(files("engines.weights"))), LOOK_AHEAD)
    for net in (shipped.ears, shipped.net):
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(net.parameters(), rounded(net).parameters(), strict=True))
    engine, actor, sound = DiffusionMotion(temperature=0.0), small_actor(), speech(2)
    state = engine.begin(face.motion_of(actor.neutral), actor.opening_range, actor.width_range, None)
    ticked = through_engine(engine, state, sound)
    with torch.no_grad():
        heard = shipped.ears(torch.tensor(mel(np.pad(sound, (0, engine.look_ahead * TICK))))[None], torch.zeros(1, dtype=torch.long))[0]
    components = predict(shipped.net, heard.numpy()[: len(ticked)], state.who, np.zeros((len(ticked), COMPONENTS), np.float32), 1)
    whole = parted(state.neutral + shipped.space.motion(components) * state.unit, NEAR * state.unit)
    talk = slice(10, len(ticked) - 8)  # awake
    assert np.abs(ticked - whole)[talk].max() < 1e-3
    assert np.abs(ticked - state.neutral)[talk].max() > 0.02


def test_training_goes_on_from_where_it_was_cut_off(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ears, net = Ears(width=48, heads=3, look_ahead=LOOK_AHEAD, past=8), Denoiser(96, COMPONENTS, IDENTITY, width=32)
    random = np.random.default_rng(0)
    space = Space(
        np.zeros(face.L * 2, np.float32), 0.01 * random.normal(size=(COMPONENTS, face.L * 2)).astype(np.float32), np.ones(COMPONENTS)
    )
    rest = face.motion_of(small_actor().neutral)
    clips = []
    for seed, (name, kind) in enumerate((("a", "grid"), ("b", "made"))):
        motion = rest + 0.01 * smooth(50, face.L * 2, seed).reshape(50, face.L, 2)
        clips.append(Clip(name, kind, name, "train", "yes", speech(2, seed), motion, np.ones(50, np.bool_)))
    known = {clip.file: timing.Timing(0.01, 0.8) for clip in clips}
    heard = {clip.file: random.normal(size=(100, 512)).astype(np.float16) for clip in clips}
    recipe = Onward(steps=1, size=2, ticks=30, minutes=0.05)
    pool = [(speech(2), random.normal(size=(50, 512)).astype(np.float32))]
    lips = lessons(clips, known, heard, space, recipe, pool)
    assert [one.kind for one in lips[:4]] == ["filmed", "made", "faceless", "synthetic"]
    assert lips[0].rows.shape == (50, 2 * COMPONENTS + HEARD)
    kept, before = tmp_path / "onward.pt", [value.clone() for value in net.parameters()]
    go_on(ears, net, space, lips, recipe, kept)
    assert torch.load(kept, weights_only=True)["step"] == 1
    go_on(ears, net, space, lips, replace(recipe, steps=2), kept)
    assert torch.load(kept, weights_only=True)["step"] == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(torch.isfinite(value).all() for value in net.parameters())
