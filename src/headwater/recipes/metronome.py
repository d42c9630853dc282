"""Steps of a run, taken a few at a time beside others: how fast the machine is at the moment. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from headwater.machine.host import cpu_flags
from headwater.recipes.pace import NUM_MEASURED, NUM_WARMUP
from headwater.recipes.planned_device import microbatch_tokens, processor_dtype
from headwater.recipes.run_config import RunConfig
from headwater.recipes.trial import Enough, assemble_trial, train_trial, unsaid
from headwater.records import Record
from headwater.train.assemble import Run


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
            if len(found) == NUM_WARMUP + NUM_MEASURED:
                raise Enough

        train_trial(self._run, count)
        return median(found[NUM_WARMUP:])


@contextmanager
def metronome(config: RunConfig) -> Iterator[Metronome]:
    """Give the metronome of a run; it holds the memory of the run's training at one microbatch a step."""
    micro = microbatch_tokens(config)
    # not measured anew by each process: paces of one ladder must be of one kind
    machine = config.machine.model_copy(update={"dtype": processor_dtype(config, cpu_flags())})
    config = config.model_copy(update={"machine": machine})
    with TemporaryDirectory(prefix="headwater-pace-") as folder:
        run = assemble_trial(config, Path(folder), micro, micro, unsaid)
        try:
            yield Metronome(run)
        finally:
            run.saver.close()
            run.records.close()
