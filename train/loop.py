"""One run from data to checkpoints, resumable at every save; its folder is described in run_folder.py.

Order of data, augmentation and noise are functions of (seed, step), so the step number is the whole position. Saving
copies what it needs at the step; one thread then draws the samples and writes, while training goes on.

With several workers every one runs this loop in step with the others; only the first of them, the chief, writes.
"""

import contextlib
import platform
import shutil
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hub_export import checkpoint, pixels
from hub_export.files import os_sentence
from hub_export.generator import build_generator
from hub_export.record import SAMPLES, CheckpointError, Record
from hub_export.store import resolve
from train import targets
from train.batches import TrainingData
from train.configuration import to_dict
from train.engine import Engine, restore, state
from train.experiments import changes
from train.processes import cores
from train.recipes import build_recipe
from train.run_folder import DISK_FULL, ELSEWHERE, RunFolder

LOG_STEPS = 10
SAMPLE_PHOTOS = 4
PROFILE_STEPS, PROFILE_AFTER = 10, 2
"""How many steps `--profile` records, and after how many: the first ones build graphs."""
DISK_SECONDS = 10.0
"""How long to wait before a full disk is tried again."""
PICTURE_STRIDE = 997
"""Every so many bytes of the pictures are compared on resuming."""
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
WORKER_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
"""What TensorFlow raises in the other workers when one of them ends; which one depends on where they are at that moment."""


