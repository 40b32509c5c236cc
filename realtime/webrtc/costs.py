"""What it takes to send to a peer, measured at the start: the encoding of a picture, and packets."""

from __future__ import annotations

import socket
from contextlib import closing

import av
import numpy as np
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtp import RtpPacket
from pylibsrtp import Policy, Session

from engines.frames import Picture
from realtime.clock import Clock
from realtime.timeline import PICTURE_BASE, picture_pts

_PACKETS, _SOUNDS = (1200,) * 9, (160,) * 2
"""Bytes of the packets of a tick at 2 Mbit/s: of its picture, and of its sound, which comes from the peer, too."""


def cost_of_a_picture(size: tuple[int, int], clock: Clock, pictures: int = 12) -> float:
    """Seconds that VP8 takes for a picture of this size, measured (blocking; of a dozen the third fastest). Noise moves across it."""
    encoder = Vp8Encoder()
    width, height = size
    rng = np.random.default_rng(0)
    picture: Picture = rng.integers(100, 140, (height * 3 // 2, width), np.uint8)
    took = []
    for n in range(pictures):
        frame = av.VideoFrame.from_ndarray(np.roll(picture, n, 1), format="yuv420p")
        frame.pts, frame.time_base = picture_pts(n), PICTURE_BASE
        began = clock.now()
        encoder.encode(frame, force_keyframe=n == 0)
        took.append(clock.now() - began)
    return sorted(took[1:])[2]


def cost_of_packets(clock: Clock, ticks: int = 24) -> float:
    """Seconds of one thread that a tick's packets take to be written, encrypted and sent, and a microphone's to be decrypted and read:
    measured (blocking; of two dozen the third fastest)."""
    policy = Policy(bytes(30), Policy.SSRC_ANY_OUTBOUND, srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80)
    heard = Policy(bytes(30), Policy.SSRC_ANY_INBOUND, srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80)
    ours, theirs, took = Session(policy), Session(heard), []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sink:
        sink.bind(("127.0.0.1", 0))
        number = 0
        for _ in range(ticks):
            began = clock.now()
            for size in (*_PACKETS, *_SOUNDS):
                number += 1
                packet = RtpPacket(payload_type=96, sequence_number=number, timestamp=number, ssrc=1, payload=bytes(size))
                sealed = ours.protect(packet.serialize())
                sink.sendto(sealed, sink.getsockname())
                if size in _SOUNDS:
                    RtpPacket.parse(theirs.unprotect(sealed))
            took.append(clock.now() - began)
            sink.setblocking(False)
            while True:
                try:
                    sink.recv(2048)
                except BlockingIOError:
                    break
            sink.setblocking(True)
    return sorted(took)[2]
