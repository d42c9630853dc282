"""One update of the weights, from the rows of a step to the record of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count

from headwater.batches.assemble import Batch
from headwater.batches.prefetch import Prefetcher
from headwater.batches.source import rank_rows
from headwater.model.count import flops_per_token
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.optim.settings import lr_factor
from headwater.parallel.data_parallel import DataParallel
from headwater.parallel.norm import clip_
from headwater.train.gradients import Audit, Compute, Difference, GradientCheck, sum_gradients
from headwater.train.settings import is_audit, is_gradient_check, is_half_length
from headwater.train.state import Run, RunState

Judge = Callable[[float, float], str | None]
"Return why a step of this loss and gradient norm is skipped, or None."

Flags = Callable[[], Sequence[bool]]
"Return what this rank has to say to all others at the end of a step."


@dataclass(frozen=True)
class StepResult:
    """Mean loss in nats per target, gradient norm before clipping, targets; why it was skipped, or None; flags."""

    loss: float
    grad_norm: float
    num_targets: int
    reason: str | None = None
    flags: Sequence[bool] = ()


def not_finite(loss: float, grad_norm: float) -> str | None:
    """Return why a step without a finite loss and gradient is skipped, or None."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return None
    return f"loss {loss:.4g} or gradient norm {grad_norm:.4g} is not finite"


def train_step(
    model: Transformer,
    optimizer: Optimizer,
    microbatches: list[Batch],
    parallel: DataParallel,
    *,
    lr_factor: float,
    step: int,
    max_grad_norm: float | None,
    judge: Judge = not_finite,
    compute: Compute = sum_gradients,
    flags: Flags = tuple,
) -> StepResult:
    """Update the weights once, after `step` updates.

    The loss is the sum over all target tokens divided by their number in the whole step on all ranks, so the
    gradient doesn't depend on how the step is split. A step for which `judge` has a reason is skipped:
    weights and optimizer state stay as they are.

    The host waits for the device once, at `parallel.read`, when all microbatches are queued; until then loss and norm
    are tensors, and of several ranks the number of targets is one, too. `flags` go along: the result's are those that
    any rank has set. Waiting before the update costs a GPU the tens of microseconds in which its queue is empty; an
    update that is queued unseen would have to be undone by copies of all weights and state, and that takes longer.
    """
    num_targets = parallel.total(sum(batch.num_targets for batch in microbatches))
    loss_total = compute(model, parallel, microbatches, num_targets)
    norm = clip_(model, max_grad_norm, parallel)
    sums = parallel.read(loss_total, norm, num_targets, flags())
    loss = sums.loss / sums.num_targets if sums.num_targets else math.nan
    reason = judge(loss, sums.norm) if sums.num_targets else "its rows hold no token to predict"
    if reason is None:
        optimizer.step(lr_factor, step)
    optimizer.zero_grad()
    return StepResult(loss, sums.norm, sums.num_targets, reason, sums.flags)


# ---- a step of a run


class StepRows:
    """This rank's microbatches of a run's steps, those of the next steps made ahead of time."""

    def __init__(self, run: Run) -> None:
        self._run, self._next_row = run, -1
        self._prefetcher: Prefetcher[list[Batch]] | None = None

    def at(self, first_row: int) -> tuple[list[Batch], float]:
        """Return the microbatches of the step that begins with this row, and the seconds of waiting for them."""
        if self._prefetcher is None or first_row != self._next_row:
            self.close()
            self._prefetcher = Prefetcher(self._from(first_row))
        self._next_row = first_row + self._run.plan.rows_per_step
        waited_before = self._prefetcher.wait_seconds
        return next(self._prefetcher), self._prefetcher.wait_seconds - waited_before

    def _from(self, first_row: int) -> Iterator[list[Batch]]:
        run, num_rows = self._run, self._run.plan.rows_per_step
        size = run.microbatch.tokens // run.plan.model.seq_len
        for step_row in count(first_row, num_rows):
            first, share = rank_rows(step_row, num_rows, *run.ranks.part_of_rows)
            yield [run.batches.rows(first + offset, size) for offset in range(0, share, size)]

    def close(self) -> None:
        if self._prefetcher is not None:
            self._prefetcher.close()


