"""Small runs of a run, trained and measured: what they say of it before it is paid for.

A rung is a run like any other, in RUN/ladder: the same mixture, batch and rules, a smaller model, fewer steps, and such
a part of the run's text that it is read as often.
It resumes from its own checkpoint, and a rung that is done isn't trained again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from headwater.core.errors import ConfigError
from headwater.core.files import link_folder, make_folder, remove_leftovers
from headwater.core.numbers import duration, significant
from headwater.core.records import read_records
from headwater.plan import rungs
from headwater.plan.forecast.result import Band
from headwater.plan.run_plan import load_note, plan_run
from headwater.runfile.given import Override
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.paths import Folders, Say, write_kept
from headwater.runfile.run_config import RunConfig, made_for, train_plan
from headwater.runs import stages
from headwater.runs.stages import open_batches
from headwater.runs.training import NOT_LEARNED, train_stage
from headwater.train.checkpoint.layout import require_from_training
from headwater.train.checkpoint.lock import owned
from headwater.train.loop import Display
from headwater.train.resume import changes, differing, is_trained, require_settings

MakeDisplay = Callable[[RunConfig], Display]
MOST_OF = 0.9  # of the share that was given: of less a line says why no more is taken


def run_ladder(
    run: str, overrides: Sequence[str | Override], share: float | None, make_display: MakeDisplay, say: Say
) -> dict[str, Any] | None:
    """Train the rungs that aren't done, and return what they tell of the run; None when a signal stopped it."""
    ladder = prepare_ladder(run, overrides, share, say)
    taken = sum(rung.seconds for rung in ladder.rungs) / ladder.target.seconds
    if share is not None and taken < MOST_OF * share:
        say(f"--share {share:g}: the rungs take {significant(taken, 2)} of the run's time; costlier ones tell no more")
    done = climb(ladder, make_display, _once(say))
    return None if done is None else _fields(ladder, done)


def prepare_ladder(run: str, overrides: Sequence[str | Override], share: float | None, say: Say) -> rungs.Ladder:
    """Bring the run's text up to date and choose the rungs; raise ConfigError for a time that no ladder fits in."""
    config, reasons = load_with_kept(run, overrides)
    if share is not None and (config.init is not None or not 0 < share < math.inf):
        raise ConfigError(f"--share {share:g}: give a number above zero; of a run from a base, remove it")
    require_from_training(config.run_dir)
    with owned(config.run_dir):
        stages.prepare_data(config, say)
        stages.prepare_rows(config, say)  # once: rungs have the run's data folder and seq_len
        folder, kept = config.folders.ladder, rungs.read_design(config)
        remove_leftovers(folder)
        if kept is None and any(folder.glob("*")):
            lines = [f"{folder} is damaged"]
            if (other := rungs.kept_design(config)) is not None:
                both = other.made_for, made_for(config)
                lines = [f"{folder} was trained with other settings:", *changes(*both, differing(*both))]
            raise ConfigError("\n".join([*lines, "Rename it or remove it, or give the run another name (name=…)"]))
        target, chosen = rungs.design_ladder(config, share, kept)
        if kept is None or kept.rungs != chosen:
            make_folder(folder)
            write_kept(folder / "ladder.json", rungs.Design(made_for(config), share, chosen))
    if busy := load_note():
        say(busy)
    return rungs.Ladder(run, overrides, config, reasons, target, chosen)


def climb(ladder: rungs.Ladder, make_display: MakeDisplay, say: Say) -> list[rungs.DoneRung] | None:
    """Train every rung that isn't done; return None when a signal stopped it (all is saved)."""
    config, done = ladder.config, list[rungs.DoneRung]()
    with owned(config.run_dir):
        for number, rung in enumerate(ladder.rungs, start=1):
            if (found := rungs.done_rung(config, rung)) is None:
                say(f"rung {number} of {len(ladder.rungs)}: {rung.name}, about {duration(rung.seconds)}")
                found = _train(ladder, rung, make_display, say)
            if found is None:
                say(f"{number - 1} of {len(ladder.rungs)} rungs are trained; the same command resumes")
                return None
            done.append(found)
    return done


def _train(ladder: rungs.Ladder, rung: rungs.Rung, make_display: MakeDisplay, say: Say) -> rungs.DoneRung | None:
    """Train a rung and return what it measured, which is kept in its folder; None when a signal stopped it."""
    config, reasons = rungs.rung_config(ladder, rung)
    folder = config.run_dir
    make_folder(folder)
    with owned(folder):
        stages.tidy(Folders(folder))
        link_folder(Folders(folder).data, ladder.config.folders.data)
        require_settings(folder, train_plan(config))
        stages.write_config(config, reasons)
        if not is_trained(config.run_dir, config.train.num_steps):
            batches, display = open_batches(config), make_display(config)
            if not train_stage(config, batches, display, say):
                return None
    validations, finishes = (read_records(folder / "records.jsonl", event) for event in ("validation", "finish"))
    base = None if config.init is None else validations[0]["bits_per_byte"]
    done = rungs.DoneRung(rung, validations[-1]["bits_per_byte"], finishes[-1]["seconds"], base)
    write_kept(rungs.rung_file(ladder.config, rung), done)
    return done


def backtest(ladder: rungs.Ladder, done: Sequence[rungs.DoneRung]) -> list[tuple[rungs.DoneRung, Band]]:
    """Return each larger rung, and the loss that the smaller ones alone would have forecast; of one size nothing."""
    places = range(rungs.LEAST_FITTED, len(done)) if ladder.config.init is None else ()
    return [(done[at], rungs.loss_by_rungs(ladder.config, done[:at], done[at].rung).band()) for at in places]


def _once(say: Say) -> Say:
    """Return what says of several rungs' lines, which are about one machine, each once."""
    said = set[str]()

    def say_new(line: str) -> None:
        what = NOT_LEARNED if line.endswith(NOT_LEARNED) else line  # after a load that differs from rung to rung
        if what not in said:
            said.add(what)
            say(line)

    return say_new


def _fields(ladder: rungs.Ladder, done: Sequence[rungs.DoneRung]) -> dict[str, Any]:
    """Return what a finished ladder tells; the best rung is the baseline that a forecast must beat."""
    plan, seconds = plan_run(ladder.config), sum(each.seconds for each in done)
    return {
        "name": ladder.config.name,
        "unit": "bits per byte",
        "seconds": seconds,
        "share": seconds / ladder.target.seconds,
        "rungs": [
            {
                **{name: getattr(each.rung, name) for name in ("name", "num_steps", "params", "tokens", "flops")},
                "num_layers": each.rung.model.num_layers,
                "d_model": each.rung.model.d_model,
                "planned_seconds": each.rung.seconds,
                "seconds": each.seconds,
                "loss": each.loss["all"],
                "loss_by_source": each.loss,
            }
            for each in done
        ],
        "forecast": plan["loss"],
        "from_base": plan["from_base"],
        "best_rung": min(each.loss["all"] for each in done),
        "backtest": [
            {"name": each.rung.name, **asdict(band), "fact": each.loss["all"]}
            | {"relative_error": each.loss["all"] / band.p50 - 1}
            for each, band in backtest(ladder, done)
        ],
        "plan": plan,
    }
