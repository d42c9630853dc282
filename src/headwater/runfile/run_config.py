"""One file describes a run from raw text to exported model: the only place where all settings meet."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from headwater.core.config import Settings
from headwater.core.errors import ConfigError
from headwater.core.files import read_json, read_json_or_none
from headwater.corpus.sources.settings import CONVERSATIONS, REPLAYED, CorpusSettings
from headwater.machine.device.settings import MachineSettings
from headwater.machine.parallel.settings import ParallelSettings, layers_problem
from headwater.machine.ranks.mesh import Layout
from headwater.model.optim.schedule import ScheduleSettings
from headwater.model.optim.settings import OptimSettings
from headwater.model.settings import ModelSettings
from headwater.runfile.checking import RECIPES, Reason, Rules, resolve, validate
from headwater.runfile.damage import damaged_config, find_recipe, remedy, require_whole_config, without_config
from headwater.runfile.given import Decided, Given, Override, read_settings
from headwater.runfile.paths import Folders, stage_digest
from headwater.runfile.rules import MEASURED, RULES, by_rules
from headwater.tokens.batches.settings import MixtureSettings, ReplaySettings
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.train.settings import TrainPlan, TrainSettings

BY_RULE = frozenset({"name", "model.vocab_size", *RULES})
"Settings that are made where nobody sets them: by a rule, or of the run file's name and tokenizer."
STANDS_IN = "stands in where a run file describes text and no model yet"
STAND_INS: Decided = {
    name: (value, STANDS_IN)
    for name, value in {"tokenizer": {}, "model.num_layers": 1, "model.seq_len": 64, "train.num_steps": 1}.items()
}
NAME_RULE = "a run's name has letters, digits, '.', '_', '-' alone, 100 at most, and begins with a letter or digit"
MAX_NAMED = 8  # runs, where the one that is asked for isn't here


def is_run_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None


class InitSettings(Settings):
    """The model that a run starts from, with its tokenizer and shape; optimizer and schedule start from zero."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: str = Field(alias="from")
    "A run folder (its newest checkpoint), a checkpoint's, a folder of Hugging Face, or a GGUF file."


LEFT = (("train", "audit_every"), ("train", "exact"), ("parallel", "expert"))
"Settings that runs of before 2026-12-03 have kept."


