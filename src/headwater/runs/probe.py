"""The run's own step, measured here for less than a minute on tokens without meaning, in a folder that is removed.

What is timed is what training runs: its assembly, its loop, its records. A step of many microbatches that would take
too long is measured with one, and the others are counted as often as they come.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.batches.mixture import make_plan
from headwater.batches.pack import pack_source
from headwater.batches.settings import MixtureSettings
from headwater.batches.source import BatchSource
from headwater.machine.load import LoadMeter
from headwater.machine.memory import peak_bytes
from headwater.machine.signals import StopRequest
from headwater.runs.paths import Say, ignore
from headwater.runs.plan_machine import microbatch_tokens, relative_step
from headwater.runs.plan_time import Probe
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import train_plan
from headwater.runs.times import MeasuredAround
from headwater.tokens.read import TokenStore
from headwater.tokens.write import EncodedDocument, write_store
from headwater.train.assemble import Run, assemble
from headwater.train.identity import TrainPlan
from headwater.train.loop import finish_save, save, train

WARMUP_STEPS, MIN_STEPS, MAX_STEPS = 2, 3, 40
MEASURED_SECONDS, DEADLINE_SECONDS = 12.0, 40.0
LONG_STEP_SECONDS = 5.0  # from which one microbatch stands for all
NEVER = 10_000_000  # steps: no save, validation or probe falls into the measurement
FIRST_ID = 32  # after the special tokens
NUM_DOCUMENTS, DOCUMENT_ROWS = 8, 64


class _Enough(Exception):
    """Ends the loop, raised by what is shown its records."""


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
            raise _Enough
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
        once = batch if whole else micro
        rows = _rows(config, Path(folder), once)
        run = assemble(Path(folder), _plan(config, once, micro), rows, say)
        stopwatch = _Stopwatch(time.perf_counter)
        run.optimizer.step = stopwatch.timed(run.optimizer.step)  # type: ignore[method-assign, assignment]
        with contextlib.suppress(_Enough):
            train(run, _NoEvaluator(), stopwatch, StopRequest())
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
        save(run, ignore)
        copied = time.perf_counter()
        finish_save(run, ignore)
        written = time.perf_counter()
    finally:
        run.saver.close()
        run.records.close()
    facts = run.machine.facts
    return copied - started_at + ((written - copied) / facts.num_threads if facts.device == "cpu" else 0.0)


class _NoEvaluator:
    def validate(self, model: Any, forward: Any) -> dict[str, Any]:
        return {}

    def probe(self, model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from ()


def _plan(config: RunConfig, batch_tokens: int, micro: int) -> TrainPlan:
    changes: dict[str, Any] = {"num_steps": NEVER, "save_every": NEVER, "validate_every": NEVER, "num_probes": 0}
    changes |= {"half_length_fraction": 0.0, "batch_tokens": batch_tokens, "microbatch_tokens": micro}
    changes |= {"guard_sigmas": None, "audit_every": None, "hang_seconds": None}
    return replace(train_plan(config), mixture=MixtureSettings(), train=config.train.model_copy(update=changes))


def _rows(config: RunConfig, folder: Path, batch_tokens: int) -> BatchSource:
    """Return rows of random ids, in documents longer than a row."""
    seq_len, vocab_size = config.model.seq_len, config.model.vocab_size
    generator = np.random.default_rng(1)

    def document(number: int) -> EncodedDocument:
        # begin and end are added: one token less than positions, and the last one is only a target
        ids = generator.integers(min(FIRST_ID, vocab_size - 1), vocab_size, DOCUMENT_ROWS * seq_len - 1)
        return EncodedDocument(ids, 4 * len(ids), str(number))

    write_store(folder / "text", map(document, range(NUM_DOCUMENTS)), vocab_size, "random tokens")
    source = pack_source(TokenStore(folder / "text"), seq_len)
    num_rows = NEVER * (batch_tokens // seq_len)
    return BatchSource({"text": source}, make_plan({"text": source.num_rows}, MixtureSettings(), num_rows), seq_len, 1)
