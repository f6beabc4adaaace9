"""The training command.

    python -m train.run smoke                                  seconds, no data needed
    python -m train.run repro-1-laptop --data DIR              a laptop CPU
    python -m train.run official-v2-hayao --data official-v2   a GPU; downloads the official release
    python -m train.run repro-1 --data DIR --set loss.style_weight=10 --name style-10
    python -m train.run repro-1-laptop --data DIR --resume     goes on where it was stopped or killed
    python -m train.run repro-1-laptop --data DIR --publish you/animegan-diary

DIR (or a zip of it) has AnimeGAN's layout: STYLE/style and train_photo. Any two folders of pictures will do as well:
`--photos DIR --anime DIR`.

What the arguments alone tell is answered before anything heavy loads.
"""

import hub_export.environment  # noqa: F401  first, as it settles what other programs' settings would break

# isort: split
import argparse
import json
import sys
from pathlib import Path

from train import use_onednn
from train.configuration import changed, override, to_dict
from train.experiments import EXPERIMENTS, get_experiment
from train.schedule import Duration, ScheduleConfig
from train.settings import Experiment


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawTextHelpFormatter
    p = argparse.ArgumentParser(prog="python -m train.run", description=__doc__, formatter_class=raw)
    p.add_argument("experiment", nargs="?", help="name of an experiment; leave it out to list them")
    data = p.add_argument_group("pictures")
    data.add_argument(
        "--data", metavar="PATH", help='folder or zip in AnimeGAN\'s layout; "official" or "official-v2" to download one'
    )
    data.add_argument("--photos", metavar="DIR", help="a folder of photos")
    data.add_argument("--anime", metavar="DIR", help="a folder of anime frames, with --photos")
    data.add_argument("--drawings", metavar="DIR", help="drawings of the photos, by the same names: what `pairs` imitates")
    data.add_argument("--cache", metavar="DIR", type=Path, help="where prepared pictures are kept (default: TFDS_DATA_DIR)")
    data.add_argument(
        "--terms", metavar="TEXT", help="where the pictures come from and what may be done; goes into the card"
    )
    change = p.add_argument_group("changes to the experiment")
    change.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change a setting; needs --name")
    change.add_argument("--steps", metavar="W+A", help="steps of warm-up + adversarial phase, or a total like 600")
    change.add_argument("--epochs", type=int, metavar="N", help="all epochs, the warm-up's included")
    change.add_argument("--size", type=int, metavar="PIXELS", help="height and width of training pictures")
    change.add_argument(
        "--init",
        metavar="WHERE",
        help="start from hub:you/animegan-hayao@epoch-060, bundled:NAME@epoch-060 or a checkpoint's folder;\n"
        "then there is a warm-up only where --steps W+A or --set schedule.warmup asks for one",
    )
    change.add_argument(
        "--precision", choices=["auto", "float32", "mixed_bfloat16", "mixed_float16"], help="default: the experiment's"
    )
    change.add_argument("--name", help="name of the run; default: the experiment's, with the changes above appended")
    p.add_argument("--runs", metavar="DIR", type=Path, default=Path("runs"), help="where run folders are (default: runs)")
    p.add_argument("--publish", metavar="YOU/REPO", help="put every checkpoint on the Hub as it appears")
    p.add_argument("--private", action="store_true", help="with --publish: create the repo so that only you see it")
    p.add_argument(
        "--keep",
        type=int,
        default=0,
        metavar="K",
        help="keep the newest K checkpoints, the warm-up's last and the one that train.evaluate recommends",
    )
    p.add_argument(
        "--deterministic",
        action="store_true",
        help="same numbers in every run on a GPU too: slower, and an operation that cannot stops the run",
    )
    p.add_argument(
        "--strategy",
        choices=["one", "mirrored", "multiworker"],
        default="one",
        help="share every batch among all GPUs of this machine (mirrored) or among the machines in TF_CONFIG (multiworker)",
    )
    p.add_argument(
        "--wait",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="with multiworker: how long the other machines may take to start (default: 600)",
    )
    p.add_argument(
        "--xla",
        action="store_true",
        help="compile the steps with XLA, for long runs on GPUs: same losses, but other random numbers for noise",
    )
    p.add_argument(
        "--cache-features",
        action="store_true",
        help="compute features once and keep them on disk, 1 MB a picture (needs augment=none, redrawn=0, signs=0 of data)",
    )
    p.add_argument("--profile", action="store_true", help="write a TensorBoard trace of ten steps into RUN/profile")
    p.add_argument("--resume", action="store_true", help="go on with a run that was stopped or killed")
    p.add_argument("--dry-run", action="store_true", help="print the configuration and stop")
    return p


