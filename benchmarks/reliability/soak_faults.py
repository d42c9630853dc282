"""The faults of the soak: what is done to a run of two ranks under torchrun, from outside, at random times."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from headwater.checkpoint.layout import list_checkpoints

KINDS = ("kill", "kill all", "term", "hang", "full disk", "corruption")
FULL_SECONDS = 20.0
STEPS_BEFORE_A_HANG = 5  # of an attempt: its first steps aren't watched
BALLAST = "ballast"
FLIPPED_BITS = 8


@dataclass
class Victim:
    """The run as faults see it: its launcher, its folder, and how far its records say it is."""

    launcher: subprocess.Popen[bytes]
    run_dir: Path
    disk: Path | None  # a small file system of its own; None where none could be mounted
    save_every: int
    num_steps: int
    attempt: int = 0
    step: int = 0
    steps_of_attempt: int = 0
    stepped_at: float = 0.0

    def ranks(self) -> list[int]:
        """Return the process ids of its ranks that live, in the order of their start."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if int(entry.name) != self.launcher.pid and self._is_rank((entry / "cmdline").read_bytes()):
                    found.append(int(entry.name))
        return sorted(found)

    def _is_rank(self, command: bytes) -> bool:
        words = command.split(b"\0")
        where = {f"name={self.run_dir.name}".encode(), f"runs_dir={self.run_dir.parent}".encode()}
        return b"headwater" in words and where <= set(words)

    def is_amid_steps(self) -> bool:
        """Return whether the ranks that live are taking steps, and not just now saving or about to end."""
        ranks, phase = self.ranks(), self.step % self.save_every
        return (
            len(ranks) == 2
            and all(is_running_since(rank, self.stepped_at) for rank in ranks)
            and self.steps_of_attempt >= STEPS_BEFORE_A_HANG
            and 0 < phase < self.save_every - 1
            and self.step < self.num_steps - 1
        )

    def kill_all(self) -> None:
        for process in [self.launcher.pid, *self.ranks()]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def is_running_since(process: int, moment: float) -> bool:
    """Return whether a process was started before a moment, and isn't stopped."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return False
    started_at = time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] not in "TtZX" and started_at < moment


@dataclass
class Fault:
    """One fault, when it struck and what followed; times are seconds since the epoch, as in records."""

    kind: str
    run: int
    at: float
    attempt: int
    step: int
    waited: float = 0.0  # from its drawn time to a moment at which it could strike
    watched: int | None = None  # process id of the rank that has to find a hang
    detected_after: float | None = None
    step_again_after: float | None = None  # to the end of the next step of a new attempt; 0: it did no harm
    steps_lost: int | None = None
    overlapped: bool = False  # another fault struck before the run had recovered
    facts: dict[str, object] = field(default_factory=dict)


Strike = Callable[[Victim, random.Random], dict[str, object] | None]


def kill(victim: Victim, chance: random.Random) -> dict[str, object] | None:
    ranks = victim.ranks()
    if not ranks:
        return None
    chosen = chance.randrange(len(ranks))
    os.kill(ranks[chosen], signal.SIGKILL)
    return {"rank": chosen}


def kill_all(victim: Victim, chance: random.Random) -> dict[str, object] | None:
    victim.kill_all()
    return {}


def term(victim: Victim, chance: random.Random) -> dict[str, object] | None:
    """Ask the launcher to end, as systemd and Slurm do; it hands the signal on."""
    victim.launcher.send_signal(signal.SIGTERM)
    return {}


def hang(victim: Victim, chance: random.Random) -> dict[str, object] | None:
    """Stop a rank in the middle of its steps, for good; not in a save, whose length isn't watched."""
    if not victim.is_amid_steps():
        return None
    ranks, chosen = victim.ranks(), chance.randrange(2)
    os.kill(ranks[chosen], signal.SIGSTOP)
    return {"rank": chosen, "watched": ranks[1 - chosen]}


def fill_disk(victim: Victim, chance: random.Random) -> dict[str, object] | None:
    """Leave not one byte on the run's disk; `empty_disk` ends it."""
    if victim.disk is None:
        return None
    with suppress(OSError), (victim.disk / BALLAST).open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with suppress(OSError), (victim.disk / BALLAST).open("ab", buffering=0) as file:
        while True:
            file.write(b"\0")
    return {}


def empty_disk(disk: Path) -> None:
    (disk / BALLAST).unlink(missing_ok=True)


def corrupt(victim: Victim, chance: random.Random) -> dict[str, object] | None:
    """Flip bits in a file of the newest checkpoint and kill all, so that the load meets it.

    It waits until another checkpoint is there: a run whose checkpoints are all damaged asks for a decision, by design.
    """
    checkpoints = list_checkpoints(victim.run_dir)
    if len(checkpoints) < 2:
        return None
    victim.kill_all()
    step, newest = checkpoints[0]
    with suppress(OSError):
        file = chance.choice(sorted(newest.iterdir()))
        data = bytearray(file.read_bytes())
        for _ in range(FLIPPED_BITS):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        return {"file": file.name, "checkpoint": step}
    return {"file": "none: it was just being removed"}


STRIKES: dict[str, Strike] = {
    "kill": kill,
    "kill all": kill_all,
    "term": term,
    "hang": hang,
    "full disk": fill_disk,
    "corruption": corrupt,
}


class FaultSchedule:
    """Strikes faults at times of a Poisson process, each of a kind drawn with equal chance."""

    def __init__(self, seed: int, mean_seconds: float, kinds: tuple[str, ...]) -> None:
        self._chance = random.Random(seed)
        self._mean_seconds, self._kinds = mean_seconds, kinds
        self._next_at = self._draw(time.time())
        self._pending: list[tuple[float, str]] = []
        self._full_until: dict[Path, float] = {}

    def _draw(self, after: float) -> float:
        return after + self._chance.expovariate(1 / self._mean_seconds)

    def strike(self, victim: Victim, run: int) -> list[Fault]:
        """Do what is due now; what can't strike now strikes when it can."""
        now = time.time()
        while self._next_at <= now:
            self._pending.append((self._next_at, self._chance.choice(self._kinds)))
            self._next_at = self._draw(self._next_at)
        for disk, until in list(self._full_until.items()):
            if until <= now:
                self.clear(disk)
        struck, waiting = [], []
        for due, kind in self._pending:
            facts = STRIKES[kind](victim, self._chance) if not struck else None  # one at a time
            if facts is None:
                waiting.append((due, kind))
                continue
            fault = Fault(kind, run, time.time(), victim.attempt, victim.step, waited=time.time() - due)
            fault.watched = facts.pop("watched", None)  # type: ignore[assignment]
            fault.facts = facts
            if kind == "full disk" and victim.disk is not None:
                self._full_until[victim.disk] = time.time() + FULL_SECONDS
            struck.append(fault)
        self._pending = waiting
        return struck

    def is_full(self) -> bool:
        return bool(self._full_until)

    def clear(self, disk: Path) -> None:
        """Remove what fills a disk."""
        empty_disk(disk)
        self._full_until.pop(disk, None)
