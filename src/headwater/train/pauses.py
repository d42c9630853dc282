"""Where training pauses between two steps, all ranks together: for what signals request, and to evaluate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

from torch import Tensor

from headwater.host.signals import StopRequest
from headwater.model.transformer import Transformer
from headwater.records import seconds_of_saves
from headwater.train.settings import SAVE_TIME_MARGIN, is_probe
from headwater.train.state import Run, RunState, finish_save, record_saved, rest, save


def own_requests(run: Run, stop: StopRequest) -> list[bool]:
    """Return what signals request of this rank: to save and continue; to stop; to stop with no time for a save."""
    left = stop.seconds_left
    has_no_time = left is not None and left < predicted_save_seconds(run)
    return [stop.save_requested, stop.signal_name is not None, has_no_time]


def handle_requests(run: Run, state: RunState, stop: StopRequest, flags: Sequence[bool] | None) -> bool:
    """Record a save that has come to its end; save or stop as requested; return False when the run is to stop.

    `flags` are the `own_requests` of all ranks, each of which is set where any has set it. They went along with the
    loss of the step before, so that all know them after the same step and wait for nothing else. None: they are
    exchanged here, for there was no step, or a pause since, in which more may have come.
    """
    record_saved(run, run.saver.poll())
    if flags is None or run.ranks.world_size == 1:
        flags = run.parallel.any(own_requests(run, stop))
    is_save, is_stop, has_no_time = flags
    name = stop.signal_name or "another rank"
    if has_no_time:
        # a save that is killed half-way leaves the last checkpoint as it is, and has cost time that is not there
        seconds = round(predicted_save_seconds(run), 1)
        run.record("stopped", state.step, signal=name, saved=False, save_seconds=seconds)
    elif is_stop:
        save(run, state)
        finish_save(run)
        run.record("stopped", state.step, signal=name, saved=True)
    elif is_save:
        stop.save_requested = False  # before the save: a signal that comes during it requests another
        save(run, state, signal="SIGUSR1")
    return not is_stop


def stop_requested(run: Run, stop: StopRequest) -> bool:
    """Return whether any rank got a signal to stop so far, so that all end alike; all ranks call it together."""
    return run.parallel.any([stop.signal_name is not None])[0]


def predicted_save_seconds(run: Run) -> float:
    """Return how long a save may last, by those of all the run's processes; 0 where there were none."""
    times = seconds_of_saves(run.run_dir / "records.jsonl")
    # one that is under way may not be recorded yet
    return SAVE_TIME_MARGIN * max([*times, run.saver.waited_seconds], default=0.0)


class Evaluator(Protocol):
    """What a run is measured with; all ranks call it together, and each gets the same."""

    def validate(self, model: Transformer, forward: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """Return the fields of a validation record; `forward` is the model's pass as training runs it."""

    def probe(self, model: Transformer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the event and the fields of each further record; each is measured, and timed, one at a time."""


def evaluate(run: Run, state: RunState, evaluator: Evaluator | None) -> None:
    """Measure the model and record it; None measures nothing."""
    if evaluator is None:
        return
    rest(run)
    started_at = time.perf_counter()
    validation = evaluator.validate(run.measured, run.hidden) | {"dtype": run.facts.evaluation_dtype}
    probes = evaluator.probe(run.measured) if is_probe(state.step, run.plan.train) else ()
    for event, fields in chain([("validation", validation)], probes):
        seconds = round(time.perf_counter() - started_at, 3)
        run.record(event, state.step, **fields, tokens_seen=state.tokens_seen, evaluation_seconds=seconds)
        started_at = time.perf_counter()
    run.ranks.wait()
