"""Trials: a piece of work in a child of a process that has imported everything, with a plan of faults.

Importing torch takes seconds and a trial a fraction of one, so each is a fork of this process, which itself starts no
thread: it imports, forks and waits.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from headwater.core import disk

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fault_plan import CRASHED, FaultPlan

TIMEOUT_SECONDS = 900.0  # a trial takes a second on an idle machine; one that hangs is a failure, not the end
HUNG = "TimeoutError"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Outcome:
    """The result of a trial: `error` is the class of what was raised, `value` what was returned, as JSON."""

    status: int
    error: str = ""
    message: str = ""
    value: Any = None
    operations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_killed(self) -> bool:
        """Whether the plan of faults ended the process, as SIGKILL would."""
        return self.status == CRASHED

    @property
    def is_done(self) -> bool:
        return self.status == 0 and not self.error

    def says(self) -> str:
        return f"exit status {self.status}" + (f", {self.error}: {self.message}" if self.error else "")


def trial(work: Callable[[], Any], plan: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> Outcome:
    """Do `work` in a child, under a plan of faults; "" counts its operations alone, None doesn't even that."""
    started_at = time.perf_counter()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_the_child(work, plan, writing)
    os.close(writing)
    said = _read(reading, started_at + timeout_seconds)
    if said is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - started_at
    if said is None:
        return Outcome(-1, HUNG, f"not done after {timeout_seconds:.0f} s", seconds=seconds)
    found = json.loads(said) if said else {}
    return Outcome(**found | {"status": os.waitstatus_to_exitcode(status), "seconds": seconds})


def _be_the_child(work: Callable[[], Any], plan: str | None, writing: int) -> None:
    """Do the work, say what came of it through the pipe, and end; nothing of the parent runs on."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    counted = None if plan is None else FaultPlan.parse(plan)
    disk.install(counted)
    found: dict[str, Any] = {}
    try:
        found["value"] = work()
    except BaseException as error:  # whatever it is, it is reported
        found |= {"error": type(error).__name__, "message": str(error)}
    found["operations"] = counted.operations if counted else []
    data = json.dumps(found).encode()
    while data:
        data = data[os.write(writing, data) :]
    os._exit(0)


def _read(handle: int, deadline: float | None) -> bytes | None:
    """Return all that comes through a pipe until it is closed; None when the deadline, if any, comes first."""
    said = b""
    try:
        while True:
            ready, _, _ = select.select([handle], [], [], deadline and max(0.0, deadline - time.perf_counter()))
            if not ready:
                return None
            part = os.read(handle, 1 << 16)
            if not part:
                return said
            said += part
    finally:
        os.close(handle)


def required(outcome: Outcome, what: str) -> Outcome:
    """Return the outcome of a trial that must succeed for anything to be measured."""
    if not outcome.is_done:
        raise SystemExit(f"{what} doesn't work without a fault either: {outcome.says()}")
    return outcome


def spread(items: Sequence[Item], judge: Callable[[Item], Any], num_jobs: int) -> list[Any]:
    """Return what `judge` says of every item, in order; `num_jobs` processes share them."""
    if num_jobs <= 1:
        return [judge(item) for item in items]
    shares: list[tuple[int, int]] = []
    for number in range(num_jobs):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _judge_share(items[number::num_jobs], judge, writing)
        os.close(writing)
        shares.append((child, reading))
    found_by_item: list[Any] = [None] * len(items)
    for number, (child, reading) in enumerate(shares):
        said = _read(reading, None)
        os.waitpid(child, 0)
        if not said:
            raise SystemExit("a process that shares the trials died")
        found_by_item[number::num_jobs] = json.loads(said)
    return found_by_item


def _judge_share(items: Sequence[Item], judge: Callable[[Item], Any], writing: int) -> None:
    """Be the process that judges `items`: say what came of them through the pipe, and end whatever happens."""
    try:
        found = json.dumps([judge(item) for item in items]).encode()
        while found:
            found = found[os.write(writing, found) :]
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def sample(items: Sequence[Item], num_wanted: int | None) -> list[Item]:
    """Return every item, or `num_wanted` of them, evenly spread, the first and the last among them."""
    if num_wanted is None or num_wanted >= len(items):
        return list(items)
    if num_wanted == 1:
        return [items[len(items) // 2]]
    return [items[round(at * (len(items) - 1) / (num_wanted - 1))] for at in range(num_wanted)]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
