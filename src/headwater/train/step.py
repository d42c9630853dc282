"""One update of the weights, from the rows of a step to the record of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.machine.parallel.data_parallel import DataParallel, clip_
from headwater.model.count import flops_per_token
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.schedule import lr_factor
from headwater.model.transformer import Transformer
from headwater.tokens.batches.assemble import Batch
from headwater.tokens.batches.source import StepRows
from headwater.train.gradients import Compute, GradientCheck, sum_gradients
from headwater.train.settings import is_gradient_check, is_half_length
from headwater.train.state import Run, RunState

Judge = Callable[[float, float], str | None]  # why a step of this loss and gradient norm is skipped, or None
Flags = Callable[[], Sequence[bool]]  # what this rank has to say to all others at the end of a step


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
    any rank has set. Why the wait comes before the update: decision 9.
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


def take_step(
    run: Run, state: RunState, rows: StepRows, judge: Judge, flags: Flags
) -> tuple[StepResult, dict[str, Any]]:
    """Update the weights by the next rows, unless `judge` has a reason to skip them; all ranks then know all `flags`.

    Besides the result return what a record says of how it was computed. From its begin until the next one's, a hang of
    any rank ends all that wait for it.
    """
    train, step = run.plan.train, state.step
    half_length = is_half_length(step, train)
    if step and half_length != is_half_length(step - 1, train):
        run.watchdog.forget()  # rows of another length may have to be compiled
    run.watchdog.begin(step + 1)
    started_at, exchanged_before = time.perf_counter(), run.ranks.progress.exchange_seconds()
    batches, waited = rows.at(state.rows_consumed)
    factor = lr_factor(step, train.num_steps, run.plan.schedule)
    check = GradientCheck()
    result = train_step(
        run.prepared.fast_model,
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
    seconds, exchanged = time.perf_counter() - started_at, run.ranks.progress.exchange_seconds() - exchanged_before
    measured = _measured(run, step, seconds, waited, exchanged)
    error = {} if check.error is None else {"gradient_error": round(check.error, 5)}
    return result, {"lr": run.plan.optim.matrix_lr * factor, **measured, **error}


def _measured(run: Run, step: int, seconds: float, waited: float, exchanged: float) -> dict[str, Any]:
    """Return how fast the step after `step` was, and what memory it held.

    Of its seconds it `waited` for data and `exchanged` with ranks.
    """
    train, slowest = run.plan.train, run.ranks.slowest()
    tokens_per_second = train.batch_tokens / seconds
    flops = tokens_per_second * flops_per_token(run.plan.model, float(is_half_length(step, train)))
    mfu = run.facts.utilisation(flops / run.ranks.world_size)
    # a GPU's exchanges are queued, and the host waits for them with all else
    is_timed = run.ranks.world_size > 1 and run.facts.device == "cpu"
    known = {
        "exchange_fraction": round(exchanged / seconds, 4) if is_timed else None,
        "slowest_rank": slowest.rank if is_timed and slowest else None,
        "slowest_lead": round(slowest.lead, 3) if is_timed and slowest else None,
        "peak_memory_bytes": run.parallel.device.peak_memory_bytes(),
    }
    return {
        "tokens_per_second": round(tokens_per_second, 1),
        "mfu": None if mfu is None else round(mfu, 4),
        "seconds": round(seconds, 4),
        "data_wait_fraction": round(waited / seconds, 5),
        **{name: value for name, value in known.items() if value is not None},
    }


def record_step(run: Run, state: RunState, result: StepResult, measured: dict[str, Any]) -> RunState:
    """Record a completed update, with what was `measured` of it; return the state it led to."""
    plan = run.plan
    after = replace(
        state,
        step=state.step + 1,
        rows_consumed=state.rows_consumed + plan.rows_per_step,
        tokens_seen=state.tokens_seen + plan.train.batch_tokens,
        seconds=run.seconds(),
        history=state.history.followed_by(result.loss, result.grad_norm, plan.train.guard_window),
    )
    values = {"tokens_seen": after.tokens_seen, "loss": result.loss, "grad_norm": result.grad_norm}
    run.record("step", after.step, **values, **measured)
    return after
