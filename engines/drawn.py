"""The drawn presenter: a fictional person, painted by code at any size, with exact landmarks for every picture.

Everything is painted from landmark curves in the head's frame, so that the landmarks that come back are the picture's truth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines import face, traits
from engines.painting import Canvas, Colour, curve, mixed
from engines.person import (
    BROWS,
    EYES,
    LOWER_INNER,
    LOWER_OUTER,
    OVAL,
    UPPER_INNER,
    UPPER_OUTER,
    Head,
    Look,
    Mouth,
    pose_of,
    shape,
)  # fmt: skip

Float = NDArray[np.float32]


def draw(look: Look, mouth: Mouth, head: Head, size: int | tuple[int, int] = 512) -> tuple[NDArray[np.uint8], Float]:
    """The picture (H, W, 3) RGB and its landmarks (478, 3): pixels, z with x's scale, as the tracker gives them.

    `size` is (width, height), or a square's side. Same arguments, same bits.
    """
    size = (size, size) if isinstance(size, int) else size
    pose = pose_of(head, size)
    points = shape(look, mouth)
    for upper, lower, _ in EYES:
        for above, below in zip(upper[1:-1], lower[1:-1], strict=True):
            points[above, :2] += 0.92 * head.blink * (points[below, :2] - points[above, :2])
    landmarks = face.from_head(points, pose)
    canvas = Canvas(size, pose)
    _backdrop(canvas, look)
    if look.hair_style == "curly":
        traits.curls_behind(canvas, look)
    elif look.hair_style == "parted":
        _hair_behind(canvas, look)
    if look.hair_length < 0.5:
        _ears(canvas, look)
    _body(canvas, look, head)
    _skin(canvas, look, points)
    if look.hair_style == "receding":
        traits.receding(canvas, look)
    traits.lines_of_age(canvas, look, points)
    traits.beard(canvas, look, points)
    _mouth(canvas, look, points, mouth)
    traits.moustache(canvas, look, points)
    _nose(canvas, look, points)
    for side in (0, 1):
        _eye(canvas, look, points, side, head)
    if look.hair_style == "curly":
        traits.curls_before(canvas, look, points)
    elif look.hair_style == "short":
        traits.short(canvas, look, points)
    elif look.hair_style == "parted":
        _hair_before(canvas, look, points)
    traits.earrings(canvas, look)
    traits.glasses(canvas, look, points)
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
    if look.collar == "shirt":
        traits.shirt(canvas, look, lift)
        canvas.fixed = False
        return
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


def _ears(canvas: Canvas, look: Look) -> None:
    for side in (-1, 1):
        ear = np.array([(1.1, 0.0), (1.27, -0.08), (1.33, 0.12), (1.26, 0.42), (1.13, 0.62), (1.06, 0.55)]) * (side, 1)
        canvas.fill(curve(ear), mixed(look.skin, look.blush, 0.25))
        canvas.line(ear[1:5] * (0.97, 1), mixed(look.skin, (100, 40, 30), 0.4), 0.03, 0.5, blur=0.02)


def _skin(canvas: Canvas, look: Look, points: Float) -> None:
    oval = points[list(OVAL), :]
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
    upper, lower, iris = EYES[side]
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
    canvas.taper(np.concatenate([[outer], above]) if look.lashes > 0.5 else above, lash, 0.018, 0.024 + 0.02 * look.lashes)
    canvas.line(below[:5], lash, 0.011, 0.2 + 0.25 * look.lashes, blur=0.008)
    canvas.line(below + np.array([0, 0.07, 0]), shade, 0.03, 0.3, blur=0.03)
    crease = above + np.array([0, -0.075, 0])
    canvas.line(crease[:-1], mixed(look.skin, (90, 34, 28), 0.6), 0.018, 0.55 * (1 - 0.5 * head.blink), blur=0.014)
    high, low = (points[list(line)] for line in BROWS[side])
    middle = (high + low) / 2 + np.array([0, 0.015, 0])
    brow = mixed(look.hair, (20, 12, 10), 0.25)
    canvas.taper(middle, brow, 0.035 * look.brow_weight, 0.085 * look.brow_weight, blur=0.018, opacity=0.62)
    canvas.taper(middle + np.array([0, 0.008, 0]), brow, 0.016 * look.brow_weight, 0.05 * look.brow_weight, blur=0.008, opacity=0.55)


def _mouth(canvas: Canvas, look: Look, points: Float, mouth: Mouth) -> None:
    line = {name: points[list(way)] for name, way in (("uo", UPPER_OUTER), ("lo", LOWER_OUTER), ("ui", UPPER_INNER), ("li", LOWER_INNER))}
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
        canvas.fill(inside + np.array([0, 0.06, 0]), (120, 46, 48), 0.55, blur=0.07, clip=inside)
        rest = shape(look, replace(mouth, opening=0.0, bite=0.0, press=0.0, tongue=0.0))
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
        canvas.fill(curve(lock) + np.array([0, 0.07]), shade, 0.5, blur=0.07, clip=curve(points[list(OVAL)]))
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
