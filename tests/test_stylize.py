"""The way of a photo, with tiny real checkpoints."""

import dataclasses
import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from animegan_app import stylize
from animegan_app.stylize import PhotoError, Stylizer, blend, read_photo
from hub_export import pixels
from hub_export.checkpoint import load_generator, save_checkpoint
from hub_export.record import WEIGHTS, CheckpointError, Record


def tiny_checkpoint(folder: Path, seed: int = 0, **changes: object) -> Record:
    """Writes a real checkpoint of a lite generator with 8 channels and random weights at .../EXPERIMENT/CHECKPOINT."""
    import keras

    from hub_export.architecture import GeneratorConfig
    from hub_export.generator import build_generator

    keras.utils.set_random_seed(seed)
    config = GeneratorConfig("lite", channels=8)
    record = Record(
        experiment=folder.parent.name,
        checkpoint=folder.name,
        question="What does a generator draw that has learned nothing?",
        base="official-v1",
        changes={"generator.channels": [64, 8]},
        config={},
        generator=dataclasses.asdict(config),
        phase="warm-up",
        epoch=1,
        step=10 + seed,
        seed=seed,
        data={"photos": 12, "anime": 1200, "source": "Generated pictures.", "terms": "Free to use."},
        compute={"device": "a CPU", "seconds": 90.0, "images": 120, "precision": "float32"},
        libraries={"keras": keras.__version__},
    )
    record = dataclasses.replace(record, **changes)  # type: ignore[arg-type]
    return save_checkpoint(folder, build_generator(config), record, [], np.zeros((8, 8, 3), np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "epoch-001"
    tiny_checkpoint(folder)
    return folder


def scene(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A valid PNG that promises `width` x `height` pixels and holds a few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


# Reading


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


def test_limit_size_scales_down_only() -> None:
    assert pixels.limit_size(scene(300, 200), 512).shape == (300, 200, 3)
    assert pixels.limit_size(scene(300, 200), 150).shape == (150, 100, 3)
    assert pixels.limit_size(scene(2, 400), 100).shape == (1, 100, 3)
    stripes = np.zeros((64, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(pixels.limit_size(stripes, 32)[:, 4:-4], 127, atol=5)  # antialiased: fine stripes become gray


# Blending


def to_ycbcr(picture: np.ndarray) -> np.ndarray:
    """JPEG's (JFIF 1.02) luma and chroma, chroma around 0, without rounding."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return picture.astype(float) @ matrix.T


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures so far from black and white that no mixture of their light and colours is clipped."""
    numbers = np.random.default_rng(3)
    return numbers.integers(100, 150, (20, 30, 3), np.uint8), numbers.integers(105, 155, (20, 30, 3), np.uint8)


def test_strength_leads_from_the_photo_to_anime(pair: tuple[np.ndarray, np.ndarray]) -> None:
    photo, anime = pair
    np.testing.assert_array_equal(blend(photo, anime, 1, 0), anime)
    for colours in (0, 0.5, 1):
        np.testing.assert_array_equal(blend(photo, anime, 0, colours), photo)
    for strength in (0.25, 1.5):  # below 1 toned down, above it exaggerated
        found = blend(photo, anime, strength, 0)
        np.testing.assert_allclose(found, (1 - strength) * photo + strength * anime, atol=0.51)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_colours_of_the_photo_under_the_light_of_anime(pair: tuple[np.ndarray, np.ndarray], share: float) -> None:
    photo, anime = pair
    found = to_ycbcr(blend(photo, anime, 1, share))
    np.testing.assert_allclose(found[..., 0], to_ycbcr(anime)[..., 0], atol=0.51)
    expected = share * to_ycbcr(photo)[..., 1:] + (1 - share) * to_ycbcr(anime)[..., 1:]
    np.testing.assert_allclose(found[..., 1:], expected, atol=0.51)


def test_colours_beyond_the_screen_are_clipped() -> None:
    red, white = np.full((1, 1, 3), (255, 0, 0), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert blend(red, white, 1, 1).tolist() == [[[255, 179, 179]]]  # 255 + (0 - 76) = 179, and 255 + 179 is beyond


# Drawing


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 64), (7, 200)])
def test_draws_what_the_generator_draws(folder: Path, size: tuple[int, int]) -> None:
    photo = scene(*size)
    result = Stylizer().stylize(photo, folder)
    expected = pixels.from_model(load_generator(folder)(pixels.to_model(pixels.pad(photo, 8))[np.newaxis]))[0]
    assert result.anime.dtype == np.uint8
    assert np.abs(result.anime.astype(int) - pixels.unpad(expected, *size)).max() <= 1  # graph and eager round differently
    np.testing.assert_array_equal(result.photo, photo)
    assert result.seconds > 0


def test_one_trace_for_every_size_and_all_weights(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "tiny" / "epoch-002"
    tiny_checkpoint(other, seed=2)
    stylizer, photo = Stylizer(), scene(64, 48)
    for size in ((40, 40), (41, 90), (64, 48)):
        stylizer.stylize(scene(*size), folder)
    anime = stylizer.stylize(photo, other).anime
    first = stylizer.stylize(photo, folder).anime  # its weights stay its own, though one model takes both
    assert (anime != first).any()
    np.testing.assert_array_equal(first, Stylizer().stylize(photo, folder).anime)
    np.testing.assert_array_equal(anime, Stylizer().stylize(photo, other).anime)
    ((traced, _),) = stylizer._traced.values()
    assert traced.experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


def test_keeps_the_last_few_and_sees_new_weights(tmp_path: Path) -> None:
    stylizer, photo = Stylizer(capacity=2), scene(32, 32)
    folders = [tmp_path / "tiny" / f"epoch-00{number}" for number in range(3)]
    for seed, folder in enumerate(folders):
        tiny_checkpoint(folder, seed)
        stylizer.stylize(photo, folder)
    assert [key[0] for key in stylizer._loaded] == folders[1:]
    before = stylizer.stylize(photo, folders[2]).anime
    tiny_checkpoint(folders[2], seed=9)
    assert (stylizer.stylize(photo, folders[2]).anime != before).any()


def test_many_threads_draw_what_one_draws(folder: Path) -> None:
    alone, stylizer = Stylizer(), Stylizer()
    photos = [scene(32 + 8 * number, 40) for number in range(6)]
    expected = [alone.stylize(photo, folder).anime for photo in photos]
    drawn: dict[int, np.ndarray] = {}

    def draw(index: int) -> None:
        drawn[index] = stylizer.stylize(photos[index], folder).anime

    threads = [threading.Thread(target=draw, args=(index,)) for index in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stylizer._loaded) == 1
    for index, anime in enumerate(expected):
        np.testing.assert_array_equal(drawn[index], anime)


def test_too_large_to_draw(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stylize, "MAX_PIXELS", 32 * 32)
    with pytest.raises(PhotoError, match="33 × 32 pixels are too many"):
        Stylizer().stylize(scene(32, 33), folder)


def test_damaged_checkpoint_keeps_its_own_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "epoch-001"
    tiny_checkpoint(folder)
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=f"{WEIGHTS} is damaged"):
        Stylizer().stylize(scene(32, 32), folder)
    stylizer = Stylizer()
    stylizer.warm_up(folder)
    assert stylizer._warming is not None
    stylizer._warming.join()
    assert not stylizer._loaded


def test_warm_up_loads_once(folder: Path) -> None:
    stylizer = Stylizer()
    stylizer.warm_up(folder)
    thread = stylizer._warming
    stylizer.warm_up(folder)
    assert thread is not None and stylizer._warming is thread
    thread.join()
    assert len(stylizer._loaded) == 1