def check(arguments: argparse.Namespace) -> None:
    """Raises ValueError, with the cause and the remedy, for arguments that are wrong for every experiment."""
    if arguments.set and not arguments.name:
        raise ValueError("--set makes another experiment: give it a name with --name")
    if arguments.keep < 0:
        raise ValueError(f"--keep takes a number of checkpoints, got {arguments.keep}")
    if arguments.keep and arguments.publish:
        raise ValueError("--keep might remove a checkpoint before it is published: leave out --keep or --publish")
    if not arguments.wait >= 0:
        raise ValueError(f"--wait takes a number of seconds, got {arguments.wait:g}")
    if arguments.xla and arguments.strategy != "one":
        raise ValueError("--xla compiles the step of one device: leave out --xla or --strategy")
    if arguments.cache_features and arguments.strategy == "multiworker":
        raise ValueError("--cache-features works on one machine: leave it out with --strategy multiworker")
    if arguments.publish:
        from hub_export.hub import REPO

        if not REPO.fullmatch(arguments.publish):
            raise ValueError(f"--publish {arguments.publish!r} names no repo: write you/animegan-hayao")


def configure(arguments: argparse.Namespace) -> Experiment:
    """The experiment that checked arguments ask for. Raises ValueError with the cause and the remedy."""
    from hub_export.record import NAME

    experiment = get_experiment(arguments.experiment)
    settings: list[str] = []
    by: dict[str, str] = {}
    suffix = ""

    def claim(key: str, flag: str) -> None:
        if key in by:
            raise ValueError(f"{key} is set by {by[key]} and by {flag}: leave one of them out")
        by[key] = flag

    def add(setting: str, flag: str) -> None:
        claim(setting.partition("=")[0], flag)
        settings.append(setting)

    for setting in arguments.set:
        add(setting, "--set")
    if arguments.init is not None:
        add(f"init={arguments.init}", "--init")
        suffix = "-init"
    if arguments.steps is not None:
        epochs = [setting for setting in settings if setting.startswith("schedule.epoch=")]
        schedule = override(experiment, epochs, experiment.name).schedule
        total, warmup = _steps(arguments.steps, schedule, "schedule.warmup" in by or "init" in by)
        if warmup is not None:
            add(f"schedule.warmup={warmup}", "--steps")
        add(f"schedule.length={total}", "--steps")
        suffix = f"-{arguments.steps.replace('+', '-')}-steps" + suffix
    if arguments.epochs is not None:
        add(f"schedule.length={arguments.epochs} epochs", "--epochs")
        suffix += f"-{arguments.epochs}-epochs"
    if arguments.size is not None:
        add(f"data.size={arguments.size}", "--size")
        suffix += f"-{arguments.size}px"
    if arguments.precision:
        claim("precision", "--precision")
    if "init" in by and "schedule.warmup" not in by:
        add("schedule.warmup=0 steps", "--init")  # what has learnt to draw need not learn to reproduce photos
    name = arguments.name or arguments.experiment + suffix
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a run: use letters, digits, dot, dash and underscore")
    if settings:
        experiment = override(experiment, settings, name)
    return changed(experiment, {"precision": arguments.precision}) if arguments.precision else experiment


