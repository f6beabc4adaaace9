"""Drawings that are shared, kept and given up, with tiny real checkpoints."""

import asyncio
import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animegan_app import studio as module
from animegan_app.catalog import HUB, Catalog
from animegan_app.studio import THUMBNAIL_SIDE, Drawing, Studio
from animegan_app.stylize import PhotoError, Stylized, Stylizer, read_photo
from hub_export import pixels
from hub_export.folder import FolderStore
from hub_export.publish import publish
from hub_export.record import CheckpointError
from hub_export.sentences import Sentence
from hub_export.store import HubStore
from support.checkpoints import tiny_checkpoint
from support.hub import HubServer
from support.pictures import scene

pytestmark = pytest.mark.slow

KEY = "local/tiny/epoch-001"


class CountingStylizer(Stylizer):
    """Counts its drawings, and makes none while its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def stylize(self, photo: np.ndarray, folder: Path) -> Stylized:
        self.entered.set()
        assert self.gate.wait(30)
        self.count += 1
        return super().stylize(photo, folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        tiny_checkpoint(runs / "tiny" / f"epoch-00{seed}", seed)
    return runs


@pytest.fixture
def stylizer() -> Iterator[CountingStylizer]:
    stylizer = CountingStylizer()
    yield stylizer
    stylizer.gate.set()


@pytest.fixture
def studio(runs: Path, stylizer: CountingStylizer) -> Studio:
    return Studio(Catalog({"local": FolderStore(runs)}), stylizer)


def photo(folder: Path, name: str, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    path = folder / name
    Image.fromarray(np.roll(scene(height, width), seed)).save(path)
    return path


def silent(done: float, doing: Sentence) -> None:
    """For a report nobody reads."""


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1500):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


def draw(studio: Studio, path: Path, key: str = KEY, side: int = 512) -> Drawing:
    return asyncio.run(studio.draw(path, key, side, silent))


def test_a_drawing_tells_what_it_is(studio: Studio, runs: Path, tmp_path: Path) -> None:
    path = photo(tmp_path, "wide.png", 300, 600)
    drawing = draw(studio, path)
    small = pixels.limit_size(read_photo(path), 512)
    np.testing.assert_array_equal(drawing.photo, small)
    np.testing.assert_array_equal(drawing.anime, Stylizer().stylize(small, runs / "tiny" / "epoch-001").anime)
    assert (drawing.size, drawing.original, drawing.commit) == ((512, 256), (600, 300), "")
    assert drawing.offer.key == KEY and drawing.record.checkpoint == "epoch-001" and drawing.seconds > 0


def test_the_same_again_comes_from_memory(studio: Studio, stylizer: CountingStylizer, tmp_path: Path) -> None:
    first = draw(studio, photo(tmp_path, "one.png"))
    assert draw(studio, photo(tmp_path, "same-content.png")) is first and stylizer.count == 1
    others = [(photo(tmp_path, "other.png", seed=1), KEY, 512), (tmp_path / "one.png", "local/tiny/epoch-002", 512)]
    for path, key, side in [*others, (tmp_path / "one.png", KEY, 768)]:
        assert draw(studio, path, key, side) is not first
    assert stylizer.count == 4


def test_new_weights_are_drawn_anew(stylizer: CountingStylizer, tmp_path: Path) -> None:
    tiny_checkpoint(tmp_path / "tiny" / "epoch-001", 1)
    studio, path = Studio(Catalog({"local": FolderStore(tmp_path)}), stylizer), photo(tmp_path, "one.png")
    before = draw(studio, path)
    tiny_checkpoint(tmp_path / "tiny" / "epoch-001", 2)
    assert (draw(studio, path).anime != before.anime).any()


def test_memory_is_bounded_and_the_oldest_goes_first(runs: Path, stylizer: CountingStylizer, tmp_path: Path) -> None:
    one = 2 * 40 * 60 * 3
    studio = Studio(Catalog({"local": FolderStore(runs)}), stylizer, kept_bytes=2 * one)
    paths = [photo(tmp_path, f"{seed}.png", seed=seed) for seed in range(3)]
    for path in (paths[0], paths[1], paths[0], paths[2]):
        draw(studio, path)
    assert stylizer.count == 3
    draw(studio, paths[0])
    assert stylizer.count == 3, "used last, so kept"
    draw(studio, paths[1])
    assert stylizer.count == 4, "gone"
    assert sum(drawing.photo.nbytes + drawing.anime.nbytes for drawing in studio._kept.values()) == 2 * one


def test_identical_requests_are_drawn_once_and_others_wait_in_line(
    studio: Studio, stylizer: CountingStylizer, tmp_path: Path
) -> None:
    kept = draw(studio, photo(tmp_path, "kept.png", seed=3))
    stylizer.gate.clear()
    told: list[tuple[float, str]] = []

    async def many() -> list[Drawing]:
        same = [asyncio.create_task(studio.draw(photo(tmp_path, "a.png"), KEY, 512, silent)) for _ in range(5)]
        await until(lambda: len(studio._tasks) == 1)
        last = asyncio.create_task(
            studio.draw(photo(tmp_path, "b.png", seed=1), KEY, 512, lambda done, doing: told.append((done, str(doing))))
        )
        await until(lambda: len(told) > 1)
        again = await asyncio.wait_for(studio.draw(tmp_path / "kept.png", KEY, 512, silent), 10)
        assert again is kept, "at once, while others wait"
        stylizer.gate.set()
        return [*await asyncio.gather(*same), await last]

    *same, last = asyncio.run(many())
    assert stylizer.count == 3 and all(drawing is same[0] for drawing in same) and last is not same[0]
    assert told[0] == (0.2, "Waiting for 1 drawing before this one")
    assert not studio._tasks


def test_who_cancels_leaves_the_line_and_what_has_begun_is_kept(
    studio: Studio, stylizer: CountingStylizer, tmp_path: Path
) -> None:
    stylizer.gate.clear()
    first, second, third = (photo(tmp_path, f"{seed}.png", seed=seed) for seed in range(3))

    async def cancel() -> None:
        begun, waiting, other, shared = (
            asyncio.create_task(studio.draw(path, KEY, 512, silent)) for path in (first, second, third, third)
        )
        await until(lambda: stylizer.entered.is_set() and len(studio._tasks) == 3)
        for task in (begun, waiting, other):
            task.cancel()
        await until(lambda: len(studio._tasks) == 2)
        stylizer.gate.set()
        await shared
        assert begun.cancelled() and waiting.cancelled() and other.cancelled()

    asyncio.run(cancel())
    assert stylizer.count == 2, "the first had begun, the third had somebody left; the second was never made"
    draw(studio, first)
    assert stylizer.count == 2


def test_what_nobody_has_asked_for_yet_waits_for_all_else_and_moves_up_when_asked_for(
    studio: Studio, stylizer: CountingStylizer, tmp_path: Path
) -> None:
    stylizer.gate.clear()
    drawn, told = [], list[str]()
    paths = {name: photo(tmp_path, f"{name}.png", seed=seed) for seed, name in enumerate("abcd")}

    async def draw(name: str, ahead: bool) -> Drawing | None:
        path, told_of = paths[name], lambda done, doing: told.append(f"{name}: {doing}")
        made = await (studio.draw_ahead(path, KEY, 512) if ahead else studio.draw(path, KEY, 512, told_of))
        drawn.append(f"{name}{' ahead' * ahead}")
        return made

    async def crowd() -> None:
        first = asyncio.create_task(draw("a", ahead=False))
        await until(stylizer.entered.is_set)
        waiting = [asyncio.create_task(draw(name, ahead=True)) for name in "bc"]
        await until(lambda: len(studio._tasks) == 3)
        assert not studio.idle
        waiting += [asyncio.create_task(draw(name, ahead=False)) for name in "dc"]
        await until(lambda: "d: Waiting for 2 drawings before this one" in told)  # not for b
        stylizer.gate.set()
        await asyncio.gather(first, *waiting)
        small = await studio.draw_ahead(paths["a"], KEY, THUMBNAIL_SIDE)
        assert small and small.size == (60, 40) and await studio.draw_ahead(paths["a"], KEY, 300) is None

    asyncio.run(crowd())
    assert drawn.index("b ahead") == 4 and stylizer.count == 5, drawn
    asyncio.run(until(lambda: studio.idle))


def test_the_line_has_an_end(
    studio: Studio, stylizer: CountingStylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    stylizer.gate.clear()
    paths = [photo(tmp_path, f"{seed}.png", seed=seed) for seed in range(3)]

    async def crowd() -> None:
        waiting = [asyncio.create_task(studio.draw(path, KEY, 512, silent)) for path in (*paths[:2], paths[0])]
        await until(lambda: sum(task.waiting for task in studio._tasks.values()) == 3)
        with pytest.raises(PhotoError, match="Too many drawings are waited for"):
            await studio.draw(paths[2], KEY, 512, silent)
        stylizer.gate.set()
        await asyncio.gather(*waiting)
        await studio.draw(paths[2], KEY, 512, silent)

    asyncio.run(crowd())
    assert stylizer.count == 3 and not studio._tasks


def test_a_failure_is_told_to_all_and_not_kept(studio: Studio, stylizer: CountingStylizer, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("I am no picture.")
    for _ in range(2):
        with pytest.raises(PhotoError, match="not a picture"):
            draw(studio, tmp_path / "text.jpg")
    with pytest.raises(PhotoError, match="no longer here"):
        draw(studio, tmp_path / "gone.jpg")
    with pytest.raises(PhotoError, match="longest side must be one of 512"):
        draw(studio, tmp_path / "text.jpg", side=100_000)
    with pytest.raises(CheckpointError, match="not on offer"):
        draw(studio, tmp_path / "text.jpg", key="local/../tiny/epoch-001")
    assert stylizer.count == 0 and not studio._tasks


def test_costs_are_known_after_the_first_drawing(studio: Studio, tmp_path: Path) -> None:
    record = studio.catalog.find(KEY).record
    assert studio.expected_seconds(record, 60, 40) is None
    drawing = draw(studio, photo(tmp_path, "one.png"))
    assert studio.expected_seconds(record, 60, 40) == pytest.approx(drawing.seconds)
    assert studio.expected_seconds(record, 120, 80) == pytest.approx(4 * drawing.seconds)
    other = dataclasses.replace(record, generator={**record.generator, "channels": 16})
    assert studio.expected_seconds(other, 60, 40) is None


def test_a_drawing_from_the_hub_names_its_commit(hub: HubServer, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "tiny" / "epoch-001", tmp_path / "runs" / "tiny" / "epoch-001")
    publish(tmp_path / "runs" / "tiny", "you/animegan-tiny", log=lambda line: None)
    store = HubStore(["you/animegan-tiny"], tmp_path / "cache", 5, 20)
    store.refresh()
    told: list[str] = []
    drawing = asyncio.run(
        Studio(Catalog({HUB: store})).draw(
            photo(tmp_path, "one.png"), "hub/you/animegan-tiny/epoch-001", 512, lambda done, doing: told.append(str(doing))
        )
    )
    assert drawing.commit == hub.repo("you/animegan-tiny").tags["epoch-001"]
    assert told[0].startswith("Downloading 0.") and "from you/animegan-tiny" in told[0]
