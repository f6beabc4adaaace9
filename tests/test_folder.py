"""References to checkpoints that ship mean the same wherever the program is run from."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hub_export.folder import BUNDLED, FolderStore, find_checkpoints, open_bundled
from hub_export.record import CheckpointError, read_record
from hub_export.store import resolve
from support.checkpoints import tiny_checkpoint

ROOT = Path(__file__).parents[1]


def test_every_checkpoint_that_ships_has_a_reference() -> None:
    store = FolderStore(BUNDLED)
    assert store.problems() == []
    for name in store.experiments():
        records = store.checkpoints(name)
        for record in records:
            folder = resolve(f"bundled:{name}@{record.checkpoint}")
            assert read_record(folder) == record
        assert resolve(f"bundled:{name}") == folder, "the newest"


@pytest.mark.slow
def test_the_folder_is_found_from_anywhere(tmp_path: Path) -> None:
    name = FolderStore(BUNDLED).experiments()[0]
    code = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from hub_export.store import resolve
print(json.dumps([str(resolve("bundled:{name}")), sorted(sys.modules.keys() & {{"animegan_app", "gradio", "keras"}})]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [str(open_bundled(f"bundled:{name}")), []]


def test_a_folder_stands_for_itself(tmp_path: Path) -> None:
    assert resolve(str(tmp_path / "runs" / "mine" / "epoch-001")) == tmp_path / "runs" / "mine" / "epoch-001"


def test_a_renamed_or_copied_run_is_offered_under_its_folder_s_name_and_a_strange_checkpoint_is_not(tmp_path: Path) -> None:
    for name in ("epoch-001", "epoch-002"):
        tiny_checkpoint(tmp_path / "mine" / name)
    shutil.copytree(tmp_path / "mine", tmp_path / "copy")
    store = FolderStore(tmp_path)
    assert [record.experiment for record in store.checkpoints("copy")] == ["copy", "copy"] and store.problems() == []
    shutil.copytree(tmp_path / "mine" / "epoch-002", tmp_path / "copy" / "epoch-003")
    tiny_checkpoint(tmp_path / "other" / "epoch-004")
    shutil.copytree(tmp_path / "other" / "epoch-004", tmp_path / "mine" / "epoch-004")
    assert [record.checkpoint for record in store.checkpoints("mine")] == ["epoch-001", "epoch-002"]
    assert [str(problem) for problem in store.problems()] == [
        f"{tmp_path}/copy/epoch-003: the record is of mine/epoch-002",
        f"{tmp_path}/mine/epoch-004: the record is of other/epoch-004",
    ]


@pytest.mark.parametrize("text", ["bundled:", "bundled:@epoch-001", "bundled:a/b", "bundled:../x@epoch-001", "bundled:x@"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="names no checkpoint that ships: write bundled:cel@epoch-025"):
        resolve(text)


def test_what_does_not_ship_is_told_with_what_does() -> None:
    name = FolderStore(BUNDLED).experiments()[0]
    with pytest.raises(CheckpointError, match=f"no experiment nothing ships: choose from .*{name}"):
        resolve("bundled:nothing@epoch-001")
    with pytest.raises(CheckpointError, match=f"{name} ships without a checkpoint epoch-9999: choose from epoch-"):
        resolve(f"bundled:{name}@epoch-9999")


def test_a_path_with_braces_that_holds_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\{x\} holds no checkpoint: give a checkpoint's folder"):
        find_checkpoints(tmp_path / "{x}")
