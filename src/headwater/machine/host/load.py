"""How much of the processor other processes use: what is timed under load is not this machine's speed. No torch."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from headwater.machine.host.facts import PROCESSES, allowed_cpus, has_quota, stat_of

STAT = PROCESSES / "stat"
NOW_SECONDS = 0.1
BUSY_SHARE = 0.2  # of the CPUs: less is what a quiet machine does besides, and what ticks of 10 ms can tell in a moment
_PARENT, _SPENT = 1, slice(11, 15)  # of /proc/PID/stat, after the name: parent; user, system, and its children's
_IDLE, _WAITING, _STOLEN = 3, 4, 7  # columns of /proc/stat; of what other machines take nobody here can stop anything


class LoadMeter:
    """Count what other processes take of the CPUs that this process may use, from construction on."""

    def __init__(
        self,
        stat: Path = STAT,
        clock: Callable[[], float] = time.perf_counter,
        own_seconds: Callable[[], float] | None = None,
    ) -> None:
        self._stat, self._clock, self._own_seconds = stat, clock, own_seconds or own_cpu_seconds
        self._before = self._read()

    @property
    def seconds(self) -> float:
        """Since construction."""
        return self._clock() - self._before[0]

    @classmethod
    def of_ranks(cls, num_local: int) -> LoadMeter:
        """Return one to which the ranks on this machine are no others: all that their launcher has started."""
        return cls() if num_local == 1 else cls(own_seconds=partial(own_cpu_seconds, root=os.getppid()))

    def _read(self) -> tuple[float, float | None, float]:
        return self._clock(), _busy_seconds(self._stat), self._own_seconds()

    def others(self) -> float | None:
        """Return how many CPUs they took, on the mean; None where the system doesn't say."""
        (began_at, busy_before, own_before), (now, busy, own) = self._before, self._read()
        if busy is None or busy_before is None or now <= began_at or has_quota():
            return None  # with a quota of the host's CPUs, what others do on them takes nothing from it
        return max(0.0, (busy - busy_before - (own - own_before)) / (now - began_at))

    def note(self, num_threads: int | None = None) -> str | None:
        """Return "Other processes use 1.8 of the 2 CPUs" where timings suffer from it; None elsewhere.

        What computes in `num_threads` leaves the other CPUs to them; None: it needs all.
        """
        others, num_cpus = self.others(), len(allowed_cpus())
        spare = 0 if num_threads is None else max(0, num_cpus - num_threads)
        if others is None or others < spare + BUSY_SHARE * num_cpus:
            return None
        cpus = "one CPU" if num_cpus == 1 else f"{num_cpus} CPUs"
        return f"Other processes use {min(others, num_cpus):.1f} of the {cpus}"


def busy_now(meter: LoadMeter | None = None) -> str | None:
    """Return the note since `meter` began, or of the next tenth of a second; of so much at least."""
    meter = meter or LoadMeter()
    time.sleep(max(0.0, NOW_SECONDS - meter.seconds))
    return meter.note()


def own_cpu_seconds(proc: Path = PROCESSES, root: int | None = None) -> float:
    """Return the CPU time of this process, or of `root`, and of all that it has started: compilers are its own work."""
    spent = dict[int, float]()
    children = defaultdict[int, list[int]](list)
    for number in (int(path.parent.name) for path in proc.glob("[0-9]*/stat")):
        cells = stat_of(number, proc)
        try:
            parent, ticks = int(cells[_PARENT]), sum(int(cell) for cell in cells[_SPENT])
        except (ValueError, IndexError):  # it has ended meanwhile, or the file is of another kind
            continue
        children[parent].append(number)
        spent[number] = ticks / os.sysconf("SC_CLK_TCK")
    total = sum(os.times()[:4]) if root is None else spent.get(root, 0.0)
    waiting = list(children[os.getpid() if root is None else root])
    while waiting:
        number = waiting.pop()
        total += spent[number]
        waiting += children[number]
    return total


def _busy_seconds(stat: Path) -> float | None:
    """Return the seconds for which the CPUs of this process have been at work since the system started."""
    names = {f"cpu{number}" for number in allowed_cpus()}
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines()]
        ticks = [[int(cell) for cell in line[1:]] for line in lines if line and line[0] in names]
        busy = sum(sum(cells[:_STOLEN]) - cells[_IDLE] - cells[_WAITING] for cells in ticks)
    except (OSError, ValueError, IndexError):
        return None
    return busy / os.sysconf("SC_CLK_TCK") if ticks else None
