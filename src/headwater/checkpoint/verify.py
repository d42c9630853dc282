"""What a committed checkpoint says of itself, and whether it is whole; no tensor is loaded and torch isn't needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import FILES, FORMAT, FORMAT_VERSION, MODEL_FILE, STATE_FILE, step_of
from headwater.errors import CheckpointError
from headwater.files import digest_file, read_manifest


def checked_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint; raise CheckpointError when it is damaged or of another step."""
    manifest = read_manifest(path, FORMAT, FORMAT_VERSION, CheckpointError)
    step = manifest.get("step")
    # the manifest has no digest of its own: the folder's name guards its one number
    if not isinstance(step, int) or step_of(path) not in (None, step):
        raise CheckpointError(f"{path} is damaged: its manifest.json is of step {step}")
    return manifest


def digest_of(manifest: dict[str, Any], file: Path) -> str:
    """Return the digest that a manifest says a file of its folder has; raise CheckpointError when it says none."""
    try:
        return str(manifest["files"][file.name]["digest"])
    except (KeyError, TypeError):
        raise CheckpointError(f"{file.parent} is damaged: its manifest.json has no digest of {file.name}") from None


def is_whole(path: Path) -> bool:
    """Return whether every file of a checkpoint is there and has the digest that its manifest says."""
    try:
        manifest = checked_manifest(path)
        return all(digest_file(path / name) == digest_of(manifest, path / name) for name in FILES)
    except (CheckpointError, OSError):
        return False


def model_digest(path: Path) -> str:
    """Return the digest of a checkpoint's weights, as its manifest says; raise CheckpointError without one."""
    return digest_of(checked_manifest(path), path / MODEL_FILE)


def read_state(path: Path) -> dict[str, Any]:
    """Return the state of a checkpoint; raise CheckpointError when it is damaged. Its tensors are not looked at."""
    file = path / STATE_FILE
    expected = digest_of(checked_manifest(path), file)
    if not file.is_file() or digest_file(file) != expected:
        raise CheckpointError(f"{file} is damaged: its digest differs from the one in manifest.json")
    return state_of(file, file.read_bytes())


def state_of(file: Path, data: bytes) -> dict[str, Any]:
    """Return the state that a file's bytes hold; raise CheckpointError when they hold none."""
    try:
        state = json.loads(data)
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} is no state of a run, whatever its digest says")
    return state
