"""Which rungs the ladder of a run has, what each takes here, and their settings. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.errors import ConfigError
from headwater.forecast.budget import MIN_RUN_STEPS
from headwater.model.count import flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.rules import Reason
from headwater.runs.hardware import hardware_of
from headwater.runs.ladder_record import Design, Rung
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.times import around_steps, training_rest
from headwater.scaling.design import LEAST_RATIO, MOST_RATIO, design, usable
from headwater.scaling.table import MIN_RUNS

ALL_ROWS = 1_000_000  # of each source, in a rung's validations: all there are
NUM_SAVES = 4  # of a rung, the last at its end
# so many make no run too good by its steepest part: rungs of 63 steps forecast one of 356 by 5 % too low, rungs of 178
# and more by 1.4 (docs/log.md, 2026-11-28). A short run has rungs of a quarter of its steps
ENOUGH_STEPS, ENOUGH_SHARE = 100, 0.25
SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
TOKEN_SHARES = tuple(2 ** (-half / 2) for half in range(0, 15))
DEFAULT_SHARES = (0.4, 0.5, 0.6)  # of the run's own time: the first in which a ladder fits, more for short runs
NUM_SHARES = 16  # tried where a ladder doesn't fit
SHARES_FROM_BASE, LEAST_STEPS_FROM_BASE = (1 / 16, 1 / 8, 1 / 4), 4  # of the tokens of a run from a base
SHAPE = ("num_layers", "d_model", "num_heads", "num_kv_heads", "head_dim", "d_ff")


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
    overrides: list[str]
    config: RunConfig
    reasons: list[Reason]
    target: Rung
    rungs: list[Rung]


def require_share(config: RunConfig, share: float | None) -> None:
    """Raise ConfigError for a share of the run's time that no ladder of it can be chosen by."""
    if share is not None and not 0 < share < math.inf:
        raise ConfigError(f"--share {share:g}: give a number above zero")
    if config.init is not None and share is not None:
        raise ConfigError(
            "--share chooses smaller models; a run from a base has three short runs of its own; remove it"
        )


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
    if len(allowed := usable(candidates, target)) < MIN_RUNS:
        raise ConfigError(
            f"the run is too short for a ladder: each of {MIN_RUNS} smaller runs needs 1/{MOST_RATIO:g} to "
            f"1/{LEAST_RATIO:g} of its compute and {MIN_RUN_STEPS} steps or more, and {len(allowed) or 'none'} is "
            f"possible; train the run itself, or raise train.num_steps to {4 * MIN_RUN_STEPS} or more"
        )
    given = shares[-1]
    most = max(sum(rung.seconds for rung in allowed) / target.seconds, 2 * given)
    for share in [*shares, *np.geomspace(given, most, NUM_SHARES)[1:].tolist()]:
        if (rungs := design(candidates, target, share * target.seconds)) is None:
            continue
        if share <= given:
            return rungs
        enough = math.ceil(100 * share) / 100
        raise ConfigError(
            f"a ladder of this run takes {share * target.seconds:.0f} s at least, {enough:.0%} of the run's own time, "
            f"and {given * target.seconds:.0f} s are given: train the run itself, or give --share {enough:g}"
        )
    raise ConfigError(
        f"no ladder of {MIN_RUNS} runs of this run has three sizes of model and as many lengths: train the run "
        "itself, or plan a larger model or a longer run"
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
            changes["validation_sequences"] = ALL_ROWS
            shorter = smaller.model_copy(update={"train": train.model_copy(update=changes)})
            candidates.append(_rung(shorter, seconds, training_rest(shorter, seconds)))
    return _rung(config, step_seconds, rest), candidates


def _rung(config: RunConfig, step_seconds: float, other_seconds: float) -> Rung:
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
    config, reasons = load_run(ladder.run, [*ladder.overrides, *changed])
    # not overrides: a folder's name may be anything
    return config.model_copy(update={"runs_dir": str(ladder.config.folders.ladder)}), reasons
