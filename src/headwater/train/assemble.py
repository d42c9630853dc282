"""Settings to the objects of a run: the only place where they are built."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.batches.source import BatchSource
from headwater.checkpoint.load import Checkpoint, newest_good_checkpoint
from headwater.errors import ConfigError
from headwater.machine.energy import EnergyMeter
from headwater.machine.machine import Machine, examine
from headwater.model.attention import attend
from headwater.model.init import initialise_
from headwater.model.loss import chunk_loss
from headwater.model.ops import ModuleOps, Ops, PlainOps
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.records import RunRecords
from headwater.train.guard import Guard
from headwater.train.identity import TrainPlan, require_same
from headwater.train.interventions import Interventions
from headwater.train.lineage import remove_left_behind
from headwater.train.microbatch import Microbatch, measured_microbatch
from headwater.train.settings import PORTIONS, num_recomputed, whole_rows_problem
from headwater.train.step import Prepared


@dataclass
class Run:
    """All objects of one attempt, and the few numbers that change from step to step."""

    run_dir: Path
    plan: TrainPlan
    machine: Machine
    prepared: Prepared
    microbatch: Microbatch
    optimizer: Optimizer
    batches: BatchSource
    records: RunRecords
    interventions: Interventions
    guard: Guard
    energy: EnergyMeter
    step: int  # completed updates
    rows_consumed: int  # the next step's first row: it never falls, though a run may go back to an earlier step
    tokens_seen: int  # targets of the steps taken
    seconds_before: float  # of earlier attempts, up to the checkpoint this one began from
    started_at: float  # by time.perf_counter

    def seconds(self) -> float:
        """Return the time spent on the run so far, over all attempts; what a crash lost isn't counted."""
        return self.seconds_before + time.perf_counter() - self.started_at

    def identity(self) -> dict[str, Any]:
        """Return what a resume must find unchanged: the plan's settings, and the rows they make of the token stores."""
        return self.plan.identity() | {"batches": self.batches.digest}

    @property
    def rows_per_step(self) -> int:
        return rows_of_step(self.plan)


def rows_of_step(plan: TrainPlan) -> int:
    return plan.train.batch_tokens // plan.model.seq_len


def assemble(run_dir: Path, plan: TrainPlan, batches: BatchSource, say: Callable[[str], None]) -> Run:
    """Build a run, from its newest good checkpoint where there is one; call it holding the run folder's lock."""
    identity = plan.identity() | {"batches": batches.digest}
    interventions = Interventions(run_dir, identity)
    remove_left_behind(run_dir, interventions)
    checkpoint = newest_good_checkpoint(run_dir, say)
    if checkpoint is None:
        interventions.begin_anew(say)
    else:
        require_same(checkpoint.path, checkpoint.state["identity"], identity)
    return build(run_dir, plan, batches, interventions, say, checkpoint, checkpoint.state if checkpoint else None)


def build(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    interventions: Interventions,
    say: Callable[[str], None],
    checkpoint: Checkpoint | None,
    kept: dict[str, Any] | None,
) -> Run:
    """Build a run at a checkpoint, or at its beginning; `kept` is a state whose machine and microbatch it keeps."""
    started_at = time.perf_counter()
    _check_portions(plan)
    facts = examine(plan.machine, kept and kept["machine"])
    if facts.note:
        say(facts.note)
    _warn_of_other_machine(kept and kept["machine"], facts.decisive(), say)
    machine = Machine(facts)
    recomputed = num_recomputed(plan.train, plan.model.num_layers)
    model = Transformer(plan.model, machine.compute_dtype, model_ops(machine), recomputed)
    initialise_(model, plan.seed)
    model.to(machine.device)
    machine.convert_linears_(model.blocks)
    optimizer = Optimizer(model.named_parameters(), plan.optim, machine.compute_dtype, machine.updates())
    state: dict[str, Any] = {"tokens_seen": 0, "seconds": 0.0, "rows_consumed": 0}
    if checkpoint is not None:
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_tensors(checkpoint.optim, checkpoint.state["num_updates"])
        state = checkpoint.state
    prepared = Prepared(model, machine.forward(model))
    microbatch = _microbatch(plan, kept or {}, prepared, machine, batches, say)
    optimizer.zero_grad()
    return Run(
        run_dir=run_dir,
        plan=plan,
        machine=machine,
        prepared=prepared,
        microbatch=microbatch,
        optimizer=optimizer,
        batches=batches,
        records=RunRecords(run_dir / "records.jsonl", time.time),
        interventions=interventions,
        guard=Guard(plan.train, rows_of_step(plan), state.get("guard")),
        energy=EnergyMeter(facts.num_threads, facts.device),
        step=0 if checkpoint is None else checkpoint.step,
        rows_consumed=state["rows_consumed"],
        tokens_seen=state["tokens_seen"],
        seconds_before=state["seconds"],
        started_at=started_at,
    )


def model_ops(machine: Machine) -> Ops:
    """Return the model's operations as this machine computes them fastest."""
    kernels = machine.kernel_ops()
    if kernels is not None:
        return kernels
    plain = ModuleOps if machine.has_own_linears else PlainOps
    return plain(machine.compile(chunk_loss), machine.attention(attend))


def _microbatch(
    plan: TrainPlan,
    state: dict[str, Any],
    prepared: Prepared,
    machine: Machine,
    batches: BatchSource,
    say: Callable[[str], None],
) -> Microbatch:
    """Return the microbatch of the settings, of the checkpoint's `state`, or, at the start of a run, a measured one."""
    tokens = plan.train.microbatch_tokens
    if tokens != "auto":
        return Microbatch(tokens, "train.microbatch_tokens")
    if "microbatch_tokens" in state:
        return Microbatch(state["microbatch_tokens"], "measured at the run's start")
    found = measured_microbatch(prepared, machine, batches.rows, plan.train.batch_tokens, plan.model.seq_len)
    say(f"microbatches of {found.tokens} tokens: {found.why}")
    return found


def _check_portions(plan: TrainPlan) -> None:
    for portion in PORTIONS:
        tokens = getattr(plan.train, portion)
        problem = None if tokens == "auto" else whole_rows_problem(portion, tokens, plan.model.seq_len)
        if problem:
            raise ConfigError(problem)


def _warn_of_other_machine(kept: dict[str, Any] | None, now: dict[str, Any], say: Callable[[str], None]) -> None:
    changed = [f"{name} {kept[name]} -> {now[name]}" for name in now if kept and kept[name] != now[name]]
    if changed:
        say(f"this machine differs from the one that began the run ({'; '.join(changed)}): same data, other last bits")
