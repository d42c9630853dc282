"""Which small runs a search for a mixture has: their size, and the mixtures that are tried. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.batches.mixture_rules import USUAL_EPOCHS
from headwater.checkpoint.lock import owned
from headwater.errors import ConfigError
from headwater.files import write_json
from headwater.forecast.ladder import MIN_RUNG_STEPS, Rung
from headwater.runs.ladder_design import Ladder, LadderOptions, Sizes
from headwater.runs.ladder_record import same_make
from headwater.runs.mixture_shares import read_rows, shares_of, train_rows
from headwater.runs.paths import Say, read_json_or_none, split_tokens
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.stages import prepare_data
from headwater.scaling.arrays import FloatArray
from headwater.scaling.mixture_law import MIN_RUNS, choose_mixtures, draw_mixtures

FORMAT = "headwater-mixing"
MIXING_SHARE = 1.0  # of the run's own time, where neither --share nor --minutes is given
NUM_CHOSEN_FROM = 2000


@dataclass(frozen=True)
class MixingOptions:
    """The options of a search.

    num_runs    mixtures to train
    num_checks  seeds with which the proposal and the run's own mixture are trained to compare them
    importance  {source: how much its text counts}; empty: all real text alike
    """

    minutes: float | None = None
    share: float | None = None
    num_runs: int = 12
    num_checks: int = 2
    importance: Mapping[str, float] | None = None

    def check(self, sources: set[str]) -> None:
        """Raise ConfigError for options that can't be."""
        if self.num_runs < MIN_RUNS:
            raise ConfigError(f"--runs {self.num_runs}: {MIN_RUNS} or more are needed to learn from")
        if self.num_checks < 0:
            raise ConfigError(f"--checks {self.num_checks}: give 0 or more")
        for name, value in (self.importance or {}).items():
            if name not in sources:
                raise ConfigError(f"--for {name}: no such source; sources: {', '.join(sorted(sources))}")
            if not 0 <= value < math.inf:
                raise ConfigError(f"--for {name}={value:g}: give a finite number, 0 or above")
        if self.importance and not any(self.importance.values()):
            raise ConfigError("--for gives no source any importance")

    @property
    def num_trained(self) -> int:
        return self.num_runs + 2 * self.num_checks


@dataclass(frozen=True)
class Mixing:
    """A search: the run, the size of the small runs, and the mixtures; the first is the run's own.

    weights  (mixtures, sources)
    most     how much of each source its text allows
    """

    ladder: Ladder
    options: MixingOptions
    rung: Rung
    sources: tuple[str, ...]
    weights: FloatArray
    most: FloatArray
    importance: Mapping[str, float]

    @property
    def folder(self) -> Path:
        return mixing_dir(self.ladder.config.run_dir)


def mixing_dir(run_dir: Path) -> Path:
    return run_dir / "mixing"


def prepare_mixing(run: str, overrides: list[str], options: MixingOptions, say: Say) -> Mixing:
    """Bring the run's text up to date and choose size and mixtures; raise ConfigError where there is no choice."""
    config, _ = load_run(run, overrides)
    options.check(set(config.corpus.sources))
    _require_steps(config)
    with owned(config.run_dir) as owner:
        prepare_data(config, say, owner.require)
        mixing = _design(run, overrides, options)
        path = mixing.folder / "design.json"
        design = {"of": _key(config, options), "rung": asdict(mixing.rung), "weights": mixing.weights.tolist()}
        write_json(path, {"format": FORMAT, "format_version": 1, **design, "sources": list(mixing.sources)})
    return mixing


def _require_steps(config: RunConfig) -> None:
    """Raise ConfigError, before any work, for a run too short to have a small run: no time would be enough."""
    if config.train.num_steps < MIN_RUNG_STEPS:
        raise ConfigError(
            f"{config.name} is too short to search a mixture for: it has {config.train.num_steps} steps, and a small "
            f"run, of its own model or a smaller one, needs {MIN_RUNG_STEPS} to show what a mixture does; raise "
            "train.num_steps"
        )


def _key(config: RunConfig, options: MixingOptions) -> dict[str, Any]:
    return {"run": same_make(config), "asked": [options.minutes, options.share, options.num_runs, options.num_checks]}


def _design(run: str, overrides: list[str], options: MixingOptions) -> Mixing:
    config, reasons = load_run(run, overrides)
    rows = train_rows(config)
    sources = tuple(sorted(rows))
    if len(sources) < 2:
        raise ConfigError(f"{config.name} has one source of text; a mixture needs two")
    held_out = split_tokens(config.run_dir, "validation") or {}
    if unmeasured := [name for name in sources if not held_out.get(name)]:
        raise ConfigError(
            f"nothing is held out of {', '.join(unmeasured)}, so what a mixture does for it can't be measured; give it "
            "more text, or take it out of corpus.sources"
        )
    sizes = Sizes(config)
    target = sizes.target()
    budget = LadderOptions(options.minutes, options.share or (MIXING_SHARE if options.minutes is None else None))
    seconds = budget.budget_seconds(target.seconds)
    base, most = _bounds(config, rows, sources)
    found = read_json_or_none(mixing_dir(config.run_dir) / "design.json")
    before = _designed_before(found, _key(config, options))
    if before is None:
        rung = _size(sizes.candidates(), seconds, options.num_trained)
        chance = np.random.default_rng(config.seed)
        drawn = draw_mixtures(base, most, NUM_CHOSEN_FROM, chance)
        before = rung, choose_mixtures(base, drawn, options.num_runs, chance)
    rung, weights = before
    ladder = Ladder(run, overrides, config, reasons, target, [rung], [], seconds)
    real = [name for name in sources if config.corpus.sources[name].builtin != "almanac"] or list(sources)
    return Mixing(ladder, options, rung, sources, weights, most, options.importance or dict.fromkeys(real, 1.0))


def _designed_before(found: Any, of: dict[str, Any]) -> tuple[Rung, FloatArray] | None:
    try:
        return (Rung(**found["rung"]), np.array(found["weights"], dtype=float)) if found["of"] == of else None
    except (KeyError, TypeError, ValueError):
        return None


def _bounds(config: RunConfig, rows: dict[str, int], sources: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Return the run's own shares, and the most that each source can give within its cap of epochs."""
    shares, num_rows = shares_of(config, rows), config.num_rows
    caps = {name: config.mixture.cap_of(name) or USUAL_EPOCHS for name in sources}
    base = np.array([shares[name] for name in sources])
    different = read_rows(config)
    most = np.array([min(1.0, caps[name] * different[name] / num_rows) for name in sources])
    return base, np.maximum(base, most)  # a run that reads a source more often than is usual may still do so


def _size(candidates: list[Rung], seconds: float, num_trained: int) -> Rung:
    """Return the size of most compute of which `num_trained` runs take no longer than `seconds`."""
    fitting = [rung for rung in candidates if rung.seconds * num_trained <= seconds]
    if not fitting:
        least = min(rung.seconds for rung in candidates)
        raise ConfigError(
            f"{seconds / num_trained:.1f} s a small run are too few: the smallest takes {least:.1f} s; give "
            f"--minutes {math.ceil(least * num_trained / 6) / 10:g}, or train fewer by --runs ({MIN_RUNS} at least) "
            "and --checks"
        )
    return max(fitting, key=lambda rung: rung.flops)
