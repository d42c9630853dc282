"""Which rungs the ladder of a run has, what each takes here, and how a small run is trained. No torch before that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.checkpoint.lock import owned
from headwater.errors import ConfigError
from headwater.files import digest_json, link_folder, make_folder, remove_folder, write_json
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.rules import Reason
from headwater.records import Record, read_records
from headwater.runs.ladder_record import (
    SHAPE,
    Rung,
    UnfinishedLadder,
    is_shape_of,
    ladder_dir,
    same_make,
    trained_rungs,
)
from headwater.runs.paths import Folders, Say, read_json_or_none, stage_digest
from headwater.runs.plan import load_note
from headwater.runs.plan_machine import around_steps, machinery, relative_step, training_rest
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.stages import is_prepared, is_trained, tidy, write_config
from headwater.scaling.design import design
from headwater.scaling.table import MIN_RUNS
from headwater.train.settings import TrainSettings

if TYPE_CHECKING:
    from headwater.train.loop import Display

ALL_ROWS = 1_000_000  # of each source, in a rung's validations: all there are
NUM_SAVES = 4  # of a rung, the last at its end
DEFAULT_SHARE = 0.4  # of the run's own time: six rungs of first-light fit; else the error says what they need
MIN_RUNG_STEPS = 60  # fewer updates are mostly warm-up and decay
# so many make no run too good by its steepest part: rungs of 63 steps forecast one of 356 by 5 % too low, rungs of 178
# and more by 1.4 (docs/log.md, 2026-11-28). A short run has rungs of a quarter of its steps
ENOUGH_STEPS, ENOUGH_SHARE = 100, 0.25
SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
TOKEN_SHARES = tuple(2 ** (-half / 2) for half in range(0, 15))
COMMON_DTYPE = "bfloat16"  # in which shapes are compared
NOT_PREPARED = (
    "the text is not prepared yet: held-out text is estimated from file sizes, and the rungs may change a little when "
    "headwater ladder RUN has prepared it"
)


def min_rung_steps(num_steps: int) -> int:
    """Return the fewest steps of a rung of a run of so many."""
    return max(MIN_RUNG_STEPS, min(ENOUGH_STEPS, int(ENOUGH_SHARE * num_steps)))


def scaled_shapes(model: ModelSettings) -> list[ModelSettings]:
    """Return smaller models of the same make, the model itself first: fewer heads as wide, or one that is narrower."""
    shapes: dict[tuple[int, int], ModelSettings] = {}
    for scale in SCALES:
        width = _scaled_width(model, scale)
        for depth in (scale, 1.0, math.sqrt(scale)):
            num_layers = max(min(2, model.num_layers), round(model.num_layers * depth))
            shape = model.model_copy(update={"num_layers": num_layers, **width})
            shapes.setdefault((num_layers, shape.d_model), shape)
    return list(shapes.values())


def _scaled_width(model: ModelSettings, scale: float) -> dict[str, int]:
    group = model.num_heads // model.num_kv_heads
    num_heads, head_dim = max(1, round(model.num_kv_heads * scale)) * group, model.head_dim
    if model.num_kv_heads == 1:
        head_dim = max(8, round(head_dim * scale / 8) * 8)
    ratio = num_heads * head_dim / (model.num_heads * model.head_dim)
    return {
        "d_model": max(2, round(model.d_model * ratio)),
        "num_heads": num_heads,
        "num_kv_heads": num_heads // group,
        "head_dim": head_dim,
        "d_ff": max(32, round(model.d_ff * ratio / 32) * 32) if ratio < 1 else model.d_ff,
    }


@dataclass(frozen=True)
class LadderOptions:
    """The options of a ladder; None where not given."""

    minutes: float | None = None
    share: float | None = None
    num_rungs: int = MIN_RUNS

    def budget_seconds(self, run_seconds: float) -> float:
        """Return the seconds that the rungs may take; raise ConfigError for a budget that can't be."""
        for name, value in (("--minutes", self.minutes), ("--share", self.share)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} {value:g}: give a number above zero")
        if self.minutes is not None and self.share is not None:
            raise ConfigError("give --minutes or --share, not both")
        if self.minutes is not None:
            return 60 * self.minutes
        return run_seconds * (DEFAULT_SHARE if self.share is None else self.share)


@dataclass(frozen=True)
class Ladder:
    """The rungs of a run, smallest compute first, and all that could have been chosen."""

    run: str
    overrides: list[str]
    config: RunConfig
    reasons: list[Reason]
    target: Rung
    rungs: list[Rung]
    candidates: list[Rung]
    budget_seconds: float


