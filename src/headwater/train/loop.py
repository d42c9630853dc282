"""The loop: one step after another, live or replayed. What happens between two steps stands in pauses.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from headwater.device.profile import StepProfile
from headwater.host.signals import StopRequest
from headwater.records import Record
from headwater.train.incidents import LiveDecisions, LoggedDecisions
from headwater.train.pauses import Evaluator, evaluate, handle_requests, own_requests
from headwater.train.settings import is_validation
from headwater.train.state import Run, RunState, at_work, finish_save, prune_checkpoints, save
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
