"""A run's loop and its folder: saving beside training, what stops a run, resuming, one writer at a time."""

import dataclasses
import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hub_export import checkpoint
from hub_export.files import write_aside
from hub_export.folder import FolderStore
from hub_export.record import Record, read_record
from support.training import assert_same_state
from train import engine, loop
from train.batches import TrainingData
from train.configuration import override, to_dict
from train.engine import state, variables_of
from train.experiments import get_experiment
from train.loop import Run, RunOptions, TrainingStopped, loss_shares, sample_grid, start_profiler
from train.run_folder import RunFolder, superseded, writing
from train.settings import Experiment

Starter = Callable[..., Run]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("eager"),  # steps need no tracing then; the data's graph stays one
    pytest.mark.filterwarnings("ignore:Even though the .tf.config"),
]


def pictures(experiment: Experiment, seed: int = 0) -> TrainingData:
    rng = np.random.default_rng(seed)
    photos = [rng.integers(0, 256, (70, 80, 3), np.uint8) for _ in range(4)]
    frames = [rng.integers(0, 256, (70, 80, 6), np.uint8) for _ in range(4)]
    return TrainingData(experiment.data, photos, frames)


def tiny(*settings: str) -> Experiment:
    base = ["data.holdout=1", "data.size=32", "generator.channels=4", "discriminator.channels=8", "discriminator.layers=1"]
    base += ["schedule.epoch=2 steps", "schedule.length=6 steps"]
    return override(get_experiment("smoke"), [*base, *settings], "x")


@pytest.fixture
def start(tmp_path: Path) -> Starter:
    """Starts, or resumes, the run "x"."""

    def started(*settings: str, resume: bool = False, seed: int = 0, name: str = "x", **options: Any) -> Run:
        experiment = tiny(*settings)
        folder = RunFolder(tmp_path / name, experiment, resume)
        try:
            return Run(pictures(experiment, seed), folder, RunOptions(**options))
        except ValueError:
            folder.close()
            raise

    return started


