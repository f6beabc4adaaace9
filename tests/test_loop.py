"""The plan of a run, and what stops one."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hub_export import checkpoint
from hub_export.folder import FolderStore
from hub_export.record import Record, read_record
from train.batches import TrainingData
from train.experiments import get_experiment, override
from train.loop import COLLAPSE_STEPS, Run, TrainingStopped, _start_profiler, plan, sample_grid, superseded


def test_plan_from_epochs_and_from_steps() -> None:
    official = plan(get_experiment("official-v1"), steps_per_epoch=1109)
    assert (official.steps_per_epoch, official.warmup_steps, official.total_steps) == (1109, 5 * 1109, 101 * 1109)
    assert [official.epoch(step) for step in (1, 1109, 1110)] == [1, 1, 2]
    short = plan(override(get_experiment("fast-hayao"), ["schedule.warmup_steps=300", "schedule.steps=600"], "x"), 5)
    assert (short.steps_per_epoch, short.warmup_steps, short.total_steps) == (100, 300, 600)


@pytest.fixture
def short_run(tmp_path: Path) -> Run:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (70, 80, 3), np.uint8) for _ in range(4)]
    frames = [rng.integers(0, 256, (70, 80, 4), np.uint8) for _ in range(4)]
    experiment = override(get_experiment("smoke"), ["data.holdout=1", "data.flatten=0"], "x")
    return Run(experiment, TrainingData(experiment.data, photos, frames), tmp_path / "x")


def test_a_collapsed_discriminator_stops_the_run(short_run: Run) -> None:
    won = {"d_real": 1e-4, "d_fake": 1e-4, "generator": 1.0}
    for _ in range(COLLAPSE_STEPS - 1):
        short_run._check(won)
    short_run._check({**won, "d_fake": 0.2})  # one fake that passes is enough
    for _ in range(COLLAPSE_STEPS - 1):
        short_run._check(won)
    with pytest.raises(TrainingStopped, match=r"told every fake from anime.*generator_steps=3.*dropout"):
        short_run._check(won)


def test_sample_grid_shows_each_photo_above_its_drawing() -> None:
    photos = [np.full((40, 50, 3), value, np.uint8) for value in (10, 200)]
    grid = sample_grid(lambda pictures: -np.asarray(pictures), photos, stride=8)
    assert grid.shape == (80, 80, 3)
    assert [int(grid[0, 0, 0]), int(grid[0, 79, 0]), int(grid[79, 0, 0]), int(grid[79, 79, 0])] == [10, 200, 245, 55]
    alone = sample_grid(lambda pictures: -np.asarray(pictures), photos[:1], stride=8)
    np.testing.assert_array_equal(alone, grid[:, :40])


def test_saving_takes_a_snapshot_and_does_not_hold_the_loop(short_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, write = threading.Event(), threading.Event(), checkpoint.save_checkpoint

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return write(*arguments)

    monkeypatch.setattr(checkpoint, "save_checkpoint", slow)
    short_run.step = 10
    expected = short_run.trainer.state()
    short_run._save_checkpoint()
    assert begun.wait(60)
    for _, _, variable in short_run.trainer._variables():
        variable.assign(variable * 0)
    short_run.step = 11
    go_on.set()
    short_run._saving.wait()
    with np.load(short_run.folder / "state.npz") as saved:
        assert int(saved["step"]) == 10
        for name, value in expected.items():
            np.testing.assert_array_equal(saved[name], value, err_msg=name)
    average = short_run.trainer._variables()[-1][0]
    assert average == "averaged"
    kernels = checkpoint.load_generator(short_run.folder / "epoch-001").get_weights()
    np.testing.assert_array_equal(kernels[0], expected["averaged/0"])


def test_what_is_held_to_inits_drawing_stays_so_when_it_goes_on(short_run: Run, tmp_path: Path) -> None:
    short_run.step = 10
    short_run._save_checkpoint()
    short_run._saving.wait()
    first = short_run.folder / "epoch-001"

    experiment = override(short_run.experiment, ["loss.drawn=0.5", f"init={first}"], "y")
    run = Run(experiment, short_run.data, tmp_path / "y")
    for variable in run.trainer.generator.variables:
        variable.assign(variable * 0)
    run._save_state()
    run._saving.wait()
    again = Run(experiment, short_run.data, tmp_path / "y", resume=True).trainer
    (teacher,) = again.teachers
    for expected, found in zip(checkpoint.load_generator(first).get_weights(), teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not any(weight.any() for weight in again.generator.get_weights())

    twice = override(short_run.experiment, ["loss.drawn=0.5", f"loss.drawn_by={first}, {first}"], "z")
    assert len(Run(twice, short_run.data, tmp_path / "z").trainer.teachers) == 2


def test_an_error_in_saving_comes_out_of_the_loop(short_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_aside", full)
    short_run.plan = dataclasses.replace(short_run.plan, warmup_steps=30)
    with pytest.raises(OSError, match="No space left"):
        short_run.train()
    assert short_run.step <= 20


def test_keep_spares_the_newest_the_warm_ups_last_and_the_best(short_run: Run) -> None:
    short_run.step = 10
    short_run._save_checkpoint()
    short_run._saving.wait()
    record = read_record(short_run.folder / "epoch-001")

    def at(epoch: int, phase: str, **metrics: float) -> Record:
        return dataclasses.replace(record, checkpoint=f"epoch-{epoch:03d}", step=10 * epoch, phase=phase, metrics=metrics)

    records = [at(1, "warm-up", style=0.0), at(2, "warm-up"), *(at(epoch, "adversarial") for epoch in (3, 5, 6))]
    assert superseded(records, 1) == ["epoch-001", "epoch-003", "epoch-005"]
    assert superseded([*records, at(4, "adversarial", style=2.0)], 2) == ["epoch-001", "epoch-003"]
    assert superseded(records, 9) == []
    also = {"independent_content": 0.1}
    by_both = [at(1, "adversarial", style=2.0, independent_style=9.0, **also), at(2, "adversarial")]
    by_both += [at(3, "adversarial", style=3.0, independent_style=8.0, **also), at(4, "adversarial")]
    assert superseded(by_both, 1) == ["epoch-001", "epoch-002"], "the best by the network that nothing is trained against"

    short_run.keep = 1
    (short_run.folder / ".epoch-009-removed").mkdir()
    for step in (20, 30):
        short_run.step = step
        short_run._save_checkpoint()
    short_run._saving.wait()
    names = [record.checkpoint for record in FolderStore(short_run.folder.parent).checkpoints("x")]
    assert names == ["epoch-001", "epoch-003"]
    assert not list(short_run.folder.glob(".*"))


def test_a_profiler_that_cannot_start_is_told(tmp_path: Path) -> None:
    tf.profiler.experimental.start(str(tmp_path))
    try:
        with pytest.raises(ValueError, match="--profile: the profiler cannot start"):
            _start_profiler(tmp_path)
    finally:
        tf.profiler.experimental.stop()
