"""A blink: eyelids lowered in a picture.

A lid that comes down unrolls skin that was hidden in its fold. Its colour is that of the lid's own skin, seen between lashes and
brow, lit as the skin below the eye is: a made-up lid stays made up, a lid in shade stays in shade. Light and colour of a place
are taken from the same pixels, never from lashes, iris or white: these are greyer than skin. The lashes, with what is painted on
them, leave their old place and hang at the new edge. The eye itself stays where it is, and so do brows and the rims of glasses.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.frames import Picture
from engines.lids import BELOW, POINTS, Lid, Socket, smooth, socket
from native.planes import planes

Float = NDArray[np.float32]

_RAISE = 0.14  # of the opening: how far the lower lid comes up
_OPAQUE = 0.3  # from this closure on the lid hides the eye
_LIT = np.array([0.45, 0.12, 0.35], np.float32)
"""How much of the skin below the eye is in a closed lid's Y, U and V: fitted to people who blink."""
_OVERHUNG = 0.85  # how much of the skin below the eye is in a lid under a brow that hides it
_GREY = np.array([0, 128, 128], np.float32)  # Y, U and V of what has no light
_PRIOR = np.float32(0.1)  # as much weight as a mean has where there is little to be seen
_PAINT = 18.0  # of 255: skin whose colours differ by this is painted, or in another light, and not like that below
_BULGE, _UNDER = 0.03, 0.05  # of its brightness: how much brighter a lid is in its middle, and darker at its edge
_SOFT, _LONG = 0.13, 0.15  # IOD: how far above the lashes' place the new skin fades out, and lashes are taken away
_THIN, _THICK = 0.03, 0.05  # IOD: how thick the line of lashes is
_BEHIND = 0.03  # IOD: the most that is touched above a lid behind glasses


