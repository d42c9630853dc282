"""Where training pauses between two steps, all ranks together: for what signals request, and to evaluate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from headwater.host.signals import StopRequest
from headwater.model.transformer import Transformer
from headwater.records import read_records
from headwater.train.settings import is_probe
from headwater.train.state import Run, RunState, finish_save, record_saved, rest, save

SAVE_TIME_MARGIN = 1.5  # a save is expected to last at most this many times the slowest of the last ones
RECENT_SAVES = 5


@dataclass(frozen=True)
class Requests:
    """Whether to save and continue, to stop, and, when stopping, whether a save would be cut off."""

    save: bool
    stop: bool
    has_no_time: bool


class Inbox:
    """What signals request of any rank.

    It goes along with the loss of each step, so that all ranks know it after the same one and wait for nothing else; of
    a rank alone what came since then counts as well, and of several what came during a save or an evaluation.
    """

    def __init__(self, run: Run, stop: StopRequest) -> None:
        self.stop = stop
        self._run = run
        self._of_step: Sequence[bool] | None = None  # of all ranks; None: there was no step since the last `take`
        self._has_paused = False  # since the step

    def own(self) -> list[bool]:
        """Return the flags of `Requests` for this rank; a request to save counts as served from here on."""
        save = self.stop.save_requested
        if save:  # not otherwise: a signal may come just now
            self.stop.save_requested = False
        left = self.stop.seconds_left
        has_no_time = left is not None and left < predicted_save_seconds(self._run)
        return [save, self.stop.signal_name is not None, has_no_time]

    def note(self, flags: Sequence[bool]) -> None:
        """Keep what all ranks requested during a step."""
        self._of_step, self._has_paused = flags, False

    def note_pause(self) -> None:
        """Let the next `take` exchange what came since the step; all ranks call it together, after a long pause."""
        self._has_paused = True

    def take(self) -> Requests:
        """Return what was requested since the last call; all ranks call it together."""
        found = self._of_step
        if found is None or self._has_paused or self._run.ranks.world_size == 1:
            now = self._run.parallel.any(self.own())
            found = [one or other for one, other in zip(found or now, now, strict=True)]
        self._of_step, self._has_paused = None, False
        return Requests(*found)


def handle_requests(run: Run, state: RunState, inbox: Inbox) -> bool:
    """Record a save that has come to its end; save or stop as requested; return False when the run is to stop."""
    record_saved(run, run.saver.poll())
    requests, name = inbox.take(), inbox.stop.signal_name or "another rank"
    if requests.has_no_time:
        # a save that is killed half-way leaves the last checkpoint as it is, and has cost time that is not there
        seconds = round(predicted_save_seconds(run), 1)
        run.record("stopped", state.step, signal=name, saved=False, save_seconds=seconds)
    elif requests.stop:
        save(run, state)
        finish_save(run)
        run.record("stopped", state.step, signal=name, saved=True)
    elif requests.save:
        save(run, state, signal="SIGUSR1")
    return not requests.stop


def stop_requested(run: Run, stop: StopRequest) -> bool:
    """Return whether any rank got a signal to stop so far, so that all end alike; all ranks call it together."""
    return run.parallel.any([stop.signal_name is not None])[0]


def predicted_save_seconds(run: Run) -> float:
    """Return how long a save may last, by those of all the run's processes; 0 where there were none."""
    saves = read_records(run.run_dir / "records.jsonl", "checkpoint")[-RECENT_SAVES:]
    # older records have no thread's seconds: training waited for all of a save
    times = [save["seconds"] + save.get("background_seconds", 0.0) for save in saves]
    # one that is under way may not be recorded yet
    return SAVE_TIME_MARGIN * max([*times, run.saver.waited_seconds], default=0.0)


class Evaluator(Protocol):
    """What a run is measured with; all ranks call it together, and each gets the same."""

    def validate(self, model: Transformer, forward: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """Return the fields of a validation record; `forward` is the model's pass as training runs it."""
        ...

    def probe(self, model: Transformer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the event and the fields of each further record; each is measured, and timed, one at a time."""
        ...


def evaluate(run: Run, state: RunState, evaluator: Evaluator | None) -> None:
    """Measure the model and record it; None measures nothing."""
    if evaluator is None:
        return
    rest(run)
    started_at = time.perf_counter()
    for event, fields in _measurements(run, state, evaluator):
        seconds = round(time.perf_counter() - started_at, 3)
        run.record(event, state.step, **fields, tokens_seen=state.tokens_seen, evaluation_seconds=seconds)
        started_at = time.perf_counter()
    run.ranks.wait()


def _measurements(run: Run, state: RunState, evaluator: Evaluator) -> Iterator[tuple[str, dict[str, Any]]]:
    model, forward = run.model, run.fast_model.hidden
    yield "validation", evaluator.validate(model, forward) | {"dtype": run.facts.evaluation_dtype}
    if is_probe(state.step, run.plan.train):
        yield from evaluator.probe(model)