class RunConfig(Settings):
    """A run: its sources, tokenizer, mixture, model, update rule, length, ranks and machine."""

    name: str
    "Name of the run and of its folder: letters, digits, dot, dash, underscore."
    seed: int = Field(default=1, ge=0)
    "Decides the initial weights and the order of the sequences."
    runs_dir: str = "runs"
    "Folder in which run folders lie."
    init: InitSettings | None = None
    "A model to start from; unset: the first weights are drawn."
    corpus: CorpusSettings
    tokenizer: TokenizerSettings
    mixture: MixtureSettings = MixtureSettings()
    replay: ReplaySettings | None = None
    "Text of another run that is read again beside this one's, which `mixture` divides the rest among; unset: none."
    model: ModelSettings
    optim: OptimSettings
    schedule: ScheduleSettings
    train: TrainSettings
    parallel: ParallelSettings = ParallelSettings()
    machine: MachineSettings = MachineSettings()
    downstream: DownstreamSettings | None = None
    "What follows the run: alignment by rewards, and an examination of what each stage changed; unset: nothing."

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not is_run_name(name):
            raise ValueError(NAME_RULE)
        return name

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        """Check what spans several tables, before corpus, tokenizer and tokens are made for it."""
        model, train, warmup = self.model, self.train, self.schedule.warmup_steps
        if self.init is None and model.vocab_size != self.tokenizer.vocab_size:
            raise ValueError(
                f"model.vocab_size={model.vocab_size} must equal "
                f"tokenizer.vocab_size={self.tokenizer.vocab_size}; leave model.vocab_size out"
            )
        if train.half_length_fraction and model.seq_len % 2:
            raise ValueError(
                f"train.half_length_fraction={train.half_length_fraction} cuts rows in two and "
                f"model.seq_len={model.seq_len} is odd"
            )
        if warmup > train.num_steps:
            raise ValueError(
                f"schedule.warmup_steps={warmup} is longer than the run; train.num_steps={train.num_steps}"
            )
        if undivided := layers_problem(model, self.parallel, self.shortest_row):
            raise ValueError(undivided)
        if (problem := self.mixture.problem_with(self.corpus.sources)) is not None:
            raise ValueError(problem)
        if self.replay is not None and (taken := [name for name in self.corpus.sources if name.startswith(REPLAYED)]):
            raise ValueError(
                f"names that begin with {REPLAYED} are those of replayed sources; rename {', '.join(taken)}"
            )
        return self

    @property
    def num_rows(self) -> int:
        """How many rows of seq_len the whole run trains on."""
        return self.train.num_steps * self.train.batch_tokens // self.model.seq_len

    @property
    def shortest_row(self) -> int:
        """How many tokens the shortest rows have that the run trains on."""
        return self.model.seq_len // 2 if self.train.half_length_fraction else self.model.seq_len

    def with_train(self, **changes: Any) -> RunConfig:
        """Return the settings with other values in [train]."""
        return self.model_copy(update={"train": self.train.model_copy(update=changes)})

    def with_layout(self, layout: Layout) -> RunConfig:
        """Return the settings with what a layout decides of them: which part of the blocks is recomputed."""
        return self if layout.recompute is None else self.with_train(recompute=layout.recompute)

    @property
    def is_tuned(self) -> bool:
        """Whether the run learns from conversations, so that its model answers messages."""
        return any(source.kind == CONVERSATIONS for source in self.corpus.sources.values())

    @property
    def base(self) -> str | None:
        """Where the model lies that the run starts from."""
        return None if self.init is None else self.init.from_

    @property
    def run_dir(self) -> Path:
        return Path(self.runs_dir) / self.name

    @property
    def folders(self) -> Folders:
        return Folders(self.run_dir)


def train_plan(config: RunConfig) -> TrainPlan:
    base = None
    if config.base is not None:
        from headwater.runfile.init import base_of

        base = base_of(config.base, config.folders)
    rules = config.mixture, config.model, config.optim, config.schedule, config.train, config.machine
    return TrainPlan(config.seed, *rules, None if base is None else base.digest)


def made_for(config: RunConfig) -> dict[str, Any]:
    """Return what a forecast and a ladder are made for: all settings that decide the loss, and the text."""
    more = {"machine": {"dtype": config.machine.dtype}, "text": stage_digest(config.folders.tokens)}
    return train_plan(config).identity() | more


def list_recipes() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_run(
    name: str, overrides: Sequence[str | Override] = (), text_alone: bool = False
) -> tuple[RunConfig, list[Reason]]:
    """Return the settings of a recipe, a run file or a run folder, and for each where it comes from and why.

    With `text_alone` a run file with [corpus] alone will do: only its name and its corpus mean anything then. Raises
    ConfigError, with every problem together, when something is missing, unknown or out of range.
    """
    _require_no_base(Path(name))
    if os.path.isfile(Path(name) / "config.json"):
        return _load_folder(Path(name), overrides)
    beside = Path(f"{name}.toml") if is_run_name(name) else Path(name)  # may say more by now than the run's folder
    for path in (find_recipe(name) or Path(name), beside):
        if os.path.isfile(path):
            given = read_settings(path, list(overrides), find_recipe)
            return _resolved(given, path, STAND_INS if text_alone and given.has("corpus") else {})
    if os.path.isfile(_own_folder(name) / "config.json"):
        return _load_folder(_own_folder(name), overrides)
    raise ConfigError(_no_such_run(name))


