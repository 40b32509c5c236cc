"""A microphone in, a virtual camera out: be the actor in a video call, in a few lines of your own.

    pip install 'mytalk-live[camera]'
    python examples/webcam.py presenter                        # microphone to virtual camera
    python examples/webcam.py presenter speech.s16 face.y4m    # 16-bit mono samples at 16 kHz, to a file that Chromium takes for a camera

`mytalk camera` does the same with care for clocks, lost devices, and the voice in step with the picture.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mytalk

RATE = 16_000
TICK = RATE // 25


def microphone() -> Iterator[Any]:
    """The default microphone, in pieces of 40 ms."""
    import sounddevice

    with sounddevice.InputStream(RATE, TICK, channels=1, dtype="float32") as device:
        while True:
            yield device.read(TICK)[0][:, 0]


def recorded(file: Path) -> Iterator[bytes]:
    """A file of samples, in pieces of 40 ms."""
    data = file.read_bytes()
    for at in range(0, len(data), 2 * TICK):
        yield data[at : at + 2 * TICK]


def virtual(size: tuple[int, int]) -> Callable[[Any], None]:
    """What sends RGB pictures to a virtual camera (OBS or v4l2loopback)."""
    import pyvirtualcam

    camera = pyvirtualcam.Camera(*size, fps=25)
    print(f"camera: {camera.device}", file=sys.stderr)
    return camera.send


def file_camera(path: Path, size: tuple[int, int]) -> Callable[[Any], None]:
    """What rewrites a video of one picture in place.

    chromium --use-fake-device-for-media-stream --use-file-for-fake-video-capture=face.y4m
    """
    head = f"YUV4MPEG2 W{size[0]} H{size[1]} F30:1 Ip A1:1 C420jpeg\nFRAME\n".encode()

    def send(picture: Any) -> None:
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(head + picture.tobytes())

    return send


def main(actor: str, speech: str = "", camera: str = "") -> None:
    """Until the speech ends; a microphone's does not."""
    stream = mytalk.Stream(actor, RATE, pictures="i420" if camera else "rgb")
    send = file_camera(Path(camera), stream.size) if camera else virtual(stream.size)
    for samples in recorded(Path(speech)) if speech else microphone():
        for shown in stream.push(samples):
            send(shown.picture)
    for shown in stream.flush():
        send(shown.picture)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
