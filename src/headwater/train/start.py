"""Settings to the objects of a run: the only place where they are built."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from headwater.core.errors import ConfigError
from headwater.core.files import remove_folder
from headwater.core.records import RunRecords, UnwrittenRecords
from headwater.machine.compute import MachineFacts, agreed_facts, fastest_, fastest_updates, set_up
from headwater.machine.device.device import device_of
from headwater.machine.device.microbatch import Microbatch, measured_microbatch, step_seconds
from headwater.machine.host.memory import PeakMeter, available_bytes, resident_bytes
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.parallel.prepare import optimizer_for, prepare
from headwater.machine.parallel.settings import division_problem
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import DATA_AXES, STATE_AXES, Mesh
from headwater.machine.ranks.watchdog import Watchdog
from headwater.model.init import OpenFirst, open_drawn
from headwater.model.transformer import Transformer
from headwater.tokens.batches.source import BatchSource
from headwater.tokens.skipped_rows import Interventions, WrittenInterventions
from headwater.train.checkpoint.layout import OPTIM
from headwater.train.checkpoint.load import (
    GoodCheckpoint,
    from_first_rank,
    newest_checkpoint,
    resume_from_,
    saved_shapes,
)
from headwater.train.checkpoint.save import Saver
from headwater.train.gradients import sum_gradients
from headwater.train.resume import abandoned, identity_of, require_shared
from headwater.train.settings import TrainPlan, even_microbatch, recompute_of
from headwater.train.state import Run, RunState, state_of_checkpoint

MEMORY_SHARE = 0.9  # of a GPU's memory: the rest is for what validation and other lengths of rows leave in pieces


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
    ranks: Ranks | None = None,
    open_base: OpenFirst | None = None,
) -> Run:
    """Build a run as its `past` leaves it; call it holding the run folder's lock.

    All `ranks` call it together; the first one decides how to compute and keeps the records. Without `open_base` a
    run's first weights are drawn.
    """
    memory, ranks, train = PeakMeter(), ranks or Ranks(), plan.train
    interventions, found, kept = past
    kept_machine = kept and kept["machine"]
    facts = agreed_facts(plan.machine, kept_machine, ranks, say, head_dim=plan.model.head_dim)
    _say_other_layout(kept, ranks.mesh, say)
    parallel = DataParallel(ranks, device_of(facts.device))
    parallel.device.forget_peak_memory()
    open_first = open_base or open_drawn(plan.model, plan.seed)
    build_model = partial(Transformer, plan.model, facts.compute_dtype, recompute_of(train, plan.model.num_layers))
    with open_first() if found is None else open_drawn(plan.model, plan.seed)() as first_value:
        prepared = prepare(build_model, partial(fastest_, facts=facts), first_value, parallel, facts.gather_dtype)
    model, updates = prepared.model, fastest_updates(facts)
    optimizer = optimizer_for(model, plan.optim, facts.compute_dtype, updates, parallel)
    if found is not None:
        optimizer.require_state(_own(saved_shapes(found.path, OPTIM), model, ranks.mesh))
        found = resume_from_(found, run_dir, model.state_dict(), optimizer.state_tensors(), say, ranks)
    microbatch = choose_microbatch(plan, kept or {}, prepared.fast_model, facts, parallel, batches, say)
    if problem := division_problem(ranks.mesh, train.batch_tokens, microbatch.tokens):
        raise ConfigError(problem)
    optimizer.zero_grad()
    records = RunRecords(run_dir / "records.jsonl", time.time) if ranks.is_first else UnwrittenRecords()
    return Run(
        run_dir=run_dir,
        plan=plan,
        facts=facts,
        ranks=ranks,
        parallel=parallel,
        prepared=prepared,
        microbatch=microbatch,
        optimizer=optimizer,
        batches=batches,
        open_first=open_first,
        records=records,
        # before a commit, so that a checkpoint's steps are recorded, whatever stops the machine
        saver=Saver(run_dir, ranks, train.keep_checkpoints, records.sync, () if found is None else (found.step,)),
        watchdog=Watchdog(train.hang_seconds, ranks.world_size, ranks.progress),
        interventions=interventions,
        memory=memory,
        start=RunState() if found is None else state_of_checkpoint(found.state),
        say=say,
    )


def past_to_resume(
    run_dir: Path,
    plan: TrainPlan,
    batches: BatchSource,
    say: Callable[[str], None],
    ranks: Ranks | None = None,
) -> Past:
    """Return the log and the newest good checkpoint of a run's folder, as the first rank finds them, on every rank.

    What the run went back from is removed, and a log of other settings put aside: call it holding the folder's lock.
    Raises CheckpointError where the checkpoint is of another run than the plan's.
    """
    ranks, identity = ranks or Ranks(), identity_of(plan, batches)
    interventions: Interventions
    if ranks.is_first:
        written = WrittenInterventions(run_dir, identity)
        for path in abandoned(run_dir, written):
            remove_folder(path)
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


def _own(shapes: dict[str, tuple[int, ...]], model: Transformer, mesh: Mesh) -> dict[str, tuple[int, ...]]:
    """Return those of a saved optimizer state that are of a model, which in a pipeline has a part of the parameters."""
    own = {name for name, _ in model.named_parameters()}
    return {name: shape for name, shape in shapes.items() if mesh.pipeline == 1 or name.rpartition(".")[0] in own}


def choose_microbatch(
    plan: TrainPlan,
    kept: dict[str, Any],
    model: Transformer,
    facts: MachineFacts,
    parallel: DataParallel,
    batches: BatchSource,
    say: Callable[[str], None],
) -> Microbatch:
    """Return the microbatch of the settings, of the state `kept`, or, at the start of a run, a measured one.

    To measure runs forward and backward passes of the run's first rows, which leave nothing but gradients. Ranks on
    GPUs measure together, and all come to the same: the slowest and the fullest of them decide.
    """
    train, seq_len, mesh = plan.train, plan.model.seq_len, parallel.ranks.mesh
    tokens, share, known = (
        train.microbatch_tokens,
        train.batch_tokens // mesh.size(*DATA_AXES),
        kept.get("microbatch_tokens"),
    )
    if tokens != "auto":
        whose = "train.microbatch_tokens" if tokens <= share else "a rank's share of the batch"
        return Microbatch(min(tokens, share), whose)
    if known is not None and not division_problem(mesh, train.batch_tokens, known):
        return Microbatch(known, "measured at the run's start")
    rule = even_microbatch(share, seq_len, mesh.wanted_microbatches)
    if mesh.pipeline > 1 or (mesh.world_size > 1 and parallel.device.memory_bytes() is None):
        return Microbatch(rule, "by rule: ranks on processors, and stages, don't measure it")
    say("timing microbatches of several sizes")
    with set_up(facts):
        found = _measured(model, parallel, batches, seq_len, share, rule)
    say(f"microbatches of {found.tokens} tokens: {found.why}")
    return found


def _measured(
    model: Transformer, parallel: DataParallel, batches: BatchSource, seq_len: int, share: int, rule: int
) -> Microbatch:
    """Return the microbatch that is fastest for `share` tokens of a step on each rank; `rule` is the rule's."""
    ranks, device = parallel.ranks, parallel.device
    # ranks that hold whole weights exchange nothing meanwhile: then one that hasn't the memory leaves none waiting
    alone = parallel if ranks.mesh.size(*STATE_AXES) > 1 else DataParallel(Ranks(), device)
    total_bytes, before = device.memory_bytes(), device.peak_memory_bytes() or 0

    def of_all(value: float) -> float:
        return ranks.max_(torch.tensor([value], device=device.torch_device)).item()

    def seconds_of(num_rows: int) -> float | None:
        batch = batches.rows(0, num_rows)

        def later() -> None:
            sum_gradients(model, alone, [batch], max(1, batch.num_targets))

        def first() -> None:
            model.zero_grad(set_to_none=True)
            later()

        own = step_seconds(device.seconds_of, first, later, share // (num_rows * seq_len))
        slowest = of_all(math.inf if own is None else own)
        return None if math.isinf(slowest) else slowest

    def may_double() -> bool:
        if total_bytes is None:
            return available_bytes() > resident_bytes()
        twice = 2 * (device.peak_memory_bytes() or 0) - before  # what is there anyway isn't doubled
        return of_all(twice / total_bytes) <= MEMORY_SHARE

    return measured_microbatch(seconds_of, may_double, share, rule, seq_len)


def _say_other_layout(kept: dict[str, Any] | None, now: Mesh, say: Callable[[str], None]) -> None:
    before = now if kept is None else Mesh(**kept["mesh"])
    if before != now:
        ranks = f"{before.world_size} ranks before ({before}) and {now.world_size} now ({now})"
        say(f"{ranks}: same data, other last bits")
