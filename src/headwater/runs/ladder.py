"""Small runs of a run, trained and measured: what they say of it before it is paid for.

A rung is a run like any other, in RUN/ladder: the same mixture, batch and rules, a smaller model, fewer steps, and such
a part of the run's text that it is read as often.
It resumes from its own checkpoint, and a rung that is done isn't trained again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from headwater.checkpoint.lock import owned
from headwater.files import remove_leftovers, write_json
from headwater.forecast.ladder import Rung
from headwater.machine.load import LoadMeter
from headwater.records import read_records
from headwater.runs.ladder_design import Ladder, LadderOptions, design_ladder, keep_design, rung_config
from headwater.runs.ladder_record import (
    FORMAT,
    RUNG_FILE,
    DoneRung,
    done_rung,
    ladder_dir,
    same_make,
    same_speed,
    trained_rungs,
    write_table,
)
from headwater.runs.paths import Say
from headwater.runs.plan import load_note
from headwater.runs.plan_machine import machinery
from headwater.runs.plan_time import validated_tokens
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.small_run import begin_small_run, keep_measured, measured_before, train_small_run
from headwater.runs.stages import is_trained, prepare_data
from headwater.runs.text_size import epochs_or_none, overall_epochs
from headwater.runs.times import around_steps_of, mean_step
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
    with owned(ladder.config.run_dir):
        remove_leftovers(ladder_dir(ladder.config.run_dir))
        here = machinery(ladder.config)
        done: list[DoneRung] = []
        for number, rung in enumerate(ladder.rungs, start=1):
            config, reasons = rung_config(ladder, rung)
            found = _known(ladder, config)
            if found is None:
                say(f"rung {number} of {len(ladder.rungs)}: {rung.name}, about {rung.seconds:.0f} s")
                begin_small_run(ladder.config, config)
                # a GPU waits for no other process
                meter = None if is_trained(config) or not here.is_processor else LoadMeter()
                if not train_small_run(ladder.config.run_dir, config, reasons, make_display(config), say):
                    return None
                found = _measured(config, rung)
                busy = None if meter is None else meter.note(found.num_threads)
                if busy is not None:
                    found = replace(found, busy=busy)
                    say(
                        f"{busy} while this trained: its times aren't used. To measure a step again: "
                        "headwater plan RUN --probe"
                    )
                _keep(ladder, config, found)
            done.append(replace(found, rung=rung))
        folder = ladder_dir(ladder.config.run_dir)
        write_table(folder / "runs.csv", done, ladder.config.seed, overall_epochs(epochs_or_none(ladder.config)))
        record = {"format": FORMAT, "format_version": 1, "of": same_make(ladder.config)}
        record["speed"] = same_speed(ladder.config)
        write_json(folder / "ladder.json", record | {"rungs": [asdict(rung) for rung in done]})
        return done


def _known(ladder: Ladder, config: RunConfig) -> DoneRung | None:
    """Return what a rung measured, when it is done with these settings on this text."""
    found = measured_before(ladder.config, config, RUNG_FILE)
    try:
        return None if found is None else done_rung(found["rung"])
    except (KeyError, TypeError, ValueError):
        return None


def _measured(config: RunConfig, rung: Rung) -> DoneRung:
    records = read_records(config.run_dir / "records.jsonl")
    last = {record["event"]: record for record in records}
    device = last["start"]["device"]
    return DoneRung(
        rung=rung,
        loss=last["validation"]["bits_per_byte"],
        step_seconds=mean_step(records, config.train),
        seconds=last["finish"]["seconds"],
        dtype=device["dtype"],
        num_threads=device["cores"],
        device_name=device["name"],
        around=around_steps_of(records, validated_tokens(config), device["cores"]),
    )


def _keep(ladder: Ladder, config: RunConfig, found: DoneRung) -> None:
    keep_measured(ladder.config, config, RUNG_FILE, {"of": same_make(ladder.config), "rung": asdict(found)})
