"""The folder of a run that another program than the trainer makes of a run: its settings and tokenizer, copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError
from headwater.core.files import new_folder, read_json, read_manifest_or_none, write_bytes, write_json
from headwater.model.transformer import Transformer
from headwater.train.checkpoint.layout import DERIVED, list_checkpoints
from headwater.train.checkpoint.save import Saver

TOKENIZER = Path("data", "tokenizer")


def make_derived_run(base: Path, run_dir: Path, num_steps: int) -> None:
    """Give a run folder the settings and the tokenizer of the run `base`, unless it has a model already.

    A file says what it is and how many steps it is to have, so that training leaves it alone. Raises ConfigError, and
    writes nothing, where it is the folder of another run.
    """
    settings, is_derived = read_json(base / "config.json"), (run_dir / DERIVED).exists()
    tokenizers = [read_manifest_or_none(folder / TOKENIZER) for folder in (base, run_dir)]
    if ((run_dir / "config.json").exists() and not is_derived) or tokenizers[1] not in ({}, tokenizers[0]):
        raise ConfigError(f"{run_dir} is the folder of another run; remove it, or give the new run another name")
    if not is_derived:
        write_json(run_dir / DERIVED, {"base": str(base), "num_steps": num_steps})
    if not tokenizers[1]:
        copy_files(base / TOKENIZER, run_dir / TOKENIZER)
    if not list_checkpoints(run_dir):
        write_json(run_dir / "config.json", settings)


def copy_files(source: Path, target: Path) -> None:
    """Make a new folder of the files of another."""
    with new_folder(target) as folder:
        for file in sorted(source.iterdir()):
            write_bytes(folder / file.name, file.read_bytes())


def require_unused(run_dir: Path) -> None:
    """Raise ConfigError where a run folder has a model already."""
    if list_checkpoints(run_dir):
        raise ConfigError(f"{run_dir} has a model already; choose another --name")


def save_model(run_dir: Path, model: Transformer, step: int, identity: dict[str, Any]) -> None:
    """Write a model as a checkpoint from which nothing can resume; `identity` says how it was made."""
    identity |= {"model": model.settings.model_dump(mode="json")}
    saver = Saver(run_dir)
    try:
        saver.begin(
            step, model.state_dict(), {}, {"step": step, "rows_consumed": 0, "seconds": 0.0, "identity": identity}
        )
        saver.finish()
    finally:
        saver.close()
