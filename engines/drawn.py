"""The drawn presenter: a fictional person, painted by code at any size, with exact landmarks for every picture.

The shape is the mean human face of `engines.face` under a look; mouths are moved by a few parameters. Everything is painted
from landmark curves in the head's frame, so that the landmarks that come back are the picture's truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.painting import Canvas, Colour, curve, mixed

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


PRESENTER = Look()


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


_UPPER_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
_LOWER_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
_UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_EYES = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133), 468),
    ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362), 473),
)
_BROWS = (((70, 63, 105, 66, 107), (46, 53, 52, 65, 55)), ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285)))
_OVAL_LEFT = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
_OVAL_RIGHT = (148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
_OVAL = _OVAL_LEFT + _OVAL_RIGHT


def shape(look: Look, mouth: Mouth) -> Float:
    """The face (478, 3) in the head's frame."""
    points = face.canonical().copy()
    down = np.clip((points[:, 1] - 0.3) / 1.5, 0, 1)
    points[:, 0] *= look.face_width * (1 - down) + look.face_width * look.jaw_width * down
    points[:, 1] += (look.chin_length - 1) * down
    for upper, lower, iris in _EYES:
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
    for upper_point, lower_point in zip(_UPPER_INNER[1:-1], _LOWER_INNER[1:-1], strict=True):  # shut
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

    for index in _UPPER_INNER[1:-1]:
        moved[index, 1] -= 0.22 * opening * bow(index) ** 0.8
    for index in _LOWER_INNER[1:-1]:
        moved[index, 1] += 0.78 * opening * bow(index, 1.0, 2.6) ** 0.8
    for index in _UPPER_OUTER[1:-1]:
        moved[index, 1] -= 0.2 * opening * bow(index)
    for index in _LOWER_OUTER[1:-1]:
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
    for index in _UPPER_OUTER[1:-1]:
        moved[index, 1] -= 0.035 * round_ * bow(index) - 0.02 * max(0.0, mouth.width) * bow(index)
    for index in _LOWER_OUTER[1:-1]:
        moved[index, 1] += 0.04 * round_ * bow(index) - 0.015 * max(0.0, mouth.width) * bow(index)
    # pressed
    for index in face.LIPS:
        moved[index, 1] += 0.35 * mouth.press * (middle - moved[index, 1]) * (index in face.OUTER_LIPS)
    # the lower lip under the teeth
    for index in (*_LOWER_INNER[1:-1], *_LOWER_OUTER[1:-1]):
        moved[index, 1] -= mouth.bite * bow(index) * (0.03 if index in _LOWER_INNER else 0.06)
    # a smile lifts the corners
    for index in face.LIPS:
        side = (abs(rest[index, 0]) / reach) ** 2
        moved[index, 1] -= 0.055 * mouth.smile * side
        moved[index, 0] *= 1 + 0.04 * mouth.smile
    out: Float = moved[face.MOTION]
    at = {int(point): i for i, point in enumerate(face.MOTION)}
    for upper_point, lower_point in zip(_UPPER_INNER[1:-1], _LOWER_INNER[1:-1], strict=True):
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


def draw(look: Look, mouth: Mouth, head: Head, size: int | tuple[int, int] = 512) -> tuple[NDArray[np.uint8], Float]:
    """The picture (H, W, 3) RGB and its landmarks (478, 3): pixels, z with x's scale, as the tracker gives them.

    `size` is (width, height), or a square's side. Same arguments, same bits.
    """
    size = (size, size) if isinstance(size, int) else size
    pose = pose_of(head, size)
    points = shape(look, mouth)
    for upper, lower, _ in _EYES:
        for above, below in zip(upper[1:-1], lower[1:-1], strict=True):
            points[above, :2] += 0.92 * head.blink * (points[below, :2] - points[above, :2])
    landmarks = face.from_head(points, pose)
    canvas = Canvas(size, pose)
    _backdrop(canvas, look)
    _hair_behind(canvas, look)
    _body(canvas, look, head)
    _skin(canvas, look, points)
    _mouth(canvas, look, points, mouth)
    _nose(canvas, look, points)
    for side in (0, 1):
        _eye(canvas, look, points, side, head)
    _hair_before(canvas, look, points)
    return canvas.picture(), landmarks


