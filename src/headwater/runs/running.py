"""A run file becomes a run: its stages in their order, for a command line and for a notebook alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headwater.core.numbers import count
from headwater.core.records import Record, amount, held_out_score, text_scored
from headwater.machine.ranks.mesh import Layout, Mesh
from headwater.machine.ranks.place import Place
from headwater.runfile.init import base_of, kept_base
from headwater.runfile.kept_settings import with_kept
from headwater.runfile.paths import RunFolder, Say, ignore, require_run_dir
from headwater.runfile.resolve import Reason
from headwater.runfile.run_config import RunConfig, train_plan
from headwater.runs.measures import computed_twice, seconds_lost
from headwater.runs.outcome import forecast_error, outcomes_of
from headwater.runs.result import RunResult
from headwater.runs.run_data import read_run
from headwater.runs.stages import Report, no_report, prepare_data, prepare_rows, resume_longer_run, write_config
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.lock import Owner, owned
from headwater.train.resume import has_finished, is_trained
from headwater.train.trackers import find_trackers, tracking

if TYPE_CHECKING:
    from headwater.runs.downstream import Aligned
    from headwater.train.loop import Replay

Display = Callable[[Record], None]
"What each record is given to as it is written."


@dataclass(frozen=True)
class Call:
    """How a run is called.

    own          how its folder is locked: lock.owned or lock.taken_over
    place        which of several ranks this process is
    log          entered once it is known how the ranks lie: where the lines of another rank than the first go
    stop_within  seconds from a SIGTERM to its end; None: no limit
    last         the stage after which to end: report, or training
    report       what writes the run's report: `page.report.stage.report_stage`
    here         the run's folder, where the caller has read of it; None: nobody has
    """

    own: Callable[[Path], AbstractContextManager[Owner]] = owned
    place: Place = field(default_factory=Place)
    log: Callable[[], AbstractContextManager[None]] = nullcontext
    stop_within: float | None = None
    last: Literal["training", "report"] = "report"
    report: Report = no_report
    here: RunFolder | None = None


def run(
    config: RunConfig,
    reasons: Sequence[Reason] = (),
    display: Display | None = None,
    say: Say = print,
    call: Call | None = None,
) -> RunResult:
    """Bring every stage up to date: corpus, tokenizer, tokens, training, evaluation, export, report, [downstream].

    In a notebook `headwater.run("first-light")` is this.

    `say` gets lines of progress, one every `train.log_every` steps among them unless `display` gets the records.
    Of several ranks the first prepares and finishes; the others train. Raises HeadwaterError for what a person can mend
    and KeyboardInterrupt when a signal stops another stage than training, its name in a note.
    """
    call, started_at, aligned = call or Call(), time.perf_counter(), None
    here = call.here or RunFolder(config.run_dir)
    config, reasons = with_kept(config, reasons, here)
    find_trackers(config.train.trackers)
    if config.downstream is not None:
        from headwater.runs.downstream import align_stage, require_alignable, require_prompts_fit

        require_alignable(config)
    seems_trained = call.place.world_size == 1 and has_finished(here.run, config.train.num_steps, here.attempts())
    # what is refused leaves nothing behind, and no log
    layout = Layout() if seems_trained else _layout(config, call.place)
    with call.log():
        if call.place.rank:
            is_done = _train(config, ignore, say, call, None, False, layout)
            return RunResult("finished" if is_done else "stopped", config.run_dir, time.perf_counter() - started_at)
        with call.own(config.run_dir) as owner:
            if owner.note:
                say(owner.note)
            if not seems_trained:
                _require_memory(config, layout)
            _check_base(config, say)
            is_fresh = bool(prepare_data(config, say, owner.require, here=here))
            if config.downstream is not None:
                require_prompts_fit(config)
            resume_longer_run(config, say, owner.require, here)
            write_config(config, reasons, owner.require, here)
            display = display or _lines_of_steps(config, say)
            has_trained = is_trained(here.run, config.train.num_steps, here.attempts())
            if seems_trained and not has_trained:  # its last checkpoint is damaged, or was put aside before the lock
                layout = _layout(config, call.place)
                _require_memory(config, layout)
            is_done = _train(config, display, say, call, owner, is_fresh or not has_trained, layout)
            if is_done and call.last == "report":
                from headwater.runs.finish import finish_run

                finish_run(config, say, owner.require, call.report, here)
                if config.downstream is not None:
                    aligned = align_stage(config, say, owner.require, call.report)
                    is_done = aligned is not None
        return _result(here, is_done, time.perf_counter() - started_at, aligned)


def _layout(config: RunConfig, place: Place) -> Layout:
    from headwater.plan.layout import layout_here  # the planner: nothing is planned of what is trained

    return layout_here(config, place)


def _require_memory(config: RunConfig, layout: Layout) -> None:
    from headwater.plan.layout import require_memory_here

    require_memory_here(config, layout)


def _check_base(config: RunConfig, say: Say) -> None:
    """Compare a base that is none of headwater's with transformers, before the run has anything of it."""
    base = base_of(config.base, config.folders)
    if base is not None and base.kind != "checkpoint" and not list_checkpoints(config.run_dir):
        from headwater.export.base.check import check_base

        check_base(base, say)


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
    from headwater.runs.text import open_batches
    from headwater.train.loop import replay_training

    require_run_dir(config.run_dir)
    with owned(config.run_dir):
        plan = train_plan(config)
        open_base = opener(kept_base(config.base, config.folders), plan.base)
        return replay_training(config.run_dir, plan, open_batches(config), display, say, open_base)


