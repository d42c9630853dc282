"""How OpenMP's threads wait for each other: they spin on a quiet machine and sleep under load. No torch."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from headwater.machine.host.facts import allowed_cpus

PERIOD_SECONDS = 0.2
CONTENDED_CPUS = 0.2  # what threads wait for, on the mean: less is the process's own helpers, or others of low priority
TASKS, MAPS = Path("/proc/self/task"), Path("/proc/self/maps")


@contextmanager
def sleep_under_load() -> Iterator[None]:
    """Have OpenMP's threads sleep while they wait for each other, inside, whenever threads here wait for a CPU.

    By itself libgomp spins for milliseconds. That is fastest on a quiet machine; under load a thread that spins takes
    the CPU from the one it waits for (docs/decisions/0036). While an `idle_team` is held it spins for microseconds.
    The division of work among threads doesn't change, and so no bit does.
    """
    with _beside("load", _watch):
        yield


@contextmanager
def _beside(name: str, work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Have a thread of its own work, inside, until it is told that the block has ended."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(ended: threading.Event) -> None:
    with ExitStack() as team:
        is_held, began_at, before = False, time.perf_counter(), waited()
        while not ended.wait(PERIOD_SECONDS):
            now, after = time.perf_counter(), waited()
            # of threads that have ended meanwhile nothing is left: a difference of counters keeps what is above zero
            wanted = (after - before).total() > CONTENDED_CPUS * 1e9 * (now - began_at)
            if wanted and not is_held:
                team.enter_context(idle_team())
            elif is_held and not wanted:
                team.close()
            is_held, began_at, before = wanted, now, after


def waited(tasks: Path = TASKS) -> Counter[str]:
    """Return for how many ns each thread of this process was ready to run without a CPU; none if Linux doesn't say.

    What others use of the CPUs doesn't tell that: those of low priority keep nobody waiting.
    """
    found = Counter[str]()
    for path in tasks.glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile, or the file is of another kind
            found[path.parent.name] = int(path.read_text(encoding="ascii").split()[1])
    return found


@contextmanager
def idle_team() -> Iterator[None]:
    """Hold threads of libgomp's that do nothing, one more than there are CPUs; none where no libgomp is loaded.

    With more threads than CPUs libgomp spins only GOMP_SPINCOUNT's 100 times, or as often as its documentation says
    where OMP_WAIT_POLICY or GOMP_SPINCOUNT is set.
    """
    with _beside("idle team", _hold_team):  # libgomp keeps a team for as long as the thread lives that started it
        yield


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
