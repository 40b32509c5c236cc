"""What sets drawn people apart: lines of age, beards, glasses, earrings, curls, and hair that has gone. Used by `engines.drawn` alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.painting import Canvas, Colour, curve, mixed, smooth
from engines.person import EYES, OVAL, OVAL_LEFT, OVAL_RIGHT, UPPER_OUTER, Look

Float = NDArray[np.float32]
_JAW = (*OVAL_LEFT[8:], *OVAL_RIGHT[:9])  # from ear to ear below the face


def lines_of_age(canvas: Canvas, look: Look, points: Float) -> None:
    """Folds of the forehead, the eyes and the mouth; they go with the mouth's corners."""
    if not look.age:
        return
    shade = mixed(look.skin, (112, 48, 36), 0.55)
    for height, reach, strength in ((-0.64, 0.5, 0.55), (-0.79, 0.64, 0.6), (-0.95, 0.54, 0.5)):
        bend = np.linspace(-1, 1, 7)
        line = np.stack([reach * bend, height - 0.05 * (1 - bend**2) + 0.012 * np.cos(5 * bend)], 1)
        canvas.line(line, shade, 0.022, strength * look.age, blur=0.014)
    for side, (upper, lower, _) in zip((-1, 1), EYES, strict=True):
        outer = points[upper[0], :2]
        for angle in (-0.45, 0.0, 0.4):
            way = np.array([side * np.cos(angle), np.sin(angle)])
            canvas.line(outer + way * np.array([[0.1], [0.17], [0.25]]), shade, 0.016, 0.4 * look.age, blur=0.01)
        below = points[list(lower), :2] + np.array([0, 0.13])
        canvas.line(below[1:-1] + np.array([0, 0.03]), shade, 0.05, 0.4 * look.age, blur=0.035)
        canvas.line(below[2:-1] + np.array([0, 0.09]), shade, 0.018, 0.35 * look.age, blur=0.012)
        corner = points[61 if side < 0 else 291, :2]
        fold = np.array([(0.3 * side, 0.56), (0.42 * side, 0.72), (corner[0] + 0.13 * side, corner[1] - 0.08)])
        canvas.line(fold, shade, 0.028, 0.6 * look.age, blur=0.016)
        canvas.line(fold + np.array([0.04 * side, 0.02]), shade, 0.09, 0.3 * look.age, blur=0.06)
        sag = corner + np.array([(0.03 * side, 0.04), (0.08 * side, 0.17), (0.07 * side, 0.3)])
        canvas.line(sag, shade, 0.026, 0.4 * look.age, blur=0.02)


def beard(canvas: Canvas, look: Look, points: Float) -> None:
    """Shade under single hairs, which go with jaw and lips."""
    if not look.beard:
        return
    jaw = points[list(_JAW), :2]
    outline = curve(np.concatenate([points[list(OVAL), :2] * (1.0, 1.03)]))
    corners = points[[61, 291], :2]
    dark, bright = _tones(look)
    random = np.random.default_rng(7)
    off = np.array([0.06, 0.12])
    right, left = corners[1] + (0.1, -0.02), corners[0] + (-0.1, -0.02)
    inner = np.array([
        (0.97, -0.05), (0.93, 0.35), (0.82, 0.68), (0.66, 0.88), right, right + off * (-1, 1), (0.2, points[17, 1] + 0.05),
        (0, points[17, 1] + 0.09), (-0.2, points[17, 1] + 0.05), left + off, left, (-0.66, 0.88), (-0.82, 0.68),
        (-0.93, 0.35), (-0.97, -0.05),
    ], np.float32)  # fmt: skip
    outer = _evenly(np.concatenate([[(1.02, -0.05)], jaw[1:-1] * (1.0, 1.02), [(-1.02, -0.05)]]), len(inner))
    area = np.concatenate([inner, outer[::-1]])
    canvas.fill(area, look.beard_colour, 0.74 * look.beard, blur=0.045, clip=outline)
    rim, edge = _evenly(inner, 160), _evenly(outer, 160)
    canvas.fill(curve(np.concatenate([jaw * (1, 1.01), jaw[::-1] * (0.93, 0.95)]), 2), dark, 0.4 * look.beard, blur=0.06, clip=outline)
    for at, across, tone in zip(random.integers(0, 160, 520), random.uniform(-0.03, 0.96, 520), random.uniform(0, 1, 520), strict=True):
        root = rim[at] * (1 - across) + edge[at] * across
        way = 0.75 * (edge[at] - rim[at]) / max(0.08, float(np.linalg.norm(edge[at] - rim[at]))) + np.array([0, 0.6])
        _hair(canvas, root, way, 0.085, mixed(dark, bright, tone**2), 0.55 * look.beard, outline)


