"""The rungs of a run's ladder: what they left in its folder, which to train, and their settings. No torch.

RUN/ladder has the rungs that were chosen in `ladder.json`, and a folder for each, with `rung.json` when that is done.
All of it counts as long as settings and text are those of `ladder.json`; else the next ladder is refused until the
folder is renamed or removed. What steps took is in the `times.json` of their folders, as that of any run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from headwater.core.errors import ConfigError
from headwater.core.files import digest_json
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.plan.forecast.result import TRAINING_PARTS, Spread
from headwater.plan.hardware import hardware_of
from headwater.plan.scaling.surface import LEAST_RATIO, MOST_RATIO, Surface, design
from headwater.plan.scaling.table import MIN_RUN_STEPS, MIN_RUNS, Runs, penalty
from headwater.plan.text_size import epochs_of
from headwater.plan.times import around_steps
from headwater.runfile.checking import Reason
from headwater.runfile.given import Override
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.paths import of_split, read_kept
from headwater.runfile.run_config import RunConfig, made_for

Bits = Annotated[float, Field(strict=True, gt=0, lt=1e6)]
ALL_ROWS = 1_000_000  # of each source, in a rung's validations: all there are
NUM_SAVES = 4  # of a rung, the last at its end
# of fewer most are warm-up and decay; rungs of 88 lay on one surface with longer ones (docs/log.md, 2026-11-30). A
# short run has rungs of a quarter of its steps
ENOUGH_STEPS, ENOUGH_SHARE = 80, 0.25
SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
TOKEN_SHARES = tuple(2 ** (-half / 2) for half in range(0, 15))
DEFAULT_SHARES = (0.4, 0.5, 0.6)  # of the run's own time: the first in which a ladder fits, more for short runs
SHARES_FROM_BASE, LEAST_STEPS_FROM_BASE = (1 / 16, 1 / 8, 1 / 4), 4  # of the tokens of a run from a base
LEAST_FITTED = 4  # rungs that say anything of a larger one
SHAPE = ("num_layers", "d_model", "num_heads", "num_kv_heads", "head_dim", "d_ff")


@dataclass(frozen=True)
class Rung:
    """One run: its model, its length, and what it takes."""

    model: ModelSettings
    num_steps: int
    tokens: float
    flops: float
    seconds: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.model.num_layers, self.model.d_model

    @property
    def params(self) -> float:
        return float(count_parameters(self.model).total)

    @property
    def size(self) -> float:
        """Parameters of matrix products: those that a ladder's forecast counts."""
        return float(count_parameters(self.model).matmul)

    @property
    def name(self) -> str:
        return f"{self.model.num_layers}x{self.model.d_model}-{self.num_steps}"


@dataclass(frozen=True)
class DoneRung:
    """A rung and what it measured. `loss` has bits per byte of held-out text, by source and of "all".

    `base` has those of the model that a run starts from, before its first step.
    """

    rung: Rung
    loss: dict[str, Bits]
    seconds: float
    base: dict[str, Bits] | None = None


@dataclass(frozen=True)
class Design:
    """`ladder.json`: the rungs that were chosen for a run, smallest compute first; all were `made_for` the same.

    `share` is the part of the run's own time that was given, None where none was.
    """

    made_for: dict[str, Any]
    share: float | None
    rungs: list[Rung]
    format: Literal["headwater-ladder"] = "headwater-ladder"
    format_version: Literal[4] = 4


def read_design(config: RunConfig) -> Design | None:
    """Return the rungs that were chosen for this run; None where settings or text have changed since."""
    found = kept_design(config)
    return found if found is not None and digest_json(found.made_for) == digest_json(made_for(config)) else None


def kept_design(config: RunConfig) -> Design | None:
    """Return the rungs that lie in a run's folder, whatever they were made for."""
    return read_kept(config.folders.ladder / "ladder.json", Design)


def rung_file(config: RunConfig, rung: Rung) -> Path:
    return config.folders.ladder / rung.name / "rung.json"


def done_rung(config: RunConfig, rung: Rung) -> DoneRung | None:
    """Return what a rung of this run's ladder measured; None where it isn't done."""
    found = read_kept(rung_file(config, rung), DoneRung)
    return replace(found, rung=rung) if found is not None and "all" in found.loss else None


