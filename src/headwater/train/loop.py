"""The loop: one step after another, live or replayed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Protocol

from torch import Tensor

from headwater.device.profile import StepProfile
from headwater.host.signals import StopRequest
from headwater.model.transformer import Transformer
from headwater.records import Record, seconds_of_saves
from headwater.train.incidents import LiveDecisions, LoggedDecisions
from headwater.train.settings import SAVE_TIME_MARGIN, is_probe, is_validation
from headwater.train.state import Run, RunState, at_work, finish_save, prune_checkpoints, record_saved, rest, save
from headwater.train.step import StepRows, record_step, take_step

Display = Callable[[Record], None]


def train(run: Run, evaluator: Evaluator | None, display: Display, stop: StopRequest) -> RunState:
    """Train to the last step, or until a signal to any rank stops it; return the state reached.

    A resume repeats the evaluation of the step it resumes from.
    """
    run, state = replace(run, display=display), run.start
    with at_work(run):
        if state.step:
            prune_checkpoints(run, state)
            if is_validation(state.step, run.plan.train):
                evaluate(run, state, evaluator)
        elif run.plan.base is not None:
            evaluate(run, state, evaluator)  # the base: what is learned and forgotten is measured from there
        state = run_steps(run, state, LiveDecisions(run), run.plan.train.num_steps, evaluator, stop)
        finish_save(run)
    return state


def run_steps(
    run: Run,
    state: RunState,
    decisions: LoggedDecisions,
    last_step: int,
    evaluator: Evaluator | None,
    stop: StopRequest,
) -> RunState:
    """Take steps up to `last_step`, or until a request to stop; return the state reached.

    `decisions` say which steps are skipped and when the run goes back: live, or as a run's log has it. A save comes
    before the evaluation of the same step, and is written while that and the next steps run.
    """
    settings, trace = run.plan.train, run.run_dir / "profile" / f"rank-{run.ranks.rank}.json"
    profile = StepProfile(settings.profile_steps, trace, run.say, run.watchdog.rest)
    requests: Sequence[bool] | None = None  # of all ranks, as far as they went along with the last step
    with closing(profile), closing(StepRows(run)) as rows:
        while state.step < last_step and handle_requests(run, state, stop, requests):
            profile.begin(state.step + 1)
            state = decisions.begin(state)
            timed = take_step(run, state, rows, partial(decisions.judge, state), partial(own_requests, run, stop))
            requests = timed.result.flags
            if timed.result.reason is not None:
                state = decisions.skip(state, timed)
                continue
            state = record_step(run, state, timed)
            if run.plan.is_save(state.step):
                save(run, state)
                requests = None
            if is_validation(state.step, settings):
                evaluate(run, state, evaluator)
                requests = None
    return state


# ---- between two steps, all ranks together


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