def _lit(look: Look, share: float) -> Colour:
    """Skin in the light: dark skin shines less."""
    return mixed(look.skin, (255, 245, 233), share * (sum(look.skin) / 3 / 190) ** 1.5)


def _backdrop(canvas: Canvas, look: Look) -> None:
    canvas.gradient(mixed(look.background, (255, 255, 255), 0.35), mixed(look.background, (70, 84, 96), 0.32))
    canvas.glow((-1.2 * look.light, -0.6), 3.2, mixed(look.background, (255, 255, 255), 0.7), 0.55)


def _body(canvas: Canvas, look: Look, head: Head) -> None:
    lift = -0.025 * head.breath
    dark = mixed(look.clothes, (0, 0, 0), 0.45)
    shoulders = np.array([
        (-0.72, 2.5), (-1.2, 2.68), (-2.1, 2.95), (-2.75, 3.4), (-3.1, 4.6), (-3.2, 6), (3.2, 6), (3.1, 4.6), (2.75, 3.4), (2.1, 2.95),
        (1.2, 2.68), (0.72, 2.5),
    ])  # fmt: skip
    shoulders[:, 1] += lift
    canvas.fixed = True
    canvas.fill(curve(shoulders), look.clothes)
    canvas.fill(curve(shoulders + np.array([0, 0.25])), dark, 0.35, blur=0.35, clip=curve(shoulders))
    for side in (-1, 1):
        fold = np.array([(side * 1.35, 3.0), (side * 1.55, 3.9), (side * 1.5, 5.5), (side * 1.75, 5.5), (side * 1.8, 3.9)])
        canvas.fill(curve(fold), dark, 0.45, blur=0.12)
    canvas.fill(
        curve(np.array([(-2.3, 3.05), (-1.6, 2.9), (-1.7, 3.3), (-2.4, 3.6)])), mixed(look.clothes, (255, 255, 255), 0.4), 0.3, blur=0.15
    )
    # neck
    shade = mixed(look.skin, (110, 44, 30), 0.38)
    neck = np.array([
        (-0.66, 1.1), (-0.64, 2.0), (-0.72, 2.42), (-1.0, 2.66), (-0.45, 3.02), (0, 3.12), (0.45, 3.02), (1.0, 2.66), (0.72, 2.42),
        (0.64, 2.0), (0.66, 1.1),
    ])  # fmt: skip
    neck[3:8, 1] += lift
    canvas.fill(curve(neck), mixed(look.skin, shade, 0.35))
    canvas.fill(curve(np.array([(-0.8, 1.2), (-0.78, 2.06), (0, 2.3), (0.78, 2.06), (0.8, 1.2)])), shade, 0.85, blur=0.14, clip=curve(neck))
    canvas.line(np.array([(-0.16, 2.5), (-0.42, 2.86)]), shade, 0.07, 0.3, blur=0.05)
    canvas.line(np.array([(0.16, 2.5), (0.42, 2.86)]), shade, 0.07, 0.3, blur=0.05)
    collar = np.array([(-1.08, 2.6), (-0.62, 2.98), (0, 3.14), (0.62, 2.98), (1.08, 2.6)]) + np.array([0, lift])
    canvas.line(collar, dark, 0.16, 0.5, blur=0.05)
    canvas.line(collar + np.array([0, 0.05]), mixed(look.clothes, (255, 255, 255), 0.12), 0.15, 1.0)
    canvas.fixed = False