def read_ladder(config: RunConfig) -> list[DoneRung]:
    """Return the rungs of this run's finished ladder; none where one is missing, or settings or text have changed."""
    design = read_design(config)
    found = [done_rung(config, rung) for rung in design.rungs] if design else []
    done = [rung for rung in found if rung is not None]
    return done if len(done) == len(found) else []


def ladder_runs(config: RunConfig) -> Runs | None:
    """Return the rungs of this run's finished ladder as a table of bits per byte; None without one of several sizes."""
    if config.init is not None or not (done := read_ladder(config)):
        return None
    epochs = epochs_of(config).overall
    params, tokens, loss = np.array([(each.rung.params, each.rung.tokens, each.loss["all"]) for each in done]).T
    return Runs(params, tokens, loss, unique=tokens / epochs if epochs > 1 else None)


def loss_by_rungs(config: RunConfig, done: Sequence[DoneRung], target: Rung) -> Spread:
    """Return the bits per byte of a run, or of a larger rung of its ladder: those of its sources, weighted by bytes.

    Sources level off at different times, so that their mean lies on no surface of second degree, as each of them does.
    """
    runs, epochs = [*(each.rung for each in done), target], epochs_of(config).overall
    sizes, params, tokens = (np.array([getattr(run, name) for run in runs]) for name in ("size", "params", "tokens"))
    surface = Surface(sizes, tokens, penalty(params, tokens, tokens / epochs))
    weights = {"all": 1}
    if not config.is_tuned and (held_out := of_split(config.run_dir, "validation", "num_bytes")) is not None:
        weights = {name: num_bytes for name, num_bytes in held_out.items() if name in done[0].loss} or weights
    found = [surface.forecast([each.loss[name] for each in done]) for name in weights]
    median, deviation = np.average(found, axis=0, weights=list(weights.values()))  # sources are off together
    return Spread(float(median), float(deviation))


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
    if scale == 1.0:
        return {}
    group = model.num_heads // model.num_kv_heads
    num_heads, head_dim = max(1, round(model.num_kv_heads * scale)) * group, model.head_dim
    if model.num_kv_heads == 1:
        head_dim = min(head_dim, max(8, round(head_dim * scale / 8) * 8))
    ratio = num_heads * head_dim / (model.num_heads * model.head_dim)
    return {
        "d_model": max(2, round(model.d_model * ratio)),
        "num_heads": num_heads,
        "num_kv_heads": num_heads // group,
        "head_dim": head_dim,
        "d_ff": max(32, round(model.d_ff * ratio / 32) * 32) if ratio < 1 else model.d_ff,
    }


@dataclass(frozen=True)
class Ladder:
    """The run that is forecast, and its rungs, smallest compute first."""

    run: str
    overrides: Sequence[str | Override]
    config: RunConfig
    reasons: list[Reason]
    target: Rung
    rungs: list[Rung]


def design_ladder(config: RunConfig, share: float | None, kept: Design | None) -> tuple[Rung, list[Rung]]:
    """Return a run, and the rungs that take at most `share` of its time: those `kept`, where they were chosen for that.

    Raises ConfigError for a time that no ladder fits in.
    """
    target, candidates = _sizes(config)
    # forecasts of times differ from call to call, and so would the choice
    if kept is not None and share in (kept.share, None):
        return target, kept.rungs
    if config.init is None:
        return target, choose_rungs(candidates, target, [share] if share else DEFAULT_SHARES)
    if len(candidates) < len(SHARES_FROM_BASE):
        raise ConfigError(
            "the run is too short for short runs of it, of 1/16 to 1/4 of its steps: train the run itself, or raise "
            f"train.num_steps to {math.ceil(LEAST_STEPS_FROM_BASE / SHARES_FROM_BASE[0])} or more"
        )
    return target, candidates


