"""Small runs of a run, trained and measured: what they say of it before it is paid for.

A rung is a run like any other, in RUN/ladder: the same mixture, batch and rules, a smaller model, fewer steps, and such
a part of the run's text that it is read as often.
It resumes from its own checkpoint, and a rung that is done isn't trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from headwater.checkpoint.layout import require_from_training
from headwater.checkpoint.lock import owned
from headwater.files import link_folder, make_folder, move_folder, remove_leftovers
from headwater.numbers import duration
from headwater.records import read_records
from headwater.runs import rungs, stages
from headwater.runs.paths import Folders, Say, write_kept
from headwater.runs.plan import PlanOptions, RunPlan, load_note, plan_run
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.text import open_batches
from headwater.runs.text_size import epochs_of
from headwater.train.loop import Display

MakeDisplay = Callable[[RunConfig], Display]
OF_ANOTHER_RUN = """\
A ladder shares its run's folder and settings. Of the run as it was trained: headwater ladder {run_dir}
Of the run with the settings of now: give it another name (name=…)"""


def prepare_ladder(run: str, overrides: list[str], share: float | None, say: Say) -> rungs.Ladder:
    """Bring the run's text up to date and choose the rungs; raise ConfigError for a time that no ladder fits in."""
    config, reasons = load_run(run, overrides)
    rungs.require_share(config, share)
    require_from_training(config.run_dir)
    stages.require_settings_of_checkpoint(config, OF_ANOTHER_RUN.format(run_dir=config.run_dir))
    with owned(config.run_dir) as owner:
        stages.prepare_data(config, say, owner.require)
        stages.prepare_rows(config, say, owner.require)  # once: rungs have the run's data folder and seq_len
        folder, kept = config.folders.ladder, rungs.read_design(config)
        target, chosen = rungs.design_ladder(config, share, kept)
        if kept is None and folder.exists():
            _put_aside(folder, say)
        if kept is None or kept.rungs != chosen:
            make_folder(folder)
            write_kept(folder / "ladder.json", rungs.Design(rungs.make_of(config), share, chosen), owner.require)
    if busy := load_note():
        say(busy)
    return rungs.Ladder(run, overrides, config, reasons, target, chosen)


def _put_aside(folder: Path, say: Say) -> None:
    """Rename the folder of a ladder that isn't this run's: its rungs took hours, and its settings may come back."""
    aside = next(path for n in count(1) if not (path := folder.with_name(f"{folder.name}-{n}")).exists())
    say(
        f"{folder} is unreadable, or of other settings or another text: it is kept as {aside.name} beside the new one; "
        "remove it, or rename it back to resume it"
    )
    move_folder(folder, aside)


def climb(ladder: rungs.Ladder, make_display: MakeDisplay, say: Say) -> list[rungs.DoneRung] | None:
    """Train every rung that isn't done, and write the table; return None when a signal stopped it (all is saved)."""
    config, folder, done = ladder.config, ladder.config.folders.ladder, list[rungs.DoneRung]()
    say_once = _once(say)
    with owned(config.run_dir):
        remove_leftovers(folder)
        for number, rung in enumerate(ladder.rungs, start=1):
            if (found := rungs.done_rung(config, rung)) is None:
                say(f"rung {number} of {len(ladder.rungs)}: {rung.name}, about {duration(rung.seconds)}")
                found = _train(ladder, rung, make_display, say_once)
            if found is None:
                say(f"{number - 1} of {len(ladder.rungs)} rungs are trained; the same command resumes")
                return None
            done.append(found)
        rungs.write_table(folder / "runs.csv", done, config.seed, epochs_of(config).overall)
    return done


def _once(say: Say) -> Say:
    """Return what says of several rungs' lines, which are about one machine, each once."""
    from headwater.runs.training import NOT_LEARNED

    said = set[str]()

    def say_new(line: str) -> None:
        what = NOT_LEARNED if line.endswith(NOT_LEARNED) else line  # after a load that differs from rung to rung
        if what not in said:
            said.add(what)
            say(line)

    return say_new


def _train(ladder: rungs.Ladder, rung: rungs.Rung, make_display: MakeDisplay, say: Say) -> rungs.DoneRung | None:
    """Train a rung and return what it measured, which is kept in its folder; None when a signal stopped it."""
    from headwater.runs.training import train_stage

    config, reasons = rungs.rung_config(ladder, rung)
    folder = config.run_dir
    make_folder(folder)
    with owned(folder) as owner:
        stages.tidy(Folders(folder))
        link_folder(Folders(folder).data, ladder.config.folders.data)
        stages.write_config(config, reasons, owner.require)
        if not stages.is_trained(config):
            batches, display = open_batches(config), make_display(config)
            if not train_stage(config, batches, display, say, require_owner=owner.require):
                return None
    validations, finishes = (read_records(folder / "records.jsonl", event) for event in ("validation", "finish"))
    base = None if config.init is None else validations[0]["bits_per_byte"]
    done = rungs.DoneRung(rung, validations[-1]["bits_per_byte"], finishes[-1]["seconds"], base)
    write_kept(rungs.rung_file(ladder.config, rung), done)
    return done


@dataclass(frozen=True)
class RungBacktest:
    """A larger rung as the smaller ones alone would have forecast it, and what it was."""

    name: str
    p10: float
    p50: float
    p90: float
    fact: float
    relative_error: float


@dataclass(frozen=True)
class LadderResult:
    """What a finished ladder says of its run, the loss within its plan, and how far to trust it.

    `share` is its time over the run's own, `best` the rung of the least loss: the baseline that a forecast must beat.
    """

    ladder: rungs.Ladder
    done: Sequence[rungs.DoneRung]
    backtest: list[RungBacktest]
    plan: RunPlan
    seconds: float
    share: float
    best: rungs.DoneRung


def ladder_result(ladder: rungs.Ladder, done: Sequence[rungs.DoneRung]) -> LadderResult:
    """Return what the rungs of a ladder, all of them done, say of its run."""
    config, seconds = ladder.config, sum(each.seconds for each in done)
    found = backtest(config, done) if config.init is None else []  # one size has no law
    plan, best = plan_run(config, PlanOptions()), min(done, key=lambda each: each.loss["all"])
    return LadderResult(ladder, done, found, plan, seconds, seconds / ladder.target.seconds, best)


def backtest(config: RunConfig, done: Sequence[rungs.DoneRung]) -> list[RungBacktest]:
    """Return each larger rung as the smaller ones alone would have forecast it."""
    found = []
    for place in range(rungs.LEAST_FITTED, len(done)):
        rung, fact = done[place].rung, done[place].loss["all"]
        band = rungs.loss_by_rungs(config, done[:place], rung).band()
        found.append(RungBacktest(rung.name, band.p10, band.p50, band.p90, fact, fact / band.p50 - 1))
    return found
