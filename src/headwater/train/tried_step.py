"""One try at a step: its rows, the update or why it is skipped, and the records of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from headwater.batches.assemble import Batch
from headwater.batches.prefetch import Prefetcher
from headwater.batches.source import rank_rows
from headwater.model.count import flops_per_token
from headwater.optim.schedule import lr_factor
from headwater.records import Record
from headwater.train.assemble import Run
from headwater.train.audit import Audit, Difference, GradientCheck
from headwater.train.interventions import documents_in
from headwater.train.settings import is_audit, is_gradient_check, is_half_length
from headwater.train.step import Judge, StepResult, sum_gradients, train_step

Display = Callable[[Record], None]


@dataclass(frozen=True)
class TriedStep:
    """The result of a step's rows, the factor of the learning rates, and seconds: in all, and of waiting for data."""

    result: StepResult
    lr_factor: float
    seconds: float
    waited_seconds: float
    gradient_error: float | None = None  # of rounding to int8, where it was compared


def microbatches(run: Run) -> Iterator[list[Batch]]:
    """Yield this rank's microbatches of the run's next rows, step by step and without end."""
    rows_per_microbatch = run.microbatch.tokens // run.plan.model.seq_len
    for step_row in count(run.rows_consumed, run.rows_per_step):
        first, num_rows = rank_rows(step_row, run.rows_per_step, run.machine.rank, run.machine.world_size)
        yield [
            run.batches.rows(first + offset, rows_per_microbatch) for offset in range(0, num_rows, rows_per_microbatch)
        ]


def try_step(run: Run, batches: Prefetcher[list[Batch]], judge: Judge, display: Display) -> TriedStep:
    """Update the weights by the next rows, unless `judge` or interventions.jsonl has a reason to skip them."""
    started_at, waited_before = time.perf_counter(), batches.wait_seconds
    rows = next(batches)
    waited = batches.wait_seconds - waited_before
    train = run.plan.train
    parts = 2 if is_half_length(run.step, train) else 1
    run.guard.enter(run.batches.stage_of(run.rows_consumed))
    known = run.interventions.skip_at(run.rows_consumed)
    factor = lr_factor(run.step, train.num_steps, run.plan.schedule)
    check = GradientCheck(_audit(run, display) if is_audit(run.step, train) else sum_gradients)
    result = train_step(
        run.prepared,
        run.optimizer,
        [batch.cut(parts) for batch in rows],
        run.machine,
        factor,
        run.plan.optim.max_grad_norm,
        judge if known is None else lambda loss, grad_norm: str(known["reason"]),
        check if is_gradient_check(run.step, train) else sum_gradients,
    )
    return TriedStep(result, factor, time.perf_counter() - started_at, waited, check.error)


def _audit(run: Run, display: Display) -> Audit:
    def record(found: Difference) -> None:
        rows = run.rows_consumed + run.rows_per_step
        fields = {"differing": found.names, "ranks": found.ranks, "world_size": found.world_size}
        display(run.records.append("audit", run.step, rows_consumed=rows, **fields))

    return Audit(record)


def record_step(run: Run, tried: TriedStep, display: Display) -> None:
    """Count a completed update, and record it."""
    result = tried.result
    run.guard.note_taken(run.rows_consumed, result.loss, result.grad_norm)
    run.step += 1
    run.rows_consumed += run.rows_per_step
    display(run.records.append("step", run.step, **_step_fields(run, tried)))


def record_skip(run: Run, tried: TriedStep, display: Display) -> None:
    """Write an entry, unless it is there already, that the step's rows gave no update; continue after them."""
    result, first_row = tried.result, run.rows_consumed
    last_row = first_row + run.rows_per_step - 1
    entry = run.interventions.skip_at(first_row) or run.interventions.append(
        "skip",
        reason=result.reason,
        from_step=run.step,
        first_row=first_row,
        last_row=last_row,
        loss=result.loss,
        grad_norm=result.grad_norm,
        documents=documents_in(run.batches, range(first_row, last_row + 1)),
    )
    run.guard.note_skipped(first_row)
    run.rows_consumed = last_row + 1
    fields = {name: entry[name] for name in ("reason", "first_row", "last_row", "documents")}
    measured = {"loss": result.loss, "grad_norm": result.grad_norm, "seconds": round(tried.seconds, 4)}
    display(run.records.append("skipped", run.step, rows_consumed=run.rows_consumed, **fields, **measured))


def skip_rows_(run: Run, display: Display) -> None:
    """Where the run went back to this step, continue with the row that interventions.jsonl says."""
    rollback = run.interventions.pending_rollback(run.step, run.rows_consumed)
    if rollback is None:
        return
    run.rows_consumed = rollback["next_row"]
    run.guard.note_rollback()
    fields = {
        name: rollback[name]
        for name in ("number", "reason", "from_step", "first_row", "last_row", "suspect_row", "documents")
    }
    display(run.records.append("rollback", run.step, rows_consumed=run.rows_consumed, **fields))


def _step_fields(run: Run, tried: TriedStep) -> dict[str, Any]:
    audited: dict[str, Any] = {"audited": True} if is_audit(run.step - 1, run.plan.train) else {}
    if tried.gradient_error is not None:
        audited["gradient_error"] = round(tried.gradient_error, 5)
    tokens_per_second = run.plan.train.batch_tokens / tried.seconds
    halved = float(is_half_length(run.step - 1, run.plan.train))
    mfu = run.machine.utilisation(tokens_per_second * flops_per_token(run.plan.model, halved))
    return {
        "tokens_seen": run.tokens_seen,
        "loss": tried.result.loss,
        "lr": run.plan.optim.matrix_lr * tried.lr_factor,
        "grad_norm": tried.result.grad_norm,
        "tokens_per_second": round(tokens_per_second, 1),
        "mfu": None if mfu is None else round(mfu, 4),
        "seconds": round(tried.seconds, 4),
        "data_wait_fraction": round(tried.waited_seconds / tried.seconds, 5),
        **audited,
    }
