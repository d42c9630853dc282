"""A process that trains one contender in one mode, as many steps at a time as requested.

    python worker.py JOB        JOB is a Job as JSON

Over standard input and output, one JSON line each: it says {"model": …} when the model is built, then answers every
{"steps": n} with {"seconds": [...], "losses": [...], "measures": [{...}], "peak_rss_bytes": …}; it ends when its input
ends. {"missing": why} and {"error": why} are last words.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import watch
from job import ContenderMissing, Job

PR_SET_PDEATHSIG = 1


class PipedWatch:
    """A Watch whose `step` holds the training loop between commands; seconds are whole steps, from end to end."""

    def __init__(self, commands: Any, say: Callable[[dict[str, Any]], None]) -> None:
        self._commands, self._say = commands, say
        self._num_wanted = 0
        self._seconds: list[float] = []
        self._losses: list[float] = []
        self._measures: list[dict[str, float]] = []
        self._started_at = 0.0

    def model(self, num_parameters: int, flops_per_token: float) -> None:
        self._say({"model": {"parameters": num_parameters, "flops_per_token": flops_per_token}})
        self._await_command()

    def step(self, loss: float, **measures: float) -> None:
        self._seconds.append(time.perf_counter() - self._started_at)
        self._losses.append(loss)
        self._measures.append(measures | peak_memory())
        if len(self._seconds) < self._num_wanted:
            self._started_at = time.perf_counter()
            return
        answer = {"seconds": self._seconds, "losses": self._losses, "measures": self._measures}
        self._say(answer | {"peak_rss_bytes": peak_rss_bytes()})
        self._await_command()

    def _await_command(self) -> None:
        line = self._commands.readline()
        if not line:
            raise SystemExit(0)
        self._num_wanted = json.loads(line)["steps"]
        self._seconds, self._losses, self._measures = [], [], []
        self._started_at = time.perf_counter()


def peak_rss_bytes() -> int:
    """Return the most memory this process has held.

    From the kernel's mark for this program where there is one: getrusage's also remembers the process that started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM"))
        return int(kilobytes) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_memory() -> dict[str, float]:
    """Return the most of a GPU's memory that tensors of this process have held, where it uses one."""
    torch = sys.modules.get("torch")
    is_used = torch is not None and torch.cuda.is_initialized()
    return {"peak_memory_bytes": torch.cuda.max_memory_allocated()} if torch is not None and is_used else {}


def end_with_parent() -> None:
    """Ask Linux to end this process with the one that started it, which may have left it stopped."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    end_with_parent()
    # contenders print; what they print goes to the log
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        watch.train(Job.from_json(sys.argv[1]), PipedWatch(sys.stdin, say))
    except ContenderMissing as error:
        say({"missing": str(error)})
    except Exception as error:  # whatever a contender raises is an answer, not the end of the benchmark
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        say({"error": f"{type(error).__name__}: {lines[0][:200] if lines else ''}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