def design_ladder(run: str, overrides: list[str], options: LadderOptions) -> Ladder:
    """Return the ladder of a run: the one chosen before, for the same options, run and text.

    Writes nothing. Raises ConfigError for a budget that no ladder fits in.
    """
    config, reasons = load_run(run, overrides)
    sizes = Sizes(config)
    target, least = sizes.target(), min_rung_steps(config.train.num_steps)
    candidates = [rung for rung in sizes.candidates() if rung.num_steps >= least]
    before = _designed_before(ladder_dir(config.run_dir) / "design.json", _key(config, options))
    budget = options.budget_seconds(target.seconds)
    budget, rungs = before or (budget, design(candidates, target, budget, options.num_rungs))
    return Ladder(run, overrides, config, reasons, target, rungs, candidates, budget)


@dataclass(frozen=True)
class LadderPreview:
    """The ladder that would be trained, the names of the rungs that are done, and what was taken for granted."""

    ladder: Ladder
    trained: set[str]
    is_text_prepared: bool
    notes: list[str]

    def fields(self) -> dict[str, Any]:
        """Return what `headwater ladder RUN --dry-run --json` prints."""
        return {
            "rungs": [
                {**vars(rung), "name": rung.name, "is_trained": rung.name in self.trained} for rung in self.ladder.rungs
            ],
            "run_seconds": self.ladder.target.seconds,
            "is_text_prepared": self.is_text_prepared,
            "notes": self.notes,
        }


def ladder_preview(run: str, overrides: list[str], options: LadderOptions) -> LadderPreview:
    """Return what would be trained; writes nothing. Raises ConfigError for a budget that no ladder fits in."""
    ladder = design_ladder(run, overrides, options)
    is_text_ready = is_prepared(ladder.config)
    # rungs of text that has changed since are trained again
    done = trained_rungs(ladder.config, ladder.rungs) if is_text_ready else []
    notes = [] if is_text_ready else [NOT_PREPARED]
    if done:
        notes.append(UnfinishedLadder(done, len(ladder.rungs)).says)
    if busy := load_note():
        notes.append(busy)
    return LadderPreview(ladder, {found.rung.name for found in done}, is_text_ready, notes)


def keep_design(ladder: Ladder, options: LadderOptions) -> None:
    """Write which rungs were chosen: forecasts of their times differ from call to call, and so would the choice."""
    path = ladder_dir(ladder.config.run_dir) / "design.json"
    key = _key(ladder.config, options)
    if _designed_before(path, key) is None:
        rungs = [asdict(rung) for rung in ladder.rungs]
        write_json(path, {"of": key, "budget_seconds": ladder.budget_seconds, "rungs": rungs})


def _key(config: RunConfig, options: LadderOptions) -> dict[str, Any]:
    return {"run": same_make(config), "asked": asdict(options)}


def _designed_before(path: Path, of: dict[str, Any]) -> tuple[float, list[Rung]] | None:
    """Return the budget and the rungs that were kept for this key; without options, those of any options."""
    found = read_json_or_none(path)
    try:
        is_same = found["of"] == of or (of["asked"] == asdict(LadderOptions()) and found["of"]["run"] == of["run"])
        return (float(found["budget_seconds"]), [Rung(**rung) for rung in found["rungs"]]) if is_same else None
    except (KeyError, TypeError, ValueError):
        return None


class Sizes:
    """Makes rungs of models and lengths, with what each would take here."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._step_seconds = machinery(config).step.seconds.median
        self._relative_step = relative_step(config, COMMON_DTYPE)

    def target(self) -> Rung:
        around = around_steps(self._config, self._step_seconds)
        return self._rung(self._config, self._step_seconds, sum(part.median for part in around.values()))

    def candidates(self) -> list[Rung]:
        """Return every rung that could be made: smaller models, and shares of the run's length."""
        train = self._config.train
        lengths = sorted({round(train.num_steps * share) for share in TOKEN_SHARES})
        found = []
        for model in scaled_shapes(self._config.model):
            smaller = self._config.model_copy(update={"model": model})
            step_seconds = self._step_seconds * relative_step(smaller, COMMON_DTYPE) / self._relative_step
            for num_steps in (steps for steps in lengths if steps >= MIN_RUNG_STEPS):
                changes = {"num_steps": num_steps, "validate_every": num_steps, "validation_sequences": ALL_ROWS}
                changes["num_probes"] = _num_probes(train) if model == self._config.model else 0
                config = smaller.model_copy(update={"train": train.model_copy(update=changes)})
                found.append(self._rung(config, step_seconds, training_rest(config, step_seconds)))
        return found

    def _rung(self, config: RunConfig, step_seconds: float, other_seconds: float) -> Rung:
        model, train = config.model, config.train
        return Rung(
            **{name: getattr(model, name) for name in SHAPE},
            num_steps=train.num_steps,
            params=float(count_parameters(model).total),
            tokens=float(train.num_steps * train.batch_tokens),
            flops=float(flops_per_token(model, train.half_length_fraction) * train.num_steps * train.batch_tokens),
            seconds=train.num_steps * step_seconds + other_seconds,
        )