@dataclass(frozen=True)
class TimedStep:
    """The result of a step's rows, the factor of the learning rates, and seconds: in all, of waiting for data, and of
    exchanges with other ranks.
    """

    result: StepResult
    lr_factor: float
    seconds: float
    waited_seconds: float
    exchange_seconds: float
    gradient_error: float | None = None  # of rounding to int8, where it was compared


def take_step(run: Run, state: RunState, rows: StepRows, judge: Judge, flags: Flags) -> TimedStep:
    """Update the weights by the next rows, unless `judge` has a reason to skip them; all ranks then know all `flags`.

    From its begin until the next one's, a hang of any rank ends all that wait for it.
    """
    train, step = run.plan.train, state.step
    half_length = is_half_length(step, train)
    if step and half_length != is_half_length(step - 1, train):
        run.watchdog.forget()  # rows of another length may have to be compiled
    run.watchdog.begin(step + 1)
    started_at, exchanged_before = time.perf_counter(), run.ranks.progress.exchange_seconds()
    batches, waited = rows.at(state.rows_consumed)
    factor = lr_factor(step, train.num_steps, run.plan.schedule)

    def record_difference(found: Difference) -> None:
        run.record("audit", step, rows_consumed=state.rows_consumed + run.plan.rows_per_step, **asdict(found))

    check = GradientCheck(Audit(record_difference) if is_audit(step, train) else sum_gradients)
    result = train_step(
        run.fast_model,
        run.optimizer,
        [batch.cut(2 if half_length else 1) for batch in batches],
        run.parallel,
        lr_factor=factor,
        step=step,
        max_grad_norm=run.plan.optim.max_grad_norm,
        judge=judge,
        compute=check if is_gradient_check(step, train) else sum_gradients,
        flags=flags,
    )
    run.watchdog.end()
    exchanged = run.ranks.progress.exchange_seconds() - exchanged_before
    return TimedStep(result, factor, time.perf_counter() - started_at, waited, exchanged, check.error)


def record_step(run: Run, state: RunState, timed: TimedStep) -> RunState:
    """Record a completed update; return the state it led to."""
    plan, result = run.plan, timed.result
    after = replace(
        state,
        step=state.step + 1,
        rows_consumed=state.rows_consumed + plan.rows_per_step,
        tokens_seen=state.tokens_seen + plan.train.batch_tokens,
        seconds=run.seconds(),
        history=state.history.followed_by(result.loss, result.grad_norm, plan.train.guard_window),
    )
    # a GPU's exchanges are queued, and the host waits for them with all else
    is_timed, slowest = run.ranks.world_size > 1 and run.facts.device == "cpu", run.ranks.slowest()
    found = {
        "exchange_fraction": round(timed.exchange_seconds / timed.seconds, 4) if is_timed else None,
        "slowest_rank": slowest.rank if is_timed and slowest else None,
        "slowest_lead": round(slowest.lead, 3) if is_timed and slowest else None,
        "audited": is_audit(state.step, plan.train) or None,
        "gradient_error": None if timed.gradient_error is None else round(timed.gradient_error, 5),
        "peak_memory_bytes": run.parallel.device.peak_memory_bytes(),
    }
    tokens_per_second = plan.train.batch_tokens / timed.seconds
    halved = float(is_half_length(state.step, plan.train))
    flops = tokens_per_second * flops_per_token(plan.model, halved)
    mfu = run.peak.utilisation(flops / run.ranks.world_size)
    run.record(
        "step",
        after.step,
        tokens_seen=after.tokens_seen,
        loss=result.loss,
        lr=plan.optim.matrix_lr * timed.lr_factor,
        grad_norm=result.grad_norm,
        tokens_per_second=round(tokens_per_second, 1),
        mfu=None if mfu is None else round(mfu, 4),
        seconds=round(timed.seconds, 4),
        data_wait_fraction=round(timed.waited_seconds / timed.seconds, 5),
        **{name: value for name, value in found.items() if value is not None},
    )
    return after