class TrainingStopped(RuntimeError):
    """The run cannot usefully go on; the message says why and what to try."""


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; none of it changes what is learnt.

    Args:
        on_checkpoint: called with the folder of every new checkpoint, in the thread that wrote it.
        keep: how many of the newest checkpoints stay, see `run_folder.superseded`; 0 for all.
        profile: record a few steps into RUN/profile.
        strategy: the devices that share every batch; None for one device.
        xla: compile the steps with XLA.
        cache_features: compute the features of pictures that do not change once, and read them from RUN/features.
    """

    on_checkpoint: Callable[[Path], None] = lambda folder: None
    keep: int = 0
    profile: bool = False
    strategy: tf.distribute.Strategy | None = None
    xla: bool = False
    cache_features: bool = False


class Run:
    """What is learnt in a run's folder: from its state, if it holds one, else from the beginning.

    Args:
        data: opened pictures, or what opens them; that is called when nothing else is left that could refuse.
        folder: where the run is, and of which experiment.

    Raises:
        ValueError: the state is damaged, of other pictures, or beyond the schedule's end; the batch cannot be shared evenly;
            a pretrained network or the checkpoint to start from cannot be had.
    """

    def __init__(
        self, data: TrainingData | Callable[[], TrainingData], folder: RunFolder, options: RunOptions = RunOptions()
    ):
        self.experiment, self.folder, self.options = folder.experiment, folder, options
        experiment, schedule = self.experiment, self.experiment.schedule
        self.strategy = options.strategy or tf.distribute.get_strategy()
        self.chief = folder.chief
        replicas = self.strategy.num_replicas_in_sync
        if schedule.batch % replicas:
            raise ValueError(
                f"{replicas} devices cannot share batches of {schedule.batch} evenly: set schedule.batch to a multiple"
            )
        if options.cache_features:
            experiment.check_caching()
        saved = folder.load_state()
        # What "auto" was when the run began, also on another machine.
        precision = str(saved.pop("precision", experiment.precision)) if saved else experiment.precision
        self.engine = Engine(schedule, experiment.seed, precision, self.strategy, options.xla)
        self.recipe = build_recipe(experiment, self.engine)
        if experiment.init and not saved:
            self.recipe.start_from(checkpoint.load_generator(resolve(experiment.init)))
        self.data = data = data() if callable(data) else data
        experiment.check_pictures(bool(data.anime_count), data.has_targets)
        self.plan = experiment.plan(data.steps_per_epoch(schedule.batch))
        self.step, self.seconds = 0, 0.0
        self._saved_step, self._pictures = -1, np.frombuffer(data.fingerprint(PICTURE_STRIDE), np.uint8)
        if saved:
            self._restore(saved)
        folder.begin_at(self.step)
        self._cached = self.recipe.cache_features(folder.path / "features", data) if options.cache_features else None
        self.photos = data.fixed_photos(SAMPLE_PHOTOS)
        self._stop = threading.Event()
        self._saving = _Background()

    def _restore(self, saved: dict[str, np.ndarray]) -> None:
        self.step, self.seconds = int(saved.pop("step")), float(saved.pop("seconds"))
        pictures = saved.pop("pictures", None)
        if pictures is not None and not np.array_equal(pictures, self._pictures):
            raise ValueError(
                f"{self.folder.path} was trained on other pictures than these {self.data.photo_count} photos and "
                f"{self.data.anime_count} anime frames: give the ones it began with, or start another run with --name"
            )
        if self.step > self.plan.total_steps:
            raise ValueError(
                f"{self.folder.path} has {self.step} steps already, more than the {self.plan.total_steps} of "
                f"schedule.length={self.experiment.schedule.length}: make it longer"
            )
        restore(self.recipe, saved)
        self._saved_step = self.step

    def train(self) -> None:
        """Trains to the end of the plan. Ctrl-C, SIGTERM and SIGHUP finish the step, save the state and return.

        Whichever way it ends, all that was to be saved is written. An error in saving is raised at the next step.

        Raises:
            TrainingStopped: a loss is not finite, the recipe cannot go on, the folder cannot be written, or another worker
                is gone.
            ValueError: the profiler cannot start, or the workers were not started alike.
        """
        try:
            self._check_workers()
            self._train()
        except WORKER_LOST as error:
            if self.strategy.num_replicas_in_sync == 1:
                raise
            raise TrainingStopped(
                f"step {self.step}: another worker is gone or cannot be reached, so this one stops too; start all of them "
                f"again with --resume, which goes on from the last save ({str(error).splitlines()[0]})"
            ) from None
        except OSError as error:
            raise TrainingStopped(
                f"step {self.step}: {os_sentence(error, self.folder.path, ELSEWHERE)}; then --resume"
            ) from None

    def _train(self) -> None:
        batches = iter(self.strategy.distribute_datasets_from_function(self._replica_batches))
        with self._session() as session:
            while self.step < self.plan.total_steps and not self._asked_to_stop():
                self._saving.check()
                with session.timed(self.step):
                    batch = next(batches)
                    session.waited()
                    terms = self.engine.step(self.recipe, batch, self.plan.moment(self.step))
                self.step += 1
                self.seconds += session.elapsed
                self._check(terms)
                if self.engine.host_seconds:
                    session.times["host_wait"] = self.engine.host_seconds / session.elapsed
                session.pending.append({**terms, **session.times})
                due = self.plan.checkpoint_due(self.step, self.experiment.schedule.checkpoint_epochs)
                if due or len(session.pending) == LOG_STEPS:
                    self._log(session)
                if due:
                    self._save_checkpoint()
                elif self.step % self.plan.epoch_steps == 0:
                    self._save_state()
            self._log(session)
            if self.step != self._saved_step:
                self._save_state()

    @contextlib.contextmanager
    def _session(self) -> Iterator["_Session"]:
        """Signals, the progress bar, TensorBoard and the profiler, for as long as the loop runs."""
        heard = [kind for kind in STOPPING if signal.getsignal(kind) is not signal.SIG_IGN]  # nohup ignores SIGHUP
        handlers = {kind: signal.signal(kind, lambda *_: self._stop.set()) for kind in heard}
        try:
            with _Session(self) as session:
                try:
                    yield session
                finally:
                    self._saving.wait()
        finally:
            for kind, handler in handlers.items():
                signal.signal(kind, handler)
            self.folder.close()

    def _asked_to_stop(self) -> bool:
        return any(self.engine.mean_of_workers([float(self._stop.is_set())]))

    def _replica_batches(self, context: tf.distribute.InputContext) -> tf.data.Dataset:
        batch, seed = self.experiment.schedule.batch, self.experiment.seed
        return self.data.batches(batch, seed, self.step, context, self.recipe.entries, self._cached)

    def _check_workers(self) -> None:
        counts = self.data.photo_count, self.data.anime_count
        started = repr((to_dict(self.experiment), self.engine.precision, counts, self.step))
        own = list(map(float, zlib.crc32(started.encode()).to_bytes(4)))
        if not np.allclose(self.engine.mean_of_workers(own), own, atol=1e-3):  # a mean of three may be rounded
            raise ValueError(
                "the workers were not started alike: they need the same command, the same pictures and, to resume, the "
                "same run folder (on a disk that all of them see)"
            )

    @property
    def device(self) -> str:
        """What trains: the name of the device, and on how many machines like this one."""
        cluster = self.strategy.cluster_resolver
        machines = cluster.cluster_spec().num_tasks("worker") if cluster else 1
        return f"{machines} machines, this one with {device_name()}" if machines > 1 else device_name()

    def _check(self, terms: Mapping[str, float]) -> None:
        broken = [name for name, value in terms.items() if not np.isfinite(value)]
        if broken:
            raise TrainingStopped(
                f"step {self.step}: {', '.join(broken)} is not a finite number. Try --precision float32, lower "
                "schedule.generator_rate and schedule.discriminator_rate, or another seed; the last checkpoint is kept"
            )
        if advice := self.recipe.advice(terms):
            raise TrainingStopped(f"step {self.step}: {advice}")

    # --- what is told and saved --------------------------------------------------------------------------------------

    def _phase(self) -> str:
        return self.plan.moment(self.step - 1).phase

    def _log(self, session: "_Session") -> None:
        pending, session.pending = session.pending, []
        if not pending or not self.chief:
            return
        names = sorted({name for terms in pending for name in terms})
        means = {name: float(np.mean([terms[name] for terms in pending if name in terms])) for name in names}
        phase = self._phase()
        for shares in loss_shares(means, self.recipe.weights(phase)).values():
            means |= {f"share_{name}": share for name, share in shares.items()}
        row = {"step": self.step, "steps": self.plan.total_steps, "epoch": self.plan.epoch(self.step), "phase": phase}
        row |= {name: float(f"{value:.5g}") for name, value in means.items()}
        self.folder.log(row)
        session.show(row)

    def loss_shares(self) -> dict[str, dict[str, float]]:
        """How much each term is of each weighted sum of the last phase, as means over its last hundred steps; {} before the
        first row of the history."""
        if not self.folder.history:
            return {}
        means = self._means("share_")
        return {
            total: {name: means[f"share_{name}"] for name in weights if f"share_{name}" in means}
            for total, weights in self.recipe.weights(self._phase()).items()
        }

    def waits(self) -> dict[str, float]:
        """What share of a step the devices waited, for data and, where the recipe has some, for work on the host: means over
        the last phase's last hundred steps; {} before the first row of the history."""
        return self._means("data_wait", "host_wait") if self.folder.history else {}

    def _means(self, *starts: str) -> dict[str, float]:
        """Of the history's columns that begin so, over the last phase's last hundred steps."""
        rows = [row for row in self.folder.history if row["phase"] == self._phase()][-100 // LOG_STEPS :]
        names = {name for row in rows for name in row if name.startswith(starts)}
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in sorted(names)}

    def _save_checkpoint(self) -> None:
        if not self.chief:
            return
        name, history, weights = self.plan.checkpoint_name(self.step), list(self.folder.history), self.recipe.export()
        folder, generator_config = self.folder.path / name, self.experiment.generator
        record = Record(
            experiment=self.folder.name,
            checkpoint=name,
            question=self.experiment.question,
            look={name: text for name, text in asdict(self.experiment.look).items() if text},
            base=self.experiment.base,
            changes=changes(self.experiment),
            config=to_dict(self.experiment),
            generator=asdict(generator_config),
            phase=self._phase(),
            epoch=self.plan.epoch(self.step),
            step=self.step,
            seed=self.experiment.seed,
            data={
                **self.data.summary(self.recipe.entries),
                "losses": dict(self.recipe.terms),
                "shares": self.loss_shares(),
                "feature_network": bool(list(self.recipe.frozen)),
                "target_networks": targets.networks(self.experiment.data.target),
            },
            compute={
                "device": self.device,
                "seconds": round(self.seconds),
                "images": self.step * self.experiment.schedule.batch,
                "precision": self.engine.precision,
            },
            libraries={name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
        )
        values = self._state()

        def write() -> None:
            generator = build_generator(generator_config)
            generator.set_weights(weights)
            samples = sample_grid(generator, self.photos, generator_config.stride)
            if one_colour(samples):
                raise TrainingStopped(
                    f"step {record.step}: every drawing is of one flat colour, from which a generator does not come back. "
                    "Start again with a lower schedule.generator_rate; the checkpoints before are kept"
                )
            checkpoint.save_checkpoint(folder, generator, record, history, samples)
            (self.folder.path / "samples").mkdir(exist_ok=True)
            shutil.copyfile(folder / SAMPLES, self.folder.path / "samples" / f"{name}.jpg")
            self.folder.complete_history(history)
            self.folder.save_state(values)
            if self.options.keep:
                self.folder.remove_superseded(self.options.keep)
            self.options.on_checkpoint(folder)

        self._saving.start(lambda: self._patiently(write))

    def _save_state(self) -> None:
        if not self.chief:
            return
        values, history = self._state(), list(self.folder.history)

        def write() -> None:
            self.folder.complete_history(history)
            self.folder.save_state(values)

        self._saving.start(lambda: self._patiently(write))

    def _state(self) -> dict[str, Any]:
        self._saved_step = self.step
        own = {"step": self.step, "seconds": self.seconds, "pictures": self._pictures, "precision": self.engine.precision}
        return own | state(self.recipe)

    def _patiently(self, write: Callable[[], None]) -> None:
        """Writes, and waits for as long as the disk is full, unless the run is to stop."""
        warned = False
        while True:
            try:
                return write()
            except (OSError, CheckpointError) as error:
                refusal = error if isinstance(error, OSError) else error.__cause__
                if not isinstance(refusal, OSError):
                    raise
                if refusal.errno not in DISK_FULL or self._stop.is_set():
                    raise refusal from None
                if not warned:
                    why = os_sentence(refusal, self.folder.path, ELSEWHERE)
                    tqdm.write(f"{why}. Training waits at its next save, and then goes on")
                warned = True
                self._stop.wait(DISK_SECONDS)


class _Session:
    """What accompanies the loop and changes nothing of what is learnt.

    Attributes:
        pending: the terms of the steps since the last row.
        elapsed, times: of the last step, its seconds, and the same with the share of them that waited for data, and for
            work on the host where there is any.
    """

    def __init__(self, run: Run):
        self.pending: list[dict[str, float]] = []
        self.elapsed, self.times = 0.0, {"seconds": 0.0, "data_wait": 0.0}
        self._started = self._data = 0.0
        self._profile_at = run.step + PROFILE_AFTER if run.options.profile and run.chief else -1
        self._profile, self._profiling = run.folder.path / "profile", False
        self._writer = _tensorboard(run.folder.path / "tensorboard") if run.chief else None
        self._bar = tqdm(
            total=run.plan.total_steps,
            initial=run.step,
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not run.chief,
        )

    def __enter__(self) -> "_Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self._end_profile()
        if self._writer:
            self._writer.close()  # what it has not written yet would come at any time, also after the run is copied
        self._bar.close()

    @contextlib.contextmanager
    def timed(self, step: int) -> Iterator[None]:
        """Around one step."""
        if step == self._profile_at:
            start_profiler(self._profile)
            self._profiling = True
        self._started = time.perf_counter()
        with tf.profiler.experimental.Trace("step", step_num=step, _r=1):
            yield
        self.elapsed = time.perf_counter() - self._started
        self.times = {"seconds": self.elapsed, "data_wait": self._data / self.elapsed}
        self._bar.update()
        if step + 1 == self._profile_at + PROFILE_STEPS:
            self._end_profile()

    def waited(self) -> None:
        """Called when the step's data has come."""
        self._data = time.perf_counter() - self._started

    def show(self, row: Mapping[str, Any]) -> None:
        """A row of the history on the progress bar and in TensorBoard."""
        terms = {name: value for name, value in row.items() if isinstance(value, float)}
        self._bar.set_description(f"epoch {row['epoch']} {row['phase']}")
        shown = self.times | terms  # in this order: a narrow terminal cuts the last ones
        self._bar.set_postfix({name: f"{x:.3g}" for name, x in shown.items() if not name.startswith("share_")})
        if self._writer:
            with self._writer.as_default(step=row["step"]):
                for name, value in terms.items():
                    tf.summary.scalar(name, value)

    def _end_profile(self) -> None:
        if self._profiling:
            tf.profiler.experimental.stop()
            self._profiling = False


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


def loss_shares(terms: Mapping[str, float], weights: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """For each weighted sum, |weight · term| of each of its terms over the sum of these: in [0, 1]."""
    shares = {}
    for total, own in weights.items():
        parts = {name: abs(weight * terms[name]) for name, weight in own.items() if weight and name in terms}
        if whole := sum(parts.values()):
            shares[total] = {name: part / whole for name, part in parts.items()}
    return shares


def sample_grid(generator: Any, photos: list[np.ndarray], stride: int) -> np.ndarray:
    """Photos above, what the generator makes of them below: uint8 (2·S, n·S, 3), central squares with S = 256 at most."""
    side = min(256, *(min(photo.shape[:2]) for photo in photos))
    squares = [_centre(photo, side) for photo in photos]
    padded = [pixels.to_model(pixels.pad(square, stride)) for square in squares]
    if len(padded) == 1:
        padded *= 2  # one picture alone may be slow, see `use_onednn`
    drawn = [pixels.unpad(pixels.from_model(picture), side, side) for picture in generator(np.stack(padded))][: len(squares)]
    return np.concatenate([np.concatenate(squares, axis=1), np.concatenate(drawn, axis=1)], axis=0)


def one_colour(grid: np.ndarray) -> bool:
    """Whether nothing but the colour of each drawing is left of it; `grid` is what `sample_grid` gives."""
    side = grid.shape[0] // 2
    drawn = grid[side:].reshape(side, -1, side, 3)
    return not np.ptp(drawn, axis=(0, 2)).any()


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
    count = cores()
    return f"{model}, {count} core{'' if count == 1 else 's'}"


def _centre(photo: np.ndarray, side: int) -> np.ndarray:
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    return photo[top : top + side, left : left + side]


def _tensorboard(folder: Path) -> Any:
    try:
        import tensorboard  # noqa: F401  tf.summary raises without it
    except ImportError:
        return None
    return tf.summary.create_file_writer(str(folder))


def start_profiler(folder: Path) -> None:
    """Starts TensorFlow's profiler. Raises ValueError where it cannot."""
    try:
        tf.profiler.experimental.start(str(folder))
    except tf.errors.OpError as error:
        raise ValueError(f"--profile: the profiler cannot start ({error.message}): train without it") from None
