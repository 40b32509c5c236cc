"""Where pictures go: a file that Chromium takes for a webcam, the system's virtual camera, a file or address by PyAV."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import av
import numpy as np

from engines.frames import Picture
from engines.spec import FPS
from realtime.camera.devices import DeviceFault, no_camera
from realtime.errors import OutputFault, SettingsFault
from realtime.timeline import PICTURE_BASE, SOUND_BASE, TICK_S, WIRE_RATE, Float, picture_pts, sound_pts

HEADER_FPS = 30
"""Chromium looks into the file so often: at 25 it would miss some of 25."""
AGAIN_S, MOST_AGAIN_S = 1.0, 15.0
"""Seconds until a lost address is called again; twice as many each time."""
_KINDS = {"rtmp": "flv", "rtmps": "flv", "srt": "mpegts", "udp": "mpegts", "tcp": "mpegts"}
_CHECK = "Check the address; files end in .mp4, .mkv, .ts or .flv."
CLOSE_S = 2.0
"""A camera that does not close in so long is left to itself."""
_WAITING = 50  # ticks that may wait for a slow address; what finds no room is left out


class Camera(Protocol):
    """What pictures are shown by."""

    name: str
    latency: float
    """Seconds from `show` until who looks sees it, in the mean."""

    @property
    def shown(self) -> int:
        """Pictures that it has shown."""
        ...

    def show(self, picture: Picture) -> None:
        """Show a picture (I420) from now on."""
        ...

    def close(self) -> None:
        """No more."""
        ...


class Away(Protocol):
    """Where pictures and sound go as well: a file, an address."""

    fault: str
    """What became of it, if that is no good."""

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """A tick leaves now; it never waits. Without a picture the last stays."""
        ...

    async def close(self) -> None:
        """No more; what has left arrives."""
        ...


class FileCamera:
    """A one-frame .y4m, written over in place: `--use-file-for-fake-video-capture` of Chromium and Chrome."""

    latency = 0.042
    """Chromium looks every 33 ms, and shows what it saw some 25 ms later."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._head = b""
        self.shown = 0

    def show(self, picture: Picture) -> None:
        """See `Camera.show`."""
        if not self._head:
            width, height = picture.shape[1], picture.shape[0] * 2 // 3
            self._head = f"YUV4MPEG2 W{width} H{height} F{HEADER_FPS}:1 Ip A1:1 C420jpeg\nFRAME\n".encode()
            os.ftruncate(self._file, len(self._head) + picture.size)
            os.pwrite(self._file, self._head, 0)
        os.pwrite(self._file, np.ascontiguousarray(picture).data, len(self._head))
        self.shown += 1

    def close(self) -> None:
        """See `Camera.close`. The last picture stays: a browser that has the file open would stumble over its end."""
        os.close(self._file)


