"""What becomes of a bad step: its rows are skipped, or the run goes back to a checkpoint and skips all rows since.

A step is compared with the last updates, by median and median absolute deviation: one bad value among them changes
little, where a mean and its deviation would let the next one pass. Gradient norms are compared by their
logarithms: they change by factors.

Chowdhery et al. (PaLM, arXiv:2204.02311, section 5.1) went back by hand about 20 times: the same text did no harm to
other weights, nor other text to the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from headwater.core.errors import TrainingError
from headwater.core.files import remove_folder
from headwater.machine.parallel.prepare import initialise_
from headwater.tokens.skipped_rows import documents_in
from headwater.train.checkpoint.load import GoodCheckpoint, from_first_rank, load_state_
from headwater.train.checkpoint.verify import is_whole
from headwater.train.resume import abandoned, rollback_targets
from headwater.train.settings import TrainSettings
from headwater.train.state import LossHistory, Run, RunState, bad_rows, finish_save, state_of_checkpoint
from headwater.train.step import StepResult, not_finite

SIGMAS_OF_MAD = 1.4826  # the standard deviation of a normal distribution over its median absolute deviation
MIN_LOSS_SPREAD = 0.01  # of the median, or nats: among losses that are almost alike, not every step is an outlier
# of the logarithm: norms have a long tail, up to 4.8 medians in runs without trouble
# (docs/log.md, 2026-11-26, Faults done to runs)
MIN_NORM_SPREAD = 0.4
MIN_FILLED = 0.5  # of the window, before anything is compared with it: a run begins with losses of its own kind
ADVICE = "Lower optim.matrix_lr and optim.embedding_lr and train in a new run folder"


def loss_limit(losses: Sequence[float], sigmas: float) -> float:
    """Return the largest loss that is no outlier after `losses`."""
    return _limit(losses, sigmas, MIN_LOSS_SPREAD * max(1.0, abs(median(losses))))


def norm_limit(norms: Sequence[float], sigmas: float) -> float:
    """Return the largest gradient norm that is no outlier after `norms`."""
    return math.exp(min(700.0, _limit([math.log(max(norm, 1e-30)) for norm in norms], sigmas, MIN_NORM_SPREAD)))


def _limit(values: Sequence[float], sigmas: float, min_spread: float) -> float:
    middle = median(values)
    return middle + sigmas * max(SIGMAS_OF_MAD * median(abs(value - middle) for value in values), min_spread)


def outlier(history: LossHistory, settings: TrainSettings, loss: float, grad_norm: float) -> str | None:
    """Return why a step of this loss and gradient is skipped: it isn't finite, or far above the last ones; or None."""
    sigmas, num_known = settings.guard_sigmas, len(history.losses)
    bad = not_finite(loss, grad_norm)
    if bad is not None or sigmas is None or num_known < MIN_FILLED * settings.guard_window:
        return bad
    compared = [
        ("loss", loss, loss_limit(history.losses, sigmas), history.losses),
        ("gradient norm", grad_norm, norm_limit(history.grad_norms, sigmas), history.grad_norms),
    ]
    for name, value, limit, before in compared:
        if value > limit:
            return (
                f"{name} {value:.4g} is above {limit:.4g}, the limit by the last {num_known} steps (median "
                f"{median(before):.4g}, train.guard_sigmas={sigmas:g})"
            )
    return None


class ReplayDifference(Exception):
    """What is computed again isn't as it is recorded."""


