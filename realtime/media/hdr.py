"""HDR pictures, PQ or HLG in BT.2020, as SDR: what is as bright as paper or skin keeps its light, what is brighter rolls off."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import cache

import av
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

PQ, HLG = 16, 18
"""Transfer characteristics, by their numbers."""
_WHITE = 203.0  # cd/m2 that are SDR's white, after ITU-R BT.2408
_PEAK = 1000.0  # cd/m2 of HLG's whitest
_KNEE = 0.7  # of white: what is darker is left as it is
_GAMMA = 2.4  # of an SDR screen, after ITU-R BT.1886
_TICK = Fraction(1, 25)
_SIDE = 49  # of the table of colours: 33 are 0.5 of 255 worse in PQ, 65 take a second to write
_KR, _KG, _KB = 0.2627, 0.678, 0.0593
_TO_709 = np.array([[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]])
"""Linear BT.2020 to linear BT.709."""


class ToneMapping:
    """Makes frames of one size and format SDR: I420, limited range, BT.601, of another size."""

    def __init__(self, frame: av.VideoFrame, size: tuple[int, int], scaling: str) -> None:
        self._kind = frame.width, frame.height, frame.format.name
        self._count = 0
        self._graph = graph = av.filter.Graph()
        with tempfile.NamedTemporaryFile("w", prefix="mytalk-", suffix=".cube") as table:  # read when the graph is made, not later
            table.write(_table(frame.color_trc))
            table.flush()
            graph.link_nodes(
                graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TICK),
                graph.add("scale", f"{size[0]}:{size[1]}:in_color_matrix=bt2020:flags={scaling}"),
                graph.add("format", "gbrp16le"),
                graph.add("lut3d", file=table.name, interp="tetrahedral"),
                graph.add("scale", "out_color_matrix=bt601:out_range=limited"),
                graph.add("format", "yuv420p"),
                graph.add("buffersink"),
            )
            graph.configure()

    def fits(self, frame: av.VideoFrame) -> bool:
        """Whether the frame is of the size and format that this is for."""
        return (frame.width, frame.height, frame.format.name) == self._kind

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame as SDR."""
        frame.pts, frame.time_base = self._count, _TICK  # of no use after this, and photos have none
        self._count += 1
        self._graph.push(frame)
        mapped = self._graph.pull()
        assert isinstance(mapped, av.VideoFrame)
        return mapped


@cache
def _table(transfer: int) -> str:
    """The SDR colours of a grid of HDR ones, as a file of the format .cube."""
    grid = np.linspace(0, 1, _SIDE)
    blue, green, red = np.meshgrid(grid, grid, grid, indexing="ij")
    code = np.stack([red, green, blue], -1).reshape(-1, 3)
    light = np.maximum((_pq(code) if transfer == PQ else _hlg(code)) / _WHITE @ _TO_709.T, 0)
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)  # all three by one factor: hues stay
    shown = np.clip(light * (_shoulder(brightest) / brightest), 0, 1) ** (1 / _GAMMA)
    return f"LUT_3D_SIZE {_SIDE}\n" + "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in shown.tolist()) + "\n"


def _pq(code: Float) -> Float:
    """cd/m2 of SMPTE ST 2084."""
    root = code ** (1 / 78.84375)
    return 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)


def _hlg(code: Float) -> Float:
    """cd/m2 of ITU-R BT.2100's HLG on a screen of 1000 cd/m2."""
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    luma = scene @ np.array([_KR, _KG, _KB])
    return _PEAK * scene * np.maximum(luma, 1e-9)[..., None] ** 0.2


def _shoulder(light: Float) -> Float:
    """Linear up to the knee, then ever flatter towards 1."""
    above = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    return np.minimum(light, _KNEE) + (1 - _KNEE) * above / (1 + above)
