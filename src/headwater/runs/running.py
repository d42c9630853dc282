"""A run file becomes a run: its stages in their order, for a command line and for a notebook; or what they would do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headwater.core.errors import HeadwaterError
from headwater.core.numbers import count
from headwater.core.records import Record, amount, held_out_score, text_scored
from headwater.machine.ranks.mesh import Layout, Mesh, Place
from headwater.runfile.checking import Reason
from headwater.runfile.damage import require_run_dir
from headwater.runfile.init import base_of, kept_base
from headwater.runfile.kept_settings import with_kept
from headwater.runfile.paths import RunFolder, Say, ignore
from headwater.runfile.run_config import RunConfig, train_plan
from headwater.runs.measures import computed_twice
from headwater.runs.outcome import outcomes_of
from headwater.runs.result import RunResult
from headwater.runs.run_data import read_run
from headwater.runs.stages import (
    Decision,
    Report,
    data_due,
    no_report,
    open_batches,
    prepare_data,
    prepare_rows,
    resume_longer_run,
    training_due,
    write_config,
)
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.lock import is_owned, owned
from headwater.train.resume import has_finished, is_trained, require_settings
from headwater.train.trackers import find_trackers, tracking

if TYPE_CHECKING:
    from headwater.machine.ranks.exchange import Ranks
    from headwater.runs.downstream import Aligned
    from headwater.train.loop import Replay


Display = Callable[[Record], None]
"What each record is given to as it is written."
MakeDisplay = Callable[[RunConfig], Display]
"Of the settings that the run is trained with."


@dataclass(frozen=True)
class Call:
    """How a run is called.

    place        which of several ranks this process is
    log          entered once it is known how the ranks lie: where the lines of another rank than the first go
    stop_within  seconds from a SIGTERM to its end; None: no limit
    last         the stage after which to end: report, or training
    report       what writes the run's report: `page.report.page.report_stage`
    here         the run's folder, where the caller has read of it; None: nobody has
    """

    place: Place = field(default_factory=Place)
    log: Callable[[], AbstractContextManager[None]] = nullcontext
    stop_within: float | None = None
    last: Literal["training", "report"] = "report"
    report: Report = no_report
    here: RunFolder | None = None


def run(
    config: RunConfig,
    reasons: Sequence[Reason] = (),
    make_display: MakeDisplay | None = None,
    say: Say = print,
    call: Call | None = None,
) -> RunResult:
    """Bring every stage up to date: corpus, tokenizer, tokens, training, evaluation, export, report, [downstream].

    In a notebook `headwater.run("first-light")` is this. `dry_run` says what it would do.

    `say` gets lines of progress, one every `train.log_every` steps among them unless `make_display` makes what gets the
    records. Of several ranks the first prepares and finishes; the others train. Raises HeadwaterError for what a person
    can mend and KeyboardInterrupt when a signal stops another stage than training, its name in a note.
    """
    call, started_at, aligned = call or Call(), time.perf_counter(), None
    here = call.here or RunFolder(config.run_dir)
    config, reasons = with_kept(config, reasons, here)
    require_possible(config)
    layout = layout_to_train(config, call.place, here)
    with call.log():  # what is refused before leaves nothing behind, and no log
        if call.place.rank:
            is_done = _follow(config, call)
            return RunResult("finished" if is_done else "stopped", config.run_dir, time.perf_counter() - started_at)
        with owned(config.run_dir):
            is_new = prepare_text(config, reasons, say, here)
            if training_due(config, here, is_new).action == "skip":
                say(f"training is up to date: {config.run_dir} has step {config.train.num_steps}")
                is_done = True
                if call.place.world_size > 1:
                    with _joined(config, call, None):  # the other ranks wait for the first
                        pass
            else:
                if layout is None:  # what is trained, and only compared, one process reads in any layout
                    is_whole = is_trained(here.run, config.train.num_steps, here.attempts())
                    layout = Layout() if is_whole else checked_layout(config, call.place)
                is_done = _plan_and_train(config, layout, make_display, say, call)
            if is_done and call.last == "report":
                from headwater.runs.finish import finish_run

                finish_run(config, say, call.report, here)
                if config.downstream is not None:
                    from headwater.runs.downstream import align_stage

                    aligned = align_stage(config, say, call.report)
                    is_done = aligned is not None
        return _result(here, is_done, time.perf_counter() - started_at, aligned)


def require_possible(config: RunConfig) -> None:
    """Raise HeadwaterError for what is missing here whatever the run's folder holds: a tracker, prompts, a reward."""
    find_trackers(config.train.trackers)
    if config.downstream is not None:
        from headwater.runs.downstream import require_alignable

        require_alignable(config)


