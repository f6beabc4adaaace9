"""Several devices and several machines train what one device trains: virtual CPUs, and real processes over the loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from support.processes import free_port, until
from support.training import eagerly
from train.datasets import open_data
from train.engine import open_strategy
from train.experiments import get_experiment
from train.run import main, parser
from train.sources import Source
from train.workers import await_workers

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOT = Path(__file__).parents[1]
TINY = ("--precision", "float32", "--name", "tiny")
SETTINGS = {
    "smoke": (
        *("data.size=32", "schedule.epoch=3 steps", "schedule.warmup=0 steps", "schedule.length=3 epochs"),
        *("spectral_norm=true", "discriminator.channels=8", "discriminator.layers=1"),
    ),
    "cyclegan-laptop": (
        *("data.size=32", "data.style=generated", "data.holdout=2", "generator.channels=8", "discriminator_channels=8"),
        *("buffer=4", "schedule.ema=0.9", "schedule.epoch=2 steps", "schedule.length=4 steps"),
    ),
}
"""What makes an experiment of each recipe tiny. A buffer of four is full after two steps of two pictures."""


def words(folder: Path, *more: str, experiment: str = "smoke") -> list[str]:
    settings = [word for setting in SETTINGS[experiment] for word in ("--set", setting)]
    cache = folder.parents[1] / "pictures"  # all tests' generated ones
    return [experiment, *TINY, *settings, "--runs", str(folder), "--cache", str(cache), *more]


def cluster(addresses: list[str], index: int) -> str:
    """TF_CONFIG of one of these workers."""
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def start_worker(addresses: list[str], index: int, folder: Path, *more: str) -> subprocess.Popen[str]:
    """The same command on every machine, as TF_CONFIG tells each of them."""
    command = [sys.executable, "-m", "train.run", *words(folder, "--strategy", "multiworker", *more)]
    environment = os.environ | {"TF_CONFIG": cluster(addresses, index)}
    output = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, text=True, env=environment)


@contextlib.contextmanager
def two_workers(folder: Path, *more: str, only_second: tuple[str, ...] = ()) -> Iterator[list[subprocess.Popen[str]]]:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    workers = [
        start_worker(addresses, 0, folder, *more),
        start_worker(addresses, 1, folder, *more, *only_second),
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def assert_same_run(found: Path, expected: Path) -> None:
    """Same losses and same state, as far as the order of additions in float32 allows."""
    rows = [[json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in (found, expected)]
    assert len(rows[0]) == len(rows[1]) > 0
    for a, b in zip(*rows, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"seconds", "data_wait", "host_wait", "phase"}:
            assert a[name] == pytest.approx(b[name], rel=2e-3), (a["step"], name)
    with np.load(found / "state.npz") as a, np.load(expected / "state.npz") as b:
        assert a.keys() == b.keys() and int(a["step"]) == int(b["step"])
        for name in a.keys() - {"seconds", "precision"}:
            np.testing.assert_allclose(a[name], b[name], atol=2e-3 * np.abs(b[name]).max() + 1e-6, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By experiment, the run of one process on one device: this one, which has TensorFlow already."""
    runs = {}
    for experiment in SETTINGS:
        folder = tmp_path_factory.mktemp("one") / "runs"
        with contextlib.nullcontext() if experiment == "smoke" else eagerly():
            main(parser().parse_args(words(folder, experiment=experiment)))
        runs[experiment] = folder / "tiny"
    return runs


class Trained(NamedTuple):
    """What two devices did: runs by their experiment, and what support.two_devices found besides."""

    runs: dict[str, Path]
    found: dict[str, Any]


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All that two devices of one machine train, in one process."""
    folders = {experiment: tmp_path_factory.mktemp("two") / "runs" for experiment in SETTINGS}
    told = [words(folder, "--strategy", "mirrored", experiment=experiment) for experiment, folder in folders.items()]
    script = [sys.executable, "-c", "from support.two_devices import train; train()", json.dumps(told)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return Trained({name: folder / "tiny" for name, folder in folders.items()}, json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("experiment", SETTINGS)
def test_two_devices_of_one_machine(experiment: str, alone: dict[str, Path], two_devices: Trained) -> None:
    assert_same_run(two_devices.runs[experiment], alone[experiment])


def test_two_devices_stay_alike_in_float16_with_dropout_and_a_penalty(two_devices: Trained) -> None:
    found = two_devices.found["float16"]
    assert len(found["terms"]) == 2 and all(np.isfinite(value) for terms in found["terms"] for value in terms.values())
    assert found["apart"] == []
    assert found["broken"] == [] and found["scales"] == [0.5, 0.5], "a step that is not finite on one device is left out"
    assert {name.partition("/")[0] for name in found["moved"]} >= {"generator", "discriminator"}


def test_two_devices_train_animeganv3_as_one_does(two_devices: Trained) -> None:
    """With the moments of the whole batch, salt, and work on the host for each device's share."""
    found = two_devices.found["v3"]
    for alone, shared in zip(found["terms"][::2], found["terms"][1::2], strict=True):
        assert shared == pytest.approx(alone, rel=2e-3)
    assert found["apart"] == []
    assert max(found["off"].values()) < 5e-3, {name: off for name, off in found["off"].items() if off >= 5e-3}


