"""What the checkpoints of a run say of it, beside their tensors. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.verify import read_state
from headwater.errors import CheckpointError

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
