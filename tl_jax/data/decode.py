"""Encoded pictures → uint8 arrays, and their way onto a square.

Formats, recognised by their first bytes and not by the file's name: JPEG, PNG, BMP, TIFF, WebP, GIF.
The formats' own facts, and what is made of them:

* EXIF orientation (JPEG, PNG, TIFF, WebP) is applied, so that the array stands as the camera was held.
* 16-bit gray (PNG, TIFF) becomes 8 bit by ``round(v · 255 / (2^bits − 1))``: the full range of the format,
  not of the picture. A TIFF says its bits (12 → 4095); a PNG does not, so 12-bit values in a 16-bit PNG
  come out dark, the same in every picture of the set.
* Gray whose zero is white (TIFF, WhiteIsZero) is inverted; 1-bit becomes 0 and 255.
* Transparency is composited on black: value · alpha.
* Palettes, CMYK and YCbCr become RGB. Gray, and a palette of grays (GIF), is one channel; everything else
  three.
* Of animations and multi-page files the first picture is taken.

Decoding uses no global state and may be called from many threads at once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from tl_jax.data.table import BadImageError

FITS = ("squash", "pad", "crop")

RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class _Format:
    name: str
    matches: Callable[[bytes], bool]
    open: Callable[..., Image.Image]


# The plugins' classes are called directly: `Image.open` would try every format it knows, and warns about
# sizes by a global limit that is not ours.
_FORMATS = (
    _Format("JPEG", lambda head: head.startswith(b"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    _Format("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    _Format("GIF", lambda head: head.startswith((b"GIF87a", b"GIF89a")), GifImagePlugin.GifImageFile),
    _Format(
        "TIFF",
        lambda head: head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")),
        TiffImagePlugin.TiffImageFile,
    ),
    _Format(
        "WebP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", WebPImagePlugin.WebPImageFile
    ),
    _Format("BMP", lambda head: head.startswith(b"BM"), BmpImagePlugin.BmpImageFile),
)
_KNOWN = ", ".join(known.name for known in _FORMATS)
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LONG = 10  # aspect ratio from which resizing the whole picture to crop it would waste memory
_SWAPS_SIDES = (5, 6, 7, 8)
_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258


def read_image(
    source: str | os.PathLike[str] | bytes,
    *,
    max_pixels: int,
    at_least: tuple[int, int] | None = None,
    name: str = "",
) -> np.ndarray:
    """Decodes a file, or its bytes, into uint8 (h, w, c) with c = 1 or 3.

    Args:
      max_pixels: a picture of more is refused before it is decoded.
      at_least: (height, width) in pixels. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, as
        long as both sides stay at least that long (after orientation). None decodes in full.
      name: what messages call the picture; the path where it is empty.

    Raises:
      BadImageError: naming the picture and why: missing, empty, truncated, of no known format, too large,
        or of values that have no known range.
    """
    called = name or ("picture" if isinstance(source, bytes) else os.fspath(source))
    try:
        if isinstance(source, bytes):
            return _decode(io.BytesIO(source), max_pixels, at_least)
        with open(source, "rb") as file:
            return _decode(file, max_pixels, at_least)
    except MemoryError:
        raise
    except _Refused as error:
        raise BadImageError(f"{called}: {error}") from None
    except FileNotFoundError:
        raise BadImageError(f"{called}: there is no such file") from None
    except Exception as error:  # a broken file can make a decoder raise almost anything
        reason = str(error) or type(error).__name__
        raise BadImageError(f"{called}: broken or truncated, {reason}") from error


class _Refused(Exception):
    """Why a picture is not taken, in words that need nothing added."""


def _decode(file: IO[bytes], max_pixels: int, at_least: tuple[int, int] | None) -> np.ndarray:
    head = file.read(132)
    file.seek(0)
    if not head:
        raise _Refused("the file is empty")
    # A DICOM file may begin like a TIFF, so that it is one too for those who know no better.
    medical = head[128:132] == b"DICM"
    known = None if medical else next((known for known in _FORMATS if known.matches(head)), None)
    if known is None:
        raise _Refused(f"{_guess(head)}, not a picture in one of {_KNOWN}")
    with known.open(file) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise _Refused(
                f"{width} × {height} = {width * height:,} pixels are more than data.max_pixels={max_pixels:,}"
            )
        if at_least is not None and known.name == "JPEG":  # the only one that can be decoded smaller
            tall, wide = at_least[::-1] if _orientation(image) in _SWAPS_SIDES else at_least
            image.draft(None, (max(wide, 1), max(tall, 1)))
        image.load()  # TIFF is upright from here on, and says so
        upright = _to_8_bit(image)
        turn = _TURNS.get(_orientation(image))
        if turn is not None:
            upright = upright.transpose(turn)
    array = np.asarray(upright)
    return array[:, :, None] if array.ndim == 2 else array


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation 1…8; 1 where the EXIF is broken, since the picture may still be good."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _to_8_bit(image: Image.Image) -> Image.Image:
    """A loaded picture of any mode → mode L or RGB, by the rules at the head of this file."""
    mode = image.mode
    if mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        gray = _scaled(np.asarray(image), 2**bits - 1)
        return Image.fromarray(255 - gray if tags.get(_PHOTOMETRIC) == 0 else gray)
    if mode in ("I", "F"):
        values = np.asarray(image)
        top, low, high = (1.0 if mode == "F" else 65535), values.min(), values.max()
        if not (low >= 0 and high <= top):
            kind = "floating point" if mode == "F" else "signed or 32-bit"
            raise _Refused(f"{kind} values {low:g}…{high:g} have no known range; 0…{top:g} is expected")
        return Image.fromarray(_scaled(values, top))
    if mode == "LAB":
        raise _Refused("colours in L*a*b* are not supported; convert it to RGB")
    if image.has_transparency_data:
        layers = np.asarray(image.convert("LA" if mode in ("1", "L", "LA", "La") else "RGBA"))
        values, alpha = layers[..., :-1].astype(np.uint16), layers[..., -1:]
        on_black = ((values * alpha + 127) // 255).astype(np.uint8)
        return Image.fromarray(on_black[..., 0] if on_black.shape[-1] == 1 else on_black)
    if mode == "P":
        palette = np.reshape(image.getpalette() or [], (-1, 3))
        mode = "L" if (palette == palette[:, :1]).all() else mode
    return image.convert("L" if mode in ("1", "L") else "RGB")


def _scaled(values: np.ndarray, top: float) -> np.ndarray:
    """round(v · 255 / top) as uint8, halves up."""
    levels = np.floor(values.astype(np.float32) * np.float32(255 / top) + np.float32(0.5))
    return np.clip(levels, 0, 255).astype(np.uint8)


def _guess(head: bytes) -> str:
    """What a file that is no picture seems to be."""
    if head[128:132] == b"DICM":
        return "it is DICOM (name it .dcm)"
    if head.startswith(b"PK\x03\x04"):
        return "it is a zip archive"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return f"it is text ({head[:20].decode('ascii')!r})"
    return f"it begins with the bytes {head[:8].hex(' ')}"


def resize(image: np.ndarray, size: int, *, fit: str = "squash", resample: str = "bilinear") -> np.ndarray:
    """uint8 (h, w, c) → uint8 (size, size, c), in one resampling from the original.

    The resampling is Pillow's: antialiased, that is, when it shrinks a picture its filter grows with the
    factor. The Pillow-based image processors of torch's transformers call the same code: ``squash`` is bit
    for bit their resize to a square, and ``crop`` their ``shortest_edge`` with ``center_crop``. (Of pictures
    more than ten times as long as wide, ``crop`` computes the centre alone, and rounds differently there.)

    Args:
      fit: ``"squash"`` changes the aspect ratio; ``"pad"`` keeps it and fills up with black on both sides,
        the odd pixel below or to the right; ``"crop"`` keeps it and loses what is outside the centre square.
      resample: ``"nearest" | "bilinear" | "bicubic" | "lanczos"``.
    """
    height, width, channels = image.shape
    if fit not in FITS or resample not in RESAMPLE:
        raise ValueError(f"fit={fit!r}, resample={resample!r}: known are {FITS} and {tuple(RESAMPLE)}")
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    filter_ = RESAMPLE[resample]
    short, long = min(height, width), max(height, width)
    if fit == "squash" or height == width:
        return _array(picture.resize((size, size), filter_))
    if fit == "crop":
        tall, wide = (size * side // short for side in (height, width))
        top, left = (tall - size) // 2, (wide - size) // 2
        if long <= _LONG * short:
            whole = _array(picture.resize((wide, tall), filter_))
            return whole[top : top + size, left : left + size]
        y, x = height / tall, width / wide
        box = (left * x, top * y, min((left + size) * x, width), min((top + size) * y, height))
        return _array(picture.resize((size, size), filter_, box=box))
    tall, wide = (max(1, round(size * side / long)) for side in (height, width))
    square = np.zeros((size, size, channels), np.uint8)
    top, left = (size - tall) // 2, (size - wide) // 2
    square[top : top + tall, left : left + wide] = _array(picture.resize((wide, tall), filter_))
    return square


def _array(picture: Image.Image) -> np.ndarray:
    array = np.asarray(picture)
    return array[:, :, None] if array.ndim == 2 else array


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (h, w, 1|3) → uint8 (h, w, channels).

    Gray is repeated; colour becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, Pillow's ``L``).
    """
    if channels not in (1, 3):
        raise ValueError(f"channels={channels}: a picture has 1 or 3")
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
