"""The training command itself, as a person types it: run folder, kill -9 and resume, errors in words."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from hub_export.checkpoint import load_generator
from hub_export.folder import FolderStore
from hub_export.record import read_record
from support.folders import fill_layout
from support.hub import HubServer
from support.processes import until
from support.training import assert_same_state
from train import use_onednn
from train.experiments import get_experiment
from train.run import main, parser
from train.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOT = Path(__file__).parents[1]
SETTINGS = ("data.size=32", "discriminator.channels=4", "discriminator.layers=1")
TINY = [word for setting in SETTINGS for word in ("--set", setting)]
"""Words that make smoke smaller still, where it matters not what is learnt."""


def command(tmp_path: Path, *words: str) -> list[str]:
    cache = os.environ.get("TFDS_DATA_DIR") or str(tmp_path.parent / "pictures")  # all tests' generated ones
    return [sys.executable, "-m", "train.run", *words, "--runs", str(tmp_path / "runs"), "--cache", cache]


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(tmp_path, *words), cwd=ROOT, capture_output=True, text=True, timeout=300)


def here(tmp_path: Path, *words: str) -> None:
    """The same in this process, which has TensorFlow already."""
    main(parser().parse_args(command(tmp_path, *words)[3:]))


def stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str) -> str:
    """What the command says when it gives up, run in this process, which has TensorFlow already."""
    monkeypatch.setattr(sys, "argv", command(tmp_path, *words)[2:])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("train.run", run_name="__main__")
    return str(end.value)


def state(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "state.npz") as saved:
        return {name: value for name, value in saved.items() if name != "seconds"}


def history(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "data_wait")} for row in rows]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished smoke run, timed: the promise is two minutes on a laptop."""
    tmp_path = tmp_path_factory.mktemp("smoke")
    started = time.monotonic()
    finished = run(tmp_path, "smoke", "--precision", "float32")
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert time.monotonic() - started < 120
    assert "is done" in finished.stdout and re.search(r"waiting, of a step: \d\S* % for data\n", finished.stdout)
    assert re.search(r": adversarial \d[\d.]* %, .*colour \d", finished.stdout)
    return tmp_path / "runs" / "smoke"


def test_smoke_leaves_a_whole_run_folder(smoke: Path) -> None:
    store = FolderStore(smoke.parent)
    records = store.checkpoints("smoke")
    assert not store.problems()
    assert [(record.checkpoint, record.phase) for record in records] == [
        ("epoch-001", "warm-up"),
        ("epoch-002", "adversarial"),
        ("epoch-003", "adversarial"),
    ]
    last = records[-1]
    assert (last.step, last.epoch, last.base) == (30, 3, "official-v2-hayao")
    assert last.compute["images"] == 60 and last.compute["seconds"] > 0 and last.compute["precision"] == "float32"
    assert last.changes["generator.channels"] == [32, 8]
    rows = history(smoke)
    assert [(row["step"], row["steps"]) for row in rows] == [(10, 30), (20, 30), (30, 30)]
    adversarial = {"content", "style", "colour", "tv", "adversarial", "d_real", "d_fake", "d_gray", "d_smooth"}
    assert adversarial <= rows[-1].keys() and "pixel" in rows[0] and "style" not in rows[0]
    assert all(np.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))
    assert list((smoke / "tensorboard").glob("events*"))
    folder = smoke / "epoch-003"
    samples = Image.open(folder / "samples.jpg")
    assert samples.size[1] == 2 * 96 and (smoke / "samples" / "epoch-003.jpg").is_file()
    drawn = np.asarray(load_generator(folder)(np.zeros((1, 64, 64, 3), np.float32)))
    assert drawn.shape == (1, 64, 64, 3) and np.abs(drawn).max() <= 1
    card = (folder / "README.md").read_text("utf-8")
    assert "generator.channels" in card and read_record(folder).question in card
    assert re.search(r"Shares of the loss.*- generator: .*adversarial \d+%", card, re.DOTALL)


