"""Where checkpoints lie and what is in them.

RUN/checkpoints/step-000001000/
    model.safetensors    weights; of W ranks model-00001-of-0000W.safetensors and so on, each with what one wrote
    optim.safetensors    the optimizer's state, likewise
    model.sums, …        of each of these files xxh3-64 of every block of 64 KiB, little-endian
    state.json           step, tokens seen, what the run was made from: all that is no tensor
    manifest.json        written last and sealed (seals.py): size and SHA-256 of every file, which piece of which
                         tensor lies where
"""

from __future__ import annotations

import re
from pathlib import Path

from headwater.core.errors import CheckpointError

FORMAT, FORMAT_VERSION = "headwater-checkpoint", 3
OLD_VERSIONS = 1, 2  # without a table of tensors and a seal; with other names in the state
MODEL, OPTIM, STATE_FILE = "model", "optim", "state.json"
KINDS = (MODEL, OPTIM)
DERIVED = "derived.json"
"In a run's folder whose checkpoints another program than the trainer makes: of which run, and how many steps."
_NAME = re.compile(r"step-(\d{9})")


def tensor_file(kind: str, rank: int, world_size: int) -> str:
    """Return the name of the file in which a rank writes weights (`MODEL`) or optimizer state (`OPTIM`)."""
    return f"{kind}.safetensors" if world_size == 1 else f"{kind}-{rank + 1:05d}-of-{world_size:05d}.safetensors"


def sums_file(path: Path) -> Path:
    """Return where the checksums of a tensor file's blocks lie."""
    return path.with_suffix(".sums")


def checkpoint_dir(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"step-{step:09d}"


def step_of(path: Path) -> int | None:
    """Return the step in a checkpoint folder's name, or None where the name has none (a copy, say)."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def list_checkpoints(run_dir: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of every committed checkpoint, newest first: by step, never by clock."""
    folder = run_dir / "checkpoints"
    found = [(step, path) for path in folder.glob("step-*") if (step := step_of(path)) is not None]
    return sorted(found, reverse=True)


def checkpoint_of(run_dir: Path, step: int | None = None) -> Path:
    """Return the folder of the newest checkpoint, or of a step's; raise CheckpointError where the run keeps none."""
    found = dict(list_checkpoints(run_dir))
    if not found:
        raise CheckpointError(f"{run_dir} has no checkpoint yet; `headwater run` or `headwater train` makes one")
    if step is not None and step not in found:
        steps = ", ".join(map(str, sorted(found)))
        raise CheckpointError(f"{run_dir} keeps no checkpoint of step {step}; it has steps {steps}")
    return found[max(found) if step is None else step]


def list_damaged(run_dir: Path) -> list[Path]:
    """Return the folders of checkpoints that were found damaged and put aside."""
    return sorted((run_dir / "checkpoints").glob("damaged-step-*"))


def require_from_training(run_dir: Path) -> None:
    """Raise CheckpointError where another program than the trainer makes a run."""
    if (run_dir / DERIVED).exists():
        raise CheckpointError(
            f"{run_dir} was made by `headwater downstream rl` or `dpo`, and training can't resume it; give that "
            f"command again, or start a new run from its model: init.from={run_dir}"
        )
