"""Pictures as files: photos of any kind that phones, cameras and editors write, and pictures that move."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np
from numpy.typing import NDArray

from realtime.errors import MediaFault
from realtime.media.colours import HLG, PQ
from realtime.media.upright import Warn

if TYPE_CHECKING:  # Pillow is loaded where a file looks like a picture
    from PIL import Image

_KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What Pillow opens: nothing that runs programs. JPEG is also MPO, where further pictures follow."""
_MOVING = ("GIF", "WEBP", "PNG", "AVIF")  # in others further pictures are pages, thumbnails or depths
_SHORTEST, _USUAL = 11, 100  # ms: a picture that is to be shown for less is shown for as long as browsers show it
_HEAD = 1 << 16
_HEIF = {b"mif1", b"mif2", b"heic", b"heix", b"heim", b"heis"}
_AVIF = {b"avif", b"avis"}
_SEQUENCES = {b"msf1", b"hevc", b"hevx", b"heve"}
_HDR = {PQ, HLG}
_REDUCED, _DNG = 0xFE, 0xC612  # tags of TIFF
_DEVELOP = "Develop it, and export it as JPEG."
_COPY = "Give another copy of the photo, as JPEG or PNG."
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, LookupError, TypeError, ArithmeticError, AttributeError)
"""What decoders say to bytes that they do not understand."""


def opened(path: Path) -> Pictures | None:
    """The picture or pictures of a file; None where it is of another kind. Raises MediaFault where it is damaged, too large, or of a
    kind of photo that is not read here, and OSError where the file itself cannot be opened."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind = _kind(head)
    if kind == "raw":
        raise MediaFault(f"{path.name} is a camera's raw photo.", _DEVELOP)
    return None if kind is None else Pictures(path, kind, head)


def _kind(head: bytes) -> str | None:
    """What the file's first bytes say: "image", "heif", "raw", or nothing that is read here."""
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        brands = {head[at : at + 4] for at in range(8, max(12, min(size, 256)), 4)}
        if b"crx " in brands:
            return "raw"
        if brands & _AVIF:
            return "image" if _transfer(head) not in _HDR else None
        return "heif" if brands & _HEIF and head[8:12] not in _SEQUENCES else None
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return "raw"
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    return "image" if head.startswith(starts) or bitmap or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") else None


def _transfer(head: bytes) -> int:
    """The transfer characteristics that an AVIF names."""
    at = head.find(b"colrnclx")
    return int.from_bytes(head[at + 10 : at + 12], "big") if at >= 0 else 2


