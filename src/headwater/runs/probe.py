"""The run's own step, measured here for less than a minute on tokens without meaning, in a folder that is removed.

What is timed is what training runs: its assembly, its loop, its records. A step of many microbatches that would take
too long is measured with one, and the others are counted as often as they come.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.machine.load import LoadMeter
from headwater.machine.memory import peak_bytes
from headwater.runs.paths import Say
from headwater.runs.plan_machine import microbatch_tokens, relative_step
from headwater.runs.plan_time import Probe
from headwater.runs.run_config import RunConfig
from headwater.runs.times import MeasuredAround
from headwater.runs.trial import Enough, assemble_trial, train_trial, unsaid
from headwater.train.assemble import Run
from headwater.train.loop import finish_save, save

WARMUP_STEPS, MIN_STEPS, MAX_STEPS = 2, 3, 40
MEASURED_SECONDS, DEADLINE_SECONDS = 12.0, 40.0
LONG_STEP_SECONDS = 5.0  # from which one microbatch stands for all


class _Stopwatch:
    """Seconds of whole steps, end to end, and of their updates, after the warm-up."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._started_at, self._last, self._num_steps = clock, clock(), clock(), 0
        self.steps: list[float] = []
        self.updates: list[float] = []
        self.meter = LoadMeter()

    def __call__(self, record: dict[str, Any]) -> None:
        if record["event"] != "step":
            return
        now = self._clock()
        self._num_steps += 1
        if self._num_steps == WARMUP_STEPS:
            self.meter = LoadMeter()
        if self._num_steps > WARMUP_STEPS or now - self._started_at > DEADLINE_SECONDS / 2:
            self.steps.append(now - self._last)
        enough = len(self.steps) >= MIN_STEPS and sum(self.steps) >= MEASURED_SECONDS
        late = self.steps and now - self._started_at + self.steps[-1] > DEADLINE_SECONDS
        if enough or late or len(self.steps) >= MAX_STEPS:
            raise Enough
        self._last = self._clock()

    def timed(self, update: Callable[[float], None]) -> Callable[[float], None]:
        def timed_update(lr_factor: float) -> None:
            started_at = self._clock()
            update(lr_factor)
            self.updates.append(self._clock() - started_at)

        return timed_update


def probe(config: RunConfig, expected_step_seconds: float, say: Say) -> Probe:
    """Measure the run's step and a save; `expected_step_seconds` decides whether a step is run whole."""
    micro, batch = microbatch_tokens(config), config.train.batch_tokens
    whole = batch == micro or expected_step_seconds <= LONG_STEP_SECONDS
    with tempfile.TemporaryDirectory(prefix="headwater-probe-") as folder:
        run = assemble_trial(config, Path(folder), batch if whole else micro, micro, say)
        stopwatch = _Stopwatch(time.perf_counter)
        run.optimizer.step = stopwatch.timed(run.optimizer.step)  # type: ignore[method-assign, assignment]
        train_trial(run, stopwatch)
        busy = stopwatch.meter.note()
        save_seconds, facts = _save_seconds(run), run.machine.facts
    seconds = statistics.median(stopwatch.steps)
    if not whole:
        # gradients are exchanged and weights updated once a step, whatever the microbatches
        update = statistics.median(stopwatch.updates)
        seconds = update + (seconds - update) * batch / micro
    whole_rows = config.model_copy(update={"train": config.train.model_copy(update={"half_length_fraction": 0.0})})
    return Probe(
        step_seconds=seconds * relative_step(config, facts.dtype) / relative_step(whole_rows, facts.dtype),
        num_steps=len(stopwatch.steps),
        dtype=facts.dtype,
        num_threads=facts.num_threads,
        memory_bytes=peak_bytes() if whole and facts.device == "cpu" else None,
        around=MeasuredAround(save=save_seconds),
        busy=busy
        and f"{busy} while the step was measured: it is the step of a loaded machine; stop them and measure again",
    )


def _save_seconds(run: Run) -> float:
    """Return what a save takes from training: the copy, and the core that the thread which writes it takes."""
    try:
        started_at = time.perf_counter()
        save(run, unsaid)
        copied = time.perf_counter()
        finish_save(run, unsaid)
        written = time.perf_counter()
    finally:
        run.saver.close()
        run.records.close()
    facts = run.machine.facts
    return copied - started_at + ((written - copied) / facts.num_threads if facts.device == "cpu" else 0.0)
