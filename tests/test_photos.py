"""Reading a photo, in the process that decodes: it comes as a person sees it, or is refused in a sentence."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from animegan_app.photos import PhotoError, read_photo
from support.folders import drawing
from support.language import translated
from support.pictures import encode, png_header, scene

pytestmark = pytest.mark.slow


def test_path_and_bytes_read_alike(tmp_path: Path) -> None:
    content = encode(Image.fromarray(scene(5, 7)), "PNG")
    (tmp_path / "photo.png").write_bytes(content)
    np.testing.assert_array_equal(read_photo(content), scene(5, 7))
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), scene(5, 7))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_rotation_is_applied(orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = read_photo(encode(Image.fromarray(scene(6, 9)), "PNG", exif=exif))
    np.testing.assert_array_equal(photo, np.rot90(scene(6, 9), turns))


def test_alpha_is_laid_over_white() -> None:
    half_red = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    clear_gray = Image.new("LA", (2, 2), (10, 0))
    palette = Image.new("P", (2, 2))
    palette.putpalette([9, 9, 9])
    np.testing.assert_allclose(read_photo(encode(half_red, "PNG"))[0, 0], [255, 127, 127], atol=1)
    assert read_photo(encode(clear_gray, "PNG"))[0, 0].tolist() == [255, 255, 255]
    assert read_photo(encode(palette, "PNG", transparency=0))[0, 0].tolist() == [255, 255, 255]
    assert read_photo(encode(Image.new("RGB", (2, 2), (9, 9, 9)), "PNG", transparency=(9, 9, 9)))[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.fromarray(scene(8, 8)).convert(mode)
    np.testing.assert_array_equal(read_photo(encode(image, "PNG")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(kind: str) -> None:
    gray = np.array([[0, 0x0123, 0x8000, 0xFFFF]], np.uint16)
    assert read_photo(encode(Image.fromarray(gray), kind))[0, :, 1].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_gray_of_fewer_bits_in_16_is_not_black(bits: int) -> None:
    gray = np.array([[0, 2 ** (bits - 1), 2**bits - 1]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert read_photo(encode(Image.fromarray(gray), kind))[0, :, 1].tolist() == [0, 128, 255]


def test_gray_of_12_bits_and_of_reversed_16_as_tiff_says_them() -> None:
    dark, rows = [0x000, 0x010, 0x100, 0x1FF], b"\x00\x00\x10\x10\x01\xff"  # two samples in three bytes
    assert read_photo(gray_tiff(4, 1, 12, 1, rows))[0, :, 1].tolist() == [value >> 4 for value in dark]
    rows = struct.pack("<4H", 0, 0x0800, 0x8000, 0xFFFF)
    assert read_photo(gray_tiff(4, 1, 16, 0, rows))[0, :, 1].tolist() == [255, 247, 127, 0]


def gray_tiff(width: int, height: int, bits: int, photometric: int, rows: bytes, *more: tuple[int, int]) -> bytes:
    """A TIFF of one strip, whose bytes come first. Args: more: tags of one number each."""
    known = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, height)]
    tags = sorted([*known, (279, len(rows)), *more])
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("more", [[(50706, 0x0401)], [(254, 1), (330, 9999)]], ids=["DNG", "others"])
def test_a_raw_photo_is_not_taken_for_its_thumbnail(more: list[tuple[int, int]]) -> None:
    with pytest.raises(PhotoError, match="raw photo, of which only a small preview") as error:
        read_photo(gray_tiff(16, 16, 8, 1, bytes(256), *more))
    translated(error.value)
    with pytest.raises(PhotoError, match="raw photo"):
        read_photo(gray_tiff(16, 16, 8, 1, b"CR\2\0" + bytes(252)))  # Canon's mark is behind the head
    assert read_photo(gray_tiff(16, 16, 8, 1, bytes(256), (254, 1))).shape == (16, 16, 3), "a thumbnail by itself is drawn"


def test_heic_is_read_upright_and_in_the_colours_of_the_screen() -> None:
    picture = drawing(2, 96, 64)
    exif = Image.Exif()
    exif[0x0112] = 6
    read = read_photo(encode(picture, "HEIF", quality=95, exif=exif.tobytes()))
    assert read.shape == (96, 64, 3)
    assert np.abs(read.astype(int) - np.rot90(np.asarray(picture), 3)).mean() < 4
    clear = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    assert read_photo(encode(clear, "HEIF"))[0, 0].tolist() == [255, 255, 255]
    exchanged = exchanged_profile()
    red = read_photo(encode(Image.new("RGB", (32, 32), (255, 0, 0)), "HEIF", quality=-1, icc_profile=exchanged))
    np.testing.assert_allclose(red[0, 0], [0, 0, 255], atol=4)


def test_cmyk_is_converted() -> None:
    cyan = read_photo(encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95))
    np.testing.assert_allclose(cyan[0, 0], [0, 255, 255], atol=3)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exchanged_profile() -> bytes:
    """An sRGB profile with red and blue primaries exchanged: its red is our blue."""
    exchanged = SRGB.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    return exchanged.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def test_colour_profile_is_applied() -> None:
    exchanged, profile = exchanged_profile(), SRGB
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    np.testing.assert_allclose(read_photo(encode(red, "PNG", icc_profile=exchanged))[0, 0], [0, 0, 255], atol=3)
    assert read_photo(encode(red, "PNG", icc_profile=profile))[0, 0].tolist() == [255, 0, 0]
    assert read_photo(encode(red, "PNG", icc_profile=b"nonsense"))[0, 0].tolist() == [255, 0, 0]


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert read_photo(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a picture that can be read"),
        (b"I am a text file named photo.jpg", "not a picture that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture that can be read"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "damaged or cut off"),
        (encode(Image.fromarray(scene(64, 64)), "HEIF")[:2000], "damaged or cut off"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(99), "raw photo, of which only a small preview"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(99), "raw photo, of which only a small preview"),
        (png_header(30_000, 30_000), "too many pixels: scale it down to at most 80 megapixels"),
        (png_header(10_000, 8_500), "10000 × 8500 pixels, which is too many"),
        (png_header(20_000, 10), "strip of 20000 × 10 pixels: crop it"),
        (png_header(64, 64), "damaged or cut off"),
        (encode(Image.fromarray(scene(64, 64)), "PNG")[:2000], "damaged or cut off"),
        (encode(Image.fromarray(scene(64, 64)), "JPEG")[:2000], "damaged or cut off"),
        (encode(Image.new("F", (4, 4)), "TIFF"), "32-bit gray values"),
    ],
)
def test_unusable_files_are_refused_in_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(PhotoError, match=sentence) as error:
        read_photo(content)
    assert str(error.value).endswith(".")


def test_vanished_file(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="choose it again"):
        read_photo(tmp_path / "gone.jpg")
