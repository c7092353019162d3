"""Decoding real files of every kind, and resizing against Pillow itself."""

from __future__ import annotations

import io
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tl_jax.data.decode import FITS, RESAMPLE, read_image, resize, to_channels
from tl_jax.data.table import BadImageError

LIMIT = 1_000_000


def random(shape: tuple[int, ...], dtype=np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y / height, 255 * x / width, 127 + 0 * x], -1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes, **options) -> np.ndarray:
    return read_image(data, **{"max_pixels": LIMIT, **options})


# Formats


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "webp", "gif"])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_lossless_formats_keep_every_pixel(tmp_path, kind, shape):
    pixels = random(shape)
    options = {"webp": {"lossless": True}}.get(kind, {})
    path = tmp_path / f"x.{kind}"
    Image.fromarray(pixels).save(path, **options)
    image = read_image(path, max_pixels=LIMIT)
    assert image.dtype == np.uint8
    assert image.shape == (7, 5, 1 if shape == (7, 5) and kind != "webp" else 3)
    assert np.array_equal(image, np.broadcast_to(pixels.reshape(7, 5, -1), image.shape))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_pillows(mode):
    data = encoded(Image.fromarray(smooth(40, 30)).convert(mode), "jpeg")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L" if mode == "L" else "RGB"))
    assert np.array_equal(decode(data).squeeze(), expected)


def test_one_bit_palette_and_gray_alpha():
    bits = random((6, 6)) > 127
    assert np.array_equal(decode(encoded(Image.fromarray(bits), "png"))[..., 0], bits * np.uint8(255))

    palette = Image.fromarray(random((6, 6)) % 4, "L").copy()
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    assert np.array_equal(decode(encoded(palette, "png")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("RGBA", 3)])
def test_transparency_is_composited_on_black(mode, channels):
    pixels = random((5, 4, channels + 1))
    image = decode(encoded(Image.fromarray(pixels, mode), "png"))
    exact = pixels[..., :-1] * (pixels[..., -1:] / 255)
    assert image.shape == (5, 4, channels)
    assert np.abs(image - exact).max() <= 0.5 + 1e-9


def test_transparent_palette_entry_is_black_without_a_warning():
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L").copy()
    palette.putpalette([200, 100, 50, 10, 20, 30])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = decode(encoded(palette, "png", transparency=b"\x00\xff"))
    assert image.tolist() == [[[0, 0, 0], [10, 20, 30]], [[10, 20, 30], [0, 0, 0]]]


def test_transparent_gray_level():
    image = decode(encoded(Image.fromarray(np.array([[7, 9]], np.uint8)), "png", transparency=7))
    assert image[..., 0].tolist() == [[0, 9]]


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_gray_uses_the_full_range(kind):
    pixels = np.concatenate([random((4, 6), np.uint16), [[0, 128, 129, 256, 65534, 65535]]]).astype(np.uint16)
    image = decode(encoded(Image.fromarray(pixels), kind))
    assert image.shape == (5, 6, 1)
    assert np.array_equal(image[..., 0], np.floor(pixels / 257 + 0.5))
    assert image[4, :, 0].tolist() == [0, 0, 1, 1, 255, 255]


def test_16_bit_tiff_of_the_other_byte_order():
    pixels = random((4, 6), np.uint16)
    image = Image.frombytes("I;16B", (6, 4), pixels.astype(">u2").tobytes())
    assert np.array_equal(decode(encoded(image, "tiff"))[..., 0], np.floor(pixels / 257 + 0.5))


def tiff_tag(data: bytes, tag: int, value: int) -> bytes:
    """Little-endian TIFF with one SHORT tag of its first directory changed."""
    changed = bytearray(data)
    start = int.from_bytes(data[4:8], "little")
    for entry in range(int.from_bytes(data[start : start + 2], "little")):
        at = start + 2 + 12 * entry
        if int.from_bytes(data[at : at + 2], "little") == tag:
            changed[at + 8 : at + 10] = value.to_bytes(2, "little")
            return bytes(changed)
    raise AssertionError(f"no tag {tag}")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_where_zero_is_white(dtype):
    data = encoded(Image.fromarray(random((4, 6), dtype)), "tiff")
    inverted = tiff_tag(data, 262, 0)
    assert np.array_equal(decode(inverted), 255 - decode(data))


def test_32_bit_values_need_a_known_range():
    assert decode(encoded(Image.fromarray(np.array([[0, 65535]], np.int32)), "tiff")).ravel().tolist() == [
        0,
        255,
    ]
    for values in ([[-1, 5]], [[0, 65536]]):
        with pytest.raises(BadImageError, match=r"signed or 32-bit values .* have no known range"):
            decode(encoded(Image.fromarray(np.array(values, np.int32)), "tiff"))
    fractions = np.array([[0, 0.5, 1]], np.float32)
    assert decode(encoded(Image.fromarray(fractions), "tiff")).ravel().tolist() == [0, 128, 255]
    for value in (1.5, np.nan):
        with pytest.raises(BadImageError, match="floating point values"):
            decode(encoded(Image.fromarray(np.array([[0, value]], np.float32)), "tiff"))