def _hair_behind(canvas: Canvas, look: Look) -> None:
    dark = mixed(look.hair, (0, 0, 0), 0.35)
    if look.hair_length > 0.5:
        back = np.array([
            (0, -1.62), (-0.75, -1.5), (-1.3, -0.95), (-1.5, -0.1), (-1.52, 0.9), (-1.58, 1.75), (-1.42, 2.42), (-0.98, 2.62), (-0.6, 2.3),
            (0, 2.1), (0.6, 2.3), (0.98, 2.62), (1.42, 2.42), (1.58, 1.75), (1.52, 0.9), (1.5, -0.1), (1.3, -0.95), (0.75, -1.5),
        ])  # fmt: skip
    else:
        back = np.array([
            (0, -1.6), (-0.72, -1.48), (-1.18, -1.0), (-1.3, -0.3), (-1.24, 0.4), (-0.9, 0.9), (0.9, 0.9), (1.24, 0.4), (1.3, -0.3),
            (1.18, -1.0), (0.72, -1.48),
        ])  # fmt: skip
    canvas.fill(curve(back), dark)
    if look.hair_length > 0.5:
        for side in (-1, 1):
            for at in np.linspace(0, 1, 7):
                strand = np.array([(1.22 + 0.2 * at, 0.2), (1.22 + 0.3 * at, 1.2), (1.1 + 0.34 * at, 2.0), (0.9 + 0.36 * at, 2.48)]) * (
                    side,
                    1,
                )
                tone = mixed(look.hair, (255, 236, 214), 0.16) if int(at * 6) % 2 else mixed(look.hair, (0, 0, 0), 0.3)
                canvas.line(strand, tone, 0.07, 0.45, blur=0.03, clip=curve(back))
    else:
        for side in (-1, 1):
            ear = np.array([(1.1, 0.0), (1.27, -0.08), (1.33, 0.12), (1.26, 0.42), (1.13, 0.62), (1.06, 0.55)]) * (side, 1)
            canvas.fill(curve(ear), mixed(look.skin, look.blush, 0.25))
            canvas.line(ear[1:5] * (0.97, 1), mixed(look.skin, (100, 40, 30), 0.4), 0.03, 0.5, blur=0.02)


def _skin(canvas: Canvas, look: Look, points: Float) -> None:
    oval = points[list(_OVAL), :]
    top = oval.copy()
    high = top[:, 1] < -0.2
    top[high, 1] = -0.2 + (top[high, 1] + 0.2) * 1.35  # the forehead goes on under the hair
    outline = curve(top)
    canvas.fill(outline, look.skin)
    shade, glow = mixed(look.skin, (120, 50, 34), 0.45), _lit(look, 0.6)
    side = 1.0 if look.light >= 0 else -1.0
    for way, strength in ((side, 0.25), (-side, 0.55)):  # away from the light it is darker
        edge = np.array(
            [
                (1.02, -1.1),
                (1.3, -0.2),
                (1.25, 0.8),
                (0.95, 1.6),
                (0.4, 2.1),
                (0.35, 1.86),
                (0.78, 1.35),
                (0.92, 0.6),
                (0.95, -0.2),
                (0.8, -0.9),
            ]
        ) * (-way, 1)
        canvas.fill(curve(edge), shade, strength, blur=0.2, clip=outline)
    canvas.fill(curve(np.array([(-0.9, -1.3), (0.9, -1.3), (1.0, -0.72), (0, -0.55), (-1.0, -0.72)])), shade, 0.4, blur=0.16, clip=outline)
    canvas.glow((0.12 * side, -0.4), 0.5, glow, 0.42, clip=outline)
    for way in (-1, 1):
        canvas.glow((0.62 * way, 0.52), 0.36, look.blush, 0.34, clip=outline)
        canvas.glow((0.56 * way + 0.08 * side, 0.34), 0.24, glow, 0.38 if way == side else 0.2, clip=outline)
    chin = points[152, 1]
    canvas.glow((0.04 * side, chin - 0.2), 0.2, glow, 0.3, clip=outline)
    lips_low = points[17, 1]
    canvas.fill(
        curve(
            np.array(
                [(-0.26, lips_low + 0.03), (0, lips_low + 0.07), (0.26, lips_low + 0.03), (0.16, lips_low + 0.17), (-0.16, lips_low + 0.17)]
            )
        ),
        shade,
        0.5,
        blur=0.06,
        clip=outline,
    )
    lips_high = points[0, 1]
    canvas.line(np.array([(-0.01, points[2, 1] + 0.08), (-0.01, lips_high - 0.03)]), shade, 0.09, 0.22, blur=0.04)
    for way, point in ((-1, 61), (1, 291)):  # corners of the mouth, and the folds from the nose
        corner = points[point]
        canvas.glow((corner[0] + 0.03 * way, corner[1] + 0.02), 0.1, shade, 0.5)
        canvas.line(
            np.array([(0.36 * way, 0.62), (0.47 * way, 0.78), (corner[0] + 0.12 * way, corner[1] - 0.08)]), shade, 0.05, 0.22, blur=0.05
        )