def test_kill_9_and_resume_end_as_an_undisturbed_run_to_the_last_bit(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen(
        command(tmp_path, "smoke", "--precision", "float32"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    folder = tmp_path / "runs" / "smoke"
    deadline = time.monotonic() + 120
    while not (folder / "epoch-002" / "checkpoint.json").exists() or not (folder / "state.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open(folder / "history.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 29, "gener')  # as a kill in the middle of a write leaves it
    assert "--resume" in stopped(monkeypatch, tmp_path, "smoke", "--precision", "float32")
    # By the command: where a CPU has no AVX512-VNNI, TensorFlow here may be without oneDNN, which rounds otherwise.
    resumed = run(tmp_path, "smoke", "--precision", "float32", "--resume")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert_same_state(state(folder), state(smoke))
    assert history(folder) == history(smoke)
    weights = [read_record(path / "epoch-003").sha256 for path in (smoke, folder)]
    assert np.array_equal(*[load_generator(path / "epoch-003")(np.ones((1, 32, 32, 3))) for path in (smoke, folder)]), (
        weights
    )


def test_interrupt_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    """A run with all that one may ask of it besides: a profile, deterministic operations, the newest checkpoint alone."""
    words = ("smoke", *TINY, "--set", "schedule.warmup=0 steps", "--set", "schedule.epoch=6 steps", "--epochs", "1000")
    words += ("--name", "long", "--profile", "--keep", "1", "--deterministic")
    process = subprocess.Popen(
        command(tmp_path, *words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    folder = tmp_path / "runs" / "long"
    until(lambda: sorted(folder.glob("epoch-*/checkpoint.json"))[-1:] > [folder / "epoch-003"], process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "go on with --resume" in output
    assert int(state(folder)["step"]) >= history(folder)[-1]["step"] > 0
    assert list(folder.glob("profile/plugins/profile/*/*.xplane.pb"))
    assert len(list(folder.glob("epoch-*"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smok"], "did you mean smoke"),
        (["official-v1", "--data", "/nowhere"], "/nowhere"),
        (["official-v1"], "--data"),
        (["smoke", "--resume"], "holds no run to resume"),
        (["smoke", "--photos", "PHOTOS"], "--anime"),
        (["smoke", "--keep", "2", "--publish", "you/x"], "before it is published"),
        (["smoke", "--keep", "-1"], "takes a number of checkpoints, got -1"),
        (["smoke", "--wait", "-1"], "takes a number of seconds, got -1"),
        (["smoke", "--publish", "nonsense"], "names no repo: write you/animegan-hayao"),
        (["smoke", "--set", "seed=1"], "give it a name with --name"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    photos = fill_layout(tmp_path / "layout") / "train_photo"
    sentence = stopped(monkeypatch, tmp_path, *(str(photos) if word == "PHOTOS" else word for word in words))
    assert sentence.startswith("train.run: ") and message in sentence and "\n" not in sentence


def test_what_refuses_cheaply_comes_before_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is prepared, and a run that has not begun leaves no folder."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "cache"))
    held = RunFolder(tmp_path / "runs" / "smoke", get_experiment("smoke"))
    assert "is being written by process" in stopped(monkeypatch, tmp_path, "smoke", "--resume")
    held.close()
    (held.path / "state.npz").touch()
    for words, message in {
        ("--name", "smoke"): "smoke exists: go on with --resume",
        ("--resume", "--set", "seed=1", "--name", "smoke"): "was started with other settings: seed is 0 there and 1 here",
        ("--set", "features.weights=/nowhere", "--name", "x"): "no file '/nowhere'",
        ("--set", "features.network=vgg19", "--set", "features.weights=/nowhere", "--name", "x"): "no file '/nowhere'",
        ("--init", "/nowhere", "--name", "x"): "/nowhere",
    }.items():
        assert message in stopped(monkeypatch, tmp_path, "smoke", *words)
    assert not (tmp_path / "cache").exists() and [path.name for path in (tmp_path / "runs").iterdir()] == ["smoke"]


FRAMES, IMITATE = "learns from anime frames: give them with --anime DIR", "nothing to imitate: give drawings of the photos"


@pytest.mark.parametrize(
    ("experiment", "words", "message"),
    [
        ("smoke", "--photos P", FRAMES),
        ("cyclegan-laptop", "--photos P", FRAMES),
        ("official-v3-hayao", "--photos P", FRAMES),
        ("pairs", "--photos P", IMITATE),
        ("pairs", "--photos P --anime A", IMITATE),
        ("cel", "--photos P", "data.redrawn has anime frames drawn again: give some with --anime DIR, or set it to 0"),
        ("cyclegan-laptop", "--photos P --anime A --drawings D", "with no target: leave out --drawings and data.target"),
        ("official-v3-hayao", "--photos P --anime A --set data.target=", "or loss.photo_region_weight=0"),
        (
            "cel",
            "--photos P --anime A --cache-features",
            "the recipe pairs does not cache features: train without --cache-features",
        ),
        ("smoke", "--cache-features --set data.augment=flip", "pictures change with data.augment=flip"),
        (
            "smoke",
            "--cache-features --set data.augment=none --set data.redrawn=0.5 --set data.target=flat",
            "data.redrawn changes photos at every step, so their features cannot be cached: set it to 0",
        ),
        (
            "smoke",
            "--cache-features --set data.augment=none --set data.signs=0.5 --set data.target=flat",
            "data.signs changes photos at every step, so their features cannot be cached: set it to 0",
        ),
        ("smoke", "--photos P --anime A --set data.holdout=5", "5 pictures in A leave nothing to train on"),
    ],
)
def test_pictures_of_no_use_are_told_before_any_is_prepared(
    experiment: str, words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = fill_layout(tmp_path / "layout")
    given = {"P": layout / "train_photo", "A": layout / "Hayao" / "style", "D": layout / "Hayao" / "smooth"}
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "cache"))
    told = stopped(monkeypatch, tmp_path, experiment, *(str(given.get(word, word)) for word in words.split()), "--name", "x")
    assert message.replace(" A ", f" {given['A']} ") in told
    assert not (tmp_path / "cache").exists() and not (tmp_path / "runs" / "x").exists()


def test_an_error_is_all_that_is_said(tmp_path: Path) -> None:
    failed = run(tmp_path, "smok")
    assert failed.returncode == 1 and failed.stderr.startswith("train.run: unknown experiment 'smok'")
    assert failed.stderr.count("\n") == 1 and not failed.stdout


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
def test_nan_stops_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("smoke", *TINY, "--set", "schedule.warmup_rate=1e30", "--name", "explodes")
    assert "not a finite number. Try --precision float32" in stopped(monkeypatch, tmp_path, *words)


def test_dry_run_prints_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(parser().parse_args(["repro-1", "--dry-run", "--runs", str(tmp_path / "runs")]))
    assert json.loads(capsys.readouterr().out)["loss"]["colour_range"] == "byte"
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
def test_a_run_is_published_as_it_goes_and_started_from_in_another(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run trains and publishes, first with the Hub failing, a second one pulls into an empty cache and trains on.

    The warm-up ends within an epoch: its checkpoint and that epoch's own are both on the Hub.
    """
    short = ("smoke", *TINY, "--precision", "float32", "--name", "small")
    short += ("--steps", "2+4", "--set", "schedule.epoch=3 steps")
    hub.fail("/commit/", status=500, times=1)
    here(tmp_path, *short, "--publish", "you/animegan-small")
    told = capsys.readouterr()
    assert "is done" in told.out and hub.token not in told.out + told.err
    assert sorted(hub.repo("you/animegan-small").tags) == ["epoch-001", "epoch-002", "step-000002"]
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "another's cache"))
    words = ("smoke", *TINY, "--precision", "float32", "--steps", "0+1", "--name", "further", "--set", "schedule.ema=0")
    words += ("--set", "schedule.generator_rate=0", "--init", "hub:you/animegan-small@epoch-002")
    here(tmp_path, *words)
    assert list((tmp_path / "another's cache").rglob("model.weights.h5"))
    runs = tmp_path / "runs"
    photo = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    before, after = (load_generator(runs / name)(photo) for name in ("small/epoch-002", "further/step-000001"))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert read_record(runs / "further/step-000001").changes["init"] == ["", "hub:you/animegan-small@epoch-002"]


def test_init_of_another_generator_is_refused(smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("smoke", "--set", "generator.channels=16", "--name", "wide", "--init", str(smoke / "epoch-003"))
    assert "of other sizes than" in stopped(monkeypatch, tmp_path, *words)


def test_onednn_is_switched_on_for_batches_and_never_against_the_users_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    use_onednn(2)
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ  # too late, and programs started from here would take it over
    monkeypatch.delitem(sys.modules, "tensorflow")
    use_onednn(1)
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    use_onednn(2)
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    use_onednn(2)
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
