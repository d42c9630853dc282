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
from headwater.forecast.ladder import MIN_RUNG_STEPS, Rung
from headwater.records import read_records
from headwater.runs.ladder_design import Ladder, LadderOptions, Sizes, rung_config
from headwater.runs.ladder_record import same_make
from headwater.runs.mixture import read_rows, train_rows
from headwater.runs.paths import Say, read_json_or_none, split_tokens
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.small_run import begin_small_run, keep_measured, measured_before, train_small_run
from headwater.runs.stages import prepare_data
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
    config = mixing.config
    with owned(config.run_dir):
        remove_leftovers(mixing.folder)
        trainer = _Trainer(mixing, make_display, say)
        try:
            losses = [trainer.losses(f"mixture-{at}", row, config.seed) for at, row in enumerate(mixing.weights)]
            table = np.array([[loss[name] for name in mixing.sources] for loss in losses])
            law = fit_mixture_law(mixing.sources, mixing.sources, mixing.weights, table)
            chance = np.random.default_rng(config.seed)
            found = propose(law, mixing.weights[0], mixing.most, mixing.importance, chance)
            seeds = range(config.seed + 1, config.seed + 1 + mixing.options.num_checks)
            checks = [_check(mixing, trainer, found, seed) for seed in seeds]
        except _Stopped:
            return None
        result = _result(mixing, law, found, checks)
        write_json(mixing.folder / "proposal.json", {"format": FORMAT, "format_version": 1, **asdict(result)})
        return result


class _Stopped(Exception):
    """A signal stopped a small run; all is saved."""


class _Trainer:
    """Trains the small runs of a search, one after another."""

    def __init__(self, mixing: Mixing, make_display: MakeDisplay, say: Say) -> None:
        self._mixing, self._make_display, self._say = mixing, make_display, say
        self._num_done = 0

    def losses(self, name: str, weights: FloatArray, seed: int) -> dict[str, float]:
        """Return the bits per byte by source of a small run, trained now or before; raise _Stopped after a signal."""
        mixing, beside = self._mixing, self._mixing.config
        config, reasons = rung_config(mixing.ladder, mixing.rung)
        chosen = dict(zip(mixing.sources, weights.tolist(), strict=True))
        mixture = MixtureSettings(weights=chosen, share_of_text=beside.mixture.share_of_text)
        changes = {"name": name, "runs_dir": str(mixing.folder), "seed": seed, "mixture": mixture}
        config = config.model_copy(update=changes)
        self._num_done += 1
        found = measured_before(beside, config, MEASURED_FILE)
        if found is None:
            shown = ", ".join(f"{source} {weight:.0%}" for source, weight in mixture.weights.items())
            self._say(f"small run {self._num_done} of {mixing.options.num_trained}: {shown}")
            begin_small_run(beside, config)
            if not train_small_run(beside.run_dir, config, reasons, self._make_display(config), self._say):
                raise _Stopped
            last = read_records(config.run_dir / "records.jsonl", "validation")[-1]
            found = {"loss": last["bits_per_byte"]}
            keep_measured(beside, config, MEASURED_FILE, found)
        return {source: float(found["loss"][source]) for source in mixing.sources}


def _check(mixing: Mixing, trainer: _Trainer, found: Proposal, seed: int) -> dict[str, Any]:
    """Train the run's own mixture and the proposal alike, with a seed that the proposal wasn't made with."""
    proposed = np.array([found.weights[name] for name in mixing.sources])
    own, new = trainer.losses(f"own-{seed}", mixing.weights[0], seed), trainer.losses(f"new-{seed}", proposed, seed)
    logs = (part * math.log(new[name] / own[name]) for name, part in mixing.importance.items())
    gain = 1 - math.exp(sum(logs) / sum(mixing.importance.values()))
    return {"seed": seed, "own": own, "proposed": new, "gain": gain}


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