@contextmanager
def _minding(path: Path) -> Iterator[None]:
    """What decoders raise, as sentences."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"):  # of sizes that are large and allowed, of odd tags
            yield
    except Image.DecompressionBombError as error:
        raise MediaFault(f"{path.name} has more than {_most() // 1_000_000} million pixels.", "Give a smaller copy of it.") from error
    except UnidentifiedImageError as error:
        raise MediaFault(f"{path.name} is damaged, or a picture of a kind that is not read here.", "Convert it to JPEG or PNG.") from error
    except _DAMAGE as error:
        raise MediaFault(f"{path.name} is damaged.", _COPY) from error


def _most() -> int:
    """Pixels of the largest picture: the header is asked before anything is decoded."""
    from PIL import Image

    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


def _heif(path: Path) -> Image.Image | av.VideoFrame:
    """Tiles are joined, and all is turned, by the library. A frame where it is HDR."""
    import pi_heif
    from PIL import Image

    file = pi_heif.open_heif(path, convert_hdr_to_8bit=False)
    if file.size[0] * file.size[1] > _most():
        raise Image.DecompressionBombError
    transfer = int((file.info.get("nclx_profile") or {}).get("transfer_characteristics", 2))
    if transfer not in _HDR or not file.mode.endswith(";16"):
        return pi_heif.open_heif(path).to_pillow()
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.asarray(file)[..., :3]), format="rgb48le")
    frame.color_trc, frame.color_primaries = transfer, int(file.info["nclx_profile"]["color_primaries"])
    return frame


class Pictures:
    """An open file of pictures: a photo, or a few that move. Use as a context manager."""

    def __init__(self, path: Path, kind: str, head: bytes) -> None:
        from PIL import Image

        self._path = path
        Image.init()
        with _minding(path):
            self._image = _heif(path) if kind == "heif" else Image.open(path, formats=_KINDS)
            self._turned = kind == "heif"
            self.size = (self._image.width, self._image.height)
            """Width and height as stored, before rotation."""
            self.moving = getattr(self._image, "format", "") in _MOVING and getattr(self._image, "n_frames", 1) > 1
            """Whether it is a short video."""
            raw = head.startswith((b"II", b"MM")) and _is_raw(self._image)
        if raw:
            self._close()
            raise MediaFault(f"{path.name} is a camera's raw photo.", _DEVELOP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if not isinstance(self._image, av.VideoFrame):
            self._image.close()

    def timed(self, warn: Warn) -> Iterator[tuple[Fraction, Fraction, av.VideoFrame]]:
        """From when and until when, in seconds, each picture is shown, and the picture: RGB, or RGBA where it is transparent."""
        if isinstance(self._image, av.VideoFrame):
            yield Fraction(0), Fraction(0), self._image
            return
        if not self.moving:
            _check_jpeg(self._path, self._image)
            if self._image.format == "TIFF" and (pages := getattr(self._image, "n_frames", 1)) > 1:
                warn(f"{self._path.name} has {pages} pages: the first is taken.")
            yield Fraction(0), Fraction(0), self._frame(self._image)
            return
        at = Fraction(0)
        for number in range(int(bool(getattr(self._image, "default_image", False))), getattr(self._image, "n_frames", 1)):
            with _minding(self._path):
                self._image.seek(number)
                frame = self._frame(self._image)
                shown = float(self._image.info.get("duration") or 0)
            length = Fraction(round(shown if shown >= _SHORTEST else _USUAL), 1000)
            yield at, at + length, frame
            at += length

    def _frame(self, image: Image.Image) -> av.VideoFrame:
        from PIL import ImageOps

        with _minding(self._path):
            image.load()
            if not self._turned:
                with suppress(*_DAMAGE):  # what it says of itself may be damaged where its pixels are not
                    image = ImageOps.exif_transpose(image)
            pixels = np.ascontiguousarray(_pixels(image))
        return av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24")


def _is_raw(image: Image.Image | av.VideoFrame) -> bool:
    """Whether a TIFF's first picture is but the thumbnail of a camera's raw one."""
    tags = getattr(image, "tag_v2", {})
    return _DNG in tags or bool(int(tags.get(_REDUCED) or 0) & 1)


def _check_jpeg(path: Path, image: Image.Image) -> None:
    """Pillow's decoder of JPEGs does not mind damage, as long as the file has an end; FFmpeg's does."""
    if image.format not in ("JPEG", "MPO"):
        return
    try:
        with av.open(f"file:{path}", format="jpeg_pipe") as container:
            container.streams.video[0].codec_context.options = {"err_detect": "explode"}
            next(container.decode(video=0))
    except (StopIteration, av.error.InvalidDataError) as error:
        raise MediaFault(f"{path.name} is damaged.", _COPY) from error
    except av.error.FFmpegError:
        pass  # a kind of JPEG that it does not know


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB, or (H, W, 4) with alpha."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):  # one channel of many bits, which Pillow would clip
        deep = np.nan_to_num(np.asarray(image).astype(np.float32))
        full = 65535 if image.mode != "F" else 1 if deep.max(initial=0) <= 1 else 255
        return np.repeat(np.clip(np.rint(deep[..., None] * np.float32(255 / full)), 0, 255).astype(np.uint8), 3, 2)
    if not image.has_transparency_data:
        return np.asarray(_srgb(image, image.info.get("icc_profile")))
    clear = image.convert("RGBA")
    alpha = np.asarray(clear)[..., 3:]
    return np.concatenate([np.asarray(_srgb(clear.convert("RGB"), image.info.get("icc_profile"))), alpha], 2)


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """In sRGB, where the picture says what its colours are: phones write Display P3, printers CMYK."""
    from PIL import ImageCms

    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            matched = ImageCms.profileToProfile(
                image, own, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )  # fmt: skip
        except (ImageCms.PyCMSError, *_DAMAGE):
            matched = None  # a profile that is damaged, or of other colours
        if matched is not None:
            return matched
    return image.convert("RGB")
