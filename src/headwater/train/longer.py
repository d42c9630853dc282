"""More steps for a run: which checkpoint a longer run comes to, and what is put aside.

What a step does depends on the number of steps by the learning rate, by which steps have sequences of half the length,
and by the mixture's plan. Up to the first step in which one of them differs, both runs have the same bits. No torch.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.checkpoint.layout import list_checkpoints, require_from_training
from headwater.errors import CheckpointError
from headwater.files import digest_json, make_folder, move_folder, no_check, remove_folder
from headwater.numbers import plural
from headwater.optim.settings import lr_factor
from headwater.train.saved_states import State, num_steps_of, states_of
from headwater.train.settings import LENGTHS, NUM_STEPS, TrainPlan, differing, is_half_length, require_same

if TYPE_CHECKING:
    from headwater.batches.source import BatchSource


def is_lengthened(state: State, plan: TrainPlan) -> bool:
    """Return whether the plan differs from that of a checkpoint by more steps, and in nothing that is fixed."""
    changed = set(differing(state["identity"], plan.identity()))
    return NUM_STEPS in changed and changed <= LENGTHS and num_steps_of(state) < plan.train.num_steps


def identity_of(plan: TrainPlan, batches: BatchSource) -> dict[str, Any]:
    """Return what a resume must find unchanged: the plan's settings, and the rows they make of the token stores."""
    return plan.identity() | {"batches": batches.digest}


# ---- up to where two runs are the same


def num_shared_steps(identity: Mapping[str, Any], plan: TrainPlan) -> int:
    """Return how many of the steps of a shorter run are as in the plan, by rate and length of sequences."""
    train = plan.train.model_copy(update=identity["train"])
    schedule = plan.schedule.model_copy(update=identity["schedule"])

    def is_same(step: int) -> bool:
        factors = {lr_factor(step, train.num_steps, schedule), lr_factor(step, plan.train.num_steps, plan.schedule)}
        return len(factors) == 1 and is_half_length(step, train) == is_half_length(step, plan.train)

    return next((step for step in range(train.num_steps) if not is_same(step)), train.num_steps)


def is_shared(state: State, plan: TrainPlan, batches: BatchSource) -> bool:
    """Return whether a run by the plan comes to the state of this checkpoint."""
    saved = state["identity"]
    if not differing(saved, identity_of(plan, batches)):
        return True
    if not is_lengthened(state, plan) or state["step"] > num_shared_steps(saved, plan):
        return False
    if saved["batches"] == batches.digest:
        return True
    if batches.plan_for is None:
        return False
    shorter = batches.plan_for(num_steps_of(state) * plan.rows_per_step)
    is_same_text = batches.digest_with(shorter) == saved["batches"]
    return is_same_text and batches.plan.begins_as(shorter, state["rows_consumed"])


def require_shared(path: Path, state: State, plan: TrainPlan, batches: BatchSource) -> None:
    """Raise CheckpointError where a run by the plan doesn't come to the state of this checkpoint."""
    if not is_shared(state, plan, batches):
        require_same(path, state["identity"], identity_of(plan, batches))


def require_settings(run_dir: Path, plan: TrainPlan) -> int:
    """Return the step that a run resumes from, as far as settings alone tell: 0 where it begins.

    Raises CheckpointError where it can't resume with the settings of the plan.
    """
    states = states_of(run_dir)
    if not states:
        require_from_training(run_dir)
        return 0
    path, newest = states[0]
    if not is_lengthened(newest, plan):
        require_same(path, newest["identity"], plan.identity())
        return int(newest["step"])
    shared = [state["step"] for _, state in states if state["step"] <= num_shared_steps(state["identity"], plan)]
    if not shared:
        raise _nothing_shared(run_dir, newest, plan)
    return int(shared[0])


def _nothing_shared(run_dir: Path, newest: State, plan: TrainPlan) -> CheckpointError:
    before, now, shared = num_steps_of(newest), plan.train.num_steps, num_shared_steps(newest["identity"], plan)
    steps = ", ".join(str(step) for step, _ in list_checkpoints(run_dir))
    folder, name = shlex.quote(str(run_dir)), shlex.quote(f"{run_dir.name}-longer")
    return CheckpointError(
        f"{run_dir} was to have {before} steps and can't be resumed to {now}: a run of {now} steps is another one from "
        f"step {shared + 1} on, by its learning rate, the length of its sequences or its mixture, and no checkpoint "
        f"from before is left (there are those of steps {steps}).\n"
        "A new run can start from its model, with a warm-up and a decay of its own:\n"
        f"  headwater run {folder} name={name} init.from={folder} train.num_steps={now - before}\n"
        f"To leave the run as it is, set train.num_steps={before} again"
    )


# ---- putting aside


def resume_longer(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    say: Callable[[str], None],
    require_owner: Callable[[], None] = no_check,
) -> None:
    """Put aside what a run of fewer steps did after the newest checkpoint that a run by the plan comes to, too.

    Newer checkpoints, and what was measured of them, are moved to RUN/checkpoints-of-N-steps, and interventions after
    it are taken out. Call it holding the run's lock; a call that was killed is finished by the next one. Raises
    CheckpointError, with nothing changed, where no checkpoint is shared.
    """
    newer: list[tuple[Path, State]] = []
    for path, state in states_of(run_dir):
        if is_shared(state, plan, batches):
            break
        if not is_lengthened(state, plan):
            require_same(path, state["identity"], plan.identity() | {"batches": batches.digest})
        newer.append((path, state))
    else:
        if newer:
            raise _nothing_shared(run_dir, newer[0][1], plan)
        return
    if not is_lengthened(state, plan):
        return
    from headwater.interventions import take_out  # of a run that is trained: no plan needs it

    num_steps, first_row = num_steps_of(state), state["rows_consumed"]
    aside = run_dir / f"checkpoints-of-{num_steps}-steps"
    for line in _what_changes(run_dir, state, [state["step"] for _, state in newer], aside, plan):
        say(line)
    make_folder(aside)
    measured = run_dir / "evaluation.json"  # of the newest checkpoint
    for path in [*([measured] if newer and measured.exists() else []), *(path for path, _ in newer)]:
        require_owner()
        remove_folder(aside / path.name)  # of an earlier time: the same steps
        move_folder(path, aside / path.name)
    take_out(run_dir, first_row, digest_json(identity_of(plan, batches)), aside, require_owner)


def _what_changes(run_dir: Path, shared: State, newer: list[int], aside: Path, plan: TrainPlan) -> list[str]:
    before, now, step = num_steps_of(shared), plan.train.num_steps, shared["step"]
    decay = shared["identity"]["schedule"]["decay_fraction"]
    lines = [
        f"train.num_steps: was {before}, is {now}; {run_dir} resumes from step {step}, up to which a run of {now} "
        "steps at the same rates is the same to the bit"
    ]
    if decay != plan.schedule.decay_fraction:
        lines.append(f"schedule.decay_fraction: was {decay}, is {plan.schedule.decay_fraction}")
    if newer:
        again = plural(newer[0] - step, "step")
        lines += [
            f"{again} up to {newer[0]} are trained again: their learning rate, the length of their sequences or their "
            f"mixture were for a run that ends at {before}",
            f"the later checkpoints (of steps {', '.join(map(str, newer))}) are moved to {aside}, where init.from and "
            f"other commands can still take them; report and export stay those of {before} steps until the longer run "
            "is done",
        ]
    return lines
