"""The workers: started when needed, asleep unless they are measured, ended when memory runs short."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job import ContenderMissing, Job

ANSWER_SECONDS = 1800.0  # a worker that takes longer hangs
WARMUP_STEPS = 2  # the first compiles; the second still fills caches and allocators
SPARE_BYTES = 1 << 30
UNKNOWN_BYTES = 2 << 30  # what a worker is taken to need before one of its kind has run
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "disabled", "PYTHONUNBUFFERED": "1"}


class WorkerFailed(Exception):
    """A contender raised or died; the text says how."""


@dataclass(frozen=True)
class Steps:
    """What a worker measured over consecutive steps."""

    seconds: list[float]
    losses: list[float]
    measures: list[dict[str, float]]
    peak_rss_bytes: int

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.seconds)


class Worker:
    """One worker process; between commands it is stopped, so that none of its threads disturbs another's."""

    def __init__(self, job: Job, log: Path) -> None:
        """Start it and wait for its model; raise ContenderMissing or WorkerFailed."""
        self.job, self.log = job, log
        script = str(Path(__file__).with_name("worker.py"))
        with open(log, "ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, script, job.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=os.environ | OFFLINE,
            )
        try:
            self.model: dict[str, Any] = self._hear()["model"]
        except BaseException:
            self.end()
            raise
        self._process.send_signal(signal.SIGSTOP)

    def run(self, num_steps: int) -> Steps:
        self._process.send_signal(signal.SIGCONT)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"steps": num_steps}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(f"died between steps; see {self.log}") from None
        steps = Steps(**self._hear())
        self._process.send_signal(signal.SIGSTOP)
        return steps

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _hear(self) -> dict[str, Any]:
        timer = threading.Timer(ANSWER_SECONDS, self._process.kill)
        timer.start()
        try:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            status = self._process.wait()
            raise WorkerFailed(f"died with status {status}; see {self.log}")
        answer = json.loads(line)
        if "missing" in answer:
            raise ContenderMissing(answer["missing"])
        if "error" in answer:
            raise WorkerFailed(f"{answer['error']} (see {self.log})")
        return answer


class Workers:
    """At most as many workers as memory holds; one that had to go is started, and warmed up, again."""

    def __init__(self, logs_dir: Path) -> None:
        self._logs_dir = logs_dir
        self._alive: dict[Job, Worker] = {}  # the least recently used first
        self._peaks: dict[Job, int] = {}

    def start(self, job: Job) -> tuple[dict[str, Any], Steps]:
        """Start a worker and warm it up; return its model and those steps."""
        self._make_room(job)
        log = self._logs_dir / f"{job.module}-{job.mode}-{job.shape}.log"
        worker = self._alive[job] = Worker(job, log)
        return worker.model, self._run(job, WARMUP_STEPS)

    def run(self, job: Job, num_steps: int) -> Steps:
        """Return `num_steps` steps of the job's worker, which is started when it isn't alive."""
        if job in self._alive:
            self._make_room(job)
        else:
            self.start(job)
        return self._run(job, num_steps)

    def end(self, job: Job) -> None:
        if job in self._alive:
            self._alive.pop(job).end()

    def end_all(self) -> None:
        for job in list(self._alive):
            self.end(job)

    def profile(self, job: Job) -> dict[str, Any]:
        """Return the roofline of headwater's step, from a process of its own; {"error": why} where it has none."""
        self._make_room(job)
        script = str(Path(__file__).with_name("roofline.py"))
        command = [sys.executable, script, job.to_json()]
        log = self._logs_dir / f"roofline-{job.shape}.log"
        with open(log, "ab") as log_file:
            try:
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, stderr=log_file, timeout=ANSWER_SECONDS, env=os.environ | OFFLINE
                )
            except subprocess.TimeoutExpired:
                return {"error": f"took more than {ANSWER_SECONDS:.0f} s; see {log}"}
        if done.returncode:
            return {"error": f"ended with status {done.returncode}; see {log}"}
        return json.loads(done.stdout.splitlines()[-1])

    def _run(self, job: Job, num_steps: int) -> Steps:
        worker = self._alive[job] = self._alive.pop(job)
        try:
            steps = worker.run(num_steps)
        except WorkerFailed:
            self.end(job)
            raise
        self._peaks[job] = steps.peak_rss_bytes
        return steps

    def _make_room(self, job: Job) -> None:
        needed = self._peaks.get(job, UNKNOWN_BYTES) + SPARE_BYTES
        others = [other for other in self._alive if other != job]
        while others and available_bytes() < needed:
            self.end(others.pop(0))


def available_bytes() -> int:
    """Return the memory that a new process could take; where the system doesn't say, as if it were without end."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            kilobytes = next(line.split()[1] for line in file if line.startswith("MemAvailable"))
        return int(kilobytes) * 1024
    except (OSError, StopIteration):
        return 1 << 62
