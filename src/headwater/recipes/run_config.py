"""One file describes a run from raw text to exported model: the only place where all settings meet."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from headwater.batches.settings import MixtureSettings
from headwater.config import RawSettings, Settings, read_settings, validate
from headwater.corpus.settings import CorpusSettings
from headwater.errors import ConfigError
from headwater.files import read_json
from headwater.machine.settings import MachineSettings
from headwater.model.settings import ModelSettings
from headwater.optim.rules import Reason, apply_rules_
from headwater.optim.settings import OptimSettings, ScheduleSettings
from headwater.tokenizer.settings import TokenizerSettings
from headwater.train.settings import TrainSettings

CONFIG_FORMAT = "headwater-config"


class RunConfig(Settings):
    """A run: its sources, tokenizer, mixture, model, update rule, length and machine."""

    name: str
    "Name of the run and of its folder: letters, digits, dot, dash, underscore."
    seed: int = Field(default=1, ge=0)
    "Decides the initial weights and the order of the rows."
    runs_dir: str = "runs"
    "Folder in which run folders lie."
    corpus: CorpusSettings
    tokenizer: TokenizerSettings
    mixture: MixtureSettings = MixtureSettings()
    model: ModelSettings
    optim: OptimSettings
    schedule: ScheduleSettings
    train: TrainSettings
    machine: MachineSettings = MachineSettings()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise ValueError("a run's name has letters, digits, '.', '_' and '-' alone, and begins with one of the first two")
        return name

    @model_validator(mode="after")
    def _check_vocabulary(self) -> RunConfig:
        if self.model.vocab_size != self.tokenizer.vocab_size:
            raise ValueError(
                f"model.vocab_size={self.model.vocab_size} must equal tokenizer.vocab_size={self.tokenizer.vocab_size}; "
                "leave model.vocab_size out"
            )
        return self

    @property
    def run_dir(self) -> Path:
        return Path(self.runs_dir) / self.name


def list_recipes() -> list[str]:
    return sorted(
        path.name.removesuffix(".toml") for path in resources.files("headwater.recipes").iterdir() if path.name.endswith(".toml")
    )


def find_recipe(name: str) -> Path | None:
    path = Path(str(resources.files("headwater.recipes"))) / f"{name}.toml"
    return path if path.is_file() else None


def load_run(name_or_path: str, overrides: list[str]) -> tuple[RunConfig, list[Reason]]:
    """Return the settings of a run file or a named recipe, and for each where it comes from and why.

    Raises ConfigError, with every problem at once, when something is missing, unknown or out of range.
    """
    path = find_recipe(name_or_path) or Path(name_or_path)
    if not path.exists() and not path.suffix:
        raise ConfigError(f"{name_or_path!r} is neither a run file nor a recipe; recipes: {', '.join(list_recipes())}")
    raw = read_settings(path, overrides, find_recipe)
    whys = {"model.vocab_size": "the tokenizer's"} if not raw.has("model.vocab_size") else {}
    if whys and raw.has("tokenizer.vocab_size"):
        raw.set_("model.vocab_size", raw.get("tokenizer.vocab_size"), "a rule")
    if not raw.has("name"):
        raw.set_("name", path.stem, str(path))
    whys |= apply_rules_(raw)
    config = validate(RunConfig, raw)
    return config, explain(config, raw, whys)


def explain(config: RunConfig, raw: RawSettings, whys: dict[str, str]) -> list[Reason]:
    """Return one reason for every setting, in the order of the settings."""
    recipes = str(resources.files("headwater.recipes"))
    reasons = []
    for setting, value in _flatten(config.model_dump(mode="json")):
        where = raw.origins.get(setting)
        if setting in whys:
            reasons.append(Reason(setting, value, "rule", "headwater.optim.rules", whys[setting]))
        elif where is None:
            reasons.append(Reason(setting, value, "default", "", "nothing sets it"))
        elif where.startswith(recipes):
            name = Path(where).stem
            reasons.append(Reason(setting, value, "recipe", name, f"the recipe {name} sets it"))
        else:
            reasons.append(Reason(setting, value, "user", where, f"set in {where}"))
    return reasons


def _flatten(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat = []
    for name, value in table.items():
        path = prefix + name
        flat += _flatten(value, path + ".") if isinstance(value, dict) and value else [(path, value)]
    return flat


def config_record(config: RunConfig, reasons: list[Reason]) -> dict[str, Any]:
    """Return what is written to a run's config.json."""
    return {
        "format": CONFIG_FORMAT,
        "format_version": 1,
        "settings": config.model_dump(mode="json"),
        "reasons": [vars(reason) for reason in reasons],
    }


def config_of_run(run_dir: Path) -> RunConfig:
    """Return the resolved settings of a run from its folder."""
    path = run_dir / "config.json"
    if not path.exists():
        raise ConfigError(f"{run_dir} is no run folder: it has no config.json; `headwater run RUN.toml` makes one")
    record = read_json(path)
    config = validate(RunConfig, RawSettings(record.get("settings", {}), {}))
    # the folder may have been moved since: where it lies now is where its files are
    return config.model_copy(update={"runs_dir": str(run_dir.parent), "name": run_dir.resolve().name})
