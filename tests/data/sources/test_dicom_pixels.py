"""DICOM pixels, on the files that pydicom itself carries and on changed copies of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut, apply_windowing, pixel_array

from tl_jax.data.sources.dicom_pixels import read_dicom
from tl_jax.data.table import BadImageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
LIMIT = 10**7


def carried(name: str) -> str:
    """A file inside the pydicom package; nothing is downloaded."""
    path = get_testdata_file(name, download=False)
    assert path is not None, f"pydicom no longer carries {name}"
    return path


def read(path, **options) -> np.ndarray:
    return read_dicom(path, **{"max_pixels": LIMIT, **options})


def changed(tmp_path: Path, source: str, **tags) -> Path:
    """A copy with some tags set, or removed where the value is None."""
    data = pydicom.dcmread(carried(source))
    for tag, value in tags.items():
        if value is None:
            if tag in data:
                delattr(data, tag)
        else:
            setattr(data, tag, value)
    path = tmp_path / "changed.dcm"
    data.save_as(path)
    return path


def values(path) -> np.ndarray:
    data = pydicom.dcmread(path)
    return apply_modality_lut(pixel_array(data), data).astype(float)


def scaled(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.floor(np.clip((x - low) / (high - low), 0, 1) * 255 + 0.5)[..., None]


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
@pytest.mark.parametrize("again", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_padded.dcm"])
def test_encodings_of_one_picture_agree(name, again):
    assert np.array_equal(read(carried(name)), read(carried(again)))


def test_window_of_the_file():
    path = carried("MR_small.dcm")
    data = pydicom.dcmread(path)
    image = read(path)
    assert image.shape == (64, 64, 1)
    assert image.dtype == np.uint8
    assert data.WindowCenter == 600
    theirs = apply_windowing(pixel_array(data).astype(float), data)  # onto −32768…32767
    assert np.abs(image[..., 0] - (theirs + 32768) / 65535 * 255).max() <= 0.51


def test_first_of_several_windows(tmp_path):
    several = changed(tmp_path, "MR_small.dcm", WindowCenter=[600, 40], WindowWidth=[1600, 80])
    image = read(several)
    assert np.array_equal(image, read(changed(tmp_path, "MR_small.dcm", WindowCenter=600, WindowWidth=1600)))


def test_without_a_window_the_full_range_of_the_picture():
    path = carried("CT_small.dcm")
    data = pydicom.dcmread(path)
    assert "WindowCenter" not in data
    assert (data.PixelRepresentation, data.RescaleIntercept) == (1, -1024)
    x = values(path)
    real = x[pixel_array(data) != data.PixelPaddingValue] if "PixelPaddingValue" in data else x
    assert np.array_equal(read(path), scaled(x, real.min(), real.max()))


def test_padding_does_not_stretch_the_range(tmp_path):
    data = pydicom.dcmread(carried("CT_small.dcm"))
    pixels = pixel_array(data).copy()
    pixels[:5] = -20_000
    path = changed(tmp_path, "CT_small.dcm", PixelData=pixels.tobytes(), PixelPaddingValue=-20_000)
    image = read(path)
    assert (image[:5] == 0).all()
    inside = pixels[5:].astype(float)
    assert np.array_equal(image[5:], scaled(inside, inside.min(), inside.max()))


def test_asked_window_is_in_modality_values():
    """Centre 40, width 400 is the soft-tissue window in Hounsfield units; LINEAR spans −160 … 239."""
    path = carried("CT_small.dcm")
    assert np.array_equal(read(path, window=(40, 400)), scaled(values(path), 39.5 - 199.5, 39.5 + 199.5))
    step = read(path, window=(40, 1))
    assert set(np.unique(step)) == {0, 255}
    assert np.array_equal(step[..., 0] == 255, values(path) > 39.5)


def test_rescale_is_applied_before_the_window(tmp_path):
    plain = read(changed(tmp_path, "MR_small.dcm", RescaleSlope=1, RescaleIntercept=0), window=(600, 1600))
    doubled = changed(tmp_path, "MR_small.dcm", RescaleSlope=2, RescaleIntercept=-100)
    x = pixel_array(doubled) * 2.0 - 100
    assert np.array_equal(read(doubled, window=(600, 1600)), scaled(x, 599.5 - 799.5, 599.5 + 799.5))
    assert not np.array_equal(read(doubled, window=(600, 1600)), plain)


@pytest.mark.parametrize("window", [(), (500, 900)])
def test_monochrome1_is_inverted(tmp_path, window):
    upright = read(carried("MR_small.dcm"), window=window).astype(int)
    path = changed(tmp_path, "MR_small.dcm", PhotometricInterpretation="MONOCHROME1")
    assert np.abs(read(path, window=window) - (255 - upright)).max() <= 1  # halves round up in both


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_window_functions(tmp_path, function):
    path = changed(tmp_path, "MR_small.dcm", VOILUTFunction=function)
    data = pydicom.dcmread(path)
    theirs = apply_windowing(pixel_array(data).astype(float), data)
    assert np.abs(read(path)[..., 0] - (theirs + 32768) / 65535 * 255).max() <= 0.51


def test_lookup_table_instead_of_a_window(tmp_path):
    data = pydicom.dcmread(carried("MR_small.dcm"))
    del data.WindowCenter, data.WindowWidth
    stored = pixel_array(data).astype(int)
    table = np.minimum(np.arange(4096) // 2, 1023)
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS", [4096, 0, 10])
    item.add_new("LUTData", "US", table.tolist())
    data.VOILUTSequence = [item]
    data.save_as(tmp_path / "x.dcm")
    assert np.array_equal(read(tmp_path / "x.dcm"), scaled(table[np.clip(stored, 0, 4095)], 0, 1023))


def test_unsigned_16_bit(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(np.uint16)
    path = changed(
        tmp_path, "MR_small.dcm", PixelData=pixels.tobytes(), PixelRepresentation=0, WindowCenter=None,
        WindowWidth=None, PixelPaddingValue=None, SmallestImagePixelValue=None, LargestImagePixelValue=None,
    )  # fmt: skip
    assert np.array_equal(read(path), scaled(pixels.astype(float), pixels.min(), pixels.max()))


def test_one_value_only_is_black(tmp_path):
    path = changed(
        tmp_path, "MR_small.dcm", PixelData=bytes(64 * 64 * 2), WindowCenter=None, WindowWidth=None
    )
    assert (read(path) == 0).all()


def test_one_bit():
    assert set(np.unique(read(carried("liver_1frame.dcm")))) == {0, 255}


@pytest.mark.parametrize(
    "name", ["SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm", "ExplVR_BigEnd.dcm"]
)
def test_rgb_is_scaled_from_the_bits_stored(name):
    path = carried(name)
    data = pydicom.dcmread(path)
    expected = np.floor(pixel_array(data) / (2.0**data.BitsStored - 1) * 255 + 0.5)
    assert np.array_equal(read(path), expected)


@pytest.mark.parametrize(
    "name", ["SC_ybr_full_422_uncompressed.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_gdcm_KY.dcm"]
)
def test_ybr_is_rgb_again(name):
    assert np.abs(read(carried(name)).astype(int) - read(carried("SC_rgb_rle.dcm"))).mean() < 6


def test_palette():
    image = read(carried("examples_palette.dcm"))
    assert image.shape == (350, 800, 3)
    assert (image[..., 0] != image[..., 2]).any()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("rtdose.dcm", "it holds 15 frames, not one picture"),
        (
            "SC_rgb_jpeg_gdcm.dcm",
            r"JPEG Lossless.*needs a decoder that is not installed: pip install pylibjpeg",
        ),
        ("MR_small_jpeg_ls_lossless.dcm", r"JPEG-LS Lossless.*needs a decoder that is not installed"),
        ("JPEG-lossy.dcm", r"JPEG Extended.*could not be decoded \(.*12-bit.*pip install"),
        ("MR_truncated.dcm", "broken or truncated DICOM, .*8130 vs 8192 bytes"),
        ("rtplan.dcm", r"it holds no picture \(it is RT Plan Storage\)"),
        ("no_meta.dcm", "it is not DICOM"),
        ("badVR.dcm", "broken or truncated DICOM"),
    ],
)
def test_files_that_give_no_picture(name, why):
    if "decode" in why:
        from pydicom.pixels import get_decoder

        known = get_decoder(pydicom.dcmread(carried(name)).file_meta.TransferSyntaxUID)
        if any(plugin != "pillow" for plugin in known.available_plugins):
            pytest.skip("an optional decoder is installed, which reads it")
    with pytest.raises(BadImageError, match=rf"^seven: .*{why}"):
        read(carried(name), name="seven")


def test_files_that_are_no_dicom(tmp_path):
    for content, why in ((b"", "the file is empty"), (b"text" * 100, "it is not DICOM")):
        (tmp_path / "x.dcm").write_bytes(content)
        with pytest.raises(BadImageError, match=rf"x\.dcm: {why}"):
            read(tmp_path / "x.dcm")
    with pytest.raises(BadImageError, match="there is no such file"):
        read(tmp_path / "gone.dcm")


def test_without_preamble(tmp_path):
    """Old exports lack the first 132 bytes and everything about the encoding."""
    data = Path(carried("MR_small_implicit.dcm")).read_bytes()
    length = int.from_bytes(data[140:144], "little")
    (tmp_path / "bare.dcm").write_bytes(data[144 + length :])
    assert np.array_equal(read(tmp_path / "bare.dcm"), read(carried("MR_small.dcm")))


def test_pixel_cap():
    with pytest.raises(BadImageError, match=r"64 × 64 = 4,096 pixels are more than data\.max_pixels=4,095"):
        read(carried("MR_small.dcm"), max_pixels=4095)
