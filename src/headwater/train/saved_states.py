"""What the checkpoints of a run say of it and its settings, beside their tensors. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.verify import read_state
from headwater.errors import CheckpointError
from headwater.train.settings import HALF_LENGTH, LENGTHS, TrainPlan, differing, flat

State = Mapping[str, Any]
"What a checkpoint's state.json holds."


def newest_state(run_dir: Path) -> State | None:
    """Return the state of the newest checkpoint that can be read; None where there is none."""
    return next((state for _, state in states_of(run_dir)), None)


def states_of(run_dir: Path) -> list[tuple[Path, State]]:
    """Return (folder, state) of the checkpoints, newest first, without damaged ones, which training puts aside."""
    found: list[tuple[Path, State]] = []
    for _, path in list_checkpoints(run_dir):
        try:
            state = read_state(path)
            num_steps_of(state)
        except (CheckpointError, KeyError, TypeError):
            continue
        found.append((path, state))
    return found


def num_steps_of(state: State) -> int:
    """Return how many steps the run of a checkpoint was to have."""
    return int(state["identity"]["train"]["num_steps"])


def values_from_start(run_dir: Path, plan: TrainPlan, by_rule: Collection[str]) -> dict[str, Any]:
    """Return {setting: value} of what rules gave a run at its start and would give it otherwise for more steps.

    As many steps as before have sequences of half the length. {} where anything differs that is no rule's, since that
    is refused, or there are fewer steps.
    """
    state, now = newest_state(run_dir), plan.identity()
    if state is None or num_steps_of(state) > plan.train.num_steps:
        return {}
    changed = set(differing(state["identity"], now)) - LENGTHS
    if not changed <= set(by_rule):
        return {}
    before = flat(state["identity"])
    num_halved = round(before[HALF_LENGTH] * num_steps_of(state))
    before[HALF_LENGTH] = num_halved / plan.train.num_steps
    if HALF_LENGTH in by_rule and before[HALF_LENGTH] != plan.train.half_length_fraction:
        changed.add(HALF_LENGTH)
    return {name: before.get(name) for name in sorted(changed)}
