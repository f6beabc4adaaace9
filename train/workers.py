"""The workers of one training on several machines: how they wait for one another to start."""

import contextlib
import socket
import time
from collections.abc import Sequence

POLL_SECONDS = 0.5
CONNECT_SECONDS = 2.0
"""How long an address may take to answer; one that drops packets never refuses."""


def await_workers(addresses: Sequence[str], own: str, seconds: float) -> None:
    """Returns once all workers are up at the same time.

    A plain TCP check, since TensorFlow 2.21 cannot limit this wait: its coordination service has a time limit, but that is
    set through private API and ends just the wait for the first worker, without naming it. The first worker itself, with a
    limit of 8 seconds, still waited for the others after 12 minutes, deaf to SIGTERM. So every worker holds its own port
    open here, until TensorFlow's server takes it over, and tries the others'. Whatever else listens at an address counts as
    its worker.

    Args:
        addresses: "HOST:PORT" of all workers, as in TF_CONFIG.
        own: this worker's, one of them.
        seconds: how long to wait.

    Raises:
        ValueError: an address is no "HOST:PORT", or the own port is taken.
        RuntimeError: the time is over; the message names every address that does not answer.
    """
    _, port = _split(own)
    others = [(address, _split(address)) for address in addresses if address != own]
    try:
        server = socket.create_server(("", port))
    except OSError as error:
        raise ValueError(f"this worker cannot listen at {own} ({error}): end what does, or change TF_CONFIG") from None
    with server:
        server.setblocking(False)
        deadline = time.monotonic() + seconds
        while silent := {address: reason for address, place in others if (reason := _try(place))}:
            if time.monotonic() > deadline:
                named = ", ".join(f"{address} ({reason})" for address, reason in silent.items())
                raise RuntimeError(
                    f"no answer within {seconds:g} seconds from {named}: start the same command there with its own index in "
                    "TF_CONFIG, let this machine reach that port, or wait longer with --wait SECONDS"
                )
            time.sleep(POLL_SECONDS)
            with contextlib.suppress(BlockingIOError):
                while True:
                    server.accept()[0].close()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"TF_CONFIG: {address!r} is no address like 10.0.0.1:5000")
    return host, int(port)


def _try(place: tuple[str, int]) -> str:
    """Connects and hangs up; "" if that worked, else why not."""
    try:
        socket.create_connection(place, CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
