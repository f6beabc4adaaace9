"""One run from data to checkpoints, resumable at every save.

    runs/NAME/
        experiment.json   the configuration
        history.jsonl     every loss term, one line for LOG_STEPS steps (their mean)
        samples/          a grid of fixed photos for every checkpoint
        epoch-004/ ...    checkpoints (hub_export/checkpoint.py): `runs/` is a FolderStore
        state.npz         weights, optimizers, averages, power-iteration vectors, and the step

        features/         of pictures that do not change, where asked for
        profile/          a trace of PROFILE_STEPS steps, where asked for

Order of data, augmentation and noise are functions of (seed, step), so the step number is the whole position. Saving
copies what it needs at the step; one thread then draws the samples and writes, while training goes on.

With several workers every one runs this loop in step with the others; only the first of them, the chief, writes.
"""

import dataclasses
import io
import json
import os
import platform
import shutil
import signal
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hub_export import checkpoint, pixels
from hub_export.files import write_aside
from hub_export.hub import REFERENCE
from hub_export.metrics import yardsticks
from hub_export.record import RECORD, SAMPLES, Record, read_record
from hub_export.store import resolve
from train.batches import TrainingData
from train.experiments import Experiment, changes, from_dict
from train.kept import KeptFeatures
from train.trainer import Trainer, automatic_precision, style_entry

LOG_STEPS = 10
SAMPLE_PHOTOS = 4
COLLAPSE_STEPS = 300
"""How many steps the discriminator's losses must stay below COLLAPSE_LOSS before the run is stopped."""
COLLAPSE_LOSS = 1e-3
PROFILE_STEPS, PROFILE_AFTER = 10, 2
"""How many steps `--profile` records, and after how many: the first ones build graphs."""
WORKER_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
"""What TensorFlow raises in the other workers when one of them ends; which one depends on where they are at that moment."""


class TrainingStopped(RuntimeError):
    """The run cannot usefully go on; the message says why and what to try."""


