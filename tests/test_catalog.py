"""What is on offer, with real records of one tiny checkpoint."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from test_stylize import tiny_checkpoint

from animegan_app.catalog import Catalog, open_catalog
from hub_export.checkpoint import RECORD, CheckpointError, read_record, write_record
from hub_export.store import FolderStore


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "tiny" / "epoch-001"
    tiny_checkpoint(folder)
    return folder


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog({"bundled": FolderStore(tmp_path / "bundled"), "local": FolderStore(tmp_path / "local")})


def add(original: Path, store: Path, experiment: str, epoch: int) -> Path:
    folder = store / experiment / f"epoch-{epoch:03}"
    shutil.copytree(original, folder)
    changes = {"experiment": experiment, "checkpoint": folder.name, "epoch": epoch, "step": epoch * 100}
    write_record(folder, dataclasses.replace(read_record(folder), **changes))  # type: ignore[arg-type]
    return folder


def test_nothing_on_offer(catalog: Catalog) -> None:
    assert catalog.experiments() == {}
    assert catalog.default() is None
    assert catalog.problems() == []


def test_recommended_first_then_bundled_then_local(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    for store, experiment, epoch in [
        ("local", "aaa", 7),
        ("local", "fast-hayao", 3),
        ("bundled", "other", 5),
        ("bundled", "fast-hayao", 2),
        ("bundled", "fast-hayao", 10),
    ]:
        add(original, tmp_path / store, experiment, epoch)
    experiments = catalog.experiments()
    assert list(experiments) == ["bundled/fast-hayao", "local/fast-hayao", "bundled/other", "local/aaa"]
    assert [offer.record.epoch for offer in experiments["bundled/fast-hayao"]] == [2, 10]
    default = catalog.default()
    assert default is not None and default.key == "bundled/fast-hayao/epoch-010"


def test_one_name_in_two_stores_leads_to_two_folders(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    folders = {source: add(original, tmp_path / source, "fast-hayao", 1) for source in ("bundled", "local")}
    for source, folder in folders.items():
        assert catalog.fetch(catalog.find(f"{source}/fast-hayao/epoch-001")) == folder


def test_a_training_in_progress_appears(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    add(original, tmp_path / "local", "mine", 1)
    assert len(catalog.experiments()["local/mine"]) == 1
    add(original, tmp_path / "local", "mine", 2)
    assert [offer.record.epoch for offer in catalog.experiments()["local/mine"]] == [1, 2]


def test_damaged_ones_are_told_not_offered(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    add(original, tmp_path / "local", "mine", 1)
    for experiment, epoch in (("mine", 2), ("lost", 1)):
        (add(original, tmp_path / "local", experiment, epoch) / RECORD).write_text("{")
    assert [offer.key for offers in catalog.experiments().values() for offer in offers] == ["local/mine/epoch-001"]
    assert len(catalog.problems()) == 2
    assert all("not valid JSON" in problem for problem in catalog.problems())
    with pytest.raises(CheckpointError, match="not on offer"):
        catalog.find("local/mine/epoch-002")


@pytest.mark.parametrize("key", ["", "local", "local/..", "local/../x", "local/mine/../epoch-001", "other/mine/epoch-001"])
def test_only_keys_on_offer_are_found(catalog: Catalog, original: Path, tmp_path: Path, key: str) -> None:
    add(original, tmp_path / "local", "mine", 1)
    with pytest.raises(CheckpointError, match="not on offer"):
        catalog.find(key)


def test_vanished_checkpoint(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    folder = add(original, tmp_path / "local", "mine", 1)
    offer = catalog.find("local/mine/epoch-001")
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="no checkpoint mine/epoch-001"):
        catalog.fetch(offer)


def test_runs_folder_from_argument_environment_or_beside_the_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANIMEGAN_RUNS", str(tmp_path / "environment"))
    assert open_catalog(tmp_path / "argument").stores["local"].root == tmp_path / "argument"
    assert open_catalog().stores["local"].root == tmp_path / "environment"
    monkeypatch.delenv("ANIMEGAN_RUNS")
    assert open_catalog().stores["local"].root == Path(__file__).parents[1] / "runs"
