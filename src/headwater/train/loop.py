"""The loop: from the step reached so far to the last, leaving records and checkpoints behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.batches.prefetch import Prefetcher
from headwater.batches.source import rank_rows
from headwater.checkpoint.save import retain_newest, save_checkpoint
from headwater.errors import TrainingError
from headwater.machine.signals import StopRequest
from headwater.model.count import flops_per_token
from headwater.model.transformer import Transformer
from headwater.optim.schedule import lr_factor
from headwater.records import Record
from headwater.train.assemble import Run
from headwater.train.settings import is_half_length, is_look, is_validation
from headwater.train.step import StepResult, train_step


class Examiner(Protocol):
    """What the loop is given to measure a model with."""

    def validate(self, model: Transformer, forward: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """Return the fields of a validation record; `forward` is the model's pass as training runs it."""
        ...

    def look(self, model: Transformer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the event and the fields of each further record; each is measured when it is asked for, and timed."""
        ...


Display = Callable[[Record], None]


def train(run: Run, examiner: Examiner, display: Display, stop: StopRequest) -> bool:
    """Train to the last step; return False when a signal stopped it after a save.

    A save comes before the evaluation of the same step, so that an evaluation that dies loses nothing; a resume
    repeats the evaluation of the step it resumes from.
    """
    settings = run.plan.train
    if run.step:
        # an attempt that died between its save and this left one too many
        retain_newest(run.run_dir, settings.keep_checkpoints)
        examine_if_due(run, examiner, display)
    with Prefetcher(_microbatches(run)) as batches:
        while run.step < settings.num_steps:
            if stop.signal_name is not None:
                save(run, display)
                display(run.records.append("stopped", run.step, signal=stop.signal_name))
                return False
            started_at, waited_before = time.perf_counter(), batches.wait_seconds
            microbatches = next(batches)
            waited = batches.wait_seconds - waited_before
            factor = lr_factor(run.step, settings.num_steps, run.plan.schedule)
            result = train_step(
                run.prepared, run.optimizer, microbatches, run.machine, factor, run.plan.optim.max_grad_norm
            )
            advance(run, result)
            elapsed = time.perf_counter() - started_at
            display(run.records.append("step", run.step, **step_fields(run, result, factor, elapsed, waited)))
            if run.step % settings.save_every == 0 or run.step == settings.num_steps:
                save(run, display)
            examine_if_due(run, examiner, display)
    return True


def advance(run: Run, result: StepResult) -> None:
    """Count the step; raise TrainingError after too many bad ones in a row."""
    run.step += 1
    run.tokens_seen += result.num_targets
    run.bad_steps = 0 if result.taken else run.bad_steps + 1
    if run.bad_steps >= run.plan.train.max_bad_steps:
        raise TrainingError(
            f"{run.bad_steps} steps in a row had no finite loss or gradient (last loss {result.loss}), up to step "
            f"{run.step}; none was taken. Lower optim.matrix_lr and optim.embedding_lr and train in a new run folder"
        )


def step_fields(run: Run, result: StepResult, factor: float, elapsed: float, waited: float) -> dict[str, Any]:
    batch_tokens = run.plan.train.batch_tokens
    tokens_per_second = batch_tokens / elapsed
    halved = float(is_half_length(run.step - 1, run.plan.train))
    flops_per_second = tokens_per_second * flops_per_token(run.plan.model, halved)
    return {
        "tokens_seen": run.tokens_seen,
        "loss": result.loss,
        "lr": run.plan.optim.matrix_lr * factor,
        "grad_norm": result.grad_norm,
        "tokens_per_second": round(tokens_per_second, 1),
        "mfu": round(run.machine.utilisation(flops_per_second), 4),
        "seconds": round(elapsed, 4),
        "data_wait_fraction": round(waited / elapsed, 5),
        "taken": result.taken,
    }


def save(run: Run, display: Display) -> None:
    """Commit a checkpoint; its record is written only when it is on disk."""
    started_at = time.perf_counter()
    state = {
        "step": run.step,
        "rows_consumed": run.step * run.rows_per_step,
        "tokens_seen": run.tokens_seen,
        "num_updates": run.optimizer.num_updates,
        "bad_steps": run.bad_steps,
        "seconds": run.seconds(),
        "machine": run.machine.facts.decisive(),
        "microbatch_tokens": run.microbatch.tokens,
        "identity": run.identity(),
    }
    run.records.sync()
    num_bytes = save_checkpoint(
        run.run_dir, run.step, run.prepared.model.state_dict(), run.optimizer.state_tensors(), state, run.require_owner
    )
    retain_newest(run.run_dir, run.plan.train.keep_checkpoints)
    elapsed = round(time.perf_counter() - started_at, 4)
    display(run.records.append("checkpoint", run.step, bytes=num_bytes, seconds=elapsed))


def examine_if_due(run: Run, examiner: Examiner, display: Display) -> None:
    model = run.prepared.model
    if is_validation(run.step, run.plan.train):
        started_at = time.perf_counter()
        fields = examiner.validate(model, run.prepared.forward)
        elapsed = round(time.perf_counter() - started_at, 3)
        fields |= {"tokens_seen": run.tokens_seen, "evaluation_seconds": elapsed}
        display(run.records.append("validation", run.step, **fields))
    if is_look(run.step, run.plan.train):
        started_at = time.perf_counter()
        for event, fields in examiner.look(model):
            elapsed, started_at = round(time.perf_counter() - started_at, 3), time.perf_counter()
            fields |= {"tokens_seen": run.tokens_seen, "evaluation_seconds": elapsed}
            display(run.records.append(event, run.step, **fields))


def _microbatches(run: Run) -> Iterator[list[Batch]]:
    """Yield this rank's microbatches of each step to come: a pure function of the step."""
    rows_per_microbatch = run.microbatch.tokens // run.plan.model.seq_len
    rank, world_size = run.machine.rank, run.machine.world_size
    for step in range(run.step, run.plan.train.num_steps):
        first, num_rows = rank_rows(step * run.rows_per_step, run.rows_per_step, rank, world_size)
        parts = 2 if is_half_length(step, run.plan.train) else 1
        yield [
            run.batches.rows(first + offset, rows_per_microbatch).cut(parts)
            for offset in range(0, num_rows, rows_per_microbatch)
        ]