def moustache(canvas: Canvas, look: Look, points: Float) -> None:
    """A moustache over the upper lip, which goes with it."""
    if not look.moustache:
        return
    foot = float(points[2, 1])
    dark, bright = _tones(look)
    random = np.random.default_rng(9)
    lip = _evenly(points[list(UPPER_OUTER), :2] * (1.06, 1), 80)
    lip[:, 1] += 0.03 * np.linspace(-1, 1, 80) ** 2
    bend = np.linspace(-1, 1, 80)
    top = np.stack([0.98 * lip[:, 0], lip[:, 1] - (0.03 + 0.16 * (1 - bend**2) ** 0.7)], 1)
    top[:, 1] = np.maximum(top[:, 1], foot + 0.05 + 0.02 * np.exp(-((bend / 0.12) ** 2)))
    shape = np.concatenate([lip, top[::-1]])
    canvas.fill(shape, mixed(look.beard_colour, (0, 0, 0), 0.15), 0.8 * look.moustache, blur=0.025)
    for at, across, tone in zip(random.integers(0, 80, 170), random.uniform(0, 0.85, 170), random.uniform(0, 1, 170), strict=True):
        root = top[at] * (1 - across) + lip[at] * across
        way = np.array([0.9 * bend[at], 0.75])
        _hair(canvas, root, way, 0.075, mixed(dark, bright, tone**1.5), 0.6 * look.moustache, None)


def glasses(canvas: Canvas, look: Look, points: Float) -> None:
    """A pair of glasses that sits on the nose, in front of the eyes."""
    if look.glasses is None:
        return
    turn = np.linspace(0, 2 * np.pi, 29)
    shine = 1.0 if look.light >= 0 else -1.0
    for side, (upper, lower, _) in zip((-1, 1), EYES, strict=True):
        middle = points[[*upper, *lower], :2].mean(0) + np.array([0.02 * side, 0.04])
        # a rounded square, before the face and bent around it a little
        across, down = (np.sign(part) * np.abs(part) ** 0.62 for part in (np.cos(turn), np.sin(turn)))
        lens = np.stack([middle[0] + 0.37 * across, middle[1] + 0.3 * down - 0.015 * across * side, np.zeros(29)], 1)
        lens[:, 2] = -0.32 + 0.22 * (lens[:, 0] * side - 0.2)
        canvas.fill(lens.astype(np.float32), (255, 255, 255), 0.07)
        glare = np.array([(-0.24, 0.16), (0.06, -0.24), (0.16, -0.24), (-0.14, 0.2)]) * (shine, 1) + middle
        canvas.fill(curve(_deep(glare, lens[0, 2])), (255, 255, 255), 0.16, blur=0.02, clip=lens.astype(np.float32))
        canvas.line(lens + np.array([0, 0.03, 0]), mixed(look.skin, (70, 30, 24), 0.6), 0.05, 0.25, blur=0.03)
        canvas.line(lens, look.glasses, 0.052, blur=0.004)
        canvas.line(lens[16:22], mixed(look.glasses, (255, 255, 255), 0.4), 0.014, 0.6, blur=0.006)
        arm = np.array([(lens[:, 0].max() if side > 0 else lens[:, 0].min(), middle[1] - 0.1, -0.14), (1.1 * side, middle[1] - 0.12, 0.05)])
        canvas.line(arm, look.glasses, 0.05, blur=0.004)
    bridge = np.array([(-0.15, 0.0), (-0.07, -0.06), (0.07, -0.06), (0.15, 0.0)]) + np.array([0, points[6, 1]])
    canvas.line(_deep(bridge, -0.4), look.glasses, 0.05, blur=0.004)


