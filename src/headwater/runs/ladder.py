"""Small runs of a run, trained and measured: what they say of it before it is paid for.

A rung is a run like any other, in RUN/ladder: the same mixture, batch and rules, a smaller model, fewer steps, and such
a part of the run's text that it is read as often.
It resumes from its own checkpoint, and a rung that is done isn't trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from headwater.checkpoint.lock import owned
from headwater.errors import ConfigError
from headwater.files import remove_leftovers, write_json
from headwater.forecast.result import Band
from headwater.machine.load import LoadMeter
from headwater.model.settings import ModelSettings
from headwater.runs.ladder_design import Ladder, LadderOptions, SmallRun, design_ladder, keep_design, rung_config
from headwater.runs.ladder_record import (
    BITS_PER_BYTE,
    FORMAT,
    RUNG_FILE,
    DoneRung,
    Rung,
    done_rung,
    ladder_dir,
    same_make,
    same_speed,
    size_of,
    table_of,
    trained_rungs,
    write_table,
)
from headwater.runs.paths import Say
from headwater.runs.plan import PlanOptions, RunPlan, load_note, plan_run
from headwater.runs.plan_machine import machinery
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.stages import is_trained, prepare_data
from headwater.runs.text_size import epochs_of
from headwater.runs.times import mean_step
from headwater.scaling.backtest import LEAST_FITTED
from headwater.scaling.design import worth_of_another
from headwater.scaling.estimator import ScalingLaw
from headwater.scaling.reach import forecast_refusal, forecast_warnings
from headwater.scaling.repetition import OWN
from headwater.scaling.table import with_epochs
from headwater.train.loop import Display

MakeDisplay = Callable[[RunConfig], Display]


def prepare_ladder(run: str, overrides: list[str], options: LadderOptions, say: Say) -> Ladder:
    """Bring the run's text up to date and choose the rungs; raise ConfigError for a budget that no ladder fits in."""
    config, _ = load_run(run, overrides)
    with owned(config.run_dir) as owner:
        prepare_data(config, say, owner.require)
        ladder = design_ladder(run, overrides, options)
        keep_design(ladder, options)
    if busy := load_note():
        say(busy)
    num_done = len(trained_rungs(config, ladder.rungs))
    if 0 < num_done < len(ladder.rungs):
        say(f"{num_done} of {len(ladder.rungs)} rungs are trained; resuming")
    return ladder


def climb(ladder: Ladder, make_display: MakeDisplay, say: Say) -> list[DoneRung] | None:
    """Train every rung that isn't done, and write the table; return None when a signal stopped it (all is saved)."""
    config, folder, done = ladder.config, ladder_dir(ladder.config.run_dir), list[DoneRung]()
    with owned(config.run_dir):
        remove_leftovers(folder)
        for number, rung in enumerate(ladder.rungs, start=1):
            run = SmallRun(config, *rung_config(ladder, rung), RUNG_FILE)
            found = _measured_before(run)
            if found is None:
                say(f"rung {number} of {len(ladder.rungs)}: {rung.name}, about {rung.seconds:.0f} s")
                found = _trained(run, rung, make_display(run.config), say)
                if found is None:
                    return None
                run.keep({"of": same_make(config), "rung": asdict(found)})
            done.append(replace(found, rung=rung))
        if under_load := [rung.rung.name for rung in done if rung.busy]:
            names = ", ".join(under_load)
            say(f"times of {names} aren't used: under load. To measure a step: headwater plan RUN --measure")
        write_table(folder / "runs.csv", done, config.seed, epochs_of(config).overall)
        record = {"format": FORMAT, "format_version": 1, "of": same_make(config), "speed": same_speed(config)}
        write_json(folder / "ladder.json", record | {"rungs": [asdict(rung) for rung in done]})
    return done


def _measured_before(run: SmallRun) -> DoneRung | None:
    found = run.measured()
    try:
        return None if found is None else done_rung(found["rung"])
    except (KeyError, TypeError, ValueError):
        return None


def _trained(run: SmallRun, rung: Rung, display: Display, say: Say) -> DoneRung | None:
    """Train a rung and return what it measured; None when a signal stopped it."""
    # a GPU waits for no other process
    meter = LoadMeter() if machinery(run.beside).is_processor and not is_trained(run.config) else None
    if not run.train(display, say):
        return None
    records = run.records()
    last = {record["event"]: record for record in records}
    device = last["start"]["device"]
    busy = None if meter is None else meter.note(device["cores"])
    return DoneRung(
        rung=rung,
        loss=last["validation"]["bits_per_byte"],
        step_seconds=mean_step(records, run.config.train),
        seconds=last["finish"]["seconds"],
        dtype=device["dtype"],
        num_threads=device["cores"],
        device_name=device["name"],
        busy=busy,
    )


