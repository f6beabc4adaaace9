"""Durations, plans in steps, and learning rates that decay."""

import pytest

from train.schedule import WARM_UP, Duration, Plan, ScheduleConfig, decay_factor


@pytest.mark.parametrize(
    ("text", "written", "steps"),
    [("300 steps", "300 steps", 300), ("300", "300 steps", 300), (" 1 epoch ", "1 epoch", 10), ("5epochs", "5 epochs", 50)],
)
def test_durations(text: str, written: str, steps: int) -> None:
    assert str(Duration.parse(text)) == written and Duration.parse(text).steps(10) == steps
    assert Duration.parse(written) == Duration.parse(text)


@pytest.mark.parametrize("text", ["", "-1 steps", "1.5 epochs", "5 hours", "steps", "1 2 steps"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match='written "300 steps" or "5 epochs"'):
        Duration.parse(text)


def test_plans() -> None:
    official = ScheduleConfig().plan(1109)
    assert (official.epoch_steps, official.warmup_steps, official.total_steps) == (1109, 5 * 1109, 101 * 1109)
    assert [official.epoch(step) for step in (1, 1109, 1110)] == [1, 1, 2]
    short = ScheduleConfig(warmup="300 steps", length="6 epochs", epoch="100 steps").plan(5)
    assert (short.epoch_steps, short.warmup_steps, short.total_steps) == (100, 300, 600)


def test_a_plan_that_only_the_pictures_decide_is_checked_with_them() -> None:
    schedule = ScheduleConfig(warmup="300 steps", length="6 epochs")
    assert schedule.plan(100).warmup_steps == 300
    with pytest.raises(ValueError, match=r"leaves nothing of schedule\.length='6 epochs'"):
        schedule.plan(50)


def test_moments() -> None:
    plan = Plan(10, 20, 60, "supervised")
    first, last, main, end = (plan.moment(step) for step in (0, 19, 20, 59))
    assert (first.phase, first.index, last.phase) == (WARM_UP, 0, WARM_UP)
    assert (main.phase, main.index, main.done, end.done) == ("supervised", 0, 0.0, 39 / 40)


def test_cosine_decay() -> None:
    assert [round(decay_factor("cosine", done), 4) for done in (0.0, 0.5, 1.0, 2.0)] == [1.0, 0.525, 0.05, 0.05]
    assert decay_factor("constant", 0.7) == 1.0


def test_linear_decay_keeps_the_full_rates_for_half_of_the_time() -> None:
    assert [decay_factor("linear", done) for done in (0.0, 0.5, 0.75, 1.0)] == [1.0, 1.0, 0.5, 0.0]
