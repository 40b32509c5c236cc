"""A fictional person in numbers: how they look, what their mouth does, how they hold their head, and the shape that follows.

The shape is the mean human face of `engines.face` under a look; mouths are moved by a few parameters. `engines.drawn` paints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.painting import Colour, mixed

Float = NDArray[np.float32]
IDLE_TICKS = 200
"""Length of the idle loop: 8 seconds."""


@dataclass(frozen=True)
class Look:
    """Who is drawn. Colours are RGB 0..255; shapes are factors, 1 the mean face."""

    skin: Colour = (233, 184, 152)
    blush: Colour = (214, 112, 96)
    lips: Colour = (196, 98, 92)
    hair: Colour = (66, 42, 32)
    eyes: Colour = (92, 66, 40)
    clothes: Colour = (38, 88, 98)
    background: Colour = (206, 217, 222)
    light: float = 0.35
    """Where the light comes from: -1 from the left, 1 from the right."""
    face_width: float = 0.96
    jaw_width: float = 0.92
    chin_length: float = 1.0
    eye_size: float = 1.16
    lip_fullness: float = 1.05
    brow_weight: float = 1.0
    hair_length: float = 1.0
    """0 short, 1 to the shoulders."""
    parting: float = -0.35
    """Where the hair parts: -1..1 across the forehead."""
    hair_style: Literal["parted", "short", "curly", "receding"] = "parted"
    lashes: float = 1.0
    """How dark and long the lashes are: 0..1."""
    age: float = 0.0
    """Lines in the skin: 0 none, 1 those of somebody in the late sixties."""
    beard: float = 0.0
    """0 none, 1 full."""
    moustache: float = 0.0
    beard_colour: Colour = (40, 28, 24)
    glasses: Colour | None = None
    """The colour of their frame."""
    earrings: Colour | None = None
    collar: Literal["round", "shirt"] = "round"


PRESENTER = Look()
PEOPLE = {
    "amara": Look(
        skin=(122, 78, 56), blush=(142, 66, 52), lips=(132, 58, 58), hair=(34, 26, 26), eyes=(58, 38, 26), clothes=(222, 160, 44),
        background=(232, 214, 200), light=-0.45, face_width=0.99, jaw_width=0.95, chin_length=0.97, eye_size=1.2, lip_fullness=1.32,
        brow_weight=0.95, hair_length=0.0, hair_style="curly", earrings=(226, 186, 90),
    ),
    "rafael": Look(
        skin=(214, 160, 124), blush=(196, 104, 84), lips=(176, 98, 90), hair=(36, 28, 26), eyes=(74, 88, 62), clothes=(62, 68, 80),
        background=(196, 208, 198), light=0.5, face_width=1.02, jaw_width=1.04, chin_length=1.05, eye_size=1.04, lip_fullness=0.92,
        brow_weight=1.45, hair_length=0.0, hair_style="short", lashes=0.25, beard=1.0, moustache=1.0, beard_colour=(46, 33, 28),
    ),
    "walter": Look(
        skin=(238, 200, 178), blush=(222, 132, 118), lips=(196, 124, 114), hair=(196, 194, 192), eyes=(92, 118, 138), clothes=(52, 66, 104),
        background=(214, 208, 198), light=0.3, face_width=1.03, jaw_width=1.02, chin_length=1.02, eye_size=0.98, lip_fullness=0.84,
        brow_weight=1.2, hair_length=0.0, hair_style="receding", lashes=0.0, age=1.0, moustache=0.9, beard_colour=(186, 183, 180),
        glasses=(58, 46, 40), collar="shirt",
    ),
}  # fmt: skip
"""Other people that ship as actors, by their names."""


def random_look(seed: int) -> Look:
    """Another person: the same for the same seed."""
    random = np.random.default_rng(seed)
    dark = float(random.uniform(0, 1))
    skin = mixed((244, 204, 178), (98, 62, 44), dark)
    hairs: tuple[Colour, ...] = ((66, 42, 32), (30, 26, 26), (120, 80, 44), (196, 156, 96), (132, 62, 36), (150, 146, 142))
    irises: tuple[Colour, ...] = ((92, 66, 40), (70, 100, 120), (80, 104, 70), (54, 38, 28))
    hair = hairs[int(random.integers(len(hairs)))] if dark < 0.5 else hairs[int(random.integers(2))]
    tint: Colour = (float(random.uniform(20, 200)), float(random.uniform(20, 160)), float(random.uniform(40, 190)))
    return Look(
        skin=skin, blush=mixed(skin, (200, 80, 70), 0.5), lips=mixed(skin, (170, 60, 66), float(random.uniform(0.4, 0.75))),
        hair=hair, eyes=irises[int(random.integers(len(irises)))], clothes=tint,
        background=mixed((225, 225, 225), tint, float(random.uniform(0, 0.25))), light=float(random.uniform(-0.8, 0.8)),
        face_width=float(random.uniform(0.92, 1.06)), jaw_width=float(random.uniform(0.86, 1.08)),
        chin_length=float(random.uniform(0.95, 1.06)), eye_size=float(random.uniform(1.0, 1.2)),
        lip_fullness=float(random.uniform(0.85, 1.3)), brow_weight=float(random.uniform(0.7, 1.4)),
        hair_length=float(random.choice([0.0, 1.0])), parting=float(random.uniform(-0.7, 0.7)),
    )  # fmt: skip


@dataclass(frozen=True)
class Mouth:
    """What the mouth does."""

    opening: float = 0.0
    """Distance of the inner lips' middles (13-14), % IOD: 0..35."""
    width: float = 0.0
    """-1 rounded as in /u/, 1 spread as in /i/."""
    bite: float = 0.0
    """Lower lip to the upper teeth as in /f/: 0..1."""
    press: float = 0.0
    """Lips pressed together as in /p/: 0..1."""
    smile: float = 0.25
    tongue: float = 0.0
    """Tongue raised as in /l/: 0..1."""


