"""A run folder whose checkpoints another program than the trainer makes, of another run: a file in it says so."""

from __future__ import annotations

from pathlib import Path

from headwater.errors import CheckpointError

DERIVED = "derived.json"
"In such a folder: the run that it was made of, and its number of steps."


def require_from_training(run_dir: Path) -> None:
    """Raise CheckpointError where another program than the trainer makes a run."""
    if (run_dir / DERIVED).exists():
        raise CheckpointError(
            f"{run_dir} was made by `headwater downstream rl` or `dpo`, and training can't resume it; give that "
            f"command again, or start a new run from its model: init.from={run_dir}"
        )