def earrings(canvas: Canvas, look: Look) -> None:
    """A ring below each ear."""
    if look.earrings is None:
        return
    turn = np.linspace(0, 2 * np.pi, 25)
    for side in (-1, 1):
        ring = np.stack([1.15 * side + 0.1 * np.cos(turn), 0.8 + 0.15 * np.sin(turn)], 1)
        canvas.line(ring, mixed(look.earrings, (90, 56, 10), 0.4), 0.045)
        canvas.line(ring - np.array([0.006, 0.008]), look.earrings, 0.028)
        canvas.line(ring[15:20], (255, 244, 214), 0.018, 0.9, blur=0.006)


def curls_behind(canvas: Canvas, look: Look) -> None:
    """A round head of curls, behind the face."""
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    bumps = 1 + 0.018 * np.cos(11 * turn) + 0.012 * np.cos(17 * turn + 1)
    cloud = np.stack([1.58 * bumps * np.cos(turn), -0.62 + 1.36 * bumps * np.sin(turn)], 1)
    canvas.fill(curve(cloud), mixed(look.hair, (0, 0, 0), 0.3), blur=0.02)
    _curls(canvas, look, cloud, 3, 420)


def curls_before(canvas: Canvas, look: Look, points: Float) -> None:
    """The curls' edge over the forehead and the temples."""
    edge = np.array([
        (-1.06, 0.12), (-0.99, -0.3), (-0.9, -0.62), (-0.68, -0.88), (-0.34, -1.01), (0, -1.04), (0.34, -1.01), (0.68, -0.88), (0.9, -0.62),
        (0.99, -0.3), (1.06, 0.12), (1.22, 0.0), (1.4, -0.6), (1.1, -1.35), (0.4, -1.75), (-0.4, -1.75), (-1.1, -1.35), (-1.4, -0.6),
        (-1.22, 0.0),
    ])  # fmt: skip
    outline = curve(edge)
    canvas.fill(outline + np.array([0, 0.06]), mixed(look.skin, (40, 14, 10), 0.6), 0.5, blur=0.06, clip=_forehead(points))
    canvas.fill(outline, mixed(look.hair, (0, 0, 0), 0.15), blur=0.02)
    _curls(canvas, look, edge, 5, 420)


