"""Looking closer: a picture is searched for faces that are too small, or too near, to be found in the whole of it."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from engines.tracking.nets import SEEN, Detector, Sighting
from engines.tracking.region import Picture, overlap, whole

_FINEST = 256
"""Pixels of the smallest squares that are looked at: 14 pixels between the eyes are 7 for the detector there."""
_FINER = 2.4
"""Each round of squares is at most so much smaller than the one before."""
_SHARED = 0.3
"""Neighbouring squares overlap by this share: what is cut by one is whole in the next, or large enough for the round before."""
_ROUND = 1.8
"""A face that is larger than the picture is looked for in a square so much larger than it."""
LEAST = -0.4
"""As a logit: what is believed at 0.4 is worth a closer look."""
_MOST = 6  # of those, in a round


def rounds(picture: Picture, detector: Detector) -> Iterator[list[Sighting]]:
    """What might be faces, round by round, from the nearest to the farthest; none of it looked at closely.

    A round of an H x W picture is at most (1.4 * H / 256 + 1) * (1.4 * W / 256 + 1) looks: 66 at 1920 x 1080, 264 at 3840 x 2160.
    """
    all_of_it = whole(picture)
    yield detector.look_at(picture, all_of_it.scaled(_ROUND), LEAST, _MOST)
    count = int(np.ceil(np.log(max(all_of_it.side / _FINEST, 1)) / np.log(_FINER)))
    for at in range(1, count + 1):
        side = all_of_it.side * (_FINEST / all_of_it.side) ** (at / count)
        yield _most_likely(_round(picture, detector, side / SEEN))


def _round(picture: Picture, detector: Detector, by: float) -> Iterator[Sighting]:
    """All squares of a picture made smaller `by` so much."""
    size = [max(1, round(n / by)) for n in picture.shape[1::-1]]
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    back = np.array([[picture.shape[1] / size[0], 0, 0], [0, picture.shape[0] / size[1], 0]])
    for y in _starts(size[1]):
        for x in _starts(size[0]):
            tile = small[y : y + SEEN, x : x + SEEN]
            if tile.shape[:2] != (SEEN, SEEN):
                tile = cv2.copyMakeBorder(tile, 0, SEEN - tile.shape[0], 0, SEEN - tile.shape[1], cv2.BORDER_CONSTANT)
            matrix = back.copy()
            matrix[:, 2] = back[:, :2] @ [x, y]
            for region, logit in detector.look(np.asarray(tile, np.uint8), LEAST, _MOST):
                yield Sighting(region.out_of(matrix), logit)


def _starts(length: int) -> list[int]:
    """Where squares begin along a side: as few as overlap enough, evenly."""
    room = max(0, length - SEEN)
    count = int(np.ceil(room / (SEEN * (1 - _SHARED)))) + 1
    return [round(room * at / max(count - 1, 1)) for at in range(count)]


def _most_likely(sightings: Iterator[Sighting]) -> list[Sighting]:
    """The surest of what neighbouring squares say of one place; the surest places."""
    kept: list[Sighting] = []
    for found in sorted(sightings, key=lambda sighting: -sighting.logit):
        if len(kept) < _MOST and all(overlap(found.region, other.region) < 0.3 for other in kept):
            kept.append(found)
    return kept
