"""Encoders as a peer's reports move their bitrate."""

from __future__ import annotations

import av
import numpy as np
import pytest
from aiortc import RTCRtpSender, rtcrtpsender
from aiortc.codecs.base import Encoder

from realtime.timeline import PICTURE_BASE, picture_pts
from realtime.webrtc.encoders import LEAST_BITRATE, MOST_BITRATE, START_BITRATE, set_encoders


def encoder_of(kind: str) -> Encoder:
    set_encoders()
    codec = next(one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType == kind)
    encoder: Encoder = rtcrtpsender.get_encoder(codec)  # type: ignore[attr-defined]
    return encoder


def is_key(kind: str, payload: bytes) -> bool:
    """Whether a frame's first packet says that it is a key frame: by RFC 7741, or a parameter set of RFC 6184."""
    if kind == "video/H264":
        return payload[0] & 31 in (5, 7, 8) or (payload[0] & 31 == 24 and payload[3] & 31 in (5, 7, 8))
    extended = payload[0] & 0x80
    size = 1 if not extended else 2 + (0 if not payload[1] & 0x80 else 2 if payload[2] & 0x80 else 1)
    return not payload[size] & 1


@pytest.mark.parametrize("kind", ["video/VP8", "video/H264"])
def test_a_bitrate_that_rises_a_little_costs_no_key_frame(kind: str) -> None:
    encoder = encoder_of(kind)
    rng = np.random.default_rng(0)
    rates = [START_BITRATE, 1_000_000, 1_120_000, 1_250_000, 1_350_000, 1_500_000, MOST_BITRATE * 2, MOST_BITRATE, LEAST_BITRATE // 2]
    keys = []
    for n, rate in enumerate(rates):
        encoder.target_bitrate = rate  # type: ignore[attr-defined]
        frame = av.VideoFrame.from_ndarray(rng.integers(100, 140, (192, 128), np.uint8), format="yuv420p")
        frame.pts, frame.time_base = picture_pts(n), PICTURE_BASE
        keys.append(is_key(kind, encoder.encode(frame)[0][0]))
    # A fall is obeyed at once; a rise by less than two fifths is not followed; the last is held at the least.
    falls = [True, True, False, False, False, True, True, False, True]
    assert keys == (falls if kind == "video/VP8" else [True] + [False] * 8)
    assert encoder.target_bitrate == LEAST_BITRATE  # type: ignore[attr-defined]