@pytest.fixture
def terminal() -> Iterator[None]:
    """As under a terminal that hangs up, though these tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def saved(run: Run, name: str = "state.npz") -> dict[str, np.ndarray]:
    with np.load(run.folder.path / name) as values:
        return {key: value for key, value in values.items() if key != "seconds"}


def at(run: Run, step: int) -> None:
    """As if the run had come to this step and saved there."""
    run.step = step
    run._save_checkpoint()
    run._saving.wait()


def test_sample_grid_shows_each_photo_above_its_drawing() -> None:
    photos = [np.full((40, 50, 3), value, np.uint8) for value in (10, 200)]
    grid = sample_grid(lambda pictures: -np.asarray(pictures), photos, stride=8)
    assert grid.shape == (80, 80, 3)
    assert [int(grid[0, 0, 0]), int(grid[0, 79, 0]), int(grid[79, 0, 0]), int(grid[79, 79, 0])] == [10, 200, 245, 55]
    alone = sample_grid(lambda pictures: -np.asarray(pictures), photos[:1], stride=8)
    np.testing.assert_array_equal(alone, grid[:, :40])


@pytest.mark.parametrize("name", ["smoke", "cyclegan-laptop", "pairs", "official-v3-hayao-laptop"])
def test_a_run_that_draws_one_flat_colour_stops_and_keeps_what_it_had(tmp_path: Path, name: str) -> None:
    """As a run of AnimeGANv3 did, at too high a rate: its last activation is at its end, and passes no gradient."""
    small = ["data.style=generated", "data.holdout=1", "data.size=32", "generator.channels=4"]
    small += [] if name in ("cyclegan-laptop", "pairs") else ["features.network=hed-vgg16", "features.weights=none"]
    experiment = override(get_experiment(name), small, "x")
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (70, 80, 3 if name == "cyclegan-laptop" else 6), np.uint8) for _ in range(4)]
    data = TrainingData(experiment.data, photos, [rng.integers(0, 256, (70, 80, 6), np.uint8) for _ in range(4)])
    run = Run(data, RunFolder(tmp_path / "x", experiment, resume=False))
    at(run, 1)
    [kept] = run.folder.path.glob("*/checkpoint.json")
    for variable in (run.recipe.averaged or run.recipe.generator).trainable_variables[-1:]:
        variable.assign(tf.fill(variable.shape, 1e4))
    with pytest.raises(TrainingStopped, match=r"one flat colour.*lower schedule.generator_rate"):
        at(run, 2)
    assert list(run.folder.path.glob("*/checkpoint.json")) == [kept] and int(saved(run)["step"]) == 1


def test_saving_takes_a_snapshot_and_does_not_hold_the_loop(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, write = threading.Event(), threading.Event(), checkpoint.save_checkpoint

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return write(*arguments)

    monkeypatch.setattr(checkpoint, "save_checkpoint", slow)
    run = start()
    run.step = 2
    expected = state(run.recipe)
    run._save_checkpoint()
    assert begun.wait(60)
    for variable in variables_of(run.recipe).values():
        variable.assign(variable * 0)
    run.step = 3
    go_on.set()
    run._saving.wait()
    found = saved(run)
    assert int(found["step"]) == 2
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    kernels = checkpoint.load_generator(run.folder.path / "epoch-001").get_weights()
    np.testing.assert_array_equal(kernels[0], expected["averaged/0"])


def test_a_full_disk_is_waited_for(
    start: Starter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, write, left = start("schedule.length=3 steps"), write_aside, [3]

    def full(path: Path, content: bytes) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_aside", full)
    monkeypatch.setattr(loop, "DISK_SECONDS", 0.01)
    run.train()
    assert run.step == 3 and int(saved(run)["step"]) == 3 and not left[0]
    told = capsys.readouterr().out
    assert re.search(r"x/\S+: the disk is full: free some space, or choose another folder with --runs. Training waits", told)
    names = [record.checkpoint for record in FolderStore(run.folder.path.parent).checkpoints("x")]
    assert names == ["epoch-001", "step-000003"]


def test_a_run_that_is_resumed_on_a_full_disk_says_so(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    at(run := start(), 2)
    run.folder.close()

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("train.run_folder.write_aside", full)
    with pytest.raises(ValueError, match="the disk is full: free some space, or choose another folder with --runs"):
        start(resume=True)


def test_a_disk_that_is_full_when_a_row_is_logged_loses_no_row(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start()
    path = run.folder.path / "history.jsonl"
    path.unlink()
    path.symlink_to("/dev/full")
    run.folder.log({"step": 1, "phase": "warm-up"})
    path.unlink()
    run.folder.log({"step": 2, "phase": "warm-up"})
    run._save_state()
    run._saving.wait()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_folder_that_cannot_be_written_ends_the_run_with_its_name_and_a_remedy(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start()

    def gone(path: Path, content: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(checkpoint, "write_aside", gone)
    with pytest.raises(TrainingStopped, match=r"x/\S+: the file system is read-only: choose .* --runs;") as end:
        run.train()
    assert run.step <= 4 and "\n" not in str(end.value)


def test_a_place_for_runs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file/x: a file is where a folder should be: choose another folder with --runs"):
        RunFolder(tmp_path / "file" / "x", tiny())


def test_a_damaged_state_falls_back_to_the_one_before(start: Starter, capsys: pytest.CaptureFixture[str]) -> None:
    straight = start()
    straight.train()
    expected = saved(straight)
    assert int(saved(straight, "state-previous.npz")["step"]) == 4
    path = straight.folder.path / "state.npz"
    content = path.read_bytes()
    entry = content.index(b"PK\x01\x02") + 10  # where the table of contents says how it is packed
    path.write_bytes(content[:entry] + b"\x63" + content[entry + 1 :])
    before = straight.folder.load_state()
    assert before is not None and int(before["step"]) == 4 and "state.npz is damaged" in capsys.readouterr().out
    path.write_bytes(content[:-1000])
    resumed = start(resume=True)
    assert resumed.step == 4 and "state.npz is damaged" in capsys.readouterr().out
    resumed.train()
    assert_same_state(saved(resumed), expected)
    for name in ("state.npz", "state-previous.npz"):
        (straight.folder.path / name).write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match=r"state\.npz is damaged.*state-previous\.npz is damaged.*--init"):
        start(resume=True)


def test_resuming_names_what_differs_with_both_values(start: Starter) -> None:
    at(run := start(), 4)
    run.folder.close()
    with pytest.raises(ValueError, match=r"loss\.style_weight is 2\.5 there and 7\.0 here; seed is 0 there and 3 here"):
        start("seed=3", "loss.style_weight=7", resume=True)
    with pytest.raises(ValueError, match=r"was trained on other pictures than these 3 photos and 3 anime frames"):
        start(resume=True, seed=1)


@pytest.mark.usefixtures("terminal")
def test_an_interrupted_run_goes_on_with_a_longer_schedule_and_a_shorter_one_says_why_not(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes in the midst of an epoch; the end is that of a run that nobody stopped."""
    first, steps = start("schedule.length=4 steps", "schedule.decay=constant"), itertools.count(1)
    hang_up = lambda terms: signal.raise_signal(signal.SIGHUP) if next(steps) == 3 else None  # noqa: E731
    monkeypatch.setattr(first.recipe, "advice", hang_up)
    first.train()
    longer = start("schedule.length=6 steps", "schedule.decay=constant", "look.name=Plain", resume=True)
    assert longer.step == 3
    longer.train()
    straight = start("schedule.length=6 steps", "schedule.decay=constant", name="straight")
    straight.train()
    assert_same_state(saved(longer), saved(straight))
    assert [row["step"] for row in longer.folder.history] == [2, 3, 4, 6]
    assert read_record(longer.folder.path / "epoch-003").look == {"name": "Plain"}, "what it is called may change"
    with pytest.raises(ValueError, match="has 6 steps already, more than the 4 of "):
        start("schedule.length=4 steps", "schedule.decay=constant", resume=True)
    kept = json.loads((longer.folder.path / "experiment.json").read_text())
    assert kept["schedule"]["length"] == "6 steps", "what is refused changes nothing"


