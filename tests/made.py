"""Small made-up media: pictures whose grey says their number, sounds with known samples."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def grey(number: int) -> int:
    """The luma of picture `number`: steps of 4, so that coding does not blur them."""
    return 20 + number * 4 % 200


def number(picture: NDArray[np.uint8]) -> int:
    """Which picture an I420 picture with the luma of `grey` is (modulo 50)."""
    height = picture.shape[0] * 2 // 3
    return round((float(np.median(picture[:height])) - 20) / 4)


def write_clip(
    path: Path,
    times: Sequence[float],
    *,
    size: tuple[int, int] = (64, 48),
    rate: int = 25,
    paint: Callable[[int], NDArray[np.uint8]] | None = None,
    pixels: str = "yuv420p",
    codec: str = "libx264",
    space: int = 5,
) -> Path:
    """A video whose picture n is shown at times[n] s; grey unless `paint(n)` gives an RGB picture.

    `space` is the colour space's number: 5 BT.601, 1 BT.709.
    """
    base = Fraction(1, 12000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.codec_context.time_base = base
        stream.codec_context.colorspace = space
        if codec == "libx264":
            stream.options = {"crf": "4", "preset": "ultrafast", "bf": "0"}
        for n, time in enumerate(times):
            rgb = paint(n) if paint else np.full((size[1], size[0], 3), round((grey(n) - 16) * 255 / 219), np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixels, dst_colorspace=space)
            frame.pts, frame.time_base = round(time / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn(path: Path) -> None:
    """Write a rotation by 90 degrees clockwise into an mp4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(data)


def write_wav(path: Path, samples: NDArray[np.generic], rate: int = 16000) -> Path:
    """A WAV file of samples (n,) or (n, C): int16, uint8 or float32."""
    block = samples if samples.ndim == 2 else samples[:, None]
    kind = 3 if samples.dtype == np.float32 else 1
    width = samples.dtype.itemsize
    channels = block.shape[1]
    data = np.ascontiguousarray(block).tobytes()
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * width, channels * width, 8 * width)
    path.write_bytes(
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )
    return path


def noise(samples: int, seed: int = 0) -> Float:
    """Low-passed noise: correlates with itself at one lag only."""
    white = np.random.default_rng(seed).standard_normal(samples + 15)
    return (0.2 * np.convolve(white, np.hanning(16) / 4, "valid")).astype(np.float32)


def lag(heard: Float, said: Float) -> int:
    """Samples by which `heard` is later than `said`."""
    count = min(len(heard), len(said))
    spectrum = np.fft.rfft(heard[:count], 2 * count) * np.conj(np.fft.rfft(said[:count], 2 * count))
    at = int(np.argmax(np.fft.irfft(spectrum)))
    return at if at < count else at - 2 * count