def short(canvas: Canvas, look: Look, points: Float) -> None:
    """Hair cut short at the sides, combed up and back from the forehead."""
    dark, bright = mixed(look.hair, (0, 0, 0), 0.35), mixed(look.hair, (236, 206, 180), 0.3)
    edge = np.array([
        (-1.0, 0.16), (-0.99, -0.28), (-0.9, -0.66), (-0.72, -0.92), (-0.4, -1.03), (0, -1.0), (0.4, -1.04), (0.72, -0.92), (0.9, -0.66),
        (0.99, -0.28), (1.0, 0.16), (1.12, 0.04), (1.2, -0.42), (1.2, -0.95), (0.98, -1.46), (0.5, -1.76), (-0.1, -1.8), (-0.66, -1.66),
        (-1.02, -1.36), (-1.2, -0.9), (-1.2, -0.42), (-1.12, 0.04),
    ])  # fmt: skip
    outline = curve(edge)
    canvas.fill(outline + np.array([0, 0.07]), mixed(look.skin, (60, 26, 18), 0.6), 0.5, blur=0.06, clip=_forehead(points))
    canvas.fill(outline, look.hair, blur=0.01)
    light = 1.0 if look.light >= 0 else -1.0
    random = np.random.default_rng(13)
    for at, up, tone in zip(random.uniform(-1, 1, 420), random.uniform(0, 1, 420), random.uniform(0, 1, 420), strict=True):
        side = abs(at) ** 3  # on top hair goes up and to one side, at the temples down
        low = np.array([1.03 * np.sin(1.5 * at), -1.02 + 1.1 * side])
        root = low * (1 - up) + np.array([1.2 * np.sin(1.45 * at), -1.78 + 1.3 * side]) * up
        way = np.array([0.4 * light * (1 - side) + 0.25 * at, -0.9 + 1.5 * side])
        lit = float(np.clip(0.5 + 0.5 * light * root[0] + 0.3 * up, 0, 1))
        _hair(canvas, root, way, 0.3, mixed(dark, bright, tone * lit), 0.4, outline)


def receding(canvas: Canvas, look: Look) -> None:
    """A bald crown with hair at its sides."""
    dark, bright = mixed(look.hair, (60, 60, 66), 0.5), mixed(look.hair, (255, 255, 255), 0.5)
    shine = 1.0 if look.light >= 0 else -1.0
    dome = curve(np.array([
        (-1.02, 0.0), (-1.1, -0.5), (-1.05, -0.95), (-0.8, -1.38), (-0.42, -1.62), (0, -1.69), (0.42, -1.62), (0.8, -1.38), (1.05, -0.95),
        (1.1, -0.5), (1.02, 0.0), (0.86, -0.72), (0.45, -0.9), (0, -0.95), (-0.45, -0.9), (-0.86, -0.72),
    ]))  # fmt: skip
    canvas.fill(dome, look.skin, blur=0.012)
    canvas.fill(
        curve(np.array([(-0.8, -0.62), (0, -0.7), (0.8, -0.62), (0.92, -1.1), (0, -1.4), (-0.92, -1.1)])), look.skin, 0.85, blur=0.2
    )
    shade = mixed(look.skin, (120, 50, 34), 0.5)
    for side, strength in ((shine, 0.3), (-shine, 0.6)):
        rim = np.array([(1.2, -0.2), (1.15, -1.0), (0.8, -1.5), (0.3, -1.75), (0.3, -1.66), (0.68, -1.34), (0.94, -0.9), (1.0, -0.2)])
        canvas.fill(curve(rim * (-side, 1)), shade, strength, blur=0.13, clip=dome)
    canvas.glow((0.32 * shine, -1.28), 0.42, mixed(look.skin, (255, 250, 244), 0.75), 0.7, clip=dome)
    random = np.random.default_rng(11)
    for side in (-1, 1):
        patch = np.array([
            (1.0, 0.3), (1.0, -0.1), (0.97, -0.42), (0.9, -0.72), (0.86, -1.0), (0.9, -1.2), (1.06, -1.12), (1.22, -0.78), (1.3, -0.32),
            (1.26, 0.02), (1.12, 0.1), (1.08, 0.3),
        ]) * (side, 1)  # fmt: skip
        area = curve(patch)
        canvas.fill(area, look.hair, 0.85, blur=0.035)
        for at, tone in zip(random.uniform(0, 1, (240, 2)), random.uniform(0, 1, 240), strict=True):
            low, high = np.array([1.0 + 0.26 * at[0], 0.14 - 0.2 * at[0]]), np.array([0.86 + 0.16 * at[0], -1.16 + 0.1 * at[0]])
            root = high * (1 - at[1]) + low * at[1] + np.array([0.12 * np.sin(np.pi * at[1]) * (0.5 + 0.5 * at[0]), 0])
            _hair(canvas, root * (side, 1), np.array([side * (0.5 - at[1]), 1.0]), 0.2, mixed(dark, bright, tone), 0.5, area)


