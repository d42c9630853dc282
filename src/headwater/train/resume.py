"""What a run resumes from: its own checkpoints, or, with more steps than before, those that it shares. No torch.

What a step does depends on the number of steps by the learning rate, by which steps have sequences of half the length,
and by the mixture's plan. Up to the first step in which one of them differs, both runs have the same bits.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import CheckpointError
from headwater.core.files import digest_json, make_folder, move_folder, remove_folder
from headwater.core.numbers import plural
from headwater.core.owners import require_owner
from headwater.core.records import Record, counted, read_attempts
from headwater.model.optim.schedule import lr_factor
from headwater.train.checkpoint.layout import list_checkpoints, require_from_training
from headwater.train.checkpoint.verify import is_whole, read_state
from headwater.train.settings import TrainPlan, is_half_length

if TYPE_CHECKING:  # no plan needs them
    from headwater.tokens.batches.source import BatchSource
    from headwater.tokens.skipped_rows import Interventions

NUM_STEPS, HALF_LENGTH = "train.num_steps", "train.half_length_fraction"
WARMUP = "schedule.warmup_steps"
LENGTHS = {NUM_STEPS, HALF_LENGTH, "schedule.decay_fraction"}
"What a run of more steps may have otherwise: up to some step both are the same."
State = Mapping[str, Any]
"What a checkpoint's state.json holds."
ReadState = Callable[[Path], State]


# ---- what checkpoints say


def states_of(run_dir: Path, read: ReadState = read_state) -> Iterator[tuple[Path, State]]:
    """Yield (folder, state) of the checkpoints, newest first, without damaged ones, which training puts aside."""
    for _, path in list_checkpoints(run_dir):
        try:
            state = read(path)
            num_steps_of(state)
        except (CheckpointError, KeyError, TypeError):
            continue
        yield path, state


def newest_state(run_dir: Path, read: ReadState = read_state) -> State | None:
    """Return the state of the newest checkpoint that can be read; None where there is none."""
    return next((state for _, state in states_of(run_dir, read)), None)


def num_steps_of(state: State) -> int:
    """Return how many steps the run of a checkpoint was to have."""
    return int(state["identity"]["train"]["num_steps"])


def abandoned(run_dir: Path, interventions: Interventions) -> list[Path]:
    """Return the checkpoints that a run went back from: the steps are done again, and saved under the same names."""
    states = list(states_of(run_dir)) if interventions.rollbacks else []
    return [path for path, state in states if interventions.is_abandoned(state["step"], state["rows_consumed"])]


def rollback_targets(
    run_dir: Path, before_row: float, save_every: int, used: Collection[int]
) -> Iterator[tuple[Path, State]]:
    """Yield what a run can go back to, newest first, that has seen no row from `before_row` on.

    Only multiples of `save_every` count: a signal saves at other steps, too, and a run that was stopped must go back to
    where one that never was would. Going back to a step that was `used` would bring the same weights again.
    """
    for path, state in states_of(run_dir):
        if state["rows_consumed"] <= before_row and state["step"] % save_every == 0 and state["step"] not in used:
            yield path, state


# ---- what of a run is fixed


def identity_of(plan: TrainPlan, batches: BatchSource) -> dict[str, Any]:
    """Return what a resume must find unchanged: the plan's settings, and the rows they make of the token stores."""
    return plan.identity() | {"batches": batches.digest}


def require_same(checkpoint: Path, saved: State, now: State) -> None:
    """Raise CheckpointError, with the old value and the new one, when `saved` differs in anything that `now` has.

    Beside another change, more steps are none that must be taken back.
    """
    before, after, changed = flat(saved), flat(now), differing(saved, now)
    has_more_steps = NUM_STEPS in changed and after[NUM_STEPS] > before.get(NUM_STEPS, 0)
    follows: set[str] = set()
    if NUM_STEPS in changed:  # a rule makes the warm-up of the number of steps
        follows = LENGTHS if has_more_steps else LENGTHS - {NUM_STEPS} | {WARMUP}
    if culprits := [name for name in changed if name not in follows] or changed:
        lines = changes(saved, now, culprits)
        if NUM_STEPS in culprits and not has_more_steps:
            lines[culprits.index(NUM_STEPS)] += " (a run can be given more steps, not fewer)"
        listed, value = "\n".join(lines), "the old values" if len(culprits) > 1 else "the old value"
        advice = f"To resume it, put {value} back; or start a new run under another name (name=…)"
        if kept := sorted(checkpoint.parent.parent.glob(f"checkpoints-of-{after.get(NUM_STEPS)}-steps/step-*")):
            advice += f". The model of {after[NUM_STEPS]} steps is kept: `headwater serve --run {kept[-1]}` opens it"
        raise CheckpointError(f"{checkpoint} was trained with other settings:\n{listed}\n{advice}")


def changes(saved: State, now: State, names: Collection[str]) -> list[str]:
    """Return a line for each of the names, with the old value and the new one."""
    before, after = flat(saved), flat(now)
    return [f"  {name}: was {_shown(before.get(name))}, is {_shown(after.get(name))}" for name in names]


def differing(saved: State, now: State) -> list[str]:
    """Return the names of what differs between `saved` and anything that `now` has."""
    before, after = flat(saved), flat(now)
    changed = [name for name in after if before.get(name) != after[name]]
    return changed + [name for name in before if name not in after and name.split(".")[0] in now]