def test_a_killed_worker_ends_the_job_and_resume_goes_on_to_the_same_end(alone: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "tiny"
    with two_workers(folder.parent) as (chief, other):
        rows = folder / "history.jsonl"
        until(
            lambda: rows.exists() and rows.stat().st_size, chief, other
        )  # the first epoch ends, and is saved beside the next
        other.send_signal(signal.SIGSTOP)
        until((folder / "state.npz").exists, chief, other)
        other.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        _, complaint = chief.communicate()
        assert time.monotonic() - killed < 180
    assert chief.returncode == 1 and "Traceback" not in complaint, complaint[-2000:]
    [sentence] = [line for line in complaint.splitlines() if line.startswith("train.run:")]
    assert "another worker is gone" in sentence and "--resume" in sentence
    with two_workers(folder.parent, "--resume") as workers:
        outputs = [worker.communicate() for worker in workers]
        for worker, (output, errors) in zip(workers, outputs, strict=True):
            assert worker.returncode == 0 and "is done" in output, errors[-2000:]
    assert_same_run(folder, alone["smoke"])
    assert sorted(path.name for path in folder.glob("epoch-*")) == ["epoch-001", "epoch-002", "epoch-003"]


def test_workers_that_were_not_started_alike_stop(tmp_path: Path) -> None:
    with two_workers(tmp_path / "runs", only_second=("--set", "seed=1")) as workers:
        for worker in workers:
            _, errors = worker.communicate()
            assert worker.returncode == 1 and "Traceback" not in errors, errors[-2000:]
            assert "were not started alike" in errors
    assert not list((tmp_path / "runs" / "tiny").glob("epoch-*"))


def test_a_worker_that_never_starts_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    monkeypatch.setenv("TF_CONFIG", cluster(addresses, 0))
    with pytest.raises(RuntimeError, match="no answer within 1 seconds") as told:
        main(parser().parse_args(words(tmp_path / "runs", "--strategy", "multiworker", "--wait", "1")))
    assert "waiting at most 1 seconds for all 2 workers" in capsys.readouterr().out
    sentence = str(told.value)
    assert f"from {addresses[1]} (Connection refused): start the same command there" in sentence and "\n" not in sentence
    assert addresses[0] not in sentence and "--wait SECONDS" in sentence
    assert not (tmp_path / "runs").exists()


def looked_round(address: str) -> bool:
    """Asks a worker that waits, which hangs up when it has tried all others and goes on waiting."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 30) as connection:
            return connection.recv(1) == b""
    except OSError:
        return False


def test_workers_await_each_other_and_leave_their_ports_free() -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    back: list[str] = []

    def worker(own: str) -> None:
        await_workers(addresses, own, 30)
        back.append(own)
        with socket.create_server(("", int(own.rpartition(":")[2]))):  # as TensorFlow's server does
            assert all_back.wait(30)

    all_back = threading.Event()
    threads = [threading.Thread(target=worker, args=(address,)) for address in addresses]
    for thread in threads[:2]:
        thread.start()
    for _ in range(3):  # at least two rounds in which both were there
        for address in addresses[:2]:
            until(lambda address=address: looked_round(address))  # type: ignore[misc]
    assert not back, "the third has not started"
    threads[2].start()
    deadline = time.monotonic() + 30
    while len(back) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    all_back.set()
    for thread in threads:
        thread.join()
    assert sorted(back) == sorted(addresses)


def test_addresses_that_cannot_be_waited_at() -> None:
    for wrong in ("10.0.0.1", ":5000", "10.0.0.1:http", "10.0.0.1:65536"):
        with pytest.raises(ValueError, match=f"'{wrong}' is no address like"):
            await_workers(["127.0.0.1:5000", wrong], "127.0.0.1:5000", 1)
    with socket.create_server(("", 0)) as server:
        own = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ValueError, match=r"cannot listen at .*Address already in use.*: end what does"):
            await_workers([own], own, 1)


def test_every_worker_gets_its_part_of_the_same_batches(tmp_path: Path) -> None:
    import tensorflow as tf

    experiment = get_experiment("smoke")
    data = open_data(experiment.data, Source(), tmp_path)
    whole = data.batches(4, 3, 5).take(3)
    contexts = [tf.distribute.InputContext(2, worker, num_replicas_in_sync=4) for worker in range(2)]
    first, second = (iter(data.batches(4, 3, 5, context)) for context in contexts)
    for batch in whole.as_numpy_iterator():
        shares = [next(first), next(first), next(second), next(second)]  # two replicas on each worker
        for name, pictures in batch.items():
            np.testing.assert_array_equal(np.concatenate([share[name] for share in shares]), pictures)


@pytest.mark.parametrize(("strategy", "message"), [("mirrored", "has only .*CPU:0"), ("multiworker", "needs TF_CONFIG")])
def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch, strategy: str, message: str) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        open_strategy(strategy)


def test_several_devices_are_not_for_xla(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave out --xla"):
        main(parser().parse_args(words(tmp_path / "runs", "--strategy", "mirrored", "--xla")))
