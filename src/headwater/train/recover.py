"""Go back to a checkpoint from before the trouble, and leave out the rows that the run has seen since.

Chowdhery et al. (PaLM, arXiv:2204.02311, section 5.1) did so by hand about 20 times: the same text did no harm to other
weights, nor other text to the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path

from headwater.checkpoint.load import Found, load_state_
from headwater.checkpoint.verify import read_state, require_whole
from headwater.errors import CheckpointError, TrainingError
from headwater.model.init import initialise_
from headwater.model.transformer import Transformer
from headwater.train.assemble import Run
from headwater.train.guard import Guard
from headwater.train.interventions import documents_in
from headwater.train.lineage import places_to_go_back_to, remove_left_behind

ADVICE = "Lower optim.matrix_lr and optim.embedding_lr and train in a new run folder"


def go_back(run: Run, last_reason: str) -> None:
    """Decide where to go back to, write it down, and make the run what it was there; its next row stays.

    The run is left at a step where `Interventions.way_on` leads on. Raises TrainingError when it went back too often
    or has nothing to go back to.
    """
    settings, guard, trouble_row = run.plan.train, run.guard, run.guard.trouble_row
    assert trouble_row is not None
    trouble = f"{guard.num_bad} of the last steps were not taken, up to step {run.step}; the last: {last_reason}"
    number = len(run.interventions.rollbacks) + 1
    if number > settings.max_rollbacks:
        raise TrainingError(f"{trouble}. The run went back {number - 1} times (train.max_rollbacks). {ADVICE}")
    found = _agreed_target(run, trouble_row, trouble)
    first_row = 0 if found is None else found.state["rows_consumed"]
    # the harm was done by a step that was taken, at the latest by the one before the first that wasn't
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
        remove_left_behind(run.run_dir, run.interventions)


def _agreed_target(run: Run, trouble_row: int, trouble: str) -> Found | None:
    """Return the first rank's target on every rank."""
    ranks = run.machine.ranks
    found = _target(run, trouble_row, trouble) if ranks.is_first else None
    told = ranks.from_first(None if found is None else [found.step, str(found.path), found.state])
    return None if told is None else Found(told[0], Path(told[1]), told[2])


def _target(run: Run, trouble_row: int, trouble: str) -> Found | None:
    """Return the newest checkpoint from before the trouble that is whole; None is the run's beginning."""
    settings, tried = run.plan.train, run.interventions.ways_back()
    for step, path in places_to_go_back_to(run.run_dir, trouble_row, settings.save_every, tried):
        try:
            require_whole(path)
            return Found(step, path, read_state(path))
        except CheckpointError:
            continue  # the next start of the run says so and puts it aside
    began_before_the_first_save = trouble_row < settings.save_every * run.rows_per_step
    if began_before_the_first_save and 0 not in tried:
        return None
    raise TrainingError(f"{trouble}. No checkpoint from before it is left that wasn't gone back to already. {ADVICE}")


def _restore_(run: Run, found: Found | None) -> None:
    """Put weights, optimizer state, counts and the guard's window back; time goes on."""
    model, plan = run.prepared.model, run.plan
    run.saving = {}  # the steps to come are saved again
    if found is None:
        fresh = Transformer(plan.model)
        initialise_(fresh, plan.seed)
        model.load_state_dict(fresh.state_dict())
        run.optimizer.forget()
        run.step = run.rows_consumed = run.tokens_seen = 0
        run.guard = Guard(plan.train, run.rows_per_step)
        return
    load_state_(found.path, model.state_dict(), run.optimizer.state_tensors())
    run.optimizer.num_updates = found.state["num_updates"]
    run.step, run.tokens_seen = found.step, found.state["tokens_seen"]
    run.rows_consumed = found.state["rows_consumed"]
    run.guard = Guard(plan.train, run.rows_per_step, found.state.get("guard"))


def kept_for_going_back(run: Run) -> Callable[[], Collection[int]]:
    """Return what says, once this step is saved, which checkpoints must stay, however many newer ones there are."""
    settings, is_last, trouble_row = run.plan.train, run.step == run.plan.train.num_steps, run.guard.trouble_row
    tried = list(run.interventions.ways_back())

    def kept() -> Collection[int]:
        if is_last:
            return ()
        places = places_to_go_back_to(run.run_dir, trouble_row, settings.save_every, tried)
        return [step for step, _ in islice(places, settings.keep_checkpoints)]

    return kept
