"""Go back to a checkpoint from before the trouble, and skip the rows that the run has seen since.

Chowdhery et al. (PaLM, arXiv:2204.02311, section 5.1) did so by hand about 20 times: the same text did no harm to other
weights, nor other text to the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice

from headwater.checkpoint.load import GoodCheckpoint, from_first_rank, load_state_
from headwater.checkpoint.verify import read_state, require_whole
from headwater.errors import CheckpointError, TrainingError
from headwater.model.init import initialise_
from headwater.model.transformer import Transformer
from headwater.train.assemble import Run
from headwater.train.guard import Guard
from headwater.train.interventions import documents_in, remove_abandoned, rollback_targets

ADVICE = "Lower optim.matrix_lr and optim.embedding_lr and train in a new run folder"


def go_back(run: Run, last_reason: str) -> None:
    """Decide where to go back to, write it down, and make the run what it was there; its next row stays.

    The run is left at a step with a pending rollback, whose rows it has yet to skip. Raises TrainingError when it went
    back too often or has nothing to go back to.
    """
    settings, guard, trouble_row = run.plan.train, run.guard, run.guard.trouble_row
    assert trouble_row is not None
    trouble = f"{guard.num_bad} of the last steps were skipped, up to step {run.step}; the last: {last_reason}"
    number = len(run.interventions.rollbacks) + 1
    if number > settings.max_rollbacks:
        raise TrainingError(f"{trouble}. The run went back {number - 1} times (train.max_rollbacks). {ADVICE}")
    found = _agreed_target(run, trouble_row, trouble)
    first_row = 0 if found is None else found.state["rows_consumed"]
    # the harm was done by an update, at the latest by the one before the first step that was skipped
    suspect_row = max(first_row, trouble_row - run.rows_per_step)
    run.interventions.append(
        "rollback",
        number=number,
        reason=trouble,
        from_step=run.step,
        to_step=0 if found is None else found.step,
        first_row=first_row,
        last_row=run.rows_consumed - 1,
        next_row=run.rows_consumed,
        suspect_row=suspect_row,
        documents=documents_in(run.batches, range(suspect_row, run.rows_consumed)),
    )
    _restore_(run, found)
    ranks = run.machine.ranks
    ranks.wait()  # until all have read what may now be removed
    if ranks.is_first:
        remove_abandoned(run.run_dir, run.interventions)


def _agreed_target(run: Run, trouble_row: int, trouble: str) -> GoodCheckpoint | None:
    """Return the first rank's target on every rank."""
    ranks = run.machine.ranks
    return from_first_rank(ranks, _target(run, trouble_row, trouble) if ranks.is_first else None)


def _target(run: Run, trouble_row: int, trouble: str) -> GoodCheckpoint | None:
    """Return the newest checkpoint from before the trouble that is whole; None is the run's beginning."""
    settings, tried = run.plan.train, run.interventions.rollbacks_by_step()
    for step, path in rollback_targets(run.run_dir, trouble_row, settings.save_every, tried):
        try:
            require_whole(path)
            return GoodCheckpoint(step, path, read_state(path))
        except CheckpointError:
            continue  # the next start of the run says so and puts it aside
    began_before_the_first_save = trouble_row < settings.save_every * run.rows_per_step
    if began_before_the_first_save and 0 not in tried:
        return None
    raise TrainingError(f"{trouble}. No checkpoint from before it is left that wasn't gone back to already. {ADVICE}")


def _restore_(run: Run, found: GoodCheckpoint | None) -> None:
    """Put weights, optimizer state, counts and the guard's window back; the run's time is not set back."""
    model, plan = run.prepared.model, run.plan
    run.saving = {}  # the steps to come are saved again
    if found is None:
        fresh = Transformer(plan.model)
        initialise_(fresh, plan.seed)
        model.load_state_dict(fresh.state_dict())
        run.optimizer.forget()
        run.step = run.rows_consumed = 0
        run.guard = Guard(plan.train, run.rows_per_step)
        return
    load_state_(found.path, model.state_dict(), run.optimizer.state_tensors())
    run.optimizer.num_updates = found.state["num_updates"]
    run.step, run.rows_consumed = found.step, found.state["rows_consumed"]
    run.guard = Guard(plan.train, run.rows_per_step, found.state.get("guard"))


def pinned_checkpoints(run: Run) -> Callable[[], Collection[int]]:
    """Return a function that names, once this step is saved, the older checkpoints that a rollback may need."""
    settings, is_last, trouble_row = run.plan.train, run.step == run.plan.train.num_steps, run.guard.trouble_row
    tried = list(run.interventions.rollbacks_by_step())

    def pinned() -> Collection[int]:
        if is_last:
            return ()
        targets = rollback_targets(run.run_dir, trouble_row, settings.save_every, tried)
        return [step for step, _ in islice(targets, settings.keep_checkpoints)]

    return pinned