def _train(
    config: RunConfig, display: Display, say: Say, call: Call, owner: Owner | None, is_wanted: bool, layout: Layout
) -> bool:
    """Train with the other ranks, where there is something to train; return False when a signal stopped it.

    The first rank, which owns the run's folder, says whether that is wanted, and joins when it has the data open; its
    `layout` is that of all. Where a stage was made again, training compares the rows with its checkpoint's, and ends
    immediately.
    """
    up_to_date = f"training is up to date: {config.run_dir} has step {config.train.num_steps}"
    if call.place.world_size == 1 and not is_wanted:
        say(up_to_date)
        return True
    from headwater.machine.ranks.rendezvous import join_ranks  # torch

    batches = None
    if owner is not None and is_wanted:
        from headwater.runs.text import open_batches

        prepare_rows(config, say, owner.require)
        batches = open_batches(config)
    silence_seconds, device = config.parallel.silence_seconds, config.machine.device
    with join_ranks(call.place, silence_seconds=silence_seconds, device=device) as ranks:
        if ranks.from_first(batches is not None):
            from headwater.runs.training import follow_training, train_stage

            mesh, recompute = ranks.from_first([asdict(layout.mesh), layout.recompute])
            ranks.lay_out_(Mesh(**mesh))
            trained = config.with_layout(Layout(recompute=recompute))
            if owner is None or batches is None:
                return follow_training(trained, ranks, call.stop_within)
            if layout.why:
                say(f"layout: {layout.why}")
            settings = trained.model_dump(mode="json")
            with tracking(config.train.trackers, config.run_dir, settings, say, display) as display:
                return train_stage(config, batches, display, say, owner.require, ranks, call.stop_within, layout)
    if owner is not None:
        say(up_to_date)
    return True


def _result(here: RunFolder, is_done: bool, seconds: float, aligned: Aligned | None) -> RunResult:
    found = read_run(here.run, here)
    validation, outcomes = found.last("validation"), tuple(outcomes_of(found))
    bits_per_byte, is_of_all = held_out_score(validation, found.evaluation)
    return RunResult(
        status="finished" if is_done else "stopped",
        folder=here.run,
        seconds=seconds,
        step=int(amount(found.last("step"), "step") or 0),
        trained_seconds=amount(found.last("finish"), "seconds") or 0.0,
        lost_seconds=seconds_lost(found),
        loss=amount(validation, "loss", "all"),
        bits_per_byte=bits_per_byte,
        scored=text_scored({"is_of_all": is_of_all}),
        evaluation=dict(found.evaluation),
        outcomes=outcomes,
        forecast_error=forecast_error(list(outcomes)),
        aligned=aligned,
    )
