"""Other programs: ports for them, and waiting for what they do."""

import contextlib
import random
import resource
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parents[2]
Found = TypeVar("Found")
PORTS = iter(random.SystemRandom().sample(range(20_000, 30_000), 10_000))


def free_port() -> int:
    """A port that stays free until a program started now listens at it: the system gives none below 32768 to others."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port from 20000 to 29999 is free")


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `python app.py` says as it ends before it listens, here in this process, which has Gradio already."""
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    return capsys.readouterr().err or str(end.value)


def memory(process: int) -> int:
    """Resident bytes of a process and of all that it started."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found, waiting = 0, [process]
    while waiting:
        each = waiting.pop()
        waiting += children.get(each, [])
        with contextlib.suppress(OSError):
            found += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * resource.getpagesize()
    return found


class Peak:
    """The most resident memory of this process since this was made, above what it had then, in bytes."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # else an earlier and higher peak would hide this one
        self._before = self._highest()

    def rise(self) -> int:
        return self._highest() - self._before

    @staticmethod
    def _highest() -> int:
        [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return 1024 * int(line.split()[1])


def until(condition: Callable[[], Found], *alive: subprocess.Popen, seconds: float = 120) -> Found:
    """Waits until something is so, and returns it; fails when it takes too long or one of these processes ends before."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} seconds"
        assert all(process.poll() is None for process in alive), "the process ended"
        time.sleep(0.02)
    return found