def _nose(canvas: Canvas, look: Look, points: Float) -> None:
    shade, glow = mixed(look.skin, (120, 50, 34), 0.5), _lit(look, 0.7)
    side = 1.0 if look.light >= 0 else -1.0
    tip, foot = points[4], points[2]
    for way, strength in ((-side, 0.5), (side, 0.22)):
        bridge = np.array(
            [(0.2 * way, -0.12), (0.13 * way, 0.15), (0.15 * way, 0.36), (0.24 * way, 0.5), (0.3 * way, 0.36), (0.24 * way, 0.1)]
        )
        canvas.fill(curve(bridge), shade, strength, blur=0.07)
    canvas.fill(
        curve(
            np.array(
                [
                    (-0.27, foot[1] - 0.06),
                    (0, foot[1] - 0.01),
                    (0.27, foot[1] - 0.06),
                    (0.15, foot[1] + 0.05),
                    (0, foot[1] + 0.07),
                    (-0.15, foot[1] + 0.05),
                ]
            )
        ),
        shade,
        0.55,
        blur=0.05,
    )
    for way in (-1, 1):
        canvas.line(
            np.array([(0.25 * way, foot[1] - 0.18), (0.305 * way, foot[1] - 0.09), (0.24 * way, foot[1] - 0.02)]),
            shade,
            0.035,
            0.5,
            blur=0.02,
        )
        nostril = np.array([(0.07, -0.015), (0.13, -0.045), (0.19, -0.02), (0.13, 0.005)]) * (way, 1) + (0, foot[1])
        canvas.fill(curve(nostril), mixed(look.skin, (70, 20, 18), 0.75), 0.85, blur=0.016)
    canvas.line(np.array([(0.03 * side, -0.05), (0.03 * side, 0.32)]), glow, 0.07, 0.4, blur=0.05)
    canvas.glow((tip[0] + 0.03 * side, tip[1] - 0.03), 0.085, glow, 0.65)


def _eye(canvas: Canvas, look: Look, points: Float, side: int, head: Head) -> None:
    upper, lower, iris = _EYES[side]
    above, below = points[list(upper)], points[list(lower)]
    way = 1.0 if side else -1.0
    shade = mixed(look.skin, (104, 44, 34), 0.5)
    socket = np.concatenate([above + np.array([0, -0.1, 0]), below[::-1] + np.array([0, 0.05, 0])])
    canvas.fill(curve(socket), shade, 0.32, blur=0.09)
    outline = curve(np.concatenate([above, below[::-1][1:-1]]))
    canvas.fill(outline, (244, 240, 238))
    centre = points[iris, :2] + np.array([0.03 * head.gaze[0], 0.03 * head.gaze[1] - 0.005])
    radius = 0.108 * (0.9 + 0.1 * look.eye_size)
    canvas.disc(centre, radius, mixed(look.eyes, (0, 0, 0), 0.55), clip=outline)
    canvas.disc(centre, radius * 0.88, look.eyes, clip=outline)
    canvas.glow((centre[0], centre[1] + 0.045), radius * 0.6, mixed(look.eyes, (255, 226, 180), 0.5), 0.75, clip=outline)
    canvas.disc(centre, radius * 0.45, (14, 10, 10), clip=outline)
    lid = np.concatenate([above + np.array([0, -0.03, 0]), above[::-1] + np.array([0, 0.045, 0])])
    canvas.fill(curve(lid), mixed(look.skin, (40, 20, 24), 0.7), 0.5, blur=0.025, clip=outline)
    light = 1.0 if look.light >= 0 else -1.0
    if head.blink < 0.6:
        canvas.disc(centre + np.array([0.036 * light, -0.04]), 0.027, (255, 255, 255), clip=outline)
        canvas.disc(centre + np.array([-0.035 * light, 0.04]), 0.013, (255, 255, 255), 0.6, clip=outline)
    corner = below[-1]
    canvas.disc(corner[:2] - np.array([0.012 * way, 0]), 0.018, mixed(look.skin, look.blush, 0.6), 0.8, clip=outline)
    lash = mixed(look.hair, (14, 8, 10), 0.75)
    outer = above[0] + np.array([0.055 * way, -0.03, 0])
    canvas.taper(np.concatenate([[outer], above]), lash, 0.018, 0.044)
    canvas.line(below[:5], lash, 0.011, 0.45, blur=0.008)
    canvas.line(below + np.array([0, 0.07, 0]), shade, 0.03, 0.3, blur=0.03)
    crease = above + np.array([0, -0.075, 0])
    canvas.line(crease[:-1], mixed(look.skin, (90, 34, 28), 0.6), 0.018, 0.55 * (1 - 0.5 * head.blink), blur=0.014)
    high, low = (points[list(line)] for line in _BROWS[side])
    middle = (high + low) / 2 + np.array([0, 0.015, 0])
    brow = mixed(look.hair, (20, 12, 10), 0.25)
    canvas.taper(middle, brow, 0.035 * look.brow_weight, 0.085 * look.brow_weight, blur=0.018, opacity=0.62)
    canvas.taper(middle + np.array([0, 0.008, 0]), brow, 0.016 * look.brow_weight, 0.05 * look.brow_weight, blur=0.008, opacity=0.55)


