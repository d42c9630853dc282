"""Small runs of a run, trained and measured: what they say of it before it is paid for.

A rung is a run like any other, in RUN/ladder: the same text, mixture, batch and rules, a smaller model and fewer steps.
It goes on from its own checkpoint where it was interrupted, and a rung that is done isn't trained again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from statistics import fmean

from headwater.checkpoint.lock import owned
from headwater.files import digest_json, link_folder, make_folder, remove_folder, remove_leftovers, write_json
from headwater.optim.rules import Reason
from headwater.plan.before import plan_fields
from headwater.plan.ladder import Rung
from headwater.recipes.busy import busy_before
from headwater.recipes.ladder_design import Ladder, LadderWishes, design_ladder, keep_design, rung_config
from headwater.recipes.ladder_record import (
    FORMAT,
    DoneRung,
    done_rung,
    ladder_dir,
    same_make,
    same_speed,
    text_digest,
    trained_rungs,
    write_table,
)
from headwater.recipes.pace import Pacemaker
from headwater.recipes.planned_device import gpu_to_use
from headwater.recipes.run_config import RunConfig, load_run
from headwater.recipes.stages import (
    Folders,
    Say,
    Timings,
    is_trained,
    prepare_data,
    read_json_or_none,
    tidy,
    write_config,
)
from headwater.records import read_records
from headwater.train.loop import Display

MakeDisplay = Callable[[RunConfig], Display]


def prepare_ladder(run: str, overrides: list[str], wishes: LadderWishes, say: Say) -> Ladder:
    """Bring the run's text up to date and choose the rungs; raise ConfigError for a budget that no ladder fits in."""
    config, _ = load_run(run, overrides)
    with owned(config.run_dir) as owner:
        prepare_data(config, say, Timings(), owner.require)
        ladder = design_ladder(run, overrides, wishes)
        keep_design(ladder, wishes)
    if busy := busy_before():
        say(busy)
    num_done = len(trained_rungs(config, ladder.rungs))
    if 0 < num_done < len(ladder.rungs):
        say(f"{num_done} of {len(ladder.rungs)} rungs are trained; going on")
    return ladder


def climb(ladder: Ladder, make_display: MakeDisplay, say: Say) -> list[DoneRung] | None:
    """Train every rung that isn't done, and write the table; return None when a signal stopped it (all is saved)."""
    with owned(ladder.config.run_dir):
        remove_leftovers(ladder_dir(ladder.config.run_dir))
        done: list[DoneRung] = []
        for number, rung in enumerate(ladder.rungs, start=1):
            config, reasons = rung_config(ladder, rung)
            found = _known(ladder, config)
            if found is None:
                say(f"rung {number} of {len(ladder.rungs)}: {rung.name}, about {rung.seconds:.0f} s")
                _make_folder(ladder, config)
                display = make_display(config)
                # the pace is the processor's: beside a GPU it would say nothing and hold up its steps
                pacemaker = Pacemaker(display, time.perf_counter) if gpu_to_use(config.machine.device) is None else None
                if not _train(ladder, config, reasons, pacemaker or display, say):
                    return None
                found = _measured(ladder, config, rung, pacemaker.pace if pacemaker else None)
            done.append(replace(found, rung=rung))
        folder = ladder_dir(ladder.config.run_dir)
        write_table(folder / "runs.csv", done, ladder.config.seed)
        record = {"format": FORMAT, "format_version": 1, "of": same_make(ladder.config)}
        record["speed"] = same_speed(ladder.config)
        write_json(folder / "ladder.json", record | {"rungs": [asdict(rung) for rung in done]})
        return done


def _key(ladder: Ladder, config: RunConfig) -> str:
    settings = config.model_dump(mode="json")
    del settings["runs_dir"]
    return digest_json({"settings": settings, "text": text_digest(ladder.config)})


def _known(ladder: Ladder, config: RunConfig) -> DoneRung | None:
    """Return what a rung measured, when it is done with these settings on this text."""
    found = read_json_or_none(config.run_dir / "rung.json")
    try:
        return done_rung(found["rung"]) if found["key"] == _key(ladder, config) else None
    except (KeyError, TypeError, ValueError):
        return None


def _make_folder(ladder: Ladder, config: RunConfig) -> None:
    """Make a rung's folder, or leave the one begun before; one of other settings or text is removed."""
    key = {"key": _key(ladder, config)}
    if read_json_or_none(config.run_dir / "key.json") != key:
        remove_folder(config.run_dir)
        make_folder(config.run_dir)
        write_json(config.run_dir / "key.json", key)


def _train(ladder: Ladder, config: RunConfig, reasons: list[Reason], display: Display, say: Say) -> bool:
    from headwater.recipes.training import Circumstances, train_stage

    folder = config.run_dir
    with owned(folder) as owner:
        tidy(Folders(folder))
        link_folder(Folders(folder).data, Folders(ladder.config.run_dir).data)  # a rung reads the run's own text
        write_config(config, reasons, owner.require)
        if is_trained(config):
            return True
        num_tokens = config.train.num_steps * config.train.batch_tokens
        plan = plan_fields(config.model, config.optim, num_tokens, config.train.half_length_fraction)
        return train_stage(config, display, say, plan, Circumstances(require_owner=owner.require))


def _measured(ladder: Ladder, config: RunConfig, rung: Rung, pace: float | None) -> DoneRung:
    records = config.run_dir / "records.jsonl"
    device, finish = read_records(records, "start")[-1]["device"], read_records(records, "finish")[-1]
    found = DoneRung(
        rung=rung,
        loss=read_records(records, "validation")[-1]["bits_per_byte"],
        step_seconds=fmean(record["seconds"] for record in read_records(records, "step")[1:]),
        seconds=finish["seconds"],
        dtype=device["dtype"],
        num_threads=device["cores"],
        device_name=device["name"],
        pace=pace,
    )
    record = {"key": _key(ladder, config), "of": same_make(ladder.config), "rung": asdict(found)}
    write_json(config.run_dir / "rung.json", record)
    return found
