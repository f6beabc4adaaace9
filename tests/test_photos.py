"""Reading a photo, in the process that decodes: it comes as a person sees it, or is refused in a sentence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from animegan_app.photos import PhotoError, read_photo
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


def test_cmyk_is_converted() -> None:
    cyan = read_photo(encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95))
    np.testing.assert_allclose(cyan[0, 0], [0, 255, 255], atol=3)


def test_colour_profile_is_applied() -> None:
    """An sRGB profile with red and blue primaries exchanged: its red is our blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = profile.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    exchanged = exchanged.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
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
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC photos cannot be read here: save it as JPEG"),
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
