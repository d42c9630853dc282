"""What a run has from its start, as its checkpoints say: its number of steps, and what rules gave it. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.verify import read_state
from headwater.errors import CheckpointError
from headwater.train.settings import TrainPlan, differing, flat

NUM_STEPS = "train.num_steps"
DERIVED = "derived.json"
"In the folder of a run whose model another program makes of a run's, with the settings of that."
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
            state["identity"]["train"]["num_steps"]
        except (CheckpointError, KeyError, TypeError):
            continue
        found.append((path, state))
    return found


def require_from_training(run_dir: Path) -> None:
    """Raise CheckpointError where another program than the trainer makes a run."""
    if (run_dir / DERIVED).exists():
        raise CheckpointError(
            f"{run_dir} was made by `headwater downstream rl` or `dpo`, and training can't resume it; give that "
            f"command again, or start a new run from its model: init.from={run_dir}"
        )


def num_steps_of(state: State) -> int:
    """Return how many steps the run of a checkpoint was to have."""
    return int(state["identity"]["train"]["num_steps"])


def is_lengthened(state: State, plan: TrainPlan) -> bool:
    """Return whether the plan differs from that of a checkpoint by more steps, and in no other setting."""
    return differing(state["identity"], plan.identity()) == [NUM_STEPS] and num_steps_of(state) < plan.train.num_steps


def values_from_start(run_dir: Path, plan: TrainPlan, by_rule: Collection[str]) -> dict[str, Any]:
    """Return {setting: value} of what rules gave a run at its start and would give it otherwise for more steps.

    {} where anything differs that is no rule's, since that is refused, or there are fewer steps.
    """
    state, now = newest_state(run_dir), plan.identity()
    if state is None or num_steps_of(state) > plan.train.num_steps:
        return {}
    changed = set(differing(state["identity"], now)) - {NUM_STEPS}
    before = flat(state["identity"])
    return {name: before.get(name) for name in sorted(changed)} if changed <= set(by_rule) else {}
