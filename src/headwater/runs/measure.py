"""The run's own step, timed here for less than a minute on tokens without meaning, in a folder that is removed.

What is timed is what training runs: its assembly, its loop, its records. Of a step of many microbatches that would
take too long one is timed, and the model of a step says what the whole takes.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.batches.mixture import make_plan
from headwater.batches.pack import pack_source
from headwater.batches.settings import MixtureSettings
from headwater.batches.source import BatchSource
from headwater.host.load import LoadMeter
from headwater.host.signals import StopRequest
from headwater.runs.enough_memory import require_memory_here
from headwater.runs.hardware import hardware_of, microbatch_tokens
from headwater.runs.paths import Say
from headwater.runs.run_config import RunConfig, train_plan
from headwater.runs.times import Measurement
from headwater.tokens.read import TokenStore
from headwater.tokens.write import EncodedDocument, write_store
from headwater.train.loop import train
from headwater.train.start import assemble

WARMUP_STEPS, WARMUP_SECONDS = 3, 2.0  # both: kernels are compiled, memory is touched, clocks rise
MIN_MEASURED_STEPS, MEASURED_SECONDS, DEADLINE_SECONDS = 5, 20.0, 45.0
LONG_STEP_SECONDS = 5.0  # from which one microbatch stands for all
NEVER = 10_000_000  # steps: no save, validation or probe falls into the measurement
FIRST_ID = 32  # after the special tokens
NUM_DOCUMENTS, DOCUMENT_ROWS = 8, 64


class _Enough(Exception):
    """Ends the loop, raised by what is shown its records."""


class _Stopwatch:
    """Seconds of the steps after the warm-up, and how busy the machine is meanwhile; of very slow ones from the first.

    By time and not by number: so many seconds of short steps outlast what a moment of other work takes.
    """

    def __init__(self) -> None:
        self._started_at, self._num_seen, self.steps, self.meter = time.perf_counter(), 0, list[float](), LoadMeter()

    def __call__(self, record: dict[str, Any]) -> None:
        if record["event"] != "step":
            return
        self._num_seen, taken = self._num_seen + 1, time.perf_counter() - self._started_at
        is_warm = self._num_seen > WARMUP_STEPS and taken - record["seconds"] > WARMUP_SECONDS
        if is_warm or taken > DEADLINE_SECONDS / 2:
            self.steps.append(record["seconds"])
        else:
            self.meter = LoadMeter()
        is_enough = len(self.steps) >= MIN_MEASURED_STEPS and sum(self.steps) >= MEASURED_SECONDS
        if is_enough or (self.steps and taken + record["seconds"] > DEADLINE_SECONDS):
            raise _Enough


def measure_step(config: RunConfig, expected_step_seconds: float, say: Say) -> Measurement:
    """Time the run's step here; `expected_step_seconds` decides whether it is run whole.

    Raises ConfigError where the model can't be trained in this machine's memory.
    """
    require_memory_here(config)
    micro, batch, stopwatch = microbatch_tokens(config), config.train.batch_tokens, _Stopwatch()
    is_whole = batch == micro or expected_step_seconds <= LONG_STEP_SECONDS
    changes: dict[str, Any] = {"batch_tokens": batch if is_whole else micro, "half_length_fraction": 0.0}
    timed = config.model_copy(update={"train": config.train.model_copy(update=changes)})
    changes |= {"num_steps": NEVER, "save_every": NEVER, "validate_every": NEVER, "num_probes": 0}
    changes |= {"microbatch_tokens": micro, "guard_sigmas": None, "hang_seconds": None}
    changes |= {"audit_every": None, "profile_steps": None}
    plan = replace(train_plan(config), mixture=MixtureSettings(), train=config.train.model_copy(update=changes))
    with tempfile.TemporaryDirectory(prefix="headwater-measure-") as folder:
        run = assemble(Path(folder), plan, _rows(timed, Path(folder)), say)
        with contextlib.closing(run.records), contextlib.suppress(_Enough):
            train(run, None, stopwatch, StopRequest())
    here, busy = hardware_of(config, dtype=run.facts.dtype), stopwatch.meter.note()
    return Measurement(
        step_seconds=statistics.median(stopwatch.steps) * here.modelled(config) / here.modelled(timed),
        num_steps=len(stopwatch.steps),
        dtype=run.facts.dtype,
        busy=busy and f"{busy} while the step was measured: stop them and measure again",
    )


def _rows(config: RunConfig, folder: Path) -> BatchSource:
    """Return rows of random ids, in documents longer than a row."""
    seq_len, vocab_size = config.model.seq_len, config.model.vocab_size
    generator = np.random.default_rng(1)

    def document(number: int) -> EncodedDocument:
        # begin and end are added: one token less than positions, and the last one is only a target
        ids = generator.integers(min(FIRST_ID, vocab_size - 1), vocab_size, DOCUMENT_ROWS * seq_len - 1)
        return EncodedDocument(ids, 4 * len(ids), str(number))

    write_store(folder / "text", map(document, range(NUM_DOCUMENTS)), vocab_size, "random tokens")
    source = pack_source(TokenStore(folder / "text"), seq_len)
    num_rows = NEVER * (config.train.batch_tokens // seq_len)
    return BatchSource({"text": source}, make_plan({"text": source.num_rows}, MixtureSettings(), num_rows), seq_len, 1)
