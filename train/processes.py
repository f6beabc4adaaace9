"""Work on pictures in other processes, so that it holds neither the devices nor Python's one lock."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU time in each period, and the period's: what a container may use of all the cores that it sees."""


def cores() -> int:
    """How many this process may use."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, QUOTA.read_text().split())
    except (OSError, ValueError):  # no container, or one without a quota, which says "max"
        return seen
    return min(seen, max(1, round(quota / period)))


@functools.cache
def pool() -> ProcessPoolExecutor:
    """One process for each core that this one may use; they start with the first job. TensorFlow, which the contours of a
    target need, is loaded by who needs it, on one thread and without the devices."""
    spawned = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    return ProcessPoolExecutor(cores(), spawned, _begin)


def begin(work: Callable[[Any], Any], items: Iterable[Any]) -> Callable[[], list[Any]]:
    """Starts work on every item in the pool; returns what waits for it and gives the results.

    Where processes were killed, others do the work once more: a signal to all of a job reaches them too, and the run, which
    saves itself when told to end, still has a step to finish. Raises RuntimeError where those are killed as well.
    """
    items = list(items)
    jobs = _submit(work, items)

    def results() -> list[Any]:
        try:
            return [job.result() for job in jobs]
        except BrokenProcessPool:
            with breaking_told():
                return [job.result() for job in _submit(work, items)]

    return results


def _submit(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Future[Any]]:
    try:
        return [pool().submit(work, item) for item in items]
    except BrokenProcessPool:
        pool.cache_clear()
        return [pool().submit(work, item) for item in items]


def end_pool() -> None:
    """Ends the processes, and gives their memory back; the next call of `pool` starts others."""
    if pool.cache_info().currsize:
        pool().shutdown()
        pool.cache_clear()


@contextlib.contextmanager
def breaking_told() -> Iterator[None]:
    """Around work with the pool: says what to do if one of its processes was killed; the next call of `pool` starts anew."""
    try:
        yield
    except BrokenProcessPool:
        pool.cache_clear()
        raise RuntimeError(
            "a process that works on pictures beside this one was killed, perhaps for want of memory: free some, give it "
            "fewer cores, as each has a process (taskset -c 0-3 python -m ...), or lower schedule.batch; then run the "
            "command again, with --resume if it had begun to train"
        ) from None


def _begin() -> None:
    import cv2

    cv2.setNumThreads(1)  # there is a process for each core
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    for kind in ("SIGINT", "SIGHUP"):  # a terminal sends them to all; the run finishes its step and ends these
        if hasattr(signal, kind):
            signal.signal(getattr(signal, kind), signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()  # also one that was killed, whose pool can tell nobody to stop
    os._exit(1)