def _num_probes(train: TrainSettings) -> int:
    """Return the probes of the rung of the run's own shape, from which the time of a probe is known."""
    return min(2, train.num_probes)


def rung_config(ladder: Ladder, rung: Rung) -> tuple[RunConfig, list[Reason]]:
    """Return the settings of a rung: the run's, with what depends on size and length by the rules."""
    train = ladder.config.train
    settings: dict[str, Any] = {
        "name": rung.name,
        **{f"model.{name}": getattr(rung, name) for name in SHAPE},
        "train.num_steps": rung.num_steps,
        "train.batch_tokens": train.batch_tokens,
        "train.validate_every": rung.num_steps,
        "train.save_every": -(-rung.num_steps // NUM_SAVES),
        "train.num_probes": _num_probes(train) if is_shape_of(rung, ladder.config) else 0,
        "train.validation_sequences": ALL_ROWS,
        # so that its text is read as often as the run's
        "mixture.share_of_text": ladder.config.mixture.share_of_text * min(1.0, rung.num_steps / train.num_steps),
    }
    given = {reason.setting for reason in ladder.reasons if reason.origin in ("user", "recipe")}
    if "schedule.warmup_steps" in given:
        share = ladder.config.schedule.warmup_steps / train.num_steps
        settings["schedule.warmup_steps"] = min(rung.num_steps, max(1, round(share * rung.num_steps)))
    if "train.microbatch_tokens" in given:
        settings["train.microbatch_tokens"] = train.microbatch_tokens
    config, reasons = load_run(
        ladder.run, [*ladder.overrides, *(f"{name}={value}" for name, value in settings.items())]
    )
    # not overrides: a folder's name may be anything
    return config.model_copy(update={"runs_dir": str(ladder_dir(ladder.config.run_dir))}), reasons


@dataclass(frozen=True)
class SmallRun:
    """A small run on the text of the run `beside`, in a folder of its own below that one's, and done once.

    It resumes from its own checkpoint; what it measured lies in `file`, under the key of its settings and text.
    """

    beside: RunConfig
    config: RunConfig
    reasons: list[Reason]
    file: str

    @property
    def key(self) -> str:
        """What its measurements depend on: its settings, but for where it lies, and the run's text."""
        settings = self.config.model_dump(mode="json") | {"mixture": self.config.mixture.as_key()}
        del settings["runs_dir"]
        return digest_json({"settings": settings, "text": stage_digest(Folders(self.beside.run_dir).tokens)})

    def measured(self) -> dict[str, Any] | None:
        """Return what `keep` wrote, when it was for these settings and this text."""
        found = read_json_or_none(self.config.run_dir / self.file)
        return found if isinstance(found, dict) and found.get("key") == self.key else None

    def keep(self, found: Mapping[str, Any]) -> None:
        write_json(self.config.run_dir / self.file, {"key": self.key, **found})

    def records(self, event: str | None = None) -> list[Record]:
        return read_records(self.config.run_dir / "records.jsonl", event)

    def train(self, display: Display, say: Say) -> bool:
        """Train it to its end, in a new folder where one of other settings or text is there; False after a signal."""
        from headwater.runs.training import train_stage

        folder, key = self.config.run_dir, {"key": self.key}
        if read_json_or_none(folder / "key.json") != key:
            remove_folder(folder)
            make_folder(folder)
            write_json(folder / "key.json", key)
        with owned(folder) as owner:
            tidy(Folders(folder))
            link_folder(Folders(folder).data, Folders(self.beside.run_dir).data)
            write_config(self.config, self.reasons, owner.require)
            return is_trained(self.config) or train_stage(self.config, display, say, require_owner=owner.require)
