"""What is on offer, with real records of one tiny checkpoint."""

import dataclasses
import shutil
import socket
import time
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from animegan_app.catalog import HUB, RECOMMENDED, Catalog, open_catalog
from animegan_app.stylize import Stylizer
from hub_export.checkpoint import write_record
from hub_export.folder import FolderStore
from hub_export.publish import publish
from hub_export.record import RECORD, CheckpointError, read_record
from hub_export.store import SETTING, HubStore
from support.checkpoints import reseal, tiny_checkpoint
from support.hub import HubServer
from support.pictures import scene
from support.processes import ended

REPO = "you/animegan-tiny"


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


def test_recommended_first_then_own_runs_then_what_ships(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    for store, experiment, epoch in [
        ("local", "aaa", 7),
        ("local", RECOMMENDED, 3),
        ("bundled", "other", 5),
        ("bundled", RECOMMENDED, 2),
        ("bundled", RECOMMENDED, 10),
    ]:
        add(original, tmp_path / store, experiment, epoch)
    experiments = catalog.experiments()
    assert list(experiments) == [f"bundled/{RECOMMENDED}", f"local/{RECOMMENDED}", "local/aaa", "bundled/other"]
    assert [offer.record.epoch for offer in experiments[f"bundled/{RECOMMENDED}"]] == [2, 10]
    default = catalog.default()
    assert default is not None and default.key == f"bundled/{RECOMMENDED}/epoch-010"


def test_one_name_in_two_stores_leads_to_two_folders(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    folders = {source: add(original, tmp_path / source, "mine", 1) for source in ("bundled", "local")}
    for source, folder in folders.items():
        assert catalog.fetch(catalog.find(f"{source}/mine/epoch-001")) == folder


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


def test_a_checkpoint_is_found_by_key_experiment_or_look(catalog: Catalog, original: Path, tmp_path: Path) -> None:
    for epoch in (1, 2):
        folder = add(original, tmp_path / "local", "mine", epoch)
        reseal(folder, look={"name": "Clean cel", "name_zh": "清爽赛璐璐"})
    add(original, tmp_path / "local", "other", 1)
    for name in ("mine", "local/mine", "clean CEL", "清爽赛璐璐", "local/mine/epoch-002"):
        assert catalog.named(name).key == "local/mine/epoch-002", name
    assert catalog.named("local/mine/epoch-001").record.epoch == 1
    for name in ("", "min", "epoch-001", "local"):
        with pytest.raises(CheckpointError, match="not on offer"):
            catalog.named(name)


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


# --- the Hub ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(hub: HubServer, original: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    """Holds two checkpoints, of which the first is recommended; the standard cache is empty and temporary."""
    for epoch in (1, 2):
        add(original, tmp_path / "published", "tiny", epoch)
    publish(tmp_path / "published" / "tiny", REPO, recommend="epoch-001", log=lambda line: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    hub.requests.clear()
    return hub


def with_hub(root: Path, sources: list[str]) -> Catalog:
    return Catalog({"local": FolderStore(root / "local"), HUB: HubStore(sources, root / "cache", 3, 20)})


def refreshed(catalog: Catalog) -> Catalog:
    assert catalog.hub
    catalog.hub.refresh()
    return catalog


@pytest.mark.parametrize("source", ["you", REPO])
def test_from_the_hub_into_an_empty_cache_then_without_it(
    hub: HubServer, original: Path, tmp_path: Path, source: str
) -> None:
    catalog = with_hub(tmp_path, [source])
    assert catalog.experiments() == {} and hub.requests == [], "nothing is asked on the way to the first page"
    experiments = refreshed(catalog).experiments()
    assert [offer.key for offer in experiments[f"hub/{REPO}"]] == [f"hub/{REPO}/epoch-001", f"hub/{REPO}/epoch-002"]
    offer = catalog.default()
    assert offer is not None and offer.key == f"hub/{REPO}/epoch-001", "the recommended one"
    assert catalog.commit(offer) == hub.repo(REPO).tags["epoch-001"]
    assert catalog.missing_bytes(offer) > 10_000
    folder = catalog.fetch(offer)
    assert folder.name == catalog.commit(offer) and catalog.missing_bytes(offer) == 0
    photo = scene(40, 60)
    anime = Stylizer().stylize(photo, folder).anime
    np.testing.assert_array_equal(anime, Stylizer().stylize(photo, original).anime)

    hub.stop()
    later = with_hub(tmp_path, [source])
    assert [offer.key for offers in later.experiments().values() for offer in offers] == [f"hub/{REPO}/epoch-001"]
    refreshed(later)
    assert len(later.problems()) == 1 and "the Hub" in later.problems()[0], "it is told that the list may be old"
    np.testing.assert_array_equal(Stylizer().stylize(photo, later.fetch(later.find(offer.key))).anime, anime)
    with pytest.raises(CheckpointError, match=f"{REPO}@epoch-002 .*the Hub cannot be reached"):
        catalog.fetch(catalog.find(f"hub/{REPO}/epoch-002"))


def test_this_machine_comes_before_the_hub(hub: HubServer, original: Path, tmp_path: Path) -> None:
    add(original, tmp_path / "local", "mine", 3)
    catalog = refreshed(with_hub(tmp_path, ["you"]))
    assert list(catalog.experiments()) == ["local/mine", f"hub/{REPO}"]
    offer = catalog.default()
    assert offer is not None and offer.key == "local/mine/epoch-003"
    assert catalog.commit(offer) == "" and catalog.missing_bytes(offer) == 0


def test_a_named_checkpoint_is_the_default_if_it_is_here_and_sound(hub: HubServer, original: Path, tmp_path: Path) -> None:
    add(original, tmp_path / "local", "mine", 3)
    sources = ["them/first", f"{REPO}@epoch-002", f"{REPO}@epoch-001"]

    def default() -> str:
        catalog = with_hub(tmp_path, sources)
        offer = catalog.default()
        assert offer and catalog.hub and catalog.hub.sources == ["them/first", REPO]
        return offer.key

    assert default() == "local/mine/epoch-003" and hub.requests == [], "it is not here, and nothing is asked for it"
    catalog = refreshed(with_hub(tmp_path, sources))
    offer = catalog.default()
    assert offer and offer.key == "local/mine/epoch-003", "known, but not here"
    named = catalog.first(catalog.experiments()[f"hub/{REPO}"])
    assert named.key == f"hub/{REPO}/epoch-002", "it comes before what the repo recommends"
    folder = catalog.fetch(named)
    assert catalog.default() == named
    hub.stop()
    assert default() == named.key
    blob = (folder / "model.weights.h5").resolve()
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    assert default() == "local/mine/epoch-003"


@pytest.mark.parametrize("source", ["you@epoch-001", f"{REPO}@", f"{REPO}@a b"])
def test_a_bad_reference(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError, match="names no checkpoint on the Hub"):
        with_hub(tmp_path, [source])


def test_keys_of_repos(hub: HubServer, tmp_path: Path) -> None:
    catalog = refreshed(with_hub(tmp_path, ["you"]))
    offer = catalog.find(f"hub/{REPO}/epoch-002")
    assert (offer.source, offer.name, offer.record.checkpoint) == ("hub", REPO, "epoch-002")
    assert offer.experiment == f"hub/{REPO}" and offer.record.experiment == "tiny"
    for key in ("hub/tiny/epoch-002", f"hub/{REPO}", f"hub/{REPO}/", f"hub/{REPO}/../epoch-002", f"local/{REPO}/epoch-002"):
        with pytest.raises(CheckpointError, match="not on offer"):
            catalog.find(key)


def test_what_is_private_is_told_and_the_rest_is_offered(
    hub: HubServer, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repo(REPO).private = True
    monkeypatch.setenv("HF_TOKEN", "")
    add(original, tmp_path / "local", "mine", 1)
    catalog = refreshed(with_hub(tmp_path, [REPO]))
    assert list(catalog.experiments()) == ["local/mine"]
    assert len(catalog.problems()) == 1 and f"{REPO} is missing or private; set HF_TOKEN" in catalog.problems()[0]


def test_listing_is_quick_where_nothing_can_be_reached(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv(SETTING, "you")
        add(original, tmp_path / "runs", "mine", 1)
        start = time.perf_counter()
        catalog = open_catalog(tmp_path / "runs", ["them", REPO])
        assert "local/mine" in catalog.experiments() and catalog.default() is not None and catalog.problems() == []
        assert time.perf_counter() - start < 5
        assert catalog.hub and catalog.hub.sources == ["you", "them", REPO]
        catalog.hub.list_seconds = 30.0
        asking = catalog.hub.refresh_in_background()
        assert "local/mine" in catalog.experiments()
        assert time.perf_counter() - start < 5
        asking.join()
        assert len(catalog.problems()) in (1, 3) and "the Hub" in catalog.problems()[0]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "setting"), [(["--hub", "a/b/c"], ""), ([], "you a/b/c")])
def test_a_bad_name_ends_the_app_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], setting: str
) -> None:
    monkeypatch.setenv(SETTING, setting)
    said = "'a/b/c' is no place on the Hub: write a name like you, or a repo like you/animegan-hayao"
    assert ended(monkeypatch, capsys, *arguments) == said
