"""Samples as people have them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mytalk.own import own

Float = NDArray[np.float32]


def floats(samples: ArrayLike | bytes) -> Float:
    """Samples as float32. Raises SpeechFault."""
    fault = own("engines.errors").SpeechFault
    if isinstance(samples, bytes | bytearray | memoryview):
        if len(samples) % 2:
            raise fault("The sound has an odd number of bytes.", "Push whole 16-bit samples: two bytes each.")
        samples = np.frombuffer(samples, "<i2")
    sound = np.asarray(samples)
    if sound.ndim != 1:
        raise fault(f"Samples have the shape {sound.shape}.", "Push one channel: (n,).")
    if sound.dtype == np.int16 or sound.dtype == np.dtype("<i2"):
        return (sound / 32768).astype(np.float32)
    if sound.dtype.kind != "f" and len(sound):
        raise fault(f"Samples are {sound.dtype}.", "Push float between -1 and 1, or int16.")
    if not np.isfinite(sound).all():
        raise fault("Samples are not all numbers.", "Push float between -1 and 1, or int16.")
    return np.clip(sound, -1, 1).astype(np.float32)