def test_a_run_goes_on_in_the_precision_that_it_began_in(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "automatic_precision", lambda: "mixed_bfloat16")
    at(run := start("precision=auto"), 2)
    run.folder.close()
    monkeypatch.setattr(engine, "automatic_precision", lambda: "float32")  # another machine
    resumed = start("precision=auto", resume=True)
    assert (resumed.step, resumed.engine.precision) == (2, "mixed_bfloat16")


@pytest.mark.usefixtures("terminal")
def test_a_run_under_nohup_outlives_its_terminal(start: Starter) -> None:
    run = start()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with run._session():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert callable(signal.getsignal(signal.SIGTERM))


def test_resuming_works_from_step_0_and_a_new_start_leaves_no_row_of_an_earlier_try(start: Starter, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run to resume: start it without --resume"):
        start(resume=True)
    run = start()
    run.folder.log({"step": 10, "phase": "warm-up"})
    run.folder.close()  # killed before its first save
    resumed = start(resume=True)
    assert resumed.step == 0 and (tmp_path / "x" / "history.jsonl").read_text() == ""
    resumed.folder.log({"step": 10, "phase": "warm-up"})
    resumed.folder.close()
    again = start()
    assert again.folder.history == [] and not (tmp_path / "x" / "history.jsonl").read_text()
    at(again, 4)
    again.folder.close()
    with pytest.raises(ValueError, match="exists: go on with --resume"):
        start()
    (tmp_path / "x" / "state.npz").unlink()
    with pytest.raises(ValueError, match="holds checkpoints of an earlier run"):
        start()


def test_a_renamed_or_copied_run_goes_on_and_its_checkpoints_are_its_own(start: Starter, tmp_path: Path) -> None:
    at(run := start(), 2)
    run.folder.close()
    shutil.copytree(tmp_path / "x", tmp_path / "copy")
    (tmp_path / "x").rename(tmp_path / "renamed")
    for name in ("copy", "renamed"):
        resumed = start(resume=True, name=name)
        assert resumed.step == 2
        at(resumed, 4)
        records = FolderStore(tmp_path).checkpoints(name)
        assert [record.checkpoint for record in records] == ["epoch-001", "epoch-002"]
        checkpoint.load_generator(tmp_path / name / "epoch-001")
        assert (tmp_path / name / "epoch-001" / "README.md").read_text("utf-8").count(f"# {name} ·") == 1
        resumed.folder.close()
    assert not FolderStore(tmp_path).problems()


def test_one_writer_at_a_time_and_any_death_makes_room(start: Starter, tmp_path: Path) -> None:
    held = start()
    for before in (lambda: None, (tmp_path / "x" / "state.npz").touch):  # also where a run is that could be resumed
        before()
        with pytest.raises(ValueError, match=rf"x is being written by process {os.getpid()} on .*: wait for it, or end it"):
            start()
    (tmp_path / "x" / "state.npz").unlink()
    with pytest.raises(ValueError, match="is being written by process"), writing(tmp_path / "x"):
        pass
    held.folder.close()
    with writing(tmp_path / "x"), pytest.raises(ValueError, match="is being written by process"):
        start()
    script = """
import sys, time
from pathlib import Path
from train.run_folder import lock
held = lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {other.pid} on"):
            start()
        other.kill()
    start().folder.close()


def test_opened_pictures_meet_the_check_that_the_commands_do(tmp_path: Path) -> None:
    photos = [np.zeros((40, 40, 3), np.uint8) for _ in range(2)]
    data = TrainingData(dataclasses.replace(tiny().data, holdout=0), photos, [])
    with pytest.raises(ValueError, match="AnimeGAN learns from anime frames"):
        Run(data, RunFolder(tmp_path / "x", tiny()))


def test_shares_of_the_loss(start: Starter) -> None:
    weights = {"generator": {"content": 1.5, "style": 3.0, "tv": 0.0}, "discriminator": {"d_real": 300.0}}
    found = loss_shares({"content": 2.0, "style": -3.0, "tv": 9.0, "generator": 0.0}, weights)
    assert found == {"generator": {"content": 0.25, "style": 0.75}}
    run = start("schedule.length=4 steps")
    run.train()
    warmup, adversarial = run.folder.history
    assert warmup["share_content"] + warmup["share_pixel"] == pytest.approx(1, abs=1e-4)
    parts = {name: adversarial[f"share_{name}"] for name in ("content", "style", "colour", "adversarial")}
    assert sum(parts.values()) == pytest.approx(1, abs=1e-4)
    assert parts["adversarial"] == pytest.approx(300 * adversarial["adversarial"] / adversarial["generator"], rel=1e-3)
    assert run.loss_shares()["generator"] == pytest.approx(parts)
    assert sum(run.loss_shares()["discriminator"].values()) == pytest.approx(1, abs=1e-4)
    record = read_record(run.folder.path / "epoch-002")
    assert record.data["shares"] == run.loss_shares() and record.data["losses"]["content"] == run.recipe.terms["content"]


def test_keep_spares_the_newest_the_warm_ups_last_and_the_best(start: Starter) -> None:
    run = start(keep=1)
    at(run, 2)
    record = read_record(run.folder.path / "epoch-001")

    def of(epoch: int, phase: str, chosen_by: float | None = None, **metrics: float) -> Record:
        name = f"epoch-{epoch:03d}"
        data = record.data if chosen_by is None else record.data | {"chosen_by": chosen_by}
        return dataclasses.replace(record, checkpoint=name, step=10 * epoch, phase=phase, metrics=metrics, data=data)

    records = [of(1, "warm-up", drawn=0.9), of(2, "warm-up"), *(of(epoch, "adversarial") for epoch in (3, 5, 6))]
    assert superseded(records, 1) == ["epoch-001", "epoch-003", "epoch-005"]
    assert superseded([*records, of(4, "adversarial", drawn=0.1)], 2) == ["epoch-001", "epoch-003"]
    assert superseded(records, 9) == []
    measured = [of(1, "adversarial", style=1.0, drawn=0.2), of(2, "adversarial", style=2.0, drawn=0.3), of(3, "adversarial")]
    assert superseded(measured, 1) == ["epoch-001"]
    measured = [of(1, "adversarial", 0.4, drawn=0.2), of(2, "adversarial", 0.1, drawn=0.3), of(3, "adversarial")]
    assert superseded(measured, 1) == ["epoch-002"]  # train.evaluate recommends by other photos than it reports

    (run.folder.path / ".epoch-009-removed").mkdir()
    shutil.copytree(run.folder.path / "epoch-001", run.folder.path / "best")  # as people do
    at(run, 4)
    at(run, 6)
    names = [record.checkpoint for record in FolderStore(run.folder.path.parent).checkpoints("x")]
    assert names == ["epoch-001", "epoch-003"]
    assert [path.name for path in run.folder.path.glob(".*")] == [".lock"]


def test_what_a_run_was_told_is_in_its_folder(start: Starter) -> None:
    run = start()
    assert json.loads((run.folder.path / "experiment.json").read_text()) == to_dict(run.experiment)


def test_a_profiler_that_cannot_start_is_told(tmp_path: Path) -> None:
    tf.profiler.experimental.start(str(tmp_path))
    try:
        with pytest.raises(ValueError, match="--profile: the profiler cannot start"):
            start_profiler(tmp_path)
    finally:
        tf.profiler.experimental.stop()
