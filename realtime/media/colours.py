"""Pictures of more light or more colours than SDR has, as SDR in BT.709's: HDR as PQ or HLG, BT.2020, Display P3.

What is as bright as paper or skin keeps its light, what is brighter rolls off; colours that a screen of BT.709 cannot show are its nearest.
"""

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
_BT709, _UNSAID, _BT2020, _P3 = 1, 2, 9, 12  # primaries, by their numbers
_TO_709 = {
    _BT709: np.eye(3),
    _BT2020: np.array([[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]),
    _P3: np.array([[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]]),
}
"""Linear light of these primaries to linear BT.709."""
_MATRICES = {1: "bt709", 5: "smpte170m", 6: "smpte170m", 9: "bt2020", 10: "bt2020"}


def is_hdr(frame: av.VideoFrame) -> bool:
    """Whether it says so."""
    return frame.color_trc in (PQ, HLG)


def is_wide(frame: av.VideoFrame) -> bool:
    """Whether it has more light, or colours, than SDR in BT.709's."""
    return is_hdr(frame) or frame.color_primaries in (_BT2020, _P3)


class ToSdr:
    """Makes frames of one size and format SDR: I420, limited range, BT.601, of another size."""

    def __init__(self, frame: av.VideoFrame, size: tuple[int, int], scaling: str) -> None:
        self._kind = _kind(frame)
        primaries = frame.color_primaries if frame.color_primaries in _TO_709 else _BT2020
        matrix = _MATRICES.get(frame.colorspace, "bt709" if primaries == _P3 else "bt2020")
        self._count = 0
        self._graph = graph = av.filter.Graph()
        with tempfile.NamedTemporaryFile("w", prefix="mytalk-", suffix=".cube") as table:  # read when the graph is made, not later
            table.write(_table(frame.color_trc if is_hdr(frame) else _UNSAID, primaries))
            table.flush()
            graph.link_nodes(
                graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TICK),
                graph.add("scale", f"{size[0]}:{size[1]}:in_color_matrix={matrix}:flags={scaling}"),
                graph.add("format", "gbrp16le"),
                graph.add("lut3d", file=table.name, interp="tetrahedral"),
                graph.add("scale", "out_color_matrix=bt601:out_range=limited"),
                graph.add("format", "yuv420p"),
                graph.add("buffersink"),
            )
            graph.configure()

    def fits(self, frame: av.VideoFrame) -> bool:
        """Whether the frame is of the size and kind that this is for."""
        return _kind(frame) == self._kind

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame as SDR."""
        frame.pts, frame.time_base = self._count, _TICK  # of no use after this, and photos have none
        self._count += 1
        self._graph.push(frame)
        mapped = self._graph.pull()
        assert isinstance(mapped, av.VideoFrame)
        return mapped


def _kind(frame: av.VideoFrame) -> tuple[int | str, ...]:
    return frame.width, frame.height, frame.format.name, frame.color_trc, frame.color_primaries, frame.colorspace


@cache
def _table(transfer: int, primaries: int) -> str:
    """The SDR colours of a grid of colours, as a file of the format .cube."""
    grid = np.linspace(0, 1, _SIDE)
    blue, green, red = np.meshgrid(grid, grid, grid, indexing="ij")
    code = np.stack([red, green, blue], -1).reshape(-1, 3)
    light = (_pq(code) if transfer == PQ else _hlg(code)) / _WHITE if transfer != _UNSAID else code**_GAMMA
    light = np.maximum(light @ _TO_709[primaries].T, 0)
    if transfer != _UNSAID:
        brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)  # all three by one factor: hues stay
        light *= _shoulder(brightest) / brightest
    shown = np.clip(light, 0, 1) ** (1 / _GAMMA)
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