def shirt(canvas: Canvas, look: Look, lift: float) -> None:
    """The collar of a white shirt under a jacket with lapels."""
    white, shade, up = (240, 241, 244), (168, 174, 190), np.array([0, lift])
    chest = np.array([(-0.5, 2.86), (0, 3.2), (0.5, 2.86), (0.66, 3.3), (0.2, 6), (-0.2, 6), (-0.66, 3.3)]) + up
    canvas.fill(chest, white)
    canvas.line(np.array([(0, 3.2), (0.01, 4.0), (0, 5.5)]) + up, shade, 0.03, 0.7, blur=0.02)
    for side in (-1, 1):
        wing = np.array([(0.98, 2.5), (0.62, 2.62), (0.02, 3.16), (0.3, 3.52), (0.74, 3.16), (1.08, 2.74)]) * (side, 1) + up
        canvas.fill(wing + np.array([0, 0.06]), (60, 64, 80), 0.4, blur=0.05)
        canvas.fill(wing, white)
        canvas.line(wing[2:5], shade, 0.02, 0.8, blur=0.01)
        lapel = np.array([(1.1, 2.66), (0.74, 3.16), (0.5, 3.5), (0.16, 4.6), (0.2, 6), (1.0, 4.4), (1.32, 3.5), (1.12, 3.4), (1.34, 3.2)])
        canvas.fill(lapel * (side, 1) + up, mixed(look.clothes, (255, 255, 255), 0.07))
        canvas.line(lapel[[5, 6, 7, 8]] * (side, 1) + up, mixed(look.clothes, (0, 0, 0), 0.5), 0.035, 0.7, blur=0.02)


def _curls(canvas: Canvas, look: Look, area: NDArray[np.floating], seed: int, count: int) -> None:
    dark, bright = mixed(look.hair, (0, 0, 0), 0.45), mixed(look.hair, (255, 224, 196), 0.3)
    random = np.random.default_rng(seed)
    low, high = area.min(0), area.max(0)
    inside = curve(area)
    light = np.array([1.0 if look.light >= 0 else -1.0, -0.8])
    for centre, radius, start, tone in zip(
        random.uniform(low, high, (count, 2)), random.uniform(0.05, 0.1, count), random.uniform(0, 6.3, count), random.uniform(0, 1, count),
        strict=True,
    ):  # fmt: skip
        turn = start + np.linspace(0, 4.2, 6)
        lit = float(np.clip(0.5 + 0.35 * ((centre - (0, -0.6)) @ light), 0, 1))
        ring = centre + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
        canvas.line(ring, mixed(dark, bright, 0.25 + 0.75 * lit * tone), 0.028, 0.75, blur=0.008, clip=inside)


def _hair(canvas: Canvas, root: Float, way: Float, length: float, colour: Colour, opacity: float, clip: Float | None) -> None:
    bend = np.array([-way[1], way[0]]) * 0.12
    canvas.line(np.stack([root, root + length * (0.5 * way + bend), root + length * way]), colour, 0.014, opacity, blur=0.005, clip=clip)


def _tones(look: Look) -> tuple[Colour, Colour]:
    return mixed(look.beard_colour, (0, 0, 0), 0.3), mixed(look.beard_colour, (236, 206, 180), 0.3)


def _forehead(points: Float) -> Float:
    return curve(points[list(OVAL), :2] * (0.97, 1.25))


def _evenly(points: Float, count: int) -> Float:
    """(count, 2) places at equal distances along a smooth line through points (P, 2)."""
    line = smooth(points)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, line[:, k]) for k in (0, 1)], 1).astype(np.float32)


def _deep(points: Float, depth: float) -> Float:
    return np.concatenate([points, np.full((len(points), 1), depth)], 1).astype(np.float32)