def test_first_frame_of_an_animation_and_first_page():
    frames = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (10, 200)]
    for kind in ("gif", "tiff", "webp", "png"):
        options = {"lossless": True} if kind == "webp" else {}
        image = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert image.shape[:2] == (4, 4)
        assert (image == 10).all()


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(smooth(24, 40))
    options = {"jpeg": {"quality": 95}, "webp": {"lossless": True}}.get(kind, {})
    data = encoded(stored, kind, exif=exif, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.array_equal(decode(data), upright)
    assert decode(data).shape == ((40, 24, 3) if orientation >= 5 else (24, 40, 3))


def test_broken_exif_does_not_cost_the_picture():
    data = encoded(Image.fromarray(smooth(24, 40)), "jpeg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decode(data).shape == (24, 40, 3)


# at_least


@pytest.mark.parametrize(
    ("at_least", "shape"),
    [
        (None, (400, 600)),
        ((100, 100), (100, 150)),
        ((101, 100), (200, 300)),
        ((50, 75), (50, 75)),
        ((1, 1), (50, 75)),
        ((400, 600), (400, 600)),
        ((900, 900), (400, 600)),
        ((0, 0), (50, 75)),
    ],
)
def test_jpeg_may_be_decoded_smaller(at_least, shape):
    data = encoded(Image.fromarray(smooth(400, 600)), "jpeg")
    assert decode(data, at_least=at_least).shape[:2] == shape


def test_at_least_counts_after_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(smooth(200, 800)), "jpeg", exif=exif)
    assert decode(data, at_least=(400, 100)).shape[:2] == (400, 100)
    assert decode(data, at_least=(100, 200)).shape[:2] == (800, 200)


def test_at_least_leaves_other_formats_whole():
    assert decode(encoded(Image.fromarray(smooth(80, 60)), "png"), at_least=(10, 10)).shape == (80, 60, 3)


# Bad files


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, kind, share):
    data = encoded(Image.fromarray(random((60, 50, 3))), kind)
    path = tmp_path / f"half.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadImageError, match=rf"half\.{kind}: broken or truncated, "):
        read_image(path, max_pixels=LIMIT)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"path,label\na.png,1\n", r"it is text \('path,label"),
        (b"\n<!DOCTYPE html><html></html>", "it is a web page"),
        (b"PK\x03\x04\x00\x00", "it is a zip archive"),
        (bytes(128) + b"DICM" + bytes(9), "it is DICOM"),
        (bytes(range(128, 200)), "it begins with the bytes 80 81 82"),
        (b"\xff\xd8\xff", "broken or truncated"),
        (b"\x89PNG\r\n\x1a\n", "broken or truncated"),
        (b"BM", "broken or truncated"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, why):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(BadImageError, match=rf"^the name: .*{why}"):
        read_image(path, max_pixels=LIMIT, name="the name")


def test_content_decides_and_not_the_ending(tmp_path):
    pixels = random((6, 5, 3))
    Image.fromarray(pixels).save(tmp_path / "x.jpg", "png")
    assert np.array_equal(read_image(tmp_path / "x.jpg", max_pixels=LIMIT), pixels)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BadImageError, match=r"gone\.png: there is no such file"):
        read_image(tmp_path / "gone.png", max_pixels=LIMIT)
    with pytest.raises(BadImageError, match=tmp_path.name):
        read_image(str(tmp_path), max_pixels=LIMIT)