@dataclass(frozen=True)
class Head:
    """How the head is held: angles in radians, x and y in IOD."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0
    blink: float = 0.0
    """0 open, 1 shut."""
    breath: float = 0.0
    """-1..1: the shoulders' height."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Where the eyes look, in iris radii."""


def idle(tick: int) -> Head:
    """The head at a tick of the idle loop: a gentle sway, breath, and a blink now and then."""
    turn = 2 * np.pi * (tick % IDLE_TICKS) / IDLE_TICKS
    blink = max(float(np.clip(1 - abs((tick - at) % IDLE_TICKS - 3) / 3, 0, 1)) for at in (34, 96, 170))
    return Head(
        yaw=0.045 * float(np.sin(turn) + 0.4 * np.sin(3 * turn + 1)), pitch=0.02 * float(np.sin(2 * turn + 0.5)),
        roll=0.018 * float(np.sin(turn + 2)), x=0.05 * float(np.sin(turn - 0.4)), y=0.012 * float(np.sin(4 * turn)),
        blink=blink, breath=float(np.sin(2 * turn)), gaze=(0.12 * float(np.sin(2 * turn + 1)), 0.0),
    )  # fmt: skip


UPPER_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
EYES = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133), 468),
    ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362), 473),
)
BROWS = (((70, 63, 105, 66, 107), (46, 53, 52, 65, 55)), ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285)))
OVAL_LEFT = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
OVAL_RIGHT = (148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
OVAL = OVAL_LEFT + OVAL_RIGHT


def shape(look: Look, mouth: Mouth) -> Float:
    """The face (478, 3) in the head's frame."""
    points = face.canonical().copy()
    down = np.clip((points[:, 1] - 0.3) / 1.5, 0, 1)
    points[:, 0] *= look.face_width * (1 - down) + look.face_width * look.jaw_width * down
    points[:, 1] += (look.chin_length - 1) * down
    for upper, lower, iris in EYES:
        lids = list(set(upper + lower))
        middle = points[lids].mean(0)
        inner_outer = [upper[0], upper[-1]]  # corners stay: they define the IOD
        for point in set(lids) - set(inner_outer):
            points[point, 1] = middle[1] + (points[point, 1] - middle[1]) * look.eye_size * 1.1
        points[iris : iris + 5, 0] += middle[0] - points[iris, 0]
    scale = 1 / float(face.iod(points))
    points *= scale
    lips = points[list(face.LIPS), 1].mean()
    full = points.copy()
    for index in face.OUTER_LIPS:
        full[index, 1] = lips + (full[index, 1] - lips) * look.lip_fullness
    for upper_point, lower_point in zip(UPPER_INNER[1:-1], LOWER_INNER[1:-1], strict=True):  # shut
        full[[upper_point, lower_point], 1] = full[[upper_point, lower_point], 1].mean()
    return face.with_motion(points, _say(full, mouth))


def _say(rest: Float, mouth: Mouth) -> Float:
    """The motion (L, 2) of a shut face when its mouth does something."""
    moved = rest[:, :2].copy()
    opening = mouth.opening / 100
    reach = abs(float(rest[291, 0] - rest[61, 0])) / 2
    middle = (rest[61, 1] + rest[291, 1]) / 2

    def bow(index: int, wide: float = 1.0, power: float = 2.0) -> float:
        return float(max(0.0, 1 - (abs(rest[index, 0]) / (reach * wide)) ** power))

    for index in UPPER_INNER[1:-1]:
        moved[index, 1] -= 0.22 * opening * bow(index) ** 0.8
    for index in LOWER_INNER[1:-1]:
        moved[index, 1] += 0.78 * opening * bow(index, 1.0, 2.6) ** 0.8
    for index in UPPER_OUTER[1:-1]:
        moved[index, 1] -= 0.2 * opening * bow(index)
    for index in LOWER_OUTER[1:-1]:
        moved[index, 1] += 0.76 * opening * bow(index, 1.03, 3.0) ** 0.8
    for index in (61, 291, 78, 308):
        moved[index, 1] += 0.2 * opening
    for index in face.JAW:
        moved[index, 1] += 0.62 * opening * float(np.clip((rest[index, 1] - 0.7) / 0.8, 0, 1))
    # wide or round
    wide = 1 + (0.16 if mouth.width > 0 else 0.30) * mouth.width - 0.25 * opening
    round_ = max(0.0, -mouth.width)
    for index in face.LIPS:
        moved[index, 0] *= wide
    for index in UPPER_OUTER[1:-1]:
        moved[index, 1] -= 0.035 * round_ * bow(index) - 0.02 * max(0.0, mouth.width) * bow(index)
    for index in LOWER_OUTER[1:-1]:
        moved[index, 1] += 0.04 * round_ * bow(index) - 0.015 * max(0.0, mouth.width) * bow(index)
    # pressed
    for index in face.LIPS:
        moved[index, 1] += 0.35 * mouth.press * (middle - moved[index, 1]) * (index in face.OUTER_LIPS)
    # the lower lip under the teeth
    for index in (*LOWER_INNER[1:-1], *LOWER_OUTER[1:-1]):
        moved[index, 1] -= mouth.bite * bow(index) * (0.03 if index in LOWER_INNER else 0.06)
    # a smile lifts the corners
    for index in face.LIPS:
        side = (abs(rest[index, 0]) / reach) ** 2
        moved[index, 1] -= 0.055 * mouth.smile * side
        moved[index, 0] *= 1 + 0.04 * mouth.smile
    out: Float = moved[face.MOTION]
    at = {int(point): i for i, point in enumerate(face.MOTION)}
    for upper_point, lower_point in zip(UPPER_INNER[1:-1], LOWER_INNER[1:-1], strict=True):
        gap = out[at[lower_point], 1] - out[at[upper_point], 1]
        if gap < 0:
            out[[at[lower_point], at[upper_point]], 1] += np.array([-gap, gap], np.float32) / 2
    error = (opening - float(face.opening(out))) if mouth.opening else 0.0  # what bite and press took
    for index in (14, 87, 317, 178, 402):
        out[at[index], 1] += error * bow(index)
    return out


def pose_of(head: Head, size: tuple[int, int]) -> Float:
    """The head's pose (3, 4) in a picture (width, height)."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (head.yaw, head.pitch, head.roll))
    turn = (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    )  # fmt: skip
    unit = 0.13 * min(size[0], size[1] * 1.0)
    pivot = np.array([0.0, 1.2, 0.9])  # the neck's top: the head turns about it
    place = np.array([size[0] / 2 + head.x * unit, size[1] * 0.445 + head.y * unit, 0.0])
    offset = place + unit * (pivot - turn @ pivot)
    return np.concatenate([unit * turn, offset[:, None]], 1).astype(np.float32)
