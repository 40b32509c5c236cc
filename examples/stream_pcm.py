"""Raw samples in, a video out, as they come: 16-bit mono at stdin, YUV4MPEG2 at stdout.

    arecord -q -f S16_LE -r 16000 | python examples/stream_pcm.py presenter 16000 | ffplay -

The pictures come 80 ms after their speech.
"""

import sys
from typing import BinaryIO

import mytalk


def main(actor: str, rate: int, samples: BinaryIO, video: BinaryIO) -> None:
    """Until the samples end."""
    stream = mytalk.Stream(actor, rate, pictures="i420")
    width, height = stream.size
    video.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
    piece = rate // 50 * 2  # 20 ms
    while data := samples.read(piece):
        show(stream.push(data), video)
    show(stream.flush(), video)


def show(shown: list[mytalk.Shown], video: BinaryIO) -> None:
    """Write pictures. Each has its own 40 ms of sound in `sound`, for who wants both."""
    for one in shown:
        video.write(b"FRAME\n" + one.picture.tobytes())
    video.flush()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer, sys.stdout.buffer)
