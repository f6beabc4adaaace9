"""Many people at one app: errors, lost requests, waiting times and the server's memory.

    python -m benchmarks.load                            20 users for two minutes
    python -m benchmarks.load --users 3 --seconds 10     a short one

Starts a real app.py on the loopback; every user is a `gradio_client` that asks for its next picture as soon as it has the
last one, of different photos by different checkpoints. Half of what they ask for has been drawn before.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gradio_client import Client, handle_file
from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "animegan_app" / "examples").glob("*.jpg"))
LONGEST_SIDE = 512
START_SECONDS, ANSWER_SECONDS = 300, 600
"""How long the app may take to start; a request without an answer for so long counts as lost."""
PORTS = iter(random.SystemRandom().sample(range(20_000, 30_000), 10_000))


@dataclass
class Report:
    """What the users met.

    Args:
        new, again: seconds until the answer, for pictures that nobody or somebody had got before.
        errors: sentences.
        lost: how many requests got no answer at all.
        memory: the server's largest resident memory, in bytes.
    """

    new: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost: int = 0
    memory: int = 0

    def __str__(self) -> str:
        lines = [f"{len(self.new) + len(self.again)} answers, {len(self.errors)} errors, {self.lost} lost requests"]
        for name, seconds in (("drawn", self.new), ("drawn before", self.again)):
            if seconds:
                median, slowest = statistics.median(seconds), max(seconds)
                lines.append(f"{name}: {len(seconds)} answers, median {median:.2f} s, slowest {slowest:.2f} s")
        lines.append(f"peak memory of the server {self.memory / 2**30:.2f} GiB")
        return "\n".join([*lines, *sorted(set(self.errors))])


def measure(users: int, seconds: float, runs: Path | None = None) -> Report:
    """Starts an app and its users, and waits for the last answer.

    Args:
        users: how many ask at the same time.
        seconds: for how long they begin new requests.
        runs: folder of local training whose checkpoints are used beside the bundled one.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        own = {"ANIMEGAN_RUNS": str(runs or ""), "GRADIO_TEMP_DIR": f"{folder}/gradio", "ANIMEGAN_HUB": ""}
        program = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
        server = subprocess.Popen(program, cwd=ROOT, env=os.environ | own, stdout=subprocess.DEVNULL)
        try:
            report = _use(_connect(port, server), users, seconds, Path(folder))
            status = Path(f"/proc/{server.pid}/status").read_text()
            report.memory = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
            return report
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


def free_port() -> int:
    """A port that stays free until a program started now listens at it: the system gives none below 32768 to others."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port from 20000 to 29999 is free")


def _connect(port: int, server: subprocess.Popen) -> str:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return f"http://127.0.0.1:{port}/"
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"the app did not start in {START_SECONDS} s")


def _use(url: str, users: int, seconds: float, folder: Path) -> Report:
    report, lock = Report(), threading.Lock()
    asked: list[tuple[Path, str]] = []
    answered: set[tuple[Path, str]] = set()
    keys = [offer["key"] for offer in Client(url, verbose=False).predict(api_name="/checkpoints")]
    clients = [Client(url, verbose=False, httpx_kwargs={"timeout": ANSWER_SECONDS}) for _ in range(users)]
    end = time.monotonic() + seconds

    def use(user: int) -> None:
        chance, client = random.Random(user), clients[user]
        while time.monotonic() < end:
            with lock:
                request = chance.choice(asked) if asked and chance.random() < 0.5 else _request(chance, keys, folder)
                asked.append(request)
                seconds = report.again if request in answered else report.new
            start = time.monotonic()
            try:
                photo, key = request
                job = client.submit(handle_file(photo), key, LONGEST_SIDE, api_name="/stylize")
                job.result(ANSWER_SECONDS)
            except TimeoutError:
                report.lost += 1
            except Exception as error:  # whatever it is, it is what a user would have met
                report.errors.append(f"{type(error).__name__}: {error}")
            else:
                seconds.append(time.monotonic() - start)
                answered.add(request)

    with ThreadPoolExecutor(users) as pool:
        list(pool.map(use, range(users)))
    return report


def _request(chance: random.Random, keys: list[str], folder: Path) -> tuple[Path, str]:
    """A photo nobody has asked for, a piece of an example picture, and a checkpoint."""
    with Image.open(chance.choice(EXAMPLES)) as image:
        left, upper = chance.randrange(image.width // 4), chance.randrange(image.height // 4)
        path = folder / f"{chance.randrange(2**40)}.jpg"
        image.crop((left, upper, left + image.width * 3 // 4, upper + image.height * 3 // 4)).save(path, quality=95)
    return path, chance.choice(keys)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.load", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--runs", type=Path, help="folder of local training, for more checkpoints than the bundled ones")
    arguments = parser.parse_args()
    print(measure(arguments.users, arguments.seconds, arguments.runs))


if __name__ == "__main__":
    main()