def _steps(text: str, schedule: ScheduleConfig, warmup_is_set: bool) -> tuple[int, int | None]:
    """ "300+300" -> (600, 300), the whole and the warm-up; a total alone is divided as the schedule is, if it is to be."""
    parts = text.split("+")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"--steps takes a total like 600, or warm-up + adversarial like 300+300, got {text!r}")
    total = sum(map(int, parts))
    if len(parts) == 2:
        return total, int(parts[0])
    if warmup_is_set:
        return total, None
    warmup, length = Duration.parse(schedule.warmup), Duration.parse(schedule.length)
    if schedule.epoch == "auto" and warmup.count and warmup.unit != length.unit:
        raise ValueError(f"--steps: say how many of {total} steps are warm-up, like 100+{max(total - 100, 1)}")
    plan = schedule.plan(1)
    return total, round(total * plan.warmup_steps / plan.total_steps)


def main(arguments: argparse.Namespace) -> None:
    """Runs the command. Raises ValueError or TrainingStopped with a sentence for the user."""
    if not arguments.experiment:
        _list_experiments()
        return
    check(arguments)
    experiment = configure(arguments)
    if arguments.dry_run:
        print(json.dumps(to_dict(experiment), indent=1))
    else:
        _train(experiment, arguments)


def _list_experiments() -> None:
    width = max(map(len, EXPERIMENTS))
    for name, experiment in EXPERIMENTS.items():
        print(f"{name:{width}}  {experiment.question}" + (f" ({experiment.cost})" if experiment.cost else ""))


def _train(experiment: Experiment, arguments: argparse.Namespace) -> None:
    use_onednn(experiment.schedule.batch if arguments.strategy == "one" else 1)  # several devices may get one picture each
    import tensorflow as tf
    from tqdm import tqdm

    from hub_export.publish import Publisher
    from train.batches import TrainingData
    from train.datasets import open_data
    from train.engine import open_strategy
    from train.loop import Run, RunOptions
    from train.run_folder import RunFolder
    from train.sources import Source

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if arguments.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = open_strategy(arguments.strategy, arguments.wait)
    source = Source.of(arguments.data, arguments.photos, arguments.anime, arguments.drawings)
    source.check(experiment.data)
    experiment.check_pictures(source.has_frames, bool(experiment.data.target or source.drawings))
    chief = strategy.extended.should_checkpoint
    path = arguments.runs / (arguments.name or experiment.name)
    folder = RunFolder(path, experiment, arguments.resume, chief)
    publisher = Publisher(arguments.publish, arguments.private, tqdm.write) if arguments.publish and chief else None
    options = RunOptions(
        on_checkpoint=publisher or (lambda folder: None),
        keep=arguments.keep,
        profile=arguments.profile,
        strategy=strategy,
        xla=arguments.xla,
        cache_features=arguments.cache_features,
    )

    def pictures() -> TrainingData:
        data = open_data(experiment.data, source, arguments.cache)
        data.terms = arguments.terms or data.terms
        return data

    try:
        run = Run(pictures, folder, options)
    except BaseException:
        folder.abandon()
        raise
    plan, counts = run.plan, f"{run.data.photo_count} photos, {run.data.anime_count} anime frames"
    print(
        f"{experiment.name}: {counts}, {plan.warmup_steps} warm-up and "
        f"{plan.total_steps - plan.warmup_steps} {plan.phase} steps in {run.engine.precision} on {run.device}"
    )
    try:
        run.train()
    finally:
        if publisher:
            publisher.close()
        for total, shares in run.loss_shares().items():  # also of a run that cannot go on: they may tell why
            summary = ", ".join(
                f"{name} {100 * share:.3g} %" for name, share in sorted(shares.items(), key=lambda item: -item[1])
            )
            if summary:
                print(f"{run.recipe.terms.get(total, total)}: {summary}")
        words = {"data_wait": "data", "host_wait": "work on the host"}
        if waits := ", ".join(f"{100 * share:.3g} % for {words[name]}" for name, share in run.waits().items()):
            print(f"waiting, of a step: {waits}")
    if run.step < plan.total_steps:
        print(f"stopped at step {run.step} of {plan.total_steps}; go on with --resume")
    else:
        print(f"{path} is done: see it with `python app.py`")


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except (ValueError, RuntimeError) as error:
        sys.exit(f"train.run: {error}")
