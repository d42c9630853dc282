"""The search for a mixture: small runs on other mixtures of a run's text, what they show, and a check of that.

RUN/mixing has `design.json` (the size of the small runs and the mixtures chosen), a folder for each small run, and
`proposal.json` when all are done. Each is trained once: the same command resumes where it was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from headwater.batches.mixture import make_plan
from headwater.batches.mixture_rules import USUAL_EPOCHS
from headwater.batches.settings import MixtureSettings
from headwater.checkpoint.lock import owned
from headwater.errors import ConfigError
from headwater.files import remove_leftovers, write_json
from headwater.runs.ladder_design import MIN_RUNG_STEPS, Ladder, LadderOptions, Sizes, SmallRun, rung_config
from headwater.runs.ladder_record import Rung, same_make
from headwater.runs.paths import Say, read_json_or_none, split_tokens
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.stages import prepare_data
from headwater.runs.text_size import read_rows, train_rows
from headwater.scaling.arrays import FloatArray
from headwater.scaling.mixture_law import (
    MIN_RUNS,
    MixtureLaw,
    Proposal,
    choose_mixtures,
    draw_mixtures,
    fit_mixture_law,
    propose,
)
from headwater.train.loop import Display

FORMAT = "headwater-mixing"
MEASURED_FILE = "mixture.json"
MIXING_SHARE = 1.0  # of the run's own time, where neither --share nor --minutes is given
NUM_CHOSEN_FROM = 2000

MakeDisplay = Callable[[RunConfig], Display]


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
    def config(self) -> RunConfig:
        return self.ladder.config

    @property
    def folder(self) -> Path:
        return self.config.run_dir / "mixing"


@dataclass(frozen=True)
class MixingResult:
    """What a search found; its fields are what `headwater corpus mixture --search --json` prints.

    forecast        the law's losses by source of the run's own mixture and of the proposal, and the gain of the second
    left_out_error  median relative error of a loss that is forecast from all other small runs
    rank            by source, how well such forecasts order the small runs (Spearman; 1 is perfectly)
    gain            mean of the checks': by which part the proposal lowers the geometric mean of losses; None unchecked
    """

    name: str
    rung: dict[str, Any]
    num_runs: int
    importance: dict[str, float]
    own: dict[str, float]
    proposed: dict[str, float]
    epochs: dict[str, float]
    forecast: dict[str, Any]
    left_out_error: float
    rank: dict[str, float]
    checks: list[dict[str, Any]]
    gain: float | None
    gain_least: float | None


def prepare_mixing(run: str, overrides: list[str], options: MixingOptions, say: Say) -> Mixing:
    """Bring the run's text up to date and choose size and mixtures; raise ConfigError where there is no choice."""
    config, _ = load_run(run, overrides)
    options.check(set(config.corpus.sources))
    if config.train.num_steps < MIN_RUNG_STEPS:  # before any work: no time would be enough
        raise ConfigError(
            f"{config.name} is too short to search a mixture for: it has {config.train.num_steps} steps, and a small "
            f"run, of its own model or a smaller one, needs {MIN_RUNG_STEPS} to show what a mixture does; raise "
            "train.num_steps"
        )
    with owned(config.run_dir) as owner:
        prepare_data(config, say, owner.require)
        mixing = _design(run, overrides, options)
        design = {"of": _key(mixing.config, options), "rung": asdict(mixing.rung), "weights": mixing.weights.tolist()}
        record = {"format": FORMAT, "format_version": 1, **design, "sources": list(mixing.sources)}
        write_json(mixing.folder / "design.json", record)
    return mixing


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
    share = options.share or (MIXING_SHARE if options.minutes is None else None)
    seconds = LadderOptions(options.minutes, share).budget_seconds(target.seconds)
    base, most = _bounds(config, rows, sources)
    found = read_json_or_none(config.run_dir / "mixing" / "design.json")
    try:
        is_same = found["of"] == _key(config, options)
        before = (Rung(**found["rung"]), np.array(found["weights"], dtype=float)) if is_same else None
    except (KeyError, TypeError, ValueError):
        before = None
    if before is None:
        chance = np.random.default_rng(config.seed)
        rung = _size(sizes.candidates(), seconds, options.num_trained)
        drawn = draw_mixtures(base, most, NUM_CHOSEN_FROM, chance)
        before = rung, choose_mixtures(base, drawn, options.num_runs, chance)
    rung, weights = before
    ladder = Ladder(run, overrides, config, reasons, target, [rung], [], seconds)
    real = [name for name in sources if config.corpus.sources[name].builtin != "almanac"] or list(sources)
    return Mixing(ladder, options, rung, sources, weights, most, options.importance or dict.fromkeys(real, 1.0))


