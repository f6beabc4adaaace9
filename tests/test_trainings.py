"""Trainings in progress, as a folder of runs tells them."""

import json
import threading
from pathlib import Path

import pytest

from animegan_app.catalog import Catalog
from animegan_app.trainings import LOCK, in_progress
from hub_export.folder import FolderStore
from hub_export.record import HISTORY
from train.run_folder import lock


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog({"local": FolderStore(tmp_path)})


def log(folder: Path, *rows: dict[str, object]) -> None:
    (folder / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_run_is_in_progress_as_long_as_its_folder_is_held(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    assert in_progress(catalog) == {}
    held = lock(folder)
    training = in_progress(catalog)["local/mine"]
    assert (training.step, training.steps, training.seconds, training.question) == (0, 0, None, "")
    (folder / "experiment.json").write_text('{"question": "Does it?"}')
    paces = [9.0, *[2.0] * 12]
    log(folder, *({"step": 10 * n, "steps": 660, "seconds": pace} for n, pace in enumerate(paces, 1)))
    training = in_progress(catalog)["local/mine"]
    assert (training.step, training.steps, training.seconds) == (130, 660, 530 * 2.0), "at the pace of the last rows"
    assert training.question == "Does it?"
    held.close()
    assert in_progress(catalog) == {} and (folder / LOCK).read_text().startswith("process ")


@pytest.mark.parametrize("text", ["{", "no history", '{"step": 5, "steps": 3}\n', '{"step": 5, "steps": "all"}\n'])
def test_what_a_run_does_not_tell_is_not_made_up(catalog: Catalog, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / HISTORY).write_text(text)
    (folder / "experiment.json").write_text("[]")
    held = lock(folder)
    training = in_progress(catalog)["local/mine"]
    assert (training.steps, training.seconds, training.question) == (0, None, "")
    held.close()


def test_a_run_that_begins_while_somebody_looks_is_not_refused(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    lock(folder).close()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            in_progress(catalog)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            lock(folder).close()
    finally:
        over.set()
        looking.join()