def flat(table: State, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


# ---- up to where two runs are the same


def is_lengthened(state: State, plan: TrainPlan) -> bool:
    """Return whether the plan differs from that of a checkpoint by more steps, and in nothing that is fixed."""
    changed = set(differing(state["identity"], plan.identity()))
    return NUM_STEPS in changed and changed <= LENGTHS and num_steps_of(state) < plan.train.num_steps


def num_shared_steps(identity: State, plan: TrainPlan) -> int:
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


def require_settings(run_dir: Path, plan: TrainPlan, read: ReadState = read_state) -> int:
    """Return the step that a run resumes from, as far as settings alone tell: 0 where it begins.

    Raises CheckpointError where it can't resume with the settings of the plan.
    """
    states = states_of(run_dir, read)  # older ones are read if more steps ask for them
    if (first := next(states, None)) is None:
        require_from_training(run_dir)
        return 0
    path, newest = first
    if not is_lengthened(newest, plan):
        require_same(path, newest["identity"], plan.identity())
        return int(newest["step"])
    for _, state in chain([first], states):
        if state["step"] <= num_shared_steps(state["identity"], plan):
            return int(state["step"])
    raise _nothing_shared(run_dir, newest, plan)


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


# ---- more steps


def values_from_start(state: State, plan: TrainPlan, by_rule: Collection[str]) -> dict[str, Any]:
    """Return {setting: value} of what rules gave a run at its start and would give it otherwise today.

    Rules ask for the number of steps, and may be others in another version. Where anything differs that is no rule's,
    or there are fewer steps, that is refused: the rates alone are kept, so that the refusal names what was changed by
    hand. Of more steps as many as before have sequences of half the length.
    """
    identity, num_steps = state["identity"], num_steps_of(state)
    before, now = flat(identity), flat(plan.identity())
    changed = set(differing(identity, plan.identity()))
    kept = {name: before.get(name) for name in changed & set(by_rule)}
    if not changed - LENGTHS <= set(by_rule) or num_steps > plan.train.num_steps:
        return {name: value for name, value in sorted(kept.items()) if name.startswith("optim.")}
    if num_steps < plan.train.num_steps and HALF_LENGTH in by_rule:
        kept[HALF_LENGTH] = round(before[HALF_LENGTH] * num_steps) / plan.train.num_steps
    return {name: value for name, value in sorted(kept.items()) if value != now.get(name)}


def resume_longer(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    say: Callable[[str], None],
) -> None:
    """Put aside what a run of fewer steps did after the newest checkpoint that a run by the plan comes to, too.

    Newer checkpoints, and what was measured of them, are moved to RUN/checkpoints-of-N-steps, and interventions after
    it are taken out. Call it holding the run's lock; a call that was killed is finished by the next one. Raises
    CheckpointError, with nothing changed, where no checkpoint is shared.
    """
    states = list(states_of(run_dir))
    newer = list(takewhile(lambda each: not is_shared(each[1], plan, batches), states))
    for path, state in newer:
        if not is_lengthened(state, plan):
            require_same(path, state["identity"], identity_of(plan, batches))
    if newer and len(newer) == len(states):
        raise _nothing_shared(run_dir, newer[0][1], plan)
    shared = next((state for _, state in states[len(newer) :]), None)
    if shared is None or not is_lengthened(shared, plan):
        return
    from headwater.tokens.skipped_rows import take_out  # of a run that is trained: no plan needs it

    aside = run_dir / f"checkpoints-of-{num_steps_of(shared)}-steps"
    for line in _what_changes(run_dir, shared, [state["step"] for _, state in newer], aside, plan):
        say(line)
    make_folder(aside)
    measured = run_dir / "evaluation.json"  # of the newest checkpoint
    for path in [*([measured] if newer and measured.exists() else []), *(path for path, _ in newer)]:
        require_owner(path)
        remove_folder(aside / path.name)  # of an earlier time: the same steps
        move_folder(path, aside / path.name)
    take_out(run_dir, shared["rows_consumed"], digest_json(identity_of(plan, batches)), aside)


def _what_changes(run_dir: Path, shared: State, newer: list[int], aside: Path, plan: TrainPlan) -> list[str]:
    before, now, step = num_steps_of(shared), plan.train.num_steps, shared["step"]
    lines = [
        f"train.num_steps: was {before}, is {now}; {run_dir} resumes from step {step}, up to which a run of {now} "
        "steps at the same rates is the same to the bit"
    ]
    if newer:
        lines.append(
            f"{plural(newer[0] - step, 'step')} up to {newer[0]} are trained again; the later checkpoints (of steps "
            f"{', '.join(map(str, newer))}) are moved to {aside}, and report and export stay those of {before} steps "
            "until the longer run is done"
        )
    return lines


def is_trained(run_dir: Path, num_steps: int, attempts: Sequence[Record] | None = None) -> bool:
    """Return whether a run reached its last step, measured it, and still has that checkpoint undamaged.

    `attempts` are its records, where the caller has them.
    """
    return has_finished(run_dir, num_steps, attempts) and is_whole(list_checkpoints(run_dir)[0][1])


def has_finished(run_dir: Path, num_steps: int, attempts: Sequence[Record] | None = None) -> bool:
    """Return whether a run reached its last step and measured it; nothing is read of that checkpoint."""
    newest = list_checkpoints(run_dir)[:1]
    if not newest or newest[0][0] < num_steps:
        return False
    records = counted(read_attempts(run_dir / "records.jsonl") if attempts is None else attempts)
    return any(record.get("event") == "finish" for record in records)
