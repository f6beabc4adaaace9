"""How long a run trains, how fast, and in what order; plain arithmetic, without TensorFlow.

A duration is text: "300 steps" or "5 epochs". An epoch is one pass over the larger of photos and frames, or as many steps
as the schedule says.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from train.checks import check_choices, check_numbers

WARM_UP = "warm-up"
"""The phase that a schedule may begin with: the generator alone learns to reproduce the photo or, in the recipe `pairs`, its
target; there is no discriminator yet. What follows is named by the recipe."""


@dataclass(frozen=True)
class Duration:
    """So many steps, or epochs.

    Args:
        count: a whole number, 0 or more.
        unit: "steps" or "epochs".
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Reads "300 steps", "1 epoch", or "300", which are steps. Raises ValueError."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*(step|epoch|)s?\s*", text)
        if not match:
            raise ValueError(f'a duration is written "300 steps" or "5 epochs", got {text!r}')
        return cls(int(match[1]), f"{match[2] or 'step'}s")

    def __str__(self) -> str:
        return f"{self.count} {self.unit if self.count != 1 else self.unit[:-1]}"

    def steps(self, epoch: int) -> int:
        """Its length in steps, `epoch` of which are an epoch."""
        return self.count * (epoch if self.unit == "epochs" else 1)


@dataclass(frozen=True)
class Moment:
    """Where in a run a step is.

    Args:
        step: how many steps were taken before it.
        phase: its phase, e.g. "warm-up".
        index: how many steps of the phase were taken before it.
        done: `index` as a share of the phase, in [0, 1].
    """

    step: int
    phase: str
    index: int
    done: float


@dataclass(frozen=True)
class Plan:
    """A schedule in steps.

    Args:
        epoch_steps: steps of an epoch.
        warmup_steps: steps of the warm-up, less than all.
        total_steps: all steps.
        phase: the name of what follows the warm-up.
    """

    epoch_steps: int
    warmup_steps: int
    total_steps: int
    phase: str = "adversarial"

    def epoch(self, step: int) -> int:
        """The epoch that step number `step` (from 1) belongs to, from 1."""
        return -(-step // self.epoch_steps)

    def moment(self, step: int) -> Moment:
        """Where the step is that follows `step` others."""
        if step < self.warmup_steps:
            return Moment(step, WARM_UP, step, step / self.warmup_steps)
        index = step - self.warmup_steps
        return Moment(step, self.phase, index, index / max(self.total_steps - self.warmup_steps, 1))

    def checkpoint_name(self, step: int) -> str:
        """The checkpoint's name after `step` steps: "epoch-004" at an epoch's end, else "step-000300"; no two share one."""
        epoch, rest = divmod(step, self.epoch_steps)
        return f"step-{step:06d}" if rest else f"epoch-{epoch:03d}"

    def checkpoint_due(self, step: int, epochs: int) -> bool:
        """Whether one is saved after `step` steps: every so many epochs, and at the end of either phase."""
        return step % (epochs * self.epoch_steps) == 0 or step in (self.warmup_steps, self.total_steps)


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, how fast, in what order.

    Args:
        batch: pictures a step.
        warmup: training of the generator alone at the start, "5 epochs" or "300 steps"; "0 steps" for none.
        length: the whole run, the warm-up included.
        epoch: length of an epoch, "450 steps", or "auto": max(photos, frames) / batch.
        generator_steps: generator steps for each discriminator step, in recipes that have both apart.
        warmup_rate, generator_rate, discriminator_rate: Adam learning rates.
        decay: of the rates after the warm-up, "constant", "cosine" from the full rates down to a twentieth, or "linear"
            from half-way on down to nothing (CycleGAN).
        beta_1, beta_2, epsilon: Adam's; epsilon as TF1's.
        ema: decay of the averaged generator that is exported, 0 for none.
        checkpoint_epochs: epochs between checkpoints.
    """

    batch: int = 6
    warmup: str = "5 epochs"
    length: str = "101 epochs"
    epoch: str = "auto"
    generator_steps: int = 1
    warmup_rate: float = 1e-4
    generator_rate: float = 8e-5
    discriminator_rate: float = 1.6e-4
    decay: Literal["constant", "cosine", "linear"] = "constant"
    beta_1: float = 0.5
    beta_2: float = 0.999
    epsilon: float = 1e-8
    ema: float = 0.0
    checkpoint_epochs: int = 1

    def __post_init__(self) -> None:
        check_choices(self, "schedule.")
        check_numbers(self, "schedule.", most=65536, batch=1, generator_steps=1, checkpoint_epochs=1)
        check_numbers(self, "schedule.", warmup_rate=0, generator_rate=0, discriminator_rate=0, epsilon=1e-12)
        check_numbers(self, "schedule.", most=0.999999, beta_1=0, beta_2=0, ema=0)
        for name in ("warmup", "length", "epoch"):
            text = getattr(self, name)
            if name == "epoch" and text == "auto":
                continue
            try:
                object.__setattr__(self, name, str(Duration.parse(str(text))))
            except ValueError as error:
                raise ValueError(f"schedule.{name}: {error}") from None
        if self.epoch != "auto" and (Duration.parse(self.epoch).unit != "steps" or not Duration.parse(self.epoch).count):
            raise ValueError(f'schedule.epoch is a number of steps like "450 steps", or "auto", got {self.epoch!r}')
        warmup, length = Duration.parse(self.warmup), Duration.parse(self.length)
        if self.epoch != "auto" or warmup.unit == length.unit:
            self.plan(1)
        elif not length.count:
            raise ValueError("schedule.length must be at least one step")

    def plan(self, data_epoch: int, phase: str = "adversarial") -> Plan:
        """The schedule in steps.

        Args:
            data_epoch: how many steps the pictures' own epoch has.
            phase: what follows the warm-up.

        Raises:
            ValueError: nothing is left after the warm-up.
        """
        epoch = data_epoch if self.epoch == "auto" else Duration.parse(self.epoch).count
        warmup, length = (Duration.parse(text).steps(epoch) for text in (self.warmup, self.length))
        if not length:
            raise ValueError("schedule.length must be at least one step")
        if warmup >= length:
            raise ValueError(
                f"a warm-up of {self.warmup} leaves nothing of schedule.length={self.length!r}: the rest is learnt after "
                "it; lengthen the run or shorten schedule.warmup"
            )
        return Plan(epoch, warmup, length, phase)


def decay_factor(decay: str, done: float) -> float:
    """Factor on the learning rates after the share `done` of the main phase, in [0, 1]."""
    if decay == "constant":
        return 1.0
    if decay == "linear":
        return min(1.0, 2.0 * (1.0 - done))
    return 0.05 + 0.95 * (1.0 + math.cos(math.pi * min(done, 1.0))) / 2.0