def choose_rungs(candidates: list[Rung], target: Rung, shares: Sequence[float]) -> list[Rung]:
    """Return the rungs of the first share of the target's time that a ladder fits in.

    Raises ConfigError where it fits in none, and says what would do instead.
    """
    allowed = [rung for rung in candidates if LEAST_RATIO <= target.flops / rung.flops <= MOST_RATIO]
    if len(allowed) < MIN_RUNS:
        raise ConfigError(
            f"the run is too short for a ladder: each of {MIN_RUNS} smaller runs needs 1/{MOST_RATIO:g} to "
            f"1/{LEAST_RATIO:g} of its compute and {MIN_RUN_STEPS} steps or more, and {len(allowed)} of them can be "
            f"made; train the run itself, or raise train.num_steps={target.num_steps} or model.d_model"
        )
    seconds, is_own = np.array([rung.seconds for rung in allowed]), [rung.shape == target.shape for rung in allowed]
    size, tokens = ([getattr(rung, name) for rung in (*allowed, target)] for name in ("size", "tokens"))
    for share in shares:
        if (places := design(size, tokens, seconds, is_own, share * target.seconds)) is not None:
            return sorted((allowed[place] for place in places), key=lambda rung: rung.flops)
    least = np.sort(seconds)[:MIN_RUNS].sum()
    enough = math.ceil(100 * least / target.seconds) / 100
    raise ConfigError(
        f"a ladder of this run takes {least:.0f} s at least, {enough:.0%} of the run's own time, and "
        f"{shares[-1] * target.seconds:.0f} s are given: train the run itself, or give --share {enough:g}"
    )


def _sizes(config: RunConfig) -> tuple[Rung, list[Rung]]:
    """Return the run, and every rung that could be made: smaller models, and shares of the run's length.

    Of a run from a base the model is the base's, and the rungs are those that there are.
    """
    train, here = config.train, hardware_of(config)
    step_seconds, modelled = here.needs(config).step.median, here.modelled(config)
    rest = sum(part.median for part in around_steps(config, step_seconds).values())
    least = max(MIN_RUN_STEPS, min(ENOUGH_STEPS, int(ENOUGH_SHARE * train.num_steps)))
    shares, models = TOKEN_SHARES, scaled_shapes(config.model)
    if config.init is not None:
        least, shares, models = LEAST_STEPS_FROM_BASE, SHARES_FROM_BASE, [config.model]
    lengths = sorted({round(train.num_steps * share) for share in shares})
    candidates = []
    for model in models:
        smaller = config.model_copy(update={"model": model})
        seconds = step_seconds * here.modelled(smaller) / modelled
        for num_steps in (steps for steps in lengths if steps >= least):
            changes = {"num_steps": num_steps, "num_probes": 0, "validate_every": num_steps}
            shorter = smaller.with_train(**changes, validation_sequences=ALL_ROWS)
            others = [part.median for name, part in around_steps(shorter, seconds).items() if name in TRAINING_PARTS]
            candidates.append(rung_of(shorter, seconds, sum(others)))
    return rung_of(config, step_seconds, rest), candidates


def rung_of(config: RunConfig, step_seconds: float = 0.0, other_seconds: float = 0.0) -> Rung:
    """Return a run as a rung of its own."""
    model, train = config.model, config.train
    return Rung(
        model=model,
        num_steps=train.num_steps,
        tokens=float(train.num_steps * train.batch_tokens),
        flops=float(flops_per_token(model, train.half_length_fraction) * train.num_steps * train.batch_tokens),
        seconds=train.num_steps * step_seconds + other_seconds,
    )


def rung_config(ladder: Ladder, rung: Rung) -> tuple[RunConfig, list[Reason]]:
    """Return the settings of a rung: the run's, with what depends on size and length by the rules."""
    train = ladder.config.train
    settings: dict[str, Any] = {
        "name": rung.name,
        **{f"model.{name}": getattr(rung.model, name) for name in SHAPE},
        "train.num_steps": rung.num_steps,
        "train.batch_tokens": train.batch_tokens,
        "train.validate_every": rung.num_steps,
        "train.save_every": -(-rung.num_steps // NUM_SAVES),
        "train.num_probes": 0,
        "train.profile_steps": "off",
        # a smaller layer needn't divide
        "parallel.context": 1,
        "parallel.tensor": 1,
        "train.validation_sequences": ALL_ROWS,
        # so that its text is read as often as the run's
        "mixture.share_of_text": ladder.config.mixture.share_of_text * min(1.0, rung.num_steps / train.num_steps),
    }
    given = {reason.setting for reason in ladder.reasons if reason.origin in ("user", "recipe")}
    if "schedule.warmup_steps" in given:
        share = ladder.config.schedule.warmup_steps / train.num_steps
        settings["schedule.warmup_steps"] = min(rung.num_steps, max(1, round(share * rung.num_steps)))
    changed = [f"{name}={value}" for name, value in settings.items()]
    config, reasons = load_with_kept(ladder.run, [*ladder.overrides, *changed])
    # not overrides: a folder's name may be anything
    return config.model_copy(update={"runs_dir": str(ladder.config.folders.ladder)}), reasons
