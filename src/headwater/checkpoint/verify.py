"""What a committed checkpoint says of itself, and whether it is whole; no tensor is loaded and torch isn't needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import FORMAT, FORMAT_VERSION, MODEL_FILE, STATE_FILE
from headwater.errors import CheckpointError
from headwater.files import digest_file, read_json, read_manifest


def read_state(path: Path) -> dict[str, Any]:
    """Return the state of a checkpoint, unverified; raise CheckpointError when it can't be read."""
    try:
        return dict(read_json(path / STATE_FILE))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path / STATE_FILE} can't be read ({error})") from error


def is_whole(path: Path) -> bool:
    """Return whether every file of a checkpoint has the digest that its manifest says."""
    try:
        files = read_manifest(path, FORMAT, FORMAT_VERSION, CheckpointError)["files"]
        return all(digest_file(path / name) == facts["digest"] for name, facts in files.items())
    except (CheckpointError, OSError, KeyError, TypeError, AttributeError):
        return False


def model_digest(path: Path) -> str:
    """Return the digest of a checkpoint's weights, as its manifest says; raise CheckpointError without one."""
    manifest = read_manifest(path, FORMAT, FORMAT_VERSION, CheckpointError)
    try:
        return str(manifest["files"][MODEL_FILE]["digest"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path / 'manifest.json'} is damaged: it names no digest of {MODEL_FILE}") from error
