"""The microbatch of an exact run that began under another rule: what its bits are made of stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.verify import read_state
from headwater.config import RawSettings
from headwater.errors import CheckpointError
from headwater.optim.rules import apply_rules_, is_on

SETTING = "train.microbatch_tokens"


def keep_exact_microbatch_(raw: RawSettings) -> dict[str, str]:
    """Set the microbatch of the run's checkpoints where the file names none and the rule has another by now.

    Returns {setting: why}. Only with train.exact, and for the batch that the checkpoints are of: otherwise a resume is
    compared with the settings as they are.
    """
    runs_dir, name = raw.get("runs_dir", "runs"), raw.get("name")
    if raw.has(SETTING) or not is_on(raw.get("train.exact")):
        return {}
    if not (isinstance(runs_dir, str) and isinstance(name, str)):
        return {}  # validation says what is wrong with them
    ruled = _ruled(raw)
    saved = _saved_train(Path(runs_dir) / name)
    kept = saved.get("microbatch_tokens")
    if not saved.get("exact") or saved.get("batch_tokens") != ruled.get("train.batch_tokens"):
        return {}
    if not isinstance(kept, int) or kept == ruled.get(SETTING):
        return {}
    raw.set_(SETTING, kept, "a rule")
    return {SETTING: f"as the run's checkpoints have it; a run that begins now has {ruled.get(SETTING)}"}


def _ruled(raw: RawSettings) -> RawSettings:
    """Return the settings as rules would complete them."""
    table = {name: dict(value) if isinstance(value, dict) else value for name, value in raw.table.items()}
    complete = RawSettings(table, {})
    apply_rules_(complete)
    return complete


def _saved_train(run_dir: Path) -> dict[str, Any]:
    """Return the train settings that the run's newest undamaged checkpoint was made with; {} where there is none."""
    for _, path in list_checkpoints(run_dir):
        try:
            return dict(read_state(path)["identity"]["train"])
        except (OSError, CheckpointError, KeyError, TypeError, ValueError):
            continue
    return {}
