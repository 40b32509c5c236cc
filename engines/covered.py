"""What spoils a face in a film: things before the mouth (hands, captions, microphones, masks), and two pictures in one.

Each frame's chip is held against the usual one of its shot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.chips import whole
from engines.shots import Shots, unmixed

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Float = NDArray[np.float32]
WEIGHTS = "covered.onnx"
_SURE, _LIKELY = 3.5, 0.5  # logits: something is before the mouth; and is so still, in frames beside such ones
_RISES, _FREE = 6.5, 0.35  # logits over those of the freest frames, of the shot or of all, this share of them, that are as sure
_ALONE = 3.0  # the same where there is no usual chip to hold it against
_GAP, _ROUND = 7, 2  # frames: between two that are covered so few are, too; and so many around them
_UPPER, _SAME = 24, 6.0  # rows of a chip with the eyes; levels between those of one person in one light
_BATCH, _USUAL = 64, 15  # chips at once; frames that show what is usual in a shot
_WIDTHS = (4, 6, 9, 13, 18, 25)  # frames of a dissolve that are plainly of two pictures
_BESIDE, _NEVER = 5, -6.0  # frames before and after them that are held against them; the least that a logit counts
_MORE = 3.3  # logits by which they stand out, and half of what they are over 0
_LEAST, _MIXED, _TRUSTED = (
    0.4,
    0.35,
    15.0,
)  # logits that are looked into; how near a mixture the whole picture is there; and the weight of that
_UNLIKELY = -1.5  # logits: less is something else that comes and goes, such as a hand
_ENDS = (1, 2, 3, 4)  # frames before and after at which that is tried
_FAINT = 0.25  # of them: so many before and after, in which one of the two is faint


@dataclass(frozen=True)
class Told:
    """What the net says of N frames; where there is no chip, what it would never say."""

    covered: Float
    """(N,) logits that something is before the mouth."""
    mixed: Float
    """(N,) logits that two pictures are in one."""


@cache
def _net() -> CpuNet:
    return CpuNet(read_weights(WEIGHTS))


def look(chips: Sequence[Bytes | None], shots: Shots) -> Told:
    """At chips of N frames (`chips.chip`). Raises WeightsFault where the net is damaged."""
    found = np.full((2, len(chips)), -np.inf, np.float32)
    usable = np.array([chip is not None for chip in chips])
    if usable.any():
        of_shots = [np.flatnonzero(usable & (shots.number == shot)) for shot in range(shots.count)]
        for own, usual in zip(of_shots, _usuals(chips, of_shots, np.flatnonzero(usable)), strict=True):
            for part in np.array_split(own, -(-len(own) // _BATCH) or 1):
                if len(part):
                    found[:, part] = _told([_whole(chips[int(at)]) for at in part], usual)
            if len(own) > 2:  # a frame alone is an accident
                padded = np.pad(found[:, own], ((0, 0), (1, 1)), mode="edge")
                found[:, own] = np.median(np.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]]), 0)
    return Told(found[0], found[1])


def covered(told: Told, chips: Sequence[Bytes | None], seen: Flags, shots: Shots) -> Flags:
    """(N,) frames in which something is before the mouth; none where the face is not `seen` (N,)."""
    hidden = np.zeros(len(seen), np.bool_)
    free = float(np.quantile(told.covered[seen], _FREE)) if seen.any() else 0.0
    for shot in range(shots.count):
        own = np.flatnonzero(seen & (shots.number == shot))
        if not len(own):
            continue
        if hides(_usual(chips, own)):
            hidden[own] = True
            continue
        logits = told.covered[own]
        rises = logits > min(free, float(np.quantile(logits, _FREE))) + _RISES
        sure, likely = (logits > _SURE) | rises & (logits > _LIKELY), (logits > _LIKELY) | rises
        for run in np.split(np.arange(len(own)), np.flatnonzero(np.diff(likely)) + 1):
            if sure[run].any():
                sure[run] = True
        at = np.flatnonzero(sure)
        for before, after in pairwise(at.tolist()):
            if after - before <= _GAP:
                sure[before:after] = True
        hidden[own] = np.convolve(sure, np.ones(2 * _ROUND + 1))[_ROUND : _ROUND + len(own)] > 0
    return hidden


def hides(chip: Bytes) -> bool:
    """Whether something is before the mouth in a chip (HEIGHT, WIDTH, 3) YUV that is all that is known of a face."""
    return bool(_told([chip], chip)[0, 0] > _ALONE)


def dissolves(told: Told, thumbs: Sequence[Bytes], shots: Shots) -> list[tuple[int, int]]:
    """Ranges of frames, first and last, within shots, in which one picture of a face goes over into another.

    `thumbs`: of all pictures (`shots.thumbnail`). Where these go over in the same frames, less of the faces is enough.
    """
    found = []
    for shot in range(shots.count):
        own = np.flatnonzero((shots.number == shot) & ~shots.between)
        for part in np.split(own, np.flatnonzero(np.diff(own) > 1) + 1):
            logits, small = np.maximum(told.mixed[part], _NEVER), [thumbs[int(at)] for at in part]
            while (best := _plainest(logits, small)) is not None:
                first, last = best
                more = round(_FAINT * (last - first)) + 1
                low, high = max(first - more, 0), min(last + more, len(part) - 1)
                found.append((int(part[low]), int(part[high])))
                logits[low : high + 1] = _NEVER
    return sorted(found)


def _plainest(logits: Float, thumbs: Sequence[Bytes]) -> tuple[int, int] | None:
    """The first and last of the frames (N,) that stand out most from those before and after them, if any do enough."""
    best, where = _MORE, None
    padded = np.pad(logits, _BESIDE, constant_values=float(np.median(logits)) if len(logits) else 0)
    total = np.concatenate([[0.0], np.cumsum(padded, dtype=np.float64)])
    for width in _WIDTHS:
        first = np.arange(_BESIDE, len(padded) - _BESIDE - width + 1)
        if not len(first):
            break
        last, faint = first + width, width // 5
        inside = (total[last - faint] - total[first + faint]) / (width - 2 * faint)
        before, after = (total[first] - total[first - _BESIDE]) / _BESIDE, (total[last + _BESIDE] - total[last]) / _BESIDE
        plain = inside - np.maximum(before, after) + 0.5 * np.minimum(inside, 1)
        for at in np.flatnonzero((plain > _LEAST) & (inside > _UNLIKELY)).tolist():
            ends = [(max(at - more, 0), min(at + width - 1 + more, len(logits) - 1)) for more in _ENDS]
            off = min(unmixed(thumbs, *end) for end in ends)
            if off >= _MIXED and not _BESIDE <= at <= len(logits) - width - _BESIDE:  # too little before or after that it could be mixed of
                continue
            both = float(plain[at]) + _TRUSTED * max(_MIXED - off, 0)
            if both > best:
                best, where = both, (at, at + width - 1)
    return where


def _told(shown: Sequence[Bytes], usual: Bytes) -> Float:
    """(2, n) logits of chips (HEIGHT, WIDTH, 3)."""
    pairs = np.stack([np.concatenate([one, usual], 2).transpose(2, 0, 1) for one in shown])
    made = _net().run({"chips": np.ascontiguousarray(pairs, np.float32)})
    return np.stack([made["covered"], made["mixed"]])


def _usuals(chips: Sequence[Bytes | None], of_shots: Sequence[NDArray[np.int64]], every: NDArray[np.int64]) -> list[Bytes]:
    """The usual chip of each shot, whose frames are given; that of the longest of those in which the upper face looks the same.

    Where a hand comes and goes a shot may seem to end.
    """
    known: list[Bytes] = []
    usuals = [_usual(chips, own if len(own) >= _USUAL else every) for own in of_shots]
    for shot in sorted(range(len(of_shots)), key=lambda shot: -len(of_shots[shot])):
        upper = usuals[shot][:_UPPER].astype(np.float32)
        same = next((one for one in known if np.abs(one[:_UPPER] - upper).mean() < _SAME), None)
        if same is None:
            known.append(usuals[shot])
        else:
            usuals[shot] = same
    return usuals


def _usual(chips: Sequence[Bytes | None], at: NDArray[np.int64]) -> Bytes:
    """The median of chips `at` some frames: (HEIGHT, WIDTH, 3) YUV."""
    some = at[np.linspace(0, len(at) - 1, min(len(at), 2 * _BATCH)).astype(int)]
    return np.median([_whole(chips[int(index)]) for index in some], 0).astype(np.uint8)


def _whole(chip: Bytes | None) -> Bytes:
    assert chip is not None
    return whole(chip)