class LoggedDecisions:
    """Decisions as interventions.jsonl has them; a step that isn't in it is expected to be finite."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def begin(self, state: RunState) -> RunState:
        """Return the state with the row that the next step begins with: after a rollback those before are skipped."""
        run, rollback = self._run, self._run.interventions.pending_rollback(state.step, state.rows_consumed)
        if rollback is not None:
            state = replace(state, rows_consumed=rollback["next_row"])
            names = ("number", "reason", "from_step", "first_row", "last_row", "suspect_row", "documents")
            fields = {name: rollback[name] for name in names}
            run.record("rollback", state.step, rows_consumed=state.rows_consumed, **fields)
        return replace(state, history=state.history.on(run.batches.stage_of(state.rows_consumed)))

    def judge(self, state: RunState, loss: float, grad_norm: float) -> str | None:
        """Return why the next step, of this loss and gradient norm, is skipped; or None."""
        known = self._run.interventions.skip_at(state.rows_consumed)
        return self.decide(state, loss, grad_norm) if known is None else str(known["reason"])

    def decide(self, state: RunState, loss: float, grad_norm: float) -> str | None:
        """Return why a step of which the log says nothing is skipped, or None."""
        return not_finite(loss, grad_norm)

    def skip(self, state: RunState, result: StepResult, seconds: float) -> RunState:
        """Record that a step's rows gave no update, and return the state after them.

        Raises ReplayDifference if that is new.
        """
        run, after_row = self._run, state.rows_consumed + self._run.plan.rows_per_step
        entry = run.interventions.skip_at(state.rows_consumed)
        if entry is None:
            rows = f"rows {state.rows_consumed} to {after_row - 1}"
            raise ReplayDifference(
                f"after step {state.step}, {rows}: {result.reason}, and the run didn't skip the step"
            )
        fields = {name: entry[name] for name in ("reason", "first_row", "last_row", "documents")}
        measured = {"loss": result.loss, "grad_norm": result.grad_norm, "seconds": seconds}
        run.record("skipped", state.step, rows_consumed=after_row, **fields, **measured)
        return replace(state, rows_consumed=after_row, seconds=run.seconds())


class LiveDecisions(LoggedDecisions):
    """Decisions by the steps before, written to interventions.jsonl; what stands there already isn't decided again."""

    def decide(self, state: RunState, loss: float, grad_norm: float) -> str | None:
        return outlier(state.history, self._run.plan.train, loss, grad_norm)

    def skip(self, state: RunState, result: StepResult, seconds: float) -> RunState:
        """Write that a step's rows gave no update, and return the state after them, or the one the run goes back to.

        Raises TrainingError where it would have to go back once more than it may.
        """
        run, first_row = self._run, state.rows_consumed
        after_row = first_row + run.plan.rows_per_step
        if run.interventions.skip_at(first_row) is None:
            run.interventions.append(
                "skip",
                reason=result.reason,
                from_step=state.step,
                first_row=first_row,
                last_row=after_row - 1,
                loss=result.loss,
                grad_norm=result.grad_norm,
                documents=documents_in(run.batches, range(first_row, after_row)),
            )
        after = super().skip(state, result, seconds)
        bad = bad_rows(run, after)
        return after if len(bad) < run.plan.train.max_bad_steps else go_back(run, after, bad, str(result.reason))


def go_back(run: Run, state: RunState, bad: Sequence[int], last_reason: str) -> RunState:
    """Decide where to go back to, write it down, and put weights and optimizer state back; return the state there.

    The rows that the run has seen since are yet to be skipped: `LoggedDecisions.begin` does so. `bad` are the first
    rows of the steps that were skipped. Raises TrainingError when the run went back too often or has nothing to go
    back to.
    """
    finish_save(run)
    trouble = f"{len(bad)} of the last steps were skipped, up to step {state.step}; the last: {last_reason}"
    number = len(run.interventions.rollbacks) + 1
    if number > run.plan.train.max_rollbacks:
        raise TrainingError(f"{trouble}. The run went back {number - 1} times (train.max_rollbacks). {ADVICE}")
    checkpoint = from_first_rank(run.ranks, _target(run, bad[0], trouble) if run.ranks.is_first else None)
    began = RunState() if checkpoint is None else state_of_checkpoint(checkpoint.state)
    # the harm was done by an update, at the latest by the one before the first step that was skipped
    suspect_row = max(began.rows_consumed, bad[0] - run.plan.rows_per_step)
    run.interventions.append(
        "rollback",
        number=number,
        reason=trouble,
        from_step=state.step,
        to_step=began.step,
        first_row=began.rows_consumed,
        last_row=state.rows_consumed - 1,
        next_row=state.rows_consumed,
        suspect_row=suspect_row,
        documents=documents_in(run.batches, range(suspect_row, state.rows_consumed)),
    )
    _restore_(run, checkpoint)
    run.ranks.wait()  # until all have read what may now be removed
    if run.ranks.is_first:
        for path in abandoned(run.run_dir, run.interventions):
            remove_folder(path)
    return replace(began, seconds=run.seconds())


def _target(run: Run, trouble_row: int, trouble: str) -> GoodCheckpoint | None:
    """Return the newest checkpoint from before the trouble that is whole; None is the run's beginning."""
    settings, used = run.plan.train, run.interventions.rollbacks_by_step()
    for path, state in rollback_targets(run.run_dir, trouble_row, settings.save_every, used):
        if is_whole(path):  # if not, the next start of the run says so and puts it aside
            return GoodCheckpoint(state["step"], path, dict(state))
    began_before_the_first_save = trouble_row < settings.save_every * run.plan.rows_per_step
    if began_before_the_first_save and 0 not in used:
        return None
    raise TrainingError(f"{trouble}. No checkpoint from before it is left that wasn't gone back to already. {ADVICE}")


def _restore_(run: Run, checkpoint: GoodCheckpoint | None) -> None:
    """Put weights and optimizer state back; the steps to come are saved again."""
    model = run.prepared.model
    run.saver.forget()
    if checkpoint is not None:
        return load_state_(checkpoint.path, model.state_dict(), run.optimizer.state_tensors(), run.ranks)
    with run.open_first() as first_value:
        initialise_(model, first_value, run.ranks)
    run.optimizer.forget()
