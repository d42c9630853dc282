"""The loop: one step after another, live, or a second time as a run's log has it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from headwater.core.errors import CheckpointError, ConfigError
from headwater.core.files import remove_folder
from headwater.core.records import Record, read_records
from headwater.machine.device.profile import StepProfile
from headwater.machine.host.signals import StopRequest
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import Mesh
from headwater.model.init import OpenFirst
from headwater.model.transformer import Transformer
from headwater.tokens.batches.source import BatchSource, StepRows
from headwater.tokens.skipped_rows import Interventions, read_interventions
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.load import read_checkpoint
from headwater.train.checkpoint.save import Saver
from headwater.train.checkpoint.shards import pieces_to_write, state_digest, table_of
from headwater.train.incidents import LiveDecisions, LoggedDecisions, ReplayDifference
from headwater.train.resume import abandoned, identity_of, require_shared
from headwater.train.settings import TrainPlan, is_probe, is_validation
from headwater.train.start import Past, assemble
from headwater.train.state import (
    Run,
    RunState,
    at_work,
    finish_save,
    handle_requests,
    kept_besides_newest,
    own_requests,
    rest,
    save,
)
from headwater.train.step import record_step, take_step

Display = Callable[[Record], None]


class Evaluator(Protocol):
    """What a run is measured with; all ranks call it together, and each gets the same."""

    def validate(self, model: Transformer, forward: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """Return the fields of a validation record; `forward` is the model's pass as training runs it."""

    def probe(self, model: Transformer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the event and the fields of each further record; each is measured, and timed, one at a time."""


def train(run: Run, evaluator: Evaluator | None, display: Display, stop: StopRequest) -> RunState:
    """Train to the last step, or until a signal to any rank stops it; return the state reached.

    A resume repeats the evaluation of the step it resumes from. The run's clock counts from here on: to be ready for
    the first step isn't training.
    """
    run, state = replace(run, display=display, started_at=time.perf_counter()), run.start
    with at_work(run):
        if state.step:
            run.saver.retain(kept_besides_newest(run, state))  # a process that died before it did so left some
            run.ranks.wait()
            if is_validation(state.step, run.plan.train):
                evaluate(run, state, evaluator)
        elif run.plan.base is not None:
            evaluate(run, state, evaluator)  # the base: what is learned and forgotten is measured from there
        state = run_steps(run, state, LiveDecisions(run), run.plan.train.num_steps, evaluator, stop)
        finish_save(run)
    return state


def run_steps(
    run: Run,
    state: RunState,
    decisions: LoggedDecisions,
    last_step: int,
    evaluator: Evaluator | None,
    stop: StopRequest,
) -> RunState:
    """Take steps up to `last_step`, or until a request to stop; return the state reached.

    `decisions` say which steps are skipped and when the run goes back: live, or as a run's log has it. A save comes
    before the evaluation of the same step, and is written while that and the next steps run.
    """
    settings, trace = run.plan.train, run.run_dir / "profile" / f"rank-{run.ranks.rank}.json"
    profile = StepProfile(settings.profile_steps, trace, run.say, run.watchdog.rest)
    requests: Sequence[bool] | None = None  # of all ranks, as far as they went along with the last step
    microbatch_rows = run.microbatch.tokens // run.plan.model.seq_len
    rows = StepRows(run.batches, run.plan.rows_per_step, microbatch_rows, run.ranks.part_of_rows)
    with closing(profile), closing(rows):
        while state.step < last_step and handle_requests(run, state, stop, requests):
            profile.begin(state.step + 1)
            state = decisions.begin(state)
            result, measured = take_step(
                run, state, rows, partial(decisions.judge, state), partial(own_requests, run, stop)
            )
            requests = result.flags
            if result.reason is not None:
                state = decisions.skip(state, result, measured["seconds"])
                continue
            state = record_step(run, state, result, measured)
            if run.plan.is_save(state.step):
                save(run, state)
                requests = None
            if is_validation(state.step, settings):
                evaluate(run, state, evaluator)
                requests = None
    return state


def evaluate(run: Run, state: RunState, evaluator: Evaluator | None) -> None:
    """Measure the model and record it; None measures nothing."""
    if evaluator is None:
        return
    rest(run)
    started_at, model = time.perf_counter(), run.prepared.measured
    validation = evaluator.validate(model, run.prepared.hidden) | {"dtype": run.facts.evaluation_dtype}
    probes = evaluator.probe(model) if is_probe(state.step, run.plan.train) else ()
    for event, fields in chain([("validation", validation)], probes):
        seconds = round(time.perf_counter() - started_at, 3)
        run.record(event, state.step, **fields, tokens_seen=state.tokens_seen, evaluation_seconds=seconds)
        started_at = time.perf_counter()
    run.ranks.wait()


# ---- a second time, from the first step and by the log: nothing is decided again, and all must be as it is recorded

COMPARED = ("loss", "grad_norm")


@dataclass(frozen=True)
class Replay:
    """The steps that are alike, the first difference (None: there is none), and the digest of the state reached."""

    num_steps: int
    difference: str | None
    digest: str


class NoSaver(Saver):
    """A replay ends with a comparison; a checkpoint of it would be another copy."""

    def begin(self, *arguments: Any, **named: Any) -> None:
        return None


def replay_training(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    display: Display,
    say: Callable[[str], None],
    open_base: OpenFirst | None = None,
) -> Replay:
    """Train up to the run's newest checkpoint in RUN/replay-…, which is kept where there is a difference.

    What the run went back from is not repeated. Call it holding the run folder's lock. Raises CheckpointError when the
    run has no checkpoint, a damaged one, or one of other settings.
    """
    for old in run_dir.glob("replay-*"):
        remove_folder(old)
    interventions = Interventions(read_interventions(run_dir), identity_of(plan, batches))
    left_behind = abandoned(run_dir, interventions)
    paths = [path for _, path in list_checkpoints(run_dir) if path not in left_behind]
    if not paths:
        raise CheckpointError(f"{run_dir} has no checkpoint: there is nothing to replay; `headwater train` makes one")
    saved = read_checkpoint(paths[0])  # a damaged one is an error, not passed over
    require_shared(saved.path, saved.state, plan, batches)
    world_size = Mesh(**saved.state["mesh"]).world_size
    if world_size > 1:
        raise ConfigError(
            f"{run_dir} was trained on {world_size} ranks: the order of their sums can't be repeated by one"
        )
    train = plan.train.model_copy(update={"profile_steps": None})
    plan = replace(plan, train=train, machine=plan.machine.model_copy(update={"deterministic": True}))
    folder, comparison = run_dir / f"replay-{os.getpid()}", Comparison(run_dir, display)
    run = assemble(folder, plan, batches, Past(interventions, None, kept=saved.state), say, open_base=open_base)
    run, difference = replace(run, saver=NoSaver(folder), display=comparison), None
    try:
        run.records.append("start", 0, rows_consumed=0)
        with at_work(run):
            end = run_steps(run, RunState(), LoggedDecisions(run), saved.step, None, StopRequest())
        if end.rows_consumed > saved.state["rows_consumed"]:
            had = saved.state["rows_consumed"]
            difference = f"the run had gone through {had} rows, this one {end.rows_consumed}"
    except ReplayDifference as error:
        difference = str(error)
    finally:
        run.records.close()
    ours = digest_of(run.prepared.model.state_dict(), run.optimizer.state_tensors())
    if difference is None and ours != digest_of(saved.model, saved.optim):
        difference = f"weights or optimizer state at step {saved.step} differ from those of {saved.path}"
    if difference is None:
        remove_folder(folder)
    return Replay(comparison.step, difference, ours)


class Comparison:
    """Shows the replay's records, and raises ReplayDifference for a step that isn't as it is recorded."""

    def __init__(self, run_dir: Path, display: Display) -> None:
        self._expected = {record["step"]: record for record in read_records(run_dir / "records.jsonl", "step")}
        self._display = display
        self.step = 0  # up to which they are alike

    def __call__(self, record: Record) -> None:
        self._display(record)
        if record["event"] != "step":
            return
        step, expected = record["step"], self._expected.get(record["step"])
        self.step = step
        if expected is None:
            raise ReplayDifference(f"step {step} is not in the run's records")
        for name in COMPARED:
            before, now = float(expected[name]).hex(), record[name].hex()
            if before != now:
                raise ReplayDifference(f"step {step}: {name} was {before}, is {now}")


def digest_of(model: Mapping[str, Tensor], optim: Mapping[str, Tensor]) -> str:
    """Return the digest of a state, as a checkpoint's manifest has it: of names, dtypes, shapes and all bits."""
    return state_digest(table_of((piece, "") for piece in pieces_to_write(model, optim, Ranks())))
