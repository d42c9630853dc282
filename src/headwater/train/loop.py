"""The loop: from the step reached so far to the last, leaving records and checkpoints behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.batches.prefetch import Prefetcher
from headwater.checkpoint.save import Saved
from headwater.host.signals import StopRequest
from headwater.model.transformer import Transformer
from headwater.train.assemble import Run
from headwater.train.recover import go_back, pinned_checkpoints
from headwater.train.requests import predicted_save_seconds, take_requests
from headwater.train.settings import is_half_length, is_probe, is_validation
from headwater.train.tried_step import Display, TriedStep, microbatches, record_skip, record_step, skip_rows_, try_step


class Evaluator(Protocol):
    """What the loop is given to measure a model with."""

    def validate(self, model: Transformer, forward: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """Return the fields of a validation record; `forward` is the model's pass as training runs it."""
        ...

    def probe(self, model: Transformer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the event and the fields of each further record; each is measured when it is asked for, and timed."""
        ...


def train(run: Run, evaluator: Evaluator | None, display: Display, stop: StopRequest) -> bool:
    """Train to the last step; return False when a signal, to any rank, stopped it before.

    The first rank alone evaluates; the others have no evaluator. A save comes before the evaluation of the same step,
    and is written while that and the next steps run. A resume repeats the evaluation of the step it resumes from.
    """
    try:
        with run.machine.at_work():
            is_done = _train(run, evaluator, display, stop)
            finish_save(run, display)
    except BaseException:
        run.saver.give_up()
        raise
    finally:
        run.watchdog.close()
        run.saver.close()
    return is_done


def _train(run: Run, evaluator: Evaluator | None, display: Display, stop: StopRequest) -> bool:
    if run.step:
        run.saver.retain(pinned_checkpoints(run))
        run.machine.ranks.wait()
        evaluate_if_due(run, evaluator, display)
    while run.step < run.plan.train.num_steps:
        skip_rows_(run, display)
        with Prefetcher(microbatches(run)) as batches:
            if not _train_on(run, batches, evaluator, display, stop):
                return False
    return True


def _train_on(
    run: Run, batches: Prefetcher[list[Batch]], evaluator: Evaluator | None, display: Display, stop: StopRequest
) -> bool:
    """Train to the last step, or to one after which rows are skipped; return False when a signal stopped the run."""
    settings = run.plan.train
    while run.step < settings.num_steps and run.interventions.pending_rollback(run.step, run.rows_consumed) is None:
        if not handle_requests(run, stop, display):
            return False
        tried = watched_step(run, batches, display)
        record_save(run, run.saver.poll(), display)
        if tried.result.reason is not None:
            record_skip(run, tried, display)
            if run.guard.must_go_back:
                run.watchdog.rest()
                finish_save(run, display)
                go_back(run, tried.result.reason)
            continue
        record_step(run, tried, display)
        is_save = run.step % settings.save_every == 0 or run.step == settings.num_steps
        if is_save or is_validation(run.step, settings):
            rest_together(run)
        if is_save:
            save(run, display)
        evaluate_if_due(run, evaluator, display)
    return True


def watched_step(run: Run, batches: Prefetcher[list[Batch]], display: Display) -> TriedStep:
    """Try a step; from its begin until the next one's, a hang of any rank ends all that wait for it."""
    train = run.plan.train
    if run.step and is_half_length(run.step, train) != is_half_length(run.step - 1, train):
        run.watchdog.forget()  # rows of another length may have to be compiled
    run.watchdog.begin(run.step + 1)
    tried = try_step(run, batches, run.guard.judge, display)
    run.watchdog.end()
    return tried


def rest_together(run: Run) -> None:
    """Watch nothing until the next step, once all ranks have ended this one; then one rank may work for long alone.

    The others wait for it in `Ranks.wait` or `Ranks.from_first`, whose time-out is a day; a step's is half an hour.
    """
    run.machine.any_rank([False])
    run.watchdog.rest()


def handle_requests(run: Run, stop: StopRequest, display: Display) -> bool:
    """Save or stop as signals requested; return False when the run is to stop."""
    requests, name = take_requests(run, stop), stop.signal_name or "another rank"
    if requests.save or requests.stop:
        run.watchdog.rest()
    if requests.has_no_time:
        # a save that is killed half-way leaves the last checkpoint as it is, and has cost time that is not there
        saves = round(predicted_save_seconds(run), 1)
        display(run.records.append("stopped", run.step, signal=name, saved=False, save_seconds=saves))
    elif requests.stop:
        save(run, display)
        finish_save(run, display)
        display(run.records.append("stopped", run.step, signal=name, saved=True))
    elif requests.save:
        save(run, display, signal="SIGUSR1")
    return not requests.stop


def save(run: Run, display: Display, **fields: Any) -> None:
    """Begin to save this step, when the save before it is on disk; the copy of the state is waited for, the disk isn't.

    The record of it will have the further `fields`. A step that is being saved, or is saved, isn't saved again.
    """
    if run.saving.get("step") == run.step:
        return
    started_at = time.perf_counter()
    state = {
        "step": run.step,
        "rows_consumed": run.rows_consumed,
        "num_updates": run.optimizer.num_updates,
        "guard": run.guard.state(),
        "seconds": run.seconds(),
        "machine": run.machine.facts.decisive(),
        "world_size": run.machine.world_size,
        "microbatch_tokens": run.microbatch.tokens,
        "identity": run.identity(),
    }
    model, optim = run.prepared.model.state_dict(), run.optimizer.state_tensors()
    record_save(run, run.saver.begin(run.step, model, optim, state, pinned_checkpoints(run)), display)
    run.saving = {"step": run.step, "seconds": time.perf_counter() - started_at, **fields}


def finish_save(run: Run, display: Display) -> None:
    """Wait until what is being saved is on disk, on all ranks."""
    record_save(run, run.saver.finish(), display)
    run.machine.ranks.wait()


def record_save(run: Run, saved: Saved | None, display: Display) -> None:
    """Record a checkpoint once it is on disk: how long training waited for it, and how long writing took beside it."""
    if saved is not None:
        times = {"seconds": round(run.saving["seconds"], 4), "background_seconds": round(saved.seconds, 4)}
        # a process that is killed has said by then what it held
        peak = run.peak_memory_bytes()
        display(run.records.append("checkpoint", bytes=saved.bytes, peak_memory_bytes=peak, **run.saving | times))


def evaluate_if_due(run: Run, evaluator: Evaluator | None, display: Display) -> None:
    """Measure the model on the first rank where this step is one to be measured; the others wait for that long."""
    if not is_validation(run.step, run.plan.train):
        return
    if evaluator is not None:
        _evaluate(run, evaluator, display)
    run.machine.ranks.wait()


def _evaluate(run: Run, evaluator: Evaluator, display: Display) -> None:
    def record(event: str, fields: dict[str, Any], started_at: float) -> None:
        times = {"tokens_seen": run.tokens_seen, "evaluation_seconds": round(time.perf_counter() - started_at, 3)}
        display(run.records.append(event, run.step, **fields | times))

    started_at = time.perf_counter()
    measured = evaluator.validate(run.prepared.model, run.prepared.fast.hidden)
    record("validation", measured | {"dtype": run.machine.evaluation_dtype}, started_at)
    if is_probe(run.step, run.plan.train):
        started_at = time.perf_counter()
        for event, fields in evaluator.probe(run.prepared.model):
            record(event, fields, started_at)
            started_at = time.perf_counter()
