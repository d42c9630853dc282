"""A command run and measured: processor time and memory of all its processes together, and the disk it filled."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHAINS = Path(__file__).parent / "chains"  # the programs that are measured
ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

_SAMPLE_SECONDS = 0.1
_TAIL_BYTES = 3000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command took. `peak_bytes` is the most that its processes held for themselves at one time.

    `disk_bytes` is the most that lay in the watched folder.
    """

    status: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    disk_bytes: int
    tail: str


def run_measured(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Usage:
    """Run a command to its end. `folder` is watched for the disk that it takes."""
    before, started_at = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        list(command), env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    watch = _Watch(process.pid, folder)
    assert process.stdout is not None
    tail = b""
    while block := process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
        tail = (tail + block)[-_TAIL_BYTES:]
    process.stdout.close()
    status = process.wait()
    watch.end()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall_seconds = time.perf_counter() - started_at
    text = tail.decode(errors="replace")
    return Usage(status, wall_seconds, cpu_seconds, watch.peak_bytes, watch.disk_bytes, text)


def last_json(text: str) -> dict[str, Any]:
    """Return the last JSON object that a program printed on a line of its own; {} where it printed none."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


class _Watch:
    """Samples a process and its descendants ten times a second."""

    def __init__(self, pid: int, folder: Path | None) -> None:
        self.peak_bytes = self.disk_bytes = 0
        self._pid, self._folder = pid, folder
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _sample(self) -> None:
        num_samples = 0
        while not self._is_over.wait(_SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, sum(map(_private_bytes, _family(self._pid))))
            if self._folder is not None and num_samples % 50 == 0:
                self.disk_bytes = max(self.disk_bytes, folder_bytes(self._folder))
            num_samples += 1


def folder_bytes(folder: Path) -> int:
    """Return what lies in a folder that may change meanwhile."""
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(inner, name)).st_size
            except OSError:
                continue
    return total


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        try:
            tasks = Path(f"/proc/{current}/task").iterdir()
            waiting += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _private_bytes(pid: int) -> int:
    """Return the memory that a process has for itself, without the libraries it maps from files."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES
