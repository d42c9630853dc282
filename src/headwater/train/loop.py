"""The loop: from the step reached so far to the last, leaving records and checkpoints behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.batches.prefetch import Prefetcher
from headwater.checkpoint.save import Saved
from headwater.machine.signals import StopRequest
from headwater.model.transformer import Transformer
from headwater.train.assemble import Run
from headwater.train.attempt import Attempt, Display, attempt, leave_rows_out, microbatches, note_skipped, note_taken
from headwater.train.recover import go_back, kept_for_going_back
from headwater.train.settings import is_half_length, is_probe, is_validation
from headwater.train.wishes import predicted_save_seconds, wishes


class Evaluator(Protocol):
    """What the loop is given to measure a model with."""

    def validate(self, model: Transformer, forward: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """Return the fields of a validation record; `forward` is the model's pass as training runs it."""
        ...

    def probe(self, model: Transformer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the event and the fields of each further record; each is measured when it is asked for, and timed."""
        ...


def train(run: Run, evaluator: Evaluator, display: Display, stop: StopRequest) -> bool:
    """Train to the last step; return False when a signal, to any rank, stopped it before.

    A save comes before the evaluation of the same step and is written while that and the next steps go on; a resume
    repeats the evaluation of the step it resumes from.
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


def _train(run: Run, evaluator: Evaluator, display: Display, stop: StopRequest) -> bool:
    if run.step:
        run.saver.retain(kept_for_going_back(run))
        evaluate_if_due(run, evaluator, display)
    while run.step < run.plan.train.num_steps:
        leave_rows_out(run, display)
        with Prefetcher(microbatches(run)) as batches:
            if not _train_on(run, batches, evaluator, display, stop):
                return False
    return True


def _train_on(
    run: Run, batches: Prefetcher[list[Batch]], evaluator: Evaluator, display: Display, stop: StopRequest
) -> bool:
    """Train to the last step, or to one after which rows are left out; return False when a signal stopped the run."""
    settings = run.plan.train
    while run.step < settings.num_steps and run.interventions.way_on(run.step, run.rows_consumed) is None:
        if not obey(run, stop, display):
            return False
        made = watched_attempt(run, batches, display)
        record_save(run, run.saver.poll(), display)
        if made.result.reason is not None:
            note_skipped(run, made, display)
            if run.guard.must_go_back:
                run.watchdog.rest()
                finish_save(run, display)
                go_back(run, made.result.reason)
            continue
        note_taken(run, made, display)
        is_save = run.step % settings.save_every == 0 or run.step == settings.num_steps
        if is_save or is_validation(run.step, settings):
            rest_together(run)
        if is_save:
            save(run, display)
        evaluate_if_due(run, evaluator, display)
    return True


def watched_attempt(run: Run, batches: Prefetcher[list[Batch]], display: Display) -> Attempt:
    """Attempt a step; from its begin until the next one's, a hang of any rank ends all that wait for it."""
    train = run.plan.train
    if run.step and is_half_length(run.step, train) != is_half_length(run.step - 1, train):
        run.watchdog.forget()  # rows of another length may have to be compiled
    run.watchdog.begin(run.step + 1)
    made = attempt(run, batches, run.guard.judge, display)
    run.watchdog.end()
    return made


def rest_together(run: Run) -> None:
    """Watch nothing until the next step, once all ranks have ended this one: one may then save or evaluate for long."""
    run.machine.any_rank([False])
    run.watchdog.rest()


def obey(run: Run, stop: StopRequest, display: Display) -> bool:
    """Do what signals ask for; return False when the run is to stop."""
    wish, name = wishes(run, stop), stop.signal_name or "another rank"
    if wish.save or wish.stop:
        run.watchdog.rest()
    if wish.has_no_time:
        # a save that is killed half-way leaves the last checkpoint as it is, and has cost time that is not there
        saves = round(predicted_save_seconds(run), 1)
        display(run.records.append("stopped", run.step, signal=name, saved=False, save_seconds=saves))
    elif wish.stop:
        save(run, display)
        finish_save(run, display)
        display(run.records.append("stopped", run.step, signal=name, saved=True))
    elif wish.save:
        save(run, display, signal="SIGUSR1")
    return not wish.stop


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
        "tokens_seen": run.tokens_seen,
        "num_updates": run.optimizer.num_updates,
        "guard": run.guard.state(),
        "seconds": run.seconds(),
        "machine": run.machine.facts.decisive(),
        "world_size": run.machine.world_size,
        "microbatch_tokens": run.microbatch.tokens,
        "identity": run.identity(),
    }
    model, optim = run.prepared.model.state_dict(), run.optimizer.state_tensors()
    record_save(run, run.saver.begin(run.step, model, optim, state, kept_for_going_back(run)), display)
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


def evaluate_if_due(run: Run, evaluator: Evaluator, display: Display) -> None:
    if not run.machine.ranks.is_first:
        return  # it has the same weights
    model = run.prepared.model
    if is_validation(run.step, run.plan.train):
        started_at = time.perf_counter()
        fields = evaluator.validate(model, run.prepared.forward)
        elapsed = round(time.perf_counter() - started_at, 3)
        fields |= {"tokens_seen": run.tokens_seen, "evaluation_seconds": elapsed, "dtype": run.machine.evaluation_dtype}
        display(run.records.append("validation", run.step, **fields))
    if is_probe(run.step, run.plan.train):
        started_at = time.perf_counter()
        for event, fields in evaluator.probe(model):
            elapsed, started_at = round(time.perf_counter() - started_at, 3), time.perf_counter()
            fields |= {"tokens_seen": run.tokens_seen, "evaluation_seconds": elapsed}
            display(run.records.append(event, run.step, **fields))
