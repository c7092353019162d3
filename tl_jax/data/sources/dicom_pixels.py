"""The pixels of one DICOM file → uint8, as a viewer shows them.

Gray pictures go through the standard's pipeline (PS3.3 C.11 and C.7.6.3): stored values → modality values
(RescaleSlope and RescaleIntercept, or a lookup table; Hounsfield units in CT) → the window → 0…255, and
MONOCHROME1 (low is bright) is inverted, so that air is dark in every file. The window is

1. the one asked for (centre, width, in modality values), else
2. the file's: its first WindowCenter and WindowWidth by its VOILUTFunction, else its lookup table, else
3. the full range of this picture's values, padding (PixelPaddingValue) left out.

Colour (RGB, YBR, palette) becomes RGB, scaled from the bits stored; windows do not apply to it. 8, 16 and 32
bit, signed or not, raw or compressed as far as a decoder is installed. Several frames are an error: which one
would be the picture?

Only the tags listed here are read, so nothing about the patient can reach an output.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.data.table import BadImageError

_PALETTE = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    for colour in ("Red", "Green", "Blue")
)
_TAGS = [
    *("SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PaletteColorLookupTableUID", *_PALETTE, "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
]
_INSTALL = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def read_dicom(
    path: str | os.PathLike[str], *, max_pixels: int, window: Sequence[float] = (), name: str = ""
) -> np.ndarray:
    """The picture as uint8 (h, w, 1|3).

    Args:
      max_pixels: a picture of more is refused before its pixels are decoded.
      window: (centre, width) in modality values; () = the file's own.
      name: what messages call the picture; the path where it is empty.

    Raises:
      BadImageError: naming the file and why: no DICOM, no picture in it, several frames, a compression that
        no installed decoder knows, truncated pixels.
    """
    called = name or os.fspath(path)
    try:
        return _read(path, max_pixels, tuple(window))
    except MemoryError:
        raise
    except _Refused as error:
        raise BadImageError(f"{called}: {error}") from None
    except FileNotFoundError:
        raise BadImageError(f"{called}: there is no such file") from None
    except Exception as error:  # a broken file can make a reader raise almost anything
        raise BadImageError(
            f"{called}: broken or truncated DICOM, {str(error) or type(error).__name__}"
        ) from error


class _Refused(Exception):
    """Why a file is not taken, in words that need nothing added."""


def _read(path: str | os.PathLike[str], max_pixels: int, window: tuple[float, ...]) -> np.ndarray:
    from pydicom.pixels.utils import pixel_array

    data = _open(path)
    rows, columns, frames = int(data.Rows), int(data.Columns), int(data.get("NumberOfFrames") or 1)
    if rows * columns > max_pixels:
        raise _Refused(
            f"{columns} × {rows} = {rows * columns:,} pixels are more than data.max_pixels={max_pixels:,}"
        )
    if frames != 1:
        raise _Refused(f"it holds {frames} frames, not one picture; save the frame you mean as its own file")
    _check_decoder(data)
    photometric = data.PhotometricInterpretation
    try:
        stored = pixel_array(data)
    except RuntimeError as error:  # every installed decoder was tried
        reasons = " ".join(str(error).splitlines()[1:]).strip() or error
        raise _Refused(
            f"its compression, {data.file_meta.TransferSyntaxUID.name}, could not be decoded ({reasons}); "
            f"another decoder may: {_INSTALL}"
        ) from error
    if photometric == "PALETTE COLOR":
        return _colours_of_palette(stored, data)
    if stored.ndim == 3:
        top = 2 ** int(data.BitsStored) - 1
        return _to_8_bit(stored.astype(np.float64) / top)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise _Refused(f"PhotometricInterpretation {photometric} is not supported")
    shown = _windowed(stored, data, window)
    return _to_8_bit(1 - shown if photometric == "MONOCHROME1" else shown)[:, :, None]


def _open(path: str | os.PathLike[str]) -> Any:
    """The tags of `_TAGS`, of files without the 128-byte preamble too."""
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if not os.path.getsize(path):
        raise _Refused("the file is empty")
    options: dict[str, Any] = dict(specific_tags=_TAGS, defer_size="64 KB")
    try:
        data = pydicom.dcmread(path, **options)
    except InvalidDicomError:
        data = pydicom.dcmread(path, force=True, **options)
        if "Rows" not in data:
            raise _Refused("it is not DICOM") from None
    if "Rows" not in data or not any(tag in data for tag in _TAGS[-3:]):
        kind = data.get("SOPClassUID")
        raise _Refused(f"it holds no picture{f' (it is {UID(kind).name})' if kind else ''}")
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        data.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return data


def _check_decoder(data: Any) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax.is_deflated:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise _Refused(f"its compression, {syntax.name}, is not supported") from None
    if not decoder.is_available:
        missing = "; ".join(decoder.missing_dependencies)
        raise _Refused(
            f"its compression, {syntax.name}, needs a decoder that is not installed: {_INSTALL} "
            f"(pydicom knows {missing})"
        )


def _windowed(stored: np.ndarray, data: Any, window: tuple[float, ...]) -> np.ndarray:
    """Stored values (h, w) → what is shown, float64 0…1."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = apply_modality_lut(stored, data).astype(np.float64)
    if window:
        return _linear(values, *window)
    centre, width = _first(data.get("WindowCenter")), _first(data.get("WindowWidth"))
    function = data.get("VOILUTFunction") or "LINEAR"
    if centre is not None and width is not None and width >= (1 if function == "LINEAR" else 1e-9):
        if function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500)))
        if function == "LINEAR_EXACT":
            return np.clip((values - centre) / width + 0.5, 0, 1)
        return _linear(values, centre, width)
    if data.get("VOILUTSequence"):
        values = apply_voi(np.rint(values).astype(np.int64), data).astype(np.float64)
        bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        return np.clip(values / (2**bits - 1), 0, 1)
    padding = data.get("PixelPaddingValue")
    real = values if padding is None else values[stored != padding]
    low, high = (real.min(), real.max()) if real.size else (0.0, 0.0)
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


def _linear(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """The standard's LINEAR window (PS3.3 C.11.2.1.2.1), which spans ``width`` integer values."""
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _first(value: Any) -> float | None:
    """The first of a tag's values, where it has any."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) and hasattr(value, "__len__"):
        return float(value[0]) if len(value) else None
    return float(value)


def _colours_of_palette(stored: np.ndarray, data: Any) -> np.ndarray:
    from pydicom.pixels.processing import apply_color_lut

    colours = apply_color_lut(stored, data)
    return _to_8_bit(colours.astype(np.float64) / np.iinfo(colours.dtype).max)


def _to_8_bit(shown: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(shown * 255 + 0.5), 0, 255).astype(np.uint8)
