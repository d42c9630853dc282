"""Settings to the objects of a run: the only place where they are built."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from headwater.batches.source import BatchSource
from headwater.checkpoint.layout import OPTIM
from headwater.checkpoint.load import GoodCheckpoint, from_first_rank, newest_checkpoint, resume_from_, saved_shapes
from headwater.checkpoint.save import Saver
from headwater.compute import fastest_, fastest_updates, inspect_machine, set_up
from headwater.device.device import device_of
from headwater.device.facts import MachineFacts
from headwater.device.microbatch import Microbatch, measured_microbatch
from headwater.device.peak import Peak
from headwater.device.settings import FORMATS, MEASURING
from headwater.errors import ConfigError
from headwater.host.energy import EnergyMeter
from headwater.host.memory import PeakMeter, available_bytes, resident_bytes
from headwater.interventions import Interventions, WrittenInterventions
from headwater.model.init import OpenFirst, open_drawn
from headwater.model.transformer import Transformer
from headwater.optim.rules import rule_microbatch
from headwater.parallel.data_parallel import DataParallel
from headwater.parallel.fixed_point import MAX_MICROBATCHES
from headwater.parallel.prepare import optimizer_for, prepare
from headwater.parallel.settings import microbatches_problem
from headwater.parallel.weights import Prepared
from headwater.ranks.exchange import Ranks
from headwater.ranks.mesh import Mesh
from headwater.ranks.watchdog import Watchdog
from headwater.records import RunRecords, UnwrittenRecords, no_owner
from headwater.train.gradients import sum_gradients
from headwater.train.longer import identity_of, require_shared
from headwater.train.settings import TrainPlan, recompute_of
from headwater.train.state import Run, RunState, remove_abandoned, state_of_checkpoint


class Past(NamedTuple):
    """What a run begins with: its log, the checkpoint it resumes from, the state whose machine and microbatch it keeps.

    Without a checkpoint it begins at its first step; without a state it decides both itself.
    """

    interventions: Interventions
    checkpoint: GoodCheckpoint | None
    kept: dict[str, Any] | None


def assemble(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    past: Past,
    say: Callable[[str], None],
    *,
    require_owner: Callable[[], None] = no_owner,
    ranks: Ranks | None = None,
    open_base: OpenFirst | None = None,
) -> Run:
    """Build a run as its `past` leaves it; call it holding the run folder's lock.

    All `ranks` call it together; the first one decides how to compute and keeps the records.
    `require_owner` raises LockedError once another process has taken the run over. Without `open_base` a run's first
    weights are drawn.
    """
    memory, ranks = PeakMeter(), ranks or Ranks()
    interventions, found, kept = past
    facts = _agreed_facts(plan, kept, ranks, say)
    parallel = DataParallel(ranks, device_of(facts.device), exact=plan.train.exact)
    parallel.device.forget_peak_memory()
    open_first = open_base or open_drawn(plan.model, plan.seed)
    prepared = _prepared(plan, facts, parallel, open_first if found is None else open_drawn(plan.model, plan.seed))
    model, updates = prepared.model, fastest_updates(facts, exact=plan.train.exact)
    optimizer = optimizer_for(model, plan.optim, facts.compute_dtype, updates, parallel)
    if found is not None:
        optimizer.require_state(_own(saved_shapes(found.path, OPTIM), model, ranks.mesh))
        found = resume_from_(found, run_dir, model.state_dict(), optimizer.state_tensors(), say, ranks)
    microbatch = _microbatch(plan, kept or {}, prepared.fast_model, facts, parallel, batches, say)
    if problem := _microbatch_problem(plan, microbatch.tokens, ranks):
        raise ConfigError(problem)
    optimizer.zero_grad()
    records = RunRecords(run_dir / "records.jsonl", time.time, require_owner) if ranks.is_first else UnwrittenRecords()
    return Run(
        run_dir=run_dir,
        plan=plan,
        facts=facts,
        ranks=ranks,
        parallel=parallel,
        peak=Peak(facts.peak_flops_per_second),
        model=model,
        fast_model=prepared.fast_model,
        measured=prepared.measured,
        hidden=prepared.hidden,
        microbatch=microbatch,
        optimizer=optimizer,
        batches=batches,
        open_first=open_first,
        records=records,
        # before a commit, so that a checkpoint's steps are recorded, whatever stops the machine
        saver=Saver(run_dir, ranks, plan.train.keep_checkpoints, records.sync, () if found is None else (found.step,)),
        watchdog=Watchdog(plan.train.hang_seconds, ranks.rank, ranks.world_size, ranks.progress),
        interventions=interventions,
        energy=EnergyMeter(facts.num_threads * ranks.world_size, facts.device),
        memory=memory,
        start=RunState() if found is None else state_of_checkpoint(found.state),
        started_at=time.perf_counter(),
        say=say,
    )


def past_to_resume(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    say: Callable[[str], None],
    require_owner: Callable[[], None] = no_owner,
    ranks: Ranks | None = None,
) -> Past:
    """Return the log and the newest good checkpoint of a run's folder, as the first rank finds them, on every rank.

    What the run went back from is removed, and a log of other settings put aside: call it holding the folder's lock.
    Raises CheckpointError where the checkpoint is of another run than the plan's.
    """
    ranks, identity = ranks or Ranks(), identity_of(plan, batches)
    interventions: Interventions
    if ranks.is_first:
        written = WrittenInterventions(run_dir, identity, require_owner)
        remove_abandoned(run_dir, written)
        newest = newest_checkpoint(run_dir, say)
        if newest is None:
            written.put_aside_others(say)
        ranks.from_first(written.entries)
        interventions, found = written, from_first_rank(ranks, newest)
    else:
        interventions, found = Interventions(ranks.from_first(None), identity), from_first_rank(ranks, None)
    if found is not None:
        require_shared(found.path, found.state, plan, batches)
    return Past(interventions, found, None if found is None else found.state)


def _prepared(plan: TrainPlan, facts: MachineFacts, parallel: DataParallel, open_first: OpenFirst) -> Prepared:
    recompute = recompute_of(plan.train, plan.model.num_layers)
    build_model = partial(Transformer, plan.model, facts.compute_dtype, recompute)
    with open_first() as first_value:
        return prepare(build_model, partial(fastest_, facts=facts), first_value, parallel, facts.gather_dtype)


def _own(shapes: dict[str, tuple[int, ...]], model: Transformer, mesh: Mesh) -> dict[str, tuple[int, ...]]:
    """Return those of a saved optimizer state that are of a model, which in a pipeline has a part of the parameters."""
    own = {name for name, _ in model.named_parameters()}
    return {name: shape for name, shape in shapes.items() if mesh.pipeline == 1 or name.rpartition(".")[0] in own}


def _agreed_facts(
    plan: TrainPlan, kept: dict[str, Any] | None, ranks: Ranks, say: Callable[[str], None]
) -> MachineFacts:
    """Return how this rank computes: as the first one does, which decides before the others inspect their machine.

    `kept` is a state whose machine the run keeps. Raises ConfigError where a rank can't: then their bits, or what they
    decide, would differ.
    """
    _require_decided(plan)
    exact, kept_machine = plan.train.exact, kept and kept["machine"]
    say(MEASURING)
    inspect = partial(
        inspect_machine,
        plan.machine,
        place=ranks.place,
        head_dim=plan.model.head_dim,
        exact=exact,
    )
    facts = inspect(kept_machine) if ranks.is_first else None
    decided = ranks.from_first(None if facts is None else facts.decisive())
    facts = facts or inspect(decided)
    for rank, found in enumerate(ranks.gather(facts.decisive())):
        differing = [f"{name} {decided[name]} and {found[name]}" for name in decided if found[name] != decided[name]]
        if differing:
            raise ConfigError(
                f"ranks 0 and {rank} differ in {', '.join(differing)}; set machine.num_threads, machine.dtype and "
                "machine.compile, and use the same software on all"
            )
    if facts.note:
        say(facts.note)
    _warn_of_other_machine(kept_machine, decided, say)
    _warn_of_other_ranks(None if exact else kept, ranks.mesh, say)
    return facts


def _microbatch(
    plan: TrainPlan,
    state: dict[str, Any],
    model: Transformer,
    facts: MachineFacts,
    parallel: DataParallel,
    batches: BatchSource,
    say: Callable[[str], None],
) -> Microbatch:
    """Return the microbatch of the settings, of the checkpoint's `state`, or, at the start of a run, a measured one.

    To measure runs forward and backward passes of the run's first rows, which leave nothing but gradients.
    """
    tokens, share = plan.train.microbatch_tokens, plan.train.batch_tokens // parallel.ranks.part_of_rows[1]
    if tokens != "auto":
        # exact: at whatever number of ranks the same, or none
        if tokens <= share or plan.train.exact:
            return Microbatch(tokens, "train.microbatch_tokens")
        return Microbatch(share, "a rank's share of the batch")
    kept = state.get("microbatch_tokens")
    if kept is not None and not _microbatch_problem(plan, kept, parallel.ranks):  # other ranks may have to divide it
        return Microbatch(kept, "measured at the run's start")
    rule = rule_microbatch(share, plan.model.seq_len, parallel.ranks.mesh.wanted_microbatches)
    if parallel.ranks.world_size > 1:
        return Microbatch(rule, "by rule; it is measured by one rank alone")

    def passes(num_rows: int) -> tuple[Callable[[], None], Callable[[], None]]:
        batch = batches.rows(0, num_rows)

        def later() -> None:
            sum_gradients(model, parallel, [batch], max(1, batch.num_targets))

        def first() -> None:
            model.zero_grad(set_to_none=True)
            later()

        return first, later

    def may_double() -> bool:
        # on a GPU it is tried out, which harms nothing
        return parallel.device.memory_bytes() is not None or available_bytes() > resident_bytes()

    say("timing microbatches of several sizes, for a minute at most")
    with set_up(facts):
        found = measured_microbatch(parallel.device, passes, may_double, share, rule, plan.model.seq_len)
    say(f"microbatches of {found.tokens} tokens: {found.why}")
    return found


def _require_decided(plan: TrainPlan) -> None:
    measured = {"train.microbatch_tokens": plan.train.microbatch_tokens, "machine.dtype": plan.machine.dtype}
    named = [name for name, value in measured.items() if value == "auto"]
    if plan.train.exact and named:
        raise ConfigError(
            f"train.exact promises the same bits, and {' and '.join(named)} = auto is decided by a measurement; set "
            "machine.dtype to float32, bfloat16 or int8 and train.microbatch_tokens to a number"
        )


def _microbatch_problem(plan: TrainPlan, tokens: int, ranks: Ranks) -> str:
    """Return why ranks can't divide a step into microbatches of so many tokens, "" where they can."""
    batch, (_, num_parts) = plan.train.batch_tokens, ranks.part_of_rows
    whole = tokens * num_parts
    if batch % whole:
        return (
            f"train.batch_tokens={batch} must be a multiple of microbatch_tokens × replicate × shard = "
            f"{tokens} × {num_parts}; try {max(1, round(batch / whole)) * whole}, a smaller "
            "train.microbatch_tokens, or a number of ranks that divides the "
            f"{batch // tokens} microbatch(es)"
        )
    if plan.train.exact and batch // tokens > MAX_MICROBATCHES:
        return (
            f"train.exact sums {MAX_MICROBATCHES} microbatches a step at most, and this step has "
            f"{batch // tokens}; raise train.microbatch_tokens"
        )
    return microbatches_problem(ranks.mesh, batch // whole)


def _warn_of_other_machine(kept: dict[str, Any] | None, now: dict[str, Any], say: Callable[[str], None]) -> None:
    changed = {name: f"{name} {kept[name]} -> {now[name]}" for name in now if kept and kept[name] != now[name]}
    if changed:
        means = f"other mathematics from here on ({FORMATS[now['dtype']]})" if "dtype" in changed else "other last bits"
        changes = "; ".join(changed.values())
        say(f"this machine differs from the one that began the run ({changes}): same data, {means}")


def _warn_of_other_ranks(kept: dict[str, Any] | None, mesh: Mesh, say: Callable[[str], None]) -> None:
    if kept is None:
        return
    before = Mesh(**kept["mesh"])
    if before != mesh:
        then, now = (f"({each})" for each in (before, mesh))
        say(
            f"{before.world_size} ranks before {then} and {mesh.world_size} now {now}: same data, other last bits "
            "(train.exact has the same along replicate and shard)"
        )