def lower(picture: Picture, lid: Lid, shut: float) -> tuple[int, int, int, int]:
    """Lower a lid of a picture (I420), in place: `shut` from 0 (as it is) to 1 (closed).

    What may have changed: the box x, y, width, height of pixels, all even.
    """
    eye = socket(picture, lid)
    (tall, wide), (x, y) = eye.part.shape[:2], eye.origin.tolist()
    if eye.part.size:
        change = _lowered(eye, shut) - eye.part
        for at, (plane, half) in enumerate(zip(planes(picture), (1, 2, 2), strict=True)):
            part = plane[y // half : (y + tall) // half, x // half : (x + wide) // half]
            less = cv2.resize(change[:, :, at], part.shape[::-1], interpolation=cv2.INTER_AREA)
            part[:] = np.clip(part + less + 0.5, 0, 255).astype(np.uint8)
    return x, y, wide, tall


@dataclass(frozen=True)
class _Pixels:
    """What is known along the eye, at each pixel (h, w) of its socket."""

    u: Float
    v: Float
    upper: Float
    low: Float
    fold: Float
    root: Float
    arch: Float
    own: Float
    """(h, w, 3) the skin above the lashes."""
    below: Float
    """(h, w, 3) the skin below the eye."""
    lash: Float
    """(h, w, 3) the lashes."""

    @property
    def above(self) -> Float:
        """How far above the lashes' place, pixels."""
        return self.root - self.v

    @property
    def opening(self) -> Float:
        """The distance of the lids, pixels; 0 beside the eye."""
        return np.where(self.arch > 0, self.low - self.upper, np.float32(0))


def _pixels(eye: Socket) -> _Pixels:
    lid, unit = eye.lid, eye.lid.unit
    upper, low, crease, fold, brow = lid.curves
    shares = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
    end = np.maximum(np.minimum(crease, lid.root - 0.05 * unit), fold)
    start = lid.root - 0.015 * unit
    if lid.glasses:  # below their rim
        end = np.maximum(end, start - _BEHIND * unit)
    own = eye.skin(start + shares * (end - start), 0.7, 0.95)
    below = eye.skin(low + (0.07 + 0.11 * shares) * unit, 0.4, 0.8)
    share = np.clip(below[:, :1], 0.6 * own[:, :1], 1.7 * own[:, :1] + 4) / np.maximum(below[:, :1], 1)  # not a rim, nor the sun
    below = np.asarray(_GREY + share * (below - _GREY), np.float32)
    # where no skin is seen between eye and brow, what is there is hair, or its shade
    bright = eye.skin(lid.root + shares * (np.minimum(brow, lid.root) - lid.root), 0.85, 1)[:, :1]
    hidden = smooth(np.clip((0.8 - bright / np.maximum(below[:, :1], 8)) / 0.2, 0, 1), POINTS / 6)
    own = np.asarray(own + _OVERHUNG * hidden * (below - own), np.float32)
    start = upper + 0.01 * unit
    rows = start + np.linspace(0, 1, 8, dtype=np.float32)[:, None] * (lid.root - start)
    seen = eye.at(np.broadcast_to(lid.u, rows.shape), rows)
    dark = np.take_along_axis(seen, seen[:, :, :1].argmin(0)[None], 0)[0]
    lash = smooth(np.where(dark[:, :1] < own[:, :1], dark, own), POINTS / 20)
    u, v = eye.grid()
    at = np.clip(u / lid.u[-1] * (POINTS - 1), 0, POINTS - 1)
    lines = [np.ascontiguousarray(line.reshape(1, POINTS, -1)) for line in (upper, low, fold, lid.root, own, below, lash)]
    known = [np.asarray(cv2.remap(line, at, np.zeros_like(at), cv2.INTER_LINEAR), np.float32) for line in lines]
    share = np.clip(u / lid.u[-1], 0, 1)
    upper, low, fold, root, own, below, lash = known
    return _Pixels(u, v, upper, low, fold, root, np.asarray(2 * np.sqrt(share * (1 - share)), np.float32), own, below, lash)


def _lowered(eye: Socket, shut: float) -> Float:
    """The part (h, w, 3) with the lid lowered."""
    unit, at = eye.lid.unit, _pixels(eye)
    edge = at.upper + np.float32(shut * (1 - _RAISE)) * at.opening
    near = np.abs(at.low - at.v) / np.where(at.v < at.low, np.maximum(at.opening, 1e-3), BELOW * unit)
    raised = eye.at(at.u, at.v + np.float32(shut * _RAISE) * at.opening * face.ease(1 - near))
    strength = np.float32(min(1.0, shut / _OPAQUE))
    clean = _clean(eye, at)
    skin = _skin(eye, at, clean, edge)
    cover = _cover(eye, at, skin) * np.clip(edge - at.v + np.float32(0.5), 0, 1)
    out = raised + strength * cover[:, :, None] * (skin - raised)
    # lashes at the new edge, as thick as they were, and as far below it as they stood above the eye
    past = at.v - edge
    thick = np.clip(at.upper - at.root, _THIN * unit, _THICK * unit)
    line, shade = (
        np.exp(-0.5 * (past / np.maximum(np.where(past < 0, up, down) * thick, 0.6)) ** 2) for up, down in ((0.4, 0.7), (1.2, 1.2))
    )
    mirrored = at.root - past
    hanging = eye.at(at.u, mirrored)[:, :, 0] / np.maximum(eye.at(at.u, mirrored, clean)[:, :, 0], 1)
    hanging = np.clip((0.95 - hanging) / 0.5, 0, 1) * (1 - face.ease(past / (0.1 * unit))) * (past > 0)
    lash = np.maximum(np.maximum(line, 0.45 * shade), 0.8 * hanging) * face.ease(at.arch / 0.4)
    darker = np.concatenate([np.minimum(at.lash[:, :, :1], out[:, :, :1]), at.lash[:, :, 1:]], -1)
    return np.asarray(out + strength * lash[:, :, None] * (darker - out), np.float32)


def _clean(eye: Socket, at: _Pixels) -> Float:
    """The skin above the eye (h, w, 3), without lashes and brow: a mean of what is near and bright enough to be skin."""
    unit = eye.lid.unit
    is_skin = face.ease(np.asarray((eye.part[:, :, 0] / np.maximum(at.own[:, :, 0], 1) - 0.75) / 0.25, np.float32))
    is_skin *= (at.above > 0.005 * unit) & (at.above < 0.25 * unit)
    blur = max(0.03 * unit, 0.7)
    weight = cv2.GaussianBlur(is_skin, (0, 0), blur)[:, :, None]
    seen = cv2.GaussianBlur(eye.part * is_skin[:, :, None], (0, 0), blur)
    return np.asarray((seen + _PRIOR * at.own) / (weight + _PRIOR), np.float32)


def _skin(eye: Socket, at: _Pixels, clean: Float, edge: Float) -> Float:
    """The lid's skin (h, w, 3): what is seen above the lashes, drawn down to the edge (h, w), in the light that is below the eye."""
    unit, opening = eye.lid.unit, eye.lid.opening
    skin = eye.at(at.u, at.root - np.maximum(at.above, 0.03 * unit), clean)
    other = at.below - at.own
    other *= np.exp(-(other[:, :, 1:] ** 2).sum(-1, keepdims=True) / _PAINT**2)
    skin += face.ease((0.11 * unit - at.above) / (0.11 * unit + 0.5 * opening))[:, :, None] * _LIT * other
    down = np.clip(-at.above / np.maximum(edge - at.root, 1e-3), 0, 1)
    skin[:, :, 0] *= 1 + _BULGE * np.sin(np.pi * down) - _UNDER * face.ease(down)
    cheek = eye.at(at.u, at.v + at.opening + 0.08 * unit)[:, :, 0]
    grain = cheek - cv2.GaussianBlur(cheek, (0, 0), max(0.03 * unit, 0.5))
    most = 2.5 * float(np.median(np.abs(grain))) + 0.5
    skin[:, :, 0] += np.clip(grain, -most, most)
    return skin


def _cover(eye: Socket, at: _Pixels, skin: Float) -> Float:
    """How much of the lid's skin is seen (h, w): over the eye, where the lashes grew, and over the lashes above that."""
    unit = eye.lid.unit
    room = np.maximum(at.root - at.fold, 0)
    soft, far = (np.minimum(most * unit, share * room) * at.arch + 0.5 for most, share in ((_SOFT, 0.8), (_LONG, 1)))
    if eye.lid.glasses:
        soft = far = np.minimum(_BEHIND * unit * at.arch + 0.5, soft)
    dark = np.asarray(np.clip((0.96 - eye.part[:, :, 0] / np.maximum(skin[:, :, 0], 1)) / 0.2, 0, 1), np.float32)
    lashes = _hanging_together(eye, at, dark)
    cover = (1 - (dark - lashes)) * (1 - face.ease(at.above / soft))
    cover = np.maximum(cover, lashes * (1 - face.ease((at.above - 0.3 * far) / (0.7 * far))))
    return cover * face.ease(at.arch / 0.5)


def _hanging_together(eye: Socket, at: _Pixels, dark: Float) -> Float:
    """Of what is dark (h, w), as much as reaches down to the lashes' place: not a brow, nor the rim of glasses."""
    lid = eye.lid
    steps = np.arange(0, 0.3 * lid.unit, max(0.008 * lid.unit, 0.5), dtype=np.float32)
    rows = lid.root - steps[:, None]
    seen = eye.at(np.broadcast_to(lid.u, rows.shape), rows, dark)
    seen[steps < 0.01 * lid.unit] = 1
    x = np.clip(at.u / lid.u[-1] * (POINTS - 1), 0, POINTS - 1)
    y = np.maximum(at.above, 0) / (steps[1] - steps[0])
    found = cv2.remap(np.minimum.accumulate(seen, 0), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.where(at.above > 0, np.minimum(dark, found), dark)
