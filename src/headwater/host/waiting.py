"""How OpenMP's threads wait for each other: they spin on a quiet machine and sleep under load. No torch."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headwater.host.facts import allowed_cpus
from headwater.host.load import LoadMeter

PERIOD_SECONDS = 0.2  # Linux counts each CPU's time in ticks of up to 10 ms
MAPS = Path("/proc/self/maps")


@contextmanager
def sleep_under_load(num_threads: int) -> Iterator[None]:
    """Have OpenMP's threads sleep while they wait for each other and other processes use their CPUs, inside.

    By itself libgomp spins for milliseconds. That is fastest on a quiet machine; under load a thread that spins takes
    the CPU from the one it waits for (docs/decisions/0036). While an `idle_team` is held it spins for microseconds.
    The division of work among threads doesn't change, and so no bit does.
    """
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(num_threads, ended), name="load", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(num_threads: int, ended: threading.Event) -> None:
    with ExitStack() as team:
        is_held = False
        meter = LoadMeter(own_seconds=time.process_time)
        while not ended.wait(PERIOD_SECONDS):
            wanted = meter.is_contended(num_threads)
            if wanted and not is_held:
                team.enter_context(idle_team())
            elif is_held and not wanted:
                team.close()
            is_held = wanted
            meter = LoadMeter(own_seconds=time.process_time)


@contextmanager
def idle_team() -> Iterator[None]:
    """Hold threads of libgomp's that do nothing, one more than there are CPUs; none where no libgomp is loaded.

    With more threads than CPUs libgomp spins only GOMP_SPINCOUNT's 100 times, or as often as its documentation says
    where OMP_WAIT_POLICY or GOMP_SPINCOUNT is set.
    """
    ended = threading.Event()
    # libgomp keeps a team for as long as the thread lives that started it
    holder = threading.Thread(target=_hold_team, args=(ended,), name="idle team", daemon=True)
    holder.start()
    try:
        yield
    finally:
        ended.set()
        holder.join()


def _hold_team(ended: threading.Event) -> None:
    if path := _libgomp():
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # each thread frees a null pointer
        ctypes.CDLL(path).GOMP_parallel(nothing, None, ctypes.c_uint(len(allowed_cpus()) + 1), ctypes.c_uint(0))
    ended.wait()


def _libgomp() -> str | None:
    """Return the path of the libgomp that this process has loaded: torch's wheels bring their own."""
    try:
        lines = MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(maxsplit=5)[-1] for line in lines if "libgomp" in line), None)