def test_too_many_pixels_are_refused_before_decoding():
    data = encoded(Image.fromarray(smooth(20, 30)), "png")
    assert decode(data, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(BadImageError, match=r"30 × 20 = 600 pixels are more than data.max_pixels=599"):
        decode(data, max_pixels=599)


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and whose pixels are missing."""
    data = bytearray(encoded(Image.new("L", (1, 1)), "png"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("side", [10_000, 50_000])
def test_no_warning_of_pillow_leaks_for_enormous_pictures(side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadImageError, match=r"more than data\.max_pixels"):
            decode(png_header(side, side), max_pixels=90_000_000)


def test_a_cap_above_pillows_own_is_honoured():
    """Pillow would refuse 179 million pixels; here the pixels are only missing."""
    with pytest.raises(BadImageError, match="broken or truncated"):
        decode(png_header(200_000, 1_000), max_pixels=10**9)


def test_many_threads_decode_alike(tmp_path):
    paths: list[Path] = []
    for i in range(24):
        paths.append(tmp_path / f"{i}.jpg")
        Image.fromarray(random((50 + i, 40, 3), seed=i)).save(paths[-1])
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read_image(path, max_pixels=LIMIT), paths * 4))
    for i, image in enumerate(together):
        assert np.array_equal(image, read_image(paths[i % 24], max_pixels=LIMIT))


def test_real_xrays_decode_as_pillow_does(shared):
    for path in sorted((shared / "data/chest_xray/test").rglob("*.jpeg"))[::40]:
        expected = np.asarray(Image.open(path))
        assert np.array_equal(read_image(path, max_pixels=LIMIT)[..., 0], expected)


# Resizing


def naive(image: np.ndarray, size: int, fit: str, resample: str) -> np.ndarray:
    """The same in Pillow's words; crop resizes the whole picture first, as transformers does."""
    picture, how = Image.fromarray(image.squeeze(-1) if image.shape[2] == 1 else image), RESAMPLE[resample]
    height, width = image.shape[:2]
    if fit == "squash":
        out = picture.resize((size, size), how)
    elif fit == "pad":
        scale = size / max(height, width)
        wide, tall = max(1, round(width * scale)), max(1, round(height * scale))
        out = Image.new(picture.mode, (size, size))
        out.paste(picture.resize((wide, tall), how), ((size - wide) // 2, (size - tall) // 2))
    else:
        short = min(height, width)
        wide, tall = int(size * width / short), int(size * height / short)
        left, top = (wide - size) // 2, (tall - size) // 2
        out = picture.resize((wide, tall), how).crop((left, top, left + size, top + size))
    return np.asarray(out).reshape(size, size, -1)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([1, 3]),
    st.integers(1, 48),
    st.sampled_from(FITS),
    st.sampled_from(sorted(RESAMPLE)),
)
def test_resize_is_pillows(height, width, channels, size, fit, resample):
    image = random((height, width, channels), seed=height * 61 + width)
    out = resize(image, size, fit=fit, resample=resample)
    assert out.shape == (size, size, channels)
    assert out.dtype == np.uint8
    if fit != "crop" or max(height, width) <= 10 * min(height, width):
        assert np.array_equal(out, naive(image, size, fit, resample))


def test_a_line_of_pixels_is_cropped_without_a_huge_intermediate():
    image = random((2, 60_000, 1))
    out = resize(image, 64, fit="crop")
    assert np.abs(out.astype(int) - naive(image[:, 29_000:31_000], 64, "crop", "bilinear")).max() <= 2


def test_pad_keeps_the_aspect_ratio_and_fills_with_black():
    out = resize(np.full((10, 40, 1), 200, np.uint8), 8, fit="pad")
    assert out[..., 0].tolist() == [[0] * 8] * 3 + [[200] * 8] * 2 + [[0] * 8] * 3


def test_antialiasing_averages_when_shrinking():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    out = resize(stripes, 8, resample="bilinear")
    assert np.abs(out.astype(int) - 128).max() <= 5  # at the border half a filter is missing
    assert np.ptp(resize(stripes, 8, resample="nearest")) in (0, 255)


def test_unknown_fit_is_an_error():
    with pytest.raises(ValueError, match="fit='stretch'"):
        resize(random((4, 4, 1)), 2, fit="stretch")


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_luma(red, green, blue):
    gray = to_channels(np.array([[[red, green, blue]]], np.uint8), 1)
    assert gray.shape == (1, 1, 1)
    assert abs(int(gray[0, 0, 0]) - (0.299 * red + 0.587 * green + 0.114 * blue)) <= 0.51
    assert (to_channels(np.full((1, 1, 1), red, np.uint8), 3) == red).all()


def test_channels_round_trip_for_gray():
    gray = random((5, 6, 1))
    assert to_channels(gray, 1) is gray
    colour = to_channels(gray, 3)
    assert colour.shape == (5, 6, 3)
    assert np.array_equal(to_channels(colour, 1), gray)
    with pytest.raises(ValueError, match="channels=4"):
        to_channels(gray, 4)


@pytest.mark.parametrize("at_least", [None, (8, 8)])
def test_a_png_with_one_wrong_byte_is_refused_however_it_is_read(at_least):
    """Asking a PNG for its EXIF loads it; an error there must not be taken for a lack of EXIF."""
    data = encoded(Image.fromarray(random((20, 20))), "png")
    start = data.index(b"IDAT") + 4
    for at in range(start, start + 300, 20):
        broken = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        with pytest.raises(BadImageError, match="broken or truncated"):
            decode(broken, at_least=at_least)


def test_dicom_that_begins_like_a_tiff_is_called_by_its_name():
    head = b"II*\x00" + bytes(124) + b"DICM" + bytes(100)
    with pytest.raises(BadImageError, match=r"it is DICOM \(name it \.dcm\)"):
        decode(head)
