"""Where checkpoints lie: RUN/checkpoints/step-000001000/{model,optim}.safetensors, state.json, manifest.json."""

from __future__ import annotations

import re
from pathlib import Path

FORMAT, FORMAT_VERSION = "headwater-checkpoint", 1
MODEL_FILE, OPTIM_FILE, STATE_FILE = "model.safetensors", "optim.safetensors", "state.json"
_NAME = re.compile(r"step-(\d{9})")


def checkpoint_dir(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"step-{step:09d}"


def list_checkpoints(run_dir: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of every committed checkpoint, newest first: by step, never by clock."""
    folder = run_dir / "checkpoints"
    found = [(match, path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return sorted(((int(match[1]), path) for match, path in found), reverse=True)