def _mouth(canvas: Canvas, look: Look, points: Float, mouth: Mouth) -> None:
    line = {
        name: points[list(way)] for name, way in (("uo", _UPPER_OUTER), ("lo", _LOWER_OUTER), ("ui", _UPPER_INNER), ("li", _LOWER_INNER))
    }
    inside = curve(np.concatenate([line["ui"], line["li"][::-1][1:-1]]), 6)
    gap = float(points[14, 1] - points[13, 1])
    outer = curve(np.concatenate([line["uo"], line["lo"][::-1][1:-1]]), 6)
    canvas.fill(outer, mixed(look.skin, look.lips, 0.6), 0.6, blur=0.03)
    canvas.fill(outer, look.lips)
    side = 1.0 if look.light >= 0 else -1.0
    upper = curve(np.concatenate([line["uo"], line["ui"][::-1]]), 6)
    canvas.fill(upper, mixed(look.lips, (90, 24, 34), 0.42), 0.75, blur=0.012, clip=outer)
    if gap > 0.006 or mouth.bite > 0.2:
        canvas.fill(inside, (62, 20, 24))
        canvas.fill(inside + np.array([0, 0.06, 0][: inside.shape[1]]), (120, 46, 48), 0.55, blur=0.07, clip=inside)
        rest = shape(replace(look), replace(mouth, opening=0.0, bite=0.0, press=0.0, tongue=0.0))
        reach = abs(float(line["ui"][0, 0])) * 0.9
        edge = float(rest[13, 1]) + 0.012  # the upper teeth go with the head, not with the lips
        tongue_y = float(points[14, 1]) - 0.05 - 0.10 * mouth.tongue - 0.12 * gap
        tongue = np.array(
            [(-0.24, tongue_y + 0.2), (-0.17, tongue_y + 0.02), (0, tongue_y), (0.17, tongue_y + 0.02), (0.24, tongue_y + 0.2)]
        )
        canvas.fill(curve(tongue), (186, 92, 94), 0.9, blur=0.025, clip=inside)
        canvas.glow((0.02 * side, tongue_y + 0.05), 0.08, (216, 132, 130), 0.4, clip=inside)
        low = float(points[14, 1]) - 0.045 + 0.1 * max(0.0, gap - 0.16)
        if gap > 0.07:
            lower = np.array([(-0.7, low + 0.03), (0, low), (0.7, low + 0.03), (0.62, low + 0.14), (-0.62, low + 0.14)]) * (reach, 1)
            canvas.fill(curve(lower), (222, 212, 204), 0.8, blur=0.01, clip=inside)
        teeth = np.array(
            [
                (-0.97, edge - 0.1),
                (0.97, edge - 0.1),
                (0.9, edge + 0.015),
                (0.45, edge + 0.05),
                (0, edge + 0.058),
                (-0.45, edge + 0.05),
                (-0.9, edge + 0.015),
            ]
        ) * (reach, 1)
        canvas.fill(curve(teeth), (248, 243, 238), 0.97, blur=0.008, clip=inside)
        for at in (-0.62, -0.36, 0.0, 0.36, 0.62):
            canvas.line(
                np.array([(at * reach, edge - 0.08), (at * reach, edge + 0.05 - 0.03 * abs(at))]),
                (206, 190, 182),
                0.008,
                0.5,
                blur=0.006,
                clip=inside,
            )
        shadow = np.concatenate([line["ui"] + np.array([0, -0.05, 0]), line["ui"][::-1] + np.array([0, 0.028, 0])])
        canvas.fill(curve(shadow), (60, 16, 22), 0.6, blur=0.022, clip=inside)
        for way in (-1, 1):
            canvas.glow((way * reach * 0.98, float(line["ui"][0, 1])), 0.1, (44, 12, 16), 0.6, clip=inside)
    if mouth.bite > 0.2:
        edge = float(line["ui"][5, 1])
        bite = np.array([(-0.15, edge - 0.005), (0.15, edge - 0.005), (0.13, edge + 0.032), (-0.13, edge + 0.032)])
        canvas.fill(curve(bite), (246, 240, 234), 0.9 * mouth.bite, blur=0.008)
    else:
        canvas.line(line["ui"], mixed(look.lips, (60, 10, 20), 0.7), 0.02 if gap < 0.02 else 0.01, 0.7, blur=0.01)
    shine = (points[14, :2] + points[17, :2]) / 2
    canvas.fill(
        curve(np.array([(-0.13, -0.012), (0, -0.03), (0.13, -0.012), (0.1, 0.02), (-0.1, 0.02)]) + shine + np.array([0.03 * side, -0.005])),
        mixed(look.lips, (255, 230, 226), 0.55),
        0.5,
        blur=0.022,
        clip=outer,
    )
    canvas.line(line["uo"][3:8] + np.array([0, -0.008, 0]), mixed(look.skin, (255, 246, 236), 0.6), 0.014, 0.4, blur=0.012)