def _require_no_base(path: Path) -> None:
    """Raise ConfigError for a model of other people's, which some verbs open and which isn't a run."""
    config = read_json_or_none(path / "config.json")
    if (path.suffix == ".gguf" and os.path.isfile(path)) or (isinstance(config, dict) and "model_type" in config):
        raise ConfigError(
            f"{path} is a model from elsewhere, and not a run: `headwater next`, `generate`, `surprise`, `chat` and "
            f"`serve` open it by --run; `headwater new NAME --base {path} --text FOLDER` trains it on, and `headwater "
            f"downstream sft {path}` tunes it"
        )


def _own_folder(name: str) -> Path:
    """Return where a run of this name lies, unless its file says otherwise."""
    return Path("runs", name) if is_run_name(name) else Path(name)


def run_folder(name: str, overrides: Sequence[str] = ()) -> Path:
    """Return the folder of a run that is named by its folder, its run file or its recipe, with `overrides`.

    Raises ConfigError where there is no such folder yet.
    """
    here, own = Path(name), _own_folder(name)  # a folder here may be the run's text
    for folder in (here, own) if os.path.isfile(here / "config.json") else (own, here):
        if os.path.isdir(folder) and not overrides:
            _require_no_base(folder)
            require_whole_config(folder)
            return folder
    folder = load_run(name, overrides, text_alone=True)[0].run_dir
    if not folder.is_dir():
        raise ConfigError(f"{name} has not been run here: there is no folder {folder}; `headwater run {name}` makes it")
    return folder


def _load_folder(folder: Path, overrides: Sequence[str | Override]) -> tuple[RunConfig, list[Reason]]:
    """Return the settings that a run was made with; beside `overrides`, rules are applied again."""
    config, reasons = config_of_run(folder), saved(folder)[1]
    if not overrides:
        return config, reasons
    given = Given({"name": config.name, "runs_dir": config.runs_dir})
    for each in reasons:
        if each.origin in ("user", "recipe") and not given.has(each.setting):
            recipe = find_recipe(each.where) if each.origin == "recipe" else None
            value = "off" if each.value is None else each.value
            given = given.with_value(each.setting, value, str(recipe or each.where))
    for override in overrides:
        given = given.with_override(override)
    return _resolved(given, folder)