def _bounds(config: RunConfig, rows: dict[str, int], sources: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Return the run's own shares, and the most that each source can give within its cap of epochs."""
    num_rows, different = config.num_rows, read_rows(config)
    shares = make_plan(rows, config.mixture, num_rows).shares(num_rows)
    caps = {name: config.mixture.cap_of(name) or USUAL_EPOCHS for name in sources}
    base = np.array([shares[name] for name in sources])
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


def search_mixture(mixing: Mixing, make_display: MakeDisplay, say: Say) -> MixingResult | None:
    """Train what isn't trained, fit, propose and check; return None after a signal: all is saved."""
    config, weights = mixing.config, mixing.weights
    checked = range(config.seed + 1, config.seed + 1 + mixing.options.num_checks)  # seeds that made no proposal
    with owned(config.run_dir):
        remove_leftovers(mixing.folder)
        tried = [(f"mixture-{at}", row, config.seed) for at, row in enumerate(weights)]
        losses = _losses(mixing, tried, make_display, say)
        if losses is None:
            return None
        law = fit_mixture_law(mixing.sources, weights, losses)
        found = propose(law, weights[0], mixing.most, mixing.importance, np.random.default_rng(config.seed))
        proposed = np.array([found.weights[name] for name in mixing.sources])
        both = {"own": weights[0], "new": proposed}
        again = [(f"{name}-{seed}", row, seed) for seed in checked for name, row in both.items()]
        after = _losses(mixing, again, make_display, say, num_before=len(tried))
        if after is None:
            return None
        result = _result(mixing, law, found, [_check(mixing, *each) for each in zip(checked, after[::2], after[1::2])])
        write_json(mixing.folder / "proposal.json", {"format": FORMAT, "format_version": 1, **asdict(result)})
        return result


def _losses(
    mixing: Mixing, runs: list[tuple[str, FloatArray, int]], make_display: MakeDisplay, say: Say, num_before: int = 0
) -> FloatArray | None:
    """Return the bits per byte (runs, sources) of small runs by name, weights and seed; None after a signal."""
    found = []
    for number, (name, weights, seed) in enumerate(runs, num_before + 1):
        config, reasons = rung_config(mixing.ladder, mixing.rung)
        chosen = dict(zip(mixing.sources, weights.tolist(), strict=True))
        mixture = MixtureSettings(weights=chosen, share_of_text=mixing.config.mixture.share_of_text)
        changes = {"name": name, "runs_dir": str(mixing.folder), "seed": seed, "mixture": mixture}
        run = SmallRun(mixing.config, config.model_copy(update=changes), reasons, MEASURED_FILE)
        measured = run.measured()
        if measured is None:
            shown = ", ".join(f"{source} {weight:.0%}" for source, weight in chosen.items())
            say(f"small run {number} of {mixing.options.num_trained}: {shown}")
            if not run.train(make_display(run.config), say):
                return None
            measured = {"loss": run.records("validation")[-1]["bits_per_byte"]}
            run.keep(measured)
        found.append([float(measured["loss"][source]) for source in mixing.sources])
    return np.array(found)


def _check(mixing: Mixing, seed: int, own: FloatArray, proposed: FloatArray) -> dict[str, Any]:
    """Return by which part the proposal lowered the geometric mean of the losses, by importance."""
    marks = np.array([mixing.importance.get(name, 0.0) for name in mixing.sources])
    gain = 1 - math.exp(float(np.log(proposed / own) @ marks) / marks.sum())
    by_source = [dict(zip(mixing.sources, losses.tolist(), strict=True)) for losses in (own, proposed)]
    return {"seed": seed, "own": by_source[0], "proposed": by_source[1], "gain": gain}


def _result(mixing: Mixing, law: MixtureLaw, found: Proposal, checks: list[dict[str, Any]]) -> MixingResult:
    rows, num_rows = read_rows(mixing.config), mixing.config.num_rows
    gains = [check["gain"] for check in checks]
    return MixingResult(
        name=mixing.config.name,
        rung=asdict(mixing.rung),
        num_runs=len(mixing.weights),
        importance=dict(mixing.importance),
        own=dict(zip(mixing.sources, mixing.weights[0].tolist(), strict=True)),
        proposed=found.weights,
        epochs={name: found.weights[name] * num_rows / max(rows[name], 1) for name in mixing.sources},
        forecast={"own": found.base_losses, "proposed": found.losses, "gain": found.gain},
        left_out_error=law.left_out_error,
        rank=law.rank,
        checks=checks,
        gain=fmean(gains) if gains else None,
        gain_least=min(gains) if gains else None,
    )
