"""Where checkpoints lie: RUN/checkpoints/step-000001000/{model,optim}.safetensors, state.json, manifest.json."""

from __future__ import annotations

import re
from pathlib import Path

FORMAT, FORMAT_VERSION = "headwater-checkpoint", 2
UNSEALED_VERSION = 1  # its manifest had no digest of its own
MODEL_FILE, OPTIM_FILE, STATE_FILE = "model.safetensors", "optim.safetensors", "state.json"
FILES = (MODEL_FILE, OPTIM_FILE, STATE_FILE)
_NAME = re.compile(r"step-(\d{9})")


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


def list_damaged(run_dir: Path) -> list[Path]:
    """Return the folders of checkpoints that were found damaged and put aside."""
    return sorted((run_dir / "checkpoints").glob("damaged-step-*"))