def config_of_text(text: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the settings of a run file that isn't written yet, with what rules make of it."""
    given = Given(tomllib.loads(text))
    for override in overrides:
        given = given.with_override(override)
    return _resolved(given, Path("run.toml"))[0]


def _resolved(given: Given, path: Path, stand_ins: Decided | None = None) -> tuple[RunConfig, list[Reason]]:
    """Return the settings, with what rules make of those that were read from `path`, and where each comes from."""
    if not given.has("init.from"):
        missing = {name: each for name, each in (stand_ins or {}).items() if not given.has(name)}
        rules: list[Rules] = [lambda _: missing, partial(_by_file, path), _by_rules]
        return resolve(RunConfig, given, rules, BY_RULE | set(missing), MEASURED)
    from headwater.runfile.init import by_base  # few runs have a base

    # rules were measured from drawn weights
    return resolve(RunConfig, given, [partial(_by_file, path), by_base, _by_rules], BY_RULE)


def _by_file(path: Path, given: Given) -> Decided:
    """Return the run's name, of its file, and the model's vocabulary, of its tokenizer."""
    decided: Decided = {}
    if not given.has("name"):
        decided["name"] = path.stem, "the name of the run file"
    if not given.has("model.vocab_size") and not given.has("init.from"):
        default = TokenizerSettings.model_fields["vocab_size"].default
        decided["model.vocab_size"] = given.get("tokenizer.vocab_size", default), "the tokenizer's"
    return decided


def _by_rules(given: Given) -> Decided:
    """Return what rules make; raise ConfigError when a step or a microbatch isn't whole rows, on which they build."""
    seq_len = given.get("model.seq_len")
    for name in ("train.batch_tokens", "train.microbatch_tokens"):
        tokens = given.get(name)
        if isinstance(tokens, int) and isinstance(seq_len, int) and tokens % seq_len:
            nearest = max(1, round(tokens / seq_len)) * seq_len
            raise ConfigError(
                f"{name}={tokens} must be a multiple of model.seq_len={seq_len}; try {nearest}\n"
                f"      set in {given.origins.get(name, '')}"
            )
    return by_rules(given)


def _no_such_run(name: str) -> str:
    """Return what to type instead of the name of a run that isn't there."""
    if os.path.isdir(name):
        return without_config(Path(name))
    table, dot, _ = name.partition(".")
    if dot and not name.endswith(".toml") and table in RunConfig.model_fields:
        return f"{name!r} is a setting, and no run; name a run file first: `headwater explain mine.toml {name}`"
    recipes, files = list_recipes(), sorted(str(path) for path in Path().glob("*.toml"))
    folders = sorted(str(path) for path in Path("runs").glob("*") if path.is_dir())
    by_name = {spelt: each for each in recipes + folders + files for spelt in (each, Path(each).stem, Path(each).name)}
    close = [by_name[each] for each in difflib.get_close_matches(name, by_name, n=1)]
    hint = f"; did you mean {close[0]}?" if close else "; `headwater new NAME --text FOLDER` writes a run file"
    here = f"; runs here: {', '.join(folders[:MAX_NAMED])}" + ", …" * (len(folders) > MAX_NAMED) if folders else ""
    return f"{name!r} is no recipe, run file or run folder{hint} (recipes: {', '.join(recipes)}{here})"


def config_record(config: RunConfig, reasons: Sequence[Reason]) -> dict[str, Any]:
    """Return what is written to a run's config.json."""
    return {
        "format": "headwater-config",
        "format_version": 1,
        "settings": config.model_dump(mode="json"),
        "reasons": [vars(reason) for reason in reasons],
    }


def config_of_run(run_dir: Path) -> RunConfig:
    """Return the resolved settings of a run from its folder."""
    settings, _ = saved(run_dir)
    try:
        config = validate(RunConfig, Given(settings))
    except ConfigError as error:
        path = run_dir / "config.json"
        raise ConfigError(f"{error}\n{path} doesn't fit this headwater; {remedy(run_dir)} writes it again") from None
    # the folder may have been moved since, or be named by a link: where it lies now is where its files are
    folder = run_dir.resolve()
    here = run_dir.parent if run_dir.name == folder.name else folder.parent
    return config.model_copy(update={"runs_dir": str(here), "name": folder.name})


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return the settings with other values, by their names with dots; raise ConfigError if they don't fit."""
    given = Given(config.model_dump(mode="json")).with_decided({name: (value, "") for name, value in values.items()})
    return validate(RunConfig, given) if values else config


def saved(run_dir: Path, read: Callable[[Path], Any] = read_json) -> tuple[dict[str, Any], list[Reason]]:
    """Return the settings that a run's folder holds, and where each comes from."""
    path = run_dir / "config.json"
    if not path.exists():
        raise ConfigError(without_config(run_dir))
    try:
        saved = read(path)
        for table, setting in LEFT:
            saved["settings"].get(table, {}).pop(setting, None)
        return saved["settings"], [Reason(**reason) for reason in saved["reasons"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(damaged_config(run_dir)) from None


CAPITALS = "capitals"


class DownstreamSettings(Settings):
    """Alignment by rewards that a program verifies, in a run of its own beside this one, and an examination of both."""

    reward: str = "exact"
    "What an answer is worth: exact, number, form, or a reward that an installed package adds (headwater.rewards)."
    prompts: str = CAPITALS
    "JSON lines of prompts with answers; capitals: countries that the conversations of that name don't ask for."
    num_steps: int = Field(default=40, ge=1)
    "Number of updates."