def _hair_before(canvas: Canvas, look: Look, points: Float) -> None:
    part = look.parting
    hair, dark, bright = look.hair, mixed(look.hair, (0, 0, 0), 0.4), mixed(look.hair, (255, 226, 190), 0.28)
    low = 1.75 if look.hair_length > 0.5 else -0.12
    left = np.array(
        [
            (part + 0.03, -1.0),
            (part - 0.12, -0.98),
            (part - 0.36, -0.9),
            (-0.82, -0.62),
            (-1.0, -0.2),
            (-1.04, low * 0.5),
            (-1.1, low),
            (-1.28, low + 0.35),
            (-1.5, low),
            (-1.47, low * 0.5),
            (-1.42, -0.4),
            (-1.2, -1.1),
            (-0.7, -1.58),
            (part, -1.68),
        ]
    )
    right = np.array(
        [
            (part - 0.03, -1.0),
            (part + 0.12, -1.0),
            (part + 0.4, -0.95),
            (0.62, -0.78),
            (0.94, -0.4),
            (1.04, low * 0.5),
            (1.1, low),
            (1.28, low + 0.35),
            (1.5, low),
            (1.47, low * 0.5),
            (1.42, -0.4),
            (1.2, -1.1),
            (0.7, -1.58),
            (part, -1.68),
        ]
    )
    shade = mixed(look.skin, (90, 40, 30), 0.6)
    for lock in (left, right):
        canvas.fill(curve(lock) + np.array([0, 0.07]), shade, 0.5, blur=0.07, clip=curve(points[list(_OVAL)]))
    for lock, way in ((left, -1), (right, 1)):
        outline = curve(lock)
        canvas.fill(outline, hair)
        canvas.fill(outline + np.array([0.12 * way, 0.3]), dark, 0.45, blur=0.2, clip=outline)
        for at in np.linspace(0.03, 0.97, 16):
            start = np.array([part + 0.02 * way, -1.66 + 0.6 * at])
            over = np.array([way * (0.55 + 0.42 * (1 - at)), -1.45 + 0.72 * at])
            side = np.array([way * (0.98 + 0.34 * (1 - at)), -0.75 + 0.6 * at * (1 - at) + 0.35 * at])
            end = np.array([way * (1.1 + 0.34 * (1 - at)), low + 0.45])
            strand = np.stack([start, (start + over) / 2 + (0, -0.03), over, side, end])
            tone, strength = ((bright, 0.5), (dark, 0.45), (hair, 0.2))[int(at * 15) % 3]
            canvas.line(strand, tone, 0.028, strength, blur=0.014, clip=outline)
    light = 1.0 if look.light >= 0 else -1.0
    band = np.array(
        [
            (light * 0.25, -1.36),
            (light * 0.75, -1.2),
            (light * 1.12, -0.72),
            (light * 1.02, -0.66),
            (light * 0.66, -1.08),
            (light * 0.22, -1.24),
        ]
    )
    canvas.fill(curve(band), mixed(look.hair, (255, 236, 210), 0.5), 0.3, blur=0.08)