class DriverCamera:
    """v4l2loopback on Linux, OBS on Windows and macOS. Raises DeviceFault where there is none."""

    latency = 0.04

    def __init__(self, device: str | None) -> None:
        self.name = device or "virtual camera"
        self._device = device
        self._camera: Any = None
        self.shown = 0
        try:
            import pyvirtualcam
        except ImportError as error:
            raise SettingsFault("Virtual cameras need pyvirtualcam.", "Install it: pip install 'mytalk-live[camera]'") from error
        self._module: Any = pyvirtualcam

    def open(self, width: int, height: int) -> None:
        """Take the device. Raises DeviceFault."""
        try:
            self._camera = self._module.Camera(width, height, FPS, fmt=self._module.PixelFormat.I420, device=self._device)
        except (RuntimeError, ValueError, OSError) as error:
            fault = no_camera()
            raise DeviceFault(f"The camera {self.name} cannot be opened: {str(error).rstrip('.')}.", fault.hint) from error

    def show(self, picture: Picture) -> None:
        """See `Camera.show`."""
        if self._camera is None:
            self.open(picture.shape[1], picture.shape[0] * 2 // 3)
        try:
            self._camera.send(picture.reshape(-1))
        except (RuntimeError, OSError) as error:
            raise DeviceFault(f"The camera {self.name} is gone: {str(error).rstrip('.')}.", no_camera().hint) from error
        self.shown += 1

    def close(self) -> None:
        """See `Camera.close`."""
        if self._camera is not None:
            self._camera.close()


class InThread:
    """A camera whose pictures are shown by a thread of its own: `show` never waits for a driver or a disk. Of pictures that wait for one
    that hangs, only the last is shown. What goes wrong in the thread, the next `show` raises."""

    def __init__(self, camera: Camera) -> None:
        self.name, self.latency, self.left_out = camera.name, camera.latency, 0
        self._camera, self._fault = camera, cast("Exception | None", None)
        self._pictures: queue.Queue[Picture | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, daemon=True, name="camera")
        self._thread.start()

    @property
    def shown(self) -> int:
        """See `Camera.shown`."""
        return self._camera.shown

    def show(self, picture: Picture) -> None:
        """See `Camera.show`. Raises what went wrong before: DeviceFault, OSError."""
        if self._fault is not None:
            raise self._fault
        self._put(picture)

    def close(self) -> None:
        """See `Camera.close`: one that hangs is left to itself (blocking)."""
        self._put(None)
        self._thread.join(CLOSE_S)

    def _put(self, picture: Picture | None) -> None:
        with suppress(queue.Empty):
            self._pictures.get_nowait()
            self.left_out += 1
        self._pictures.put_nowait(picture)

    def _run(self) -> None:
        try:
            while (picture := self._pictures.get()) is not None:
                self._camera.show(picture)
        except Exception as error:  # noqa: BLE001  the thread's border: whoever shows the next is told
            self._fault = error
        finally:
            self._camera.close()


class Muxer:
    """Pictures and sound, H.264 and AAC, to a file or an address (rtmp, srt, udp, tcp), in a thread of its own.

    An address that was lost is called again, after `AGAIN_S` and then twice as many seconds each time; what would have left
    meanwhile is left out. Raises OutputFault where the first call fails.
    """

    def __init__(self, url: str, size: tuple[int, int]) -> None:
        parts = urlsplit(url)
        self._kind = _KINDS.get(parts.scheme)
        self.name = parts.netloc.rpartition("@")[2] if self._kind else url  # paths of addresses hold keys
        self.fault, self.left_out = "", 0
        self._url, self._size = url, size
        try:
            self._out: _Out | None = _Out(url, size, self._kind)
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputFault(f"{self.name} cannot be opened: {_said(error)}.", _CHECK) from error
        self._ticks: queue.Queue[tuple[int, Float, Picture | None] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True, name="stream")
        self._thread.start()

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """See `Away.show`."""
        try:
            self._ticks.put_nowait((tick, sound, picture))
        except queue.Full:
            self.left_out += 1

    async def close(self) -> None:
        """See `Away.close`."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        with suppress(queue.Full):
            self._ticks.put(None, timeout=2.0)
        self._thread.join(5.0)

    def _run(self) -> None:
        pause, more = AGAIN_S, True
        while more:
            try:
                self._out = self._out or _Out(self._url, self._size, self._kind)
                self.fault = ""
                while (item := self._ticks.get()) is not None:
                    self._out.write(*item)
                    pause = AGAIN_S
                more = False
                self._out.end()
            except (av.error.FFmpegError, OSError) as error:
                self.fault, self._out = f"{self.name}: {_said(error)}", None
                more = more and self._kind is not None and self._pass(pause)
                pause = min(MOST_AGAIN_S, 2 * pause)

    def _pass(self, seconds: float) -> bool:
        """Let ticks of so much time pass; whether there are more."""
        for _ in range(round(seconds / TICK_S)):
            if self._ticks.get() is None:
                return False
            self.left_out += 1
        return True


class _Out:
    """An opened file or address. Its media time begins with the first tick."""

    def __init__(self, url: str, size: tuple[int, int], kind: str | None) -> None:
        self._container = av.open(url, "w", format=kind)
        self._video: Any = self._container.add_stream("libx264", rate=FPS)
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "g": str(2 * FPS)}
        self._video.codec_context.time_base = Fraction(1, FPS)
        self._audio: Any = self._container.add_stream("aac", rate=WIRE_RATE, layout="mono")
        self._first: int | None = None

    def write(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """A tick's sound, and its picture if it has one."""
        self._first = tick if self._first is None else self._first
        tick -= self._first
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = picture_pts(tick), PICTURE_BASE
            self._container.mux(self._video.encode(frame))
        heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = WIRE_RATE, sound_pts(tick), SOUND_BASE
        self._container.mux(self._audio.encode(heard))

    def end(self) -> None:
        """What the encoders hold back, and the file's end."""
        for stream in (self._video, self._audio):
            self._container.mux(stream.encode(None))
        self._container.close()


def _said(error: Exception) -> str:
    """What went wrong, without the address."""
    return str(getattr(error, "strerror", None) or error)
