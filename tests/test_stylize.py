"""The way of a photo, with tiny real checkpoints."""

import threading
from pathlib import Path

import numpy as np
import pytest

from animegan_app import stylize, uploads
from animegan_app.stylize import PhotoError, Stylizer, blend, read_photo
from hub_export import pixels
from hub_export.checkpoint import load_generator
from hub_export.folder import BUNDLED
from hub_export.record import WEIGHTS, CheckpointError, read_record
from support.checkpoints import tiny_checkpoint
from support.pictures import scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "epoch-001"
    tiny_checkpoint(folder)
    return folder


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


LOOKS = [path for path in sorted(BUNDLED.glob("*/*")) if read_record(path).look.get("name")]


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    """For all looks: they share an architecture, which it traces once."""
    return Stylizer()


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS, ids=lambda path: path.parent.name)
def test_no_seam_shows_where_a_look_draws_in_strips(look: Path, stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.rot90(read_photo(uploads.FIRST[0]))[:, 176:336]  # 768 high; here cel shows a reach of 80
    at_once = stylizer.stylize(photo, look).anime.astype(int)
    monkeypatch.setattr(pixels, "STRIP_PIXELS", 40_000)  # four strips of 192 rows
    assert np.abs(stylizer.stylize(photo, look).anime - at_once).max() <= 1


@pytest.mark.slow
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


@pytest.mark.slow
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