def layout_to_train(config: RunConfig, place: Place, here: RunFolder) -> Layout | None:
    """Return how the ranks lie, None where one process finds the run trained: nothing is planned of it."""
    if place.world_size == 1 and has_finished(here.run, config.train.num_steps, here.attempts()):
        return None
    return checked_layout(config, place)


def checked_layout(config: RunConfig, place: Place) -> Layout:
    """Return how the ranks lie; raise ConfigError where they don't fill the layout or this machine is too small."""
    from headwater.plan.layout import layout_here, require_memory_here

    layout = layout_here(config, place)
    if not place.rank:
        require_memory_here(config, layout)
    return layout


def prepare_text(config: RunConfig, reasons: Sequence[Reason], say: Say, here: RunFolder) -> bool:
    """Bring the text and the settings in the folder up to date; return whether any text was made.

    Settings are compared with those of the checkpoints before anything is written (`prepare_data`); training compares
    the rows.
    """
    _check_base(config, say)
    made = prepare_data(config, say, here=here)
    if config.downstream is not None:
        from headwater.runs.downstream import require_prompts_fit

        require_prompts_fit(config)
    resume_longer_run(config, say, here)
    write_config(config, reasons, here)
    return bool(made)


def _check_base(config: RunConfig, say: Say) -> None:
    """Compare a base that is none of headwater's with transformers, before the run has anything of it."""
    base = base_of(config.base, config.folders)
    if base is not None and base.kind != "checkpoint" and not list_checkpoints(config.run_dir):
        from headwater.export.base.weights import check_base

        check_base(base, say)


def _plan_and_train(config: RunConfig, layout: Layout, make_display: MakeDisplay | None, say: Say, call: Call) -> bool:
    """Train with the other ranks, which the first one joins when it has the data open; return False if stopped.

    The forecast is made when it is known what the run computes in, before its first step. Where only a stage before was
    made again, nothing is left to train once the rows are found to be the checkpoint's.
    """
    prepare_rows(config, say)
    batches, trained = open_batches(config), config.with_layout(layout)
    display = make_display(config) if make_display else _lines_of_steps(config, say)
    settings = trained.model_dump(mode="json")
    with _joined(config, call, layout) as (ranks, _):
        from headwater.plan.run_plan import forecast_of_run
        from headwater.runs.training import train_stage

        def forecast(step: int, dtype: str) -> dict[str, Any] | None:
            return forecast_of_run(config, step, say, time.time, dtype, layout)

        if layout.why:
            say(f"layout: {layout.why}")
        within, measures = call.stop_within, call.last == "report"
        with tracking(config.train.trackers, config.run_dir, settings, say, display) as shown:
            return train_stage(
                trained, batches, shown, say, ranks, within, layout=layout, forecast=forecast, measures=measures
            )


def _follow(config: RunConfig, call: Call) -> bool:
    """Train as another rank than the first, if that finds anything to train; return False if stopped."""
    with _joined(config, call, None) as (ranks, layout):
        if layout is None:
            return True
        from headwater.runs.training import follow_training

        return follow_training(config.with_layout(layout), ranks, call.stop_within, measures=call.last == "report")


@contextmanager
def _joined(config: RunConfig, call: Call, layout: Layout | None) -> Iterator[tuple[Ranks, Layout | None]]:
    """Yield the ranks, which lie as the `layout` of the first one has it, and that; None: nothing is trained."""
    from headwater.machine.ranks.rendezvous import join_ranks  # torch

    silence_seconds, device = config.parallel.silence_seconds, config.machine.device
    with join_ranks(call.place, silence_seconds=silence_seconds, device=device) as ranks:
        found = ranks.from_first(None if layout is None else [asdict(layout.mesh), layout.recompute])
        if found is not None:
            layout = Layout(Mesh(**found[0]), call.place.local_world_size, recompute=found[1])
            ranks.lay_out_(layout.mesh)
        yield ranks, layout


def _lines_of_steps(config: RunConfig, say: Say) -> Display:
    num_steps = config.train.num_steps

    def show(record: Record) -> None:
        step = record["step"]
        if record["event"] == "step" and (step % config.train.log_every == 0 or step == num_steps):
            rate = f"{count(record['tokens_per_second'])} tokens/s  {computed_twice(record)}"
            say(f"step {step}/{num_steps}  loss {record['loss']:.3f}  {rate}".rstrip())

    return show


