"""Steps of a run, taken a few at a time beside others: how fast the machine is at the moment. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from headwater.machine.memory import memory_bytes
from headwater.recipes.planned_device import gpu_to_use, machinery, microbatch_tokens
from headwater.recipes.run_config import RunConfig
from headwater.recipes.trial import Enough, assemble_trial, train_trial
from headwater.records import Record
from headwater.train.assemble import Run

WARMUP_STEPS, NUM_STEPS = 1, 5  # the first one finds its weights out of cache


class Metronome:
    """Holds a run of its own on one microbatch of tokens without meaning, and times its steps when asked."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def sample(self) -> float:
        """Take a few steps and return the median of their seconds."""
        found: list[float] = []

        def count(record: Record) -> None:
            if record["event"] == "step":
                found.append(record["seconds"])
            if len(found) == WARMUP_STEPS + NUM_STEPS:
                raise Enough

        train_trial(self._run, count)
        return median(found[WARMUP_STEPS:])


@contextmanager
def metronome(config: RunConfig) -> Iterator[Metronome]:
    """Give the metronome of a run; it holds the memory of the run's training at one microbatch a step."""
    micro = microbatch_tokens(config)
    with TemporaryDirectory(prefix="headwater-pace-") as folder:
        run = assemble_trial(config, Path(folder), micro, micro, _unsaid)
        try:
            yield Metronome(run)
        finally:
            run.saver.close()
            run.records.close()


def can_take_pace(config: RunConfig) -> bool:
    """Return whether the run's steps can be taken beside others: on a processor with memory for both.

    A GPU keeps its pace, and steps between its own would hold it up.
    """
    return gpu_to_use(config.machine.device) is None and 2 * machinery(config, None).memory.median < memory_bytes()


def _unsaid(message: str) -> None:
    pass