@dataclass(frozen=True)
class Plan:
    """A schedule in steps."""

    steps_per_epoch: int
    warmup_steps: int
    total_steps: int

    def epoch(self, step: int) -> int:
        """The epoch that step number `step` (from 1) belongs to, from 1."""
        return -(-step // self.steps_per_epoch)


def plan(experiment: Experiment, steps_per_epoch: int) -> Plan:
    """Turns epochs into steps; `steps_per_epoch` is the data's own, used unless the experiment sets one."""
    schedule = experiment.schedule
    per_epoch = schedule.steps_per_epoch or steps_per_epoch
    warmup = schedule.warmup_steps or schedule.warmup_epochs * per_epoch
    total = schedule.steps or schedule.epochs * per_epoch
    return Plan(per_epoch, min(warmup, total), total)


class Run:
    """A run folder and what is learnt in it.

    Args:
        experiment: what to run.
        data: opened pictures.
        folder: runs/NAME.
        resume: go on from state.npz; without it the folder must be new.
        on_checkpoint: called with the folder of every new checkpoint, in the thread that wrote it.
        keep: how many of the newest checkpoints stay, see `superseded`; 0 for all.
        profile: record a few steps into the folder.
        strategy: the devices that share every batch; the default is one device.
        xla: compile the steps with XLA.
        keep_features: compute features of pictures that do not change once, and read them from files in the folder.

    Raises:
        ValueError: the folder exists and resume is off, or holds another experiment, or nothing to resume from; the
            batch cannot be shared evenly.
    """

    def __init__(
        self,
        experiment: Experiment,
        data: TrainingData,
        folder: Path,
        resume: bool = False,
        on_checkpoint: Callable[[Path], None] = lambda folder: None,
        keep: int = 0,
        profile: bool = False,
        strategy: tf.distribute.Strategy | None = None,
        xla: bool = False,
        keep_features: bool = False,
    ):
        self.strategy = strategy or tf.distribute.get_strategy()
        self.chief = self.strategy.extended.should_checkpoint
        replicas, share = self.strategy.num_replicas_in_sync, experiment.schedule.batch
        if share % replicas:
            raise ValueError(f"{replicas} devices cannot share batches of {share} evenly: set schedule.batch to a multiple")
        self.experiment, self.data, self.folder, self.on_checkpoint = experiment, data, folder, on_checkpoint
        self.keep, self.profile = keep, profile
        self.plan = plan(experiment, data.steps_per_epoch(experiment.schedule.batch))
        self._open_folder(resume)
        self.precision = automatic_precision() if experiment.precision == "auto" else experiment.precision
        self.trainer = Trainer(experiment, self.precision, self.strategy, xla)
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, Any]] = []
        if experiment.init and not resume:
            self.trainer.start_from(checkpoint.load_generator(locate(experiment.init)))
        if experiment.loss.drawn:
            for reference in (experiment.loss.drawn_by or experiment.init).split(","):
                folder = locate(reference.strip())
                config = read_record(folder).generator_config
                self.trainer.learn_from(config, checkpoint.load_generator(folder))
        if resume:
            self._restore()
        self._beside = None
        if keep_features:
            kept = KeptFeatures(folder / "features", self.trainer.features, data, style_entry(experiment))
            self._beside = kept.beside
        self.photos = data.fixed_photos(SAMPLE_PHOTOS)
        self._stop = False
        self._collapsed_steps = 0
        self._saving = _Background()

    def _open_folder(self, resume: bool) -> None:
        config = self.folder / "experiment.json"
        wanted = dataclasses.asdict(self.experiment)
        if resume:
            if not (self.folder / "state.npz").is_file():
                raise ValueError(f"{self.folder} holds no state to resume from: run it without --resume")
            if from_dict(json.loads(config.read_text("utf-8"))) != self.experiment:
                raise ValueError(f"{self.folder} was started with other settings: resume with the same ones, or use --name")
        elif config.exists() and (self.folder / "state.npz").exists():
            raise ValueError(f"{self.folder} exists: go on with --resume, or choose another --name")
        if not self.chief:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_aside(config, json.dumps(wanted, indent=1).encode())

    def train(self) -> None:
        """Trains to the end of the plan. Ctrl-C and SIGTERM finish the step, save the state and return.

        Whichever way it ends, all that was to be saved is written. An error in saving is raised at the next step.

        Raises:
            TrainingStopped: a loss is not finite, the discriminator has collapsed, or another worker is gone.
            ValueError: the profiler cannot start, or the workers were not started alike.
        """
        try:
            self._train()
        except WORKER_LOST as error:
            if self.strategy.num_replicas_in_sync == 1:
                raise
            raise TrainingStopped(
                f"step {self.step}: another worker is gone or cannot be reached, so this one stops too; start all of them "
                f"again with --resume, which goes on from the last save ({str(error).splitlines()[0]})"
            ) from None

    def _train(self) -> None:
        self._check_workers()
        profiled = self.step + PROFILE_AFTER if self.profile and self.chief else -1
        profiling = False
        batches = iter(self.strategy.distribute_datasets_from_function(self._shares))
        handlers = {kind: signal.signal(kind, self._request_stop) for kind in (signal.SIGINT, signal.SIGTERM)}
        writer = _tensorboard(self.folder / "tensorboard") if self.chief else None
        bar = tqdm(
            total=self.plan.total_steps,
            initial=self.step,
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not self.chief,
        )
        pending: list[dict[str, float]] = []
        try:
            while self.step < self.plan.total_steps and not any(self.trainer.mean_of_workers([float(self._stop)])):
                self._saving.check()
                if self.step == profiled:
                    _start_profiler(self.folder / "profile")
                    profiling = True
                started = time.perf_counter()
                with tf.profiler.experimental.Trace("step", step_num=self.step, _r=1):
                    batch = next(batches)
                    waited = time.perf_counter() - started
                    terms = self.trainer.step(batch, self.step, self.plan.warmup_steps, self.plan.total_steps)
                self.step += 1
                elapsed = time.perf_counter() - started
                self.seconds += elapsed
                if profiling and self.step == profiled + PROFILE_STEPS:
                    tf.profiler.experimental.stop()
                    profiling = False
                self._check(terms)
                pending.append({**terms, "seconds": elapsed, "data_wait": waited / elapsed})
                bar.update()
                last_of_phase = self.step in (self.plan.warmup_steps, self.plan.total_steps)
                if len(pending) == LOG_STEPS or last_of_phase:
                    self._log(pending, bar, writer)
                    pending = []
                if self._checkpoint_due():
                    self._log(pending, bar, writer)
                    pending = []
                    self._save_checkpoint()
                elif self.step % self.plan.steps_per_epoch == 0:
                    self._save_state()
            self._log(pending, bar, writer)
            self._save_state()
        finally:
            try:
                if profiling:
                    tf.profiler.experimental.stop()
                self._saving.wait()
            finally:
                bar.close()
                for kind, handler in handlers.items():
                    signal.signal(kind, handler)

    def _shares(self, context: tf.distribute.InputContext) -> tf.data.Dataset:
        schedule = self.experiment.schedule
        return self.data.batches(schedule.batch, self.experiment.seed, self.step, context, self._beside)

    def _check_workers(self) -> None:
        started = repr((self.experiment, self.precision, self.data.photo_count, self.data.anime_count, self.step))
        own = list(map(float, zlib.crc32(started.encode()).to_bytes(4)))
        if not np.allclose(self.trainer.mean_of_workers(own), own, atol=1e-3):  # a mean of three may be rounded
            raise ValueError(
                "the workers were not started alike: they need the same command, the same pictures and, to resume, the "
                "same run folder (on a disk that all of them see)"
            )

    def _request_stop(self, *_: Any) -> None:
        self._stop = True

    @property
    def device(self) -> str:
        """What trains: the name of the device, and on how many machines like this one."""
        cluster = self.strategy.cluster_resolver
        machines = cluster.cluster_spec().num_tasks("worker") if cluster else 1
        return f"{machines} machines, this one with {device_name()}" if machines > 1 else device_name()

    def _checkpoint_due(self) -> bool:
        interval = self.plan.steps_per_epoch * self.experiment.schedule.checkpoint_epochs
        return self.step % interval == 0 or self.step in (self.plan.warmup_steps, self.plan.total_steps)

    def _check(self, terms: Mapping[str, float]) -> None:
        broken = [name for name, value in terms.items() if not np.isfinite(value)]
        if broken:
            raise TrainingStopped(
                f"step {self.step}: {', '.join(broken)} is not a finite number. Try --precision float32, lower "
                "schedule.generator_rate and schedule.discriminator_rate, or another seed; the last checkpoint is kept"
            )
        judged = [terms[name] for name in ("d_real", "d_fake") if name in terms]
        if judged and self.experiment.loss.adversarial in ("gan", "lsgan", "dragan", "hinge"):
            self._collapsed_steps = self._collapsed_steps + 1 if max(judged) < COLLAPSE_LOSS else 0
        if self._collapsed_steps >= COLLAPSE_STEPS:
            raise TrainingStopped(
                f"step {self.step}: for {COLLAPSE_STEPS} steps the discriminator has told every fake from anime "
                f"(losses below {COLLAPSE_LOSS}), so the generator learns nothing more from it. Try "
                "schedule.generator_steps=3, discriminator.dropout=0.3, or a lower schedule.discriminator_rate or "
                "loss.fake_weight"
            )

    def _log(self, pending: list[dict[str, float]], bar: Any, writer: Any) -> None:
        if not pending or not self.chief:
            return
        names = sorted({name for terms in pending for name in terms})
        means = {name: float(np.mean([terms[name] for terms in pending if name in terms])) for name in names}
        phase = self._phase()
        row = {"step": self.step, "epoch": self.plan.epoch(self.step), "phase": phase}
        row |= {name: float(f"{value:.5g}") for name, value in means.items()}
        self.history.append(row)
        with open(self.folder / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        bar.set_description(f"epoch {row['epoch']} {phase}")
        bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()})
        if writer:
            with writer.as_default(step=self.step):
                for name, value in means.items():
                    tf.summary.scalar(name, value)

    def _phase(self) -> str:
        return "warm-up" if self.step <= self.plan.warmup_steps else "adversarial"

    def _save_checkpoint(self) -> None:
        if not self.chief:
            return
        epoch = self.plan.epoch(self.step)
        name = f"epoch-{epoch:03d}"
        folder, export, history = self.folder / name, self.trainer.export(), list(self.history)
        record = Record(
            experiment=self.folder.name,
            checkpoint=name,
            question=self.experiment.question,
            base=self.experiment.base,
            changes=changes(self.experiment),
            config=dataclasses.asdict(self.experiment),
            generator=dataclasses.asdict(self.experiment.generator),
            phase=self._phase(),
            epoch=epoch,
            step=self.step,
            seed=self.experiment.seed,
            data=self.data.summary(),
            compute={
                "device": self.device,
                "seconds": round(self.seconds),
                "images": self.step * self.experiment.schedule.batch,
                "precision": self.precision,
            },
            libraries={name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
        )
        state = self._state()

        def write() -> None:
            generator = export()
            samples = sample_grid(generator, self.photos, self.experiment.generator.stride)
            checkpoint.save_checkpoint(folder, generator, record, history, samples)
            (self.folder / "samples").mkdir(exist_ok=True)
            shutil.copyfile(folder / SAMPLES, self.folder / "samples" / f"{name}.jpg")
            self._write_state(state)
            if self.keep:
                self._remove_superseded()
            self.on_checkpoint(folder)

        self._saving.start(write)

    def _save_state(self) -> None:
        if not self.chief:
            return
        state = self._state()
        self._saving.start(lambda: self._write_state(state))

    def _state(self) -> dict[str, Any]:
        return {"step": self.step, "seconds": self.seconds, **self.trainer.state()}

    def _write_state(self, state: dict[str, Any]) -> None:
        content = io.BytesIO()
        np.savez(content, **state)
        write_aside(self.folder / "state.npz", content.getvalue())

    def _remove_superseded(self) -> None:
        for leftover in self.folder.glob(".epoch-*-removed"):  # of a kill
            shutil.rmtree(leftover)
        records = [read_record(path.parent) for path in self.folder.glob(f"epoch-*/{RECORD}")]
        for name in superseded(records, self.keep):
            aside = self.folder / f".{name}-removed"
            (self.folder / name).rename(aside)  # in one step: a kill leaves no half of a checkpoint
            shutil.rmtree(aside)

    def _restore(self) -> None:
        with np.load(self.folder / "state.npz", allow_pickle=False) as saved:
            state = dict(saved)
        self.step, self.seconds = int(state.pop("step")), float(state.pop("seconds"))
        self.trainer.restore(state)
        if not self.chief:
            return
        rows = (self.folder / "history.jsonl").read_text("utf-8").splitlines() if self.step else []
        self.history = [row for row in map(_parse_row, rows) if row and row["step"] <= self.step]
        text = "".join(json.dumps(row) + "\n" for row in self.history)
        write_aside(self.folder / "history.jsonl", text.encode())


class _Background:
    """One job at a time in a thread, in order; what a job raises comes out of the next call here."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._job: Future[None] | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Begins a job once the one before is done."""
        self.wait()
        self._job = self._pool.submit(job)

    def check(self) -> None:
        """Raises what the last job raised, if it is over."""
        if self._job and self._job.done():
            self.wait()

    def wait(self) -> None:
        """Returns once nothing is under way."""
        job, self._job = self._job, None
        if job:
            job.result()


def superseded(records: Iterable[Record], keep: int) -> list[str]:
    """Names of the checkpoints that may go when the newest `keep` (at least 1) stay.

    The warm-up's last one stays too, and so does the best one: of the lowest style distance, where that was measured.
    """
    ordered = sorted(records, key=lambda record: record.step)
    style, _ = yardsticks(ordered)
    warmup = [record for record in ordered if record.phase == "warm-up"]
    measured = [record for record in ordered if record.phase == "adversarial" and style in record.metrics]
    best = sorted(measured, key=lambda record: record.metrics[style])
    stay = {record.checkpoint for record in [*ordered[-keep:], *warmup[-1:], *best[:1]]}
    return [record.checkpoint for record in ordered if record.checkpoint not in stay]


def locate(reference: str) -> Path:
    """The folder of a checkpoint given as "hub:you/animegan-hayao@epoch-060" or as a path. Raises ValueError."""
    return resolve(reference) if reference.startswith(REFERENCE) else Path(reference)


def sample_grid(generator: Any, photos: list[np.ndarray], stride: int) -> np.ndarray:
    """Photos above, what the generator makes of them below: uint8 (2·S, n·S, 3), central squares with S = 256 at most."""
    side = min(256, *(min(photo.shape[:2]) for photo in photos))
    squares = [_centre(photo, side) for photo in photos]
    padded = [pixels.to_model(pixels.pad(square, stride)) for square in squares]
    if len(padded) == 1:
        padded *= 2  # one picture alone may be slow, see `use_onednn`
    drawn = [pixels.unpad(pixels.from_model(picture), side, side) for picture in generator(np.stack(padded))][: len(squares)]
    return np.concatenate([np.concatenate(squares, axis=1), np.concatenate(drawn, axis=1)], axis=0)


def device_name() -> str:
    """The GPU's name, or the CPU's with its core count."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus)
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # those it may use
    return f"{model}, {cores} core{'' if cores == 1 else 's'}"


def _centre(photo: np.ndarray, side: int) -> np.ndarray:
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    return photo[top : top + side, left : left + side]


def _parse_row(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:  # a kill can cut the last line
        return None


def _tensorboard(folder: Path) -> Any:
    try:
        import tensorboard  # noqa: F401  tf.summary raises without it
    except ImportError:
        return None
    return tf.summary.create_file_writer(str(folder))


def _start_profiler(folder: Path) -> None:
    try:
        tf.profiler.experimental.start(str(folder))
    except tf.errors.OpError as error:
        raise ValueError(f"--profile: the profiler cannot start ({error.message}): train without it") from None