def replay(config: RunConfig, display: Display = ignore, say: Say = ignore) -> Replay:
    """Train a run a second time, beside itself and by its log of interventions, and compare bit by bit."""
    from headwater.export.base.weights import opener
    from headwater.train.loop import replay_training

    require_run_dir(config.run_dir)
    with owned(config.run_dir):
        plan = train_plan(config)
        open_base = opener(kept_base(config.base, config.folders), plan.base)
        return replay_training(config.run_dir, plan, open_batches(config), display, say, open_base)


def _result(here: RunFolder, is_done: bool, seconds: float, aligned: Aligned | None) -> RunResult:
    found = read_run(here.run, here)
    validation = found.last("validation")
    bits_per_byte, is_of_all = held_out_score(validation, found.evaluation)
    return RunResult(
        status="finished" if is_done else "stopped",
        folder=here.run,
        seconds=seconds,
        step=int(amount(found.last("step"), "step") or 0),
        trained_seconds=amount(found.last("finish"), "seconds") or 0.0,
        loss=amount(validation, "loss", "all"),
        bits_per_byte=bits_per_byte,
        scored=text_scored({"is_of_all": is_of_all}),
        evaluation=dict(found.evaluation),
        outcomes=tuple(outcomes_of(found)),
        aligned=aligned,
    )


IsShown = Callable[[RunFolder], bool]


@dataclass(frozen=True)
class DryRun:
    """What `run` would do.

    stages   each with its action (do, resume, skip, refuse) and why
    plan     what `headwater plan RUN --json` prints; None of what is trained, or refused before it can be planned
    refused  why the run would be refused; () where it wouldn't, as far as can be known without doing anything
    """

    folder: Path
    stages: tuple[Decision, ...]
    plan: dict[str, Any] | None
    refused: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """Return what `headwater run --dry-run --json` prints."""
        return asdict(self) | {"folder": str(self.folder)}


def dry_run(
    config: RunConfig, reasons: Sequence[Reason], place: Place | None = None, is_shown: IsShown = lambda here: False
) -> DryRun:
    """Return what `run` would do with these settings, as far as what is there tells; nothing is written.

    `reasons` are those of `load_run`: what a rule made of a run that is begun stays as it is in its checkpoints.
    `is_shown` says whether the report shows all that a run's folder holds: `page.report.page.is_shown`.
    """
    place, here, refused = place or Place(), RunFolder(config.run_dir), list[str]()
    config, _ = with_kept(config, reasons, here)
    if is_owned(here.run):
        refused.append(f"{here.run} is in use by another process")
    layout: Layout | None = None
    try:
        require_possible(config)
        layout = layout_to_train(config, place, here)
    except HeadwaterError as error:
        refused.append(str(error))
    found = list(_decisions(config, here, is_shown))
    refused += [each.why for each in found if each.action == "refuse"]
    plan = None
    if any(each.stage == "training" and each.action in ("do", "resume") for each in found):
        from headwater.plan.run_plan import plan_run

        try:
            plan = plan_run(config, layout=layout)
        except HeadwaterError as error:  # a run is trained without one
            found.append(Decision("plan", "skip", str(error)))
    return DryRun(config.run_dir, tuple(found), plan, tuple(dict.fromkeys(refused)))


def _decisions(config: RunConfig, here: RunFolder, is_shown: IsShown) -> Iterator[Decision]:
    """Yield what becomes of each stage, up to the first that is refused."""
    stage = "corpus"
    try:
        data = data_due(config, here)
        yield from data
        stage = "training"
        require_settings(here.run, train_plan(config), here.state)  # as `prepare_data` does before all else
        training = training_due(config, here, any(each.action == "do" for each in data))
        yield training
        stage = "evaluation"
        after = [Decision(stage, "do", "after training") for stage in ("evaluation", "export")]
        if training.action == "skip":
            from headwater.runs.finish import finish_due

            after = finish_due(config, here)
        yield from after
    except HeadwaterError as error:
        yield Decision(stage, "refuse", str(error))
        return
    if all(each.action == "skip" for each in after) and is_shown(here):
        yield Decision("report", "skip", "it shows all that the folder holds")
    else:
        yield Decision("report", "do", "it is to show what the stages before it made")
    if config.downstream is not None:
        yield Decision("downstream", "do", f"{config.name}-rl is aligned and examined, or resumed as far as it is done")