@dataclass(frozen=True)
class LossForecast:
    """A band of bits per byte, or why there is none; `warnings` are what makes it less sure than it says."""

    band: Band | None
    refused: str | None = None
    warnings: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        return asdict(self.band) if self.band else {"p10": None, "p50": None, "p90": None, "refused": self.refused}


@dataclass(frozen=True)
class RungBacktest:
    """A larger rung as the smaller ones alone would have forecast it, and what it was."""

    name: str
    band: Band
    fact: float
    relative_error: float
    compute_ratio: float

    def fields(self) -> dict[str, Any]:
        measured = {"fact": self.fact, "relative_error": self.relative_error, "compute_ratio": self.compute_ratio}
        return {"name": self.name, **asdict(self.band), **measured}


@dataclass(frozen=True)
class AnotherRung:
    """The run that would narrow the forecast most, and to which part of its width."""

    name: str
    seconds: float
    narrows_to: float


@dataclass(frozen=True)
class LadderResult:
    """What a finished ladder says of its run: the loss by source and of "all", and how far to trust it."""

    ladder: Ladder
    done: Sequence[DoneRung]
    forecast: dict[str, LossForecast]
    backtest: list[RungBacktest]
    another: AnotherRung | None
    plan: RunPlan

    @property
    def seconds(self) -> float:
        return sum(rung.seconds for rung in self.done)

    @property
    def share(self) -> float:
        """Of the run's own time."""
        return self.seconds / self.ladder.target.seconds

    def fields(self) -> dict[str, Any]:
        """Return what `headwater ladder RUN --json` prints."""
        return {
            "name": self.ladder.config.name,
            "unit": BITS_PER_BYTE,
            "budget_seconds": self.ladder.budget_seconds,
            "seconds": self.seconds,
            "share": self.share,
            "rungs": [_rung_fields(rung) for rung in self.done],
            "forecast": {source: found.fields() for source, found in self.forecast.items()},
            "backtest": [found.fields() for found in self.backtest],
            "another": None if self.another is None else asdict(self.another),
            "plan": self.plan.fields(),
        }


def ladder_result(ladder: Ladder, done: Sequence[DoneRung]) -> LadderResult:
    """Return what the rungs of a ladder, all of them done, say of its run."""
    found = epochs_of(ladder.config)
    epochs = {name: max(1.0, times) for name, times in found.by_source.items()} | {"all": found.overall}
    return LadderResult(
        ladder=ladder,
        done=done,
        forecast={name: _forecast(ladder, done, name, epochs.get(name, 1.0)) for name in done[0].loss},
        backtest=backtest(done, ladder.config.model, epochs["all"]),
        another=another(ladder),
        plan=plan_run(ladder.config, PlanOptions()),
    )


def _rung_fields(done: DoneRung) -> dict[str, Any]:
    planned = asdict(done.rung) | {"planned_seconds": done.rung.seconds}
    measured = {"loss": done.loss["all"], "loss_by_source": done.loss, "seconds": done.seconds}
    return planned | measured | {"name": done.rung.name, "step_seconds": done.step_seconds}


def _forecast(ladder: Ladder, done: Sequence[DoneRung], source: str, epochs: float) -> LossForecast:
    model, target = ladder.config.model, ladder.target
    law = ScalingLaw(with_epochs(table_of(done, model, source), epochs), OWN)
    refused = forecast_refusal(law.runs, size_of(model), target.tokens)
    if refused:
        return LossForecast(None, refused)
    warnings = tuple(each.says for each in forecast_warnings(law.runs, size_of(model), target.tokens))
    return LossForecast(_band(law, target, size_of(model), epochs), warnings=warnings)


def _band(law: ScalingLaw, target: Rung, size: float, epochs: float) -> Band:
    unique = target.tokens / epochs
    return Band(*law.predict(size, target.tokens, unique_tokens=unique, total_params=target.params).band)


def backtest(done: Sequence[DoneRung], model: ModelSettings, epochs: float = 1.0) -> list[RungBacktest]:
    """Return each larger rung as the smaller ones alone would have forecast it; all read their text this often."""
    found = []
    for number in range(LEAST_FITTED, len(done)):
        rung, fact, rows = done[number].rung, done[number].loss["all"], table_of(done[: number + 1], model)
        law = ScalingLaw(with_epochs(rows.where(np.arange(number + 1) < number), epochs), OWN)
        band = _band(law, rung, float(rows.params[-1]), epochs)
        ratio = rung.flops / max(other.rung.flops for other in done[:number])
        found.append(RungBacktest(rung.name, band, fact, fact / band.p50 - 1, ratio))
    return found


def another(ladder: Ladder) -> AnotherRung | None:
    """Return the run that would narrow the forecast most, of no more time than the longest rung; None without any."""
    try:
        most = max(rung.seconds for rung in ladder.rungs)
        worth = worth_of_another(ladder.rungs, ladder.candidates, ladder.target, most)
    except ConfigError:
        return None
    return AnotherRung(worth.rung.name, worth.rung.seconds, worth.deviation_then / worth.deviation_now)
