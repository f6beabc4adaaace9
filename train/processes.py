"""Work on pictures in other processes, so that it holds neither the devices nor Python's one lock."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def pool() -> ProcessPoolExecutor:
    """One process for each core that this one may use; they start with the first job. TensorFlow, which the contours of a
    target need, is loaded by who needs it, on one thread and without the devices."""
    spawned = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    return ProcessPoolExecutor(cores(), spawned, _begin)


@contextlib.contextmanager
def breaking_told() -> Iterator[None]:
    """Around work with the pool: says what to do if one of its processes was killed; the next call of `pool` starts anew."""
    try:
        yield
    except BrokenProcessPool:
        pool.cache_clear()
        raise RuntimeError(
            "a process that works on pictures beside this one was killed, perhaps for want of memory: free some, or lower "
            "schedule.batch; then run the command again, with --resume if it had begun to train"
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
