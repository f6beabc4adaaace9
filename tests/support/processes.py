"""Other programs: ports for them, and waiting for what they do."""

import contextlib
import random
import socket
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
PORTS = iter(random.SystemRandom().sample(range(20_000, 30_000), 10_000))


def free_port() -> int:
    """A port that stays free until a program started now listens at it: the system gives none below 32768 to others."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port from 20000 to 29999 is free")


def until(condition: Callable[[], Found], *alive: subprocess.Popen, seconds: float = 120) -> Found:
    """Waits until something is so, and returns it; fails when it takes too long or one of these processes ends before."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} seconds"
        assert all(process.poll() is None for process in alive), "the process ended"
        time.sleep(0.02)
    return found
