"""The model that a server answers with: a run's, a checkpoint's, an exported one or somebody else's."""

from __future__ import annotations

from pathlib import Path

from headwater.base.facts import facts_of
from headwater.base.tokenizer import foreign_tokenizer
from headwater.base.weights import model_of
from headwater.checkpoint.layout import step_of
from headwater.files import read_json_or_none
from headwater.runs.finish import load_model
from headwater.runs.run_config import config_of_run, run_folder
from headwater.serve.engine import Engine
from headwater.tokenizer.conversation import END, START
from headwater.tokenizer.tokenizer import Tokenizer


def open_engine(named: str) -> Engine:
    """Return an engine of a run's newest checkpoint, or of what `init.from` takes: one checkpoint, a folder, a file.

    Raises ConfigError where there is none, and CheckpointError where it is damaged.
    """
    path = Path(named)
    config = read_json_or_none(path / "config.json")
    is_folder = isinstance(config, dict) and "model_type" in config
    if not (is_folder or path.suffix == ".gguf" or step_of(path) is not None):
        run_dir = run_folder(named)
        model, tokenizer = load_model(run_dir)
        return Engine(model, tokenizer, run_dir.resolve().name, config_of_run(run_dir).is_tuned)
    facts = facts_of(named)
    if facts.kind == "checkpoint":
        run_dir = path.resolve().parents[1]
        own, name = Tokenizer.load(facts.tokenizer), f"{run_dir.name}/{path.name}"
        return Engine(model_of(facts), own, name, config_of_run(run_dir).is_tuned)
    tokenizer = foreign_tokenizer(facts)
    return Engine(model_of(facts), tokenizer, path.resolve().name, is_folder and _is_tuned_folder(path, tokenizer))


def _is_tuned_folder(folder: Path, tokenizer: Tokenizer) -> bool:
    """Return whether a folder's model ends its text where a message ends, as the export of a tuned run says."""
    config = read_json_or_none(folder / "generation_config.json")
    ends = config.get("eos_token_id") if isinstance(config, dict) else None
    return START in tokenizer.special and isinstance(ends, list) and tokenizer.special.get(END) in ends
