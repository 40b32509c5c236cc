"""The refiner: a net that corrects a finished mouth, and the appearance engine that has one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.appearance.config import REFINER, WarpConfig, read_config
from engines.appearance.engine import Asked, CpuPainter, Painter, WarpAppearance
from engines.appearance.zone import SIDE, View, Views, border, resized
from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.spec import Float, Picture
from native.composite.op import composite

INSIDE = 0.5
"""How much of the colour is added between the lips: there the net's safest guess is the mean of many mouths, and teeth turn grey.

Where the inside is drawn it is half of that: the net learned from one that was drawn otherwise."""


class Refiner:
    """Corrects pictures: moves what is a little beside its place, and adds colour."""

    def __init__(self) -> None:
        self._net = CpuNet(read_weights(REFINER), half=True)
        read_config(self._net.metadata, REFINER)
        self._views = Views()

    def __call__(self, asked: Asked, picture: Picture, alpha: Float) -> Picture:
        """A picture (I420) that was made as asked, corrected where the mask `alpha` of its patch (h, w) is above 0."""
        view = self._views.of(asked, picture)
        said = self._net.run(inputs(view))
        return laid(picture, view, said["flow"][0], said["added"][0], asked.corner, alpha, INSIDE * (1 - asked.missing / 2))


class RefinedAppearance(WarpAppearance):
    """Implements `engines.spec.AppearanceEngine`: `WarpAppearance`, refined. Pictures of another `painter` are left as they are."""

    def __init__(self, config: WarpConfig | None = None, painter: Painter | None = None) -> None:
        config = config or WarpConfig()
        super().__init__(config, painter or CpuPainter(config, Refiner()))


def inputs(view: View) -> dict[str, Float]:
    """A view as the net takes it: (1, ...)."""
    references = view.references.transpose(0, 3, 1, 2).reshape(1, -1, *view.references.shape[1:3])
    return {
        "picture": _signed(view.picture.transpose(2, 0, 1)[None]), "references": _signed(references),
        "drawn": view.drawn.transpose(2, 0, 1)[None] * np.float32(1 / 255), "numbers": view.numbers[None],
    }  # fmt: skip


def laid(picture: Picture, view: View, flow: Float, added: Float, corner: tuple[int, int], alpha: Float, inside: float = INSIDE) -> Picture:
    """The picture (I420), corrected by what the net said.

    flow (2, CELLS, CELLS): from where each place is taken, relative to it, shares of the zone's side. added (3, SIDE, SIDE): colour, in
    halves of 255. alpha (h, w): the mask of the patch at `corner`. inside: how much of the colour is added between the lips, 0..1.
    """
    zone, (height, width) = view.zone, alpha.shape
    x0, y0 = max(corner[0], zone.x), max(corner[1], zone.y)
    x1, y1 = min(corner[0] + width, zone.x + zone.side), min(corner[1] + height, zone.y + zone.side)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return picture
    part = np.s_[y0 - zone.y : y1 - zone.y, x0 - zone.x : x1 - zone.x]
    size = (zone.side, zone.side)
    way = [cv2.resize(axis, size, interpolation=cv2.INTER_LINEAR)[part] * np.float32(zone.side) for axis in flow]
    columns = np.arange(x0 - zone.x, x1 - zone.x, dtype=np.float32)[None]
    rows = np.arange(y0 - zone.y, y1 - zone.y, dtype=np.float32)[:, None]
    # in two maps: with one of two channels, OpenCV 5.0 interpolates linearly between wrong pixels
    made = cv2.remap(view.whole, way[0] + columns, way[1] + rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    added = added * (1 - resized(view.drawn[:, :, 0], SIDE) * np.float32((1 - inside) / 255))
    how = cv2.INTER_AREA if zone.side < SIDE else cv2.INTER_LINEAR
    more = cv2.resize(np.ascontiguousarray(added.transpose(1, 2, 0)), size, interpolation=how)[part]
    patch = np.clip(made + (more * np.float32(127.5) + np.float32(0.5)), 0, 255).astype(np.uint8)
    mask = alpha[y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]] * border(zone.side)[part]
    return composite(picture, (x0, y0), patch, mask)


def _signed(picture: NDArray[np.uint8]) -> Float:
    return np.asarray(picture * np.float32(1 / 127.5) - 1, np.float32)
