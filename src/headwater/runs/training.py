"""The training stage: the loop between the records of its beginning and of its end. What it costs is planned before."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headwater.core.errors import LockedError
from headwater.core.records import error_fields, memory_fields, read_all, read_records
from headwater.export.base.weights import opener
from headwater.machine.host.energy import EnergyMeter
from headwater.machine.host.load import LoadMeter
from headwater.machine.host.memory import give_back_freed_memory
from headwater.machine.host.signals import StopRequest
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import Layout
from headwater.model.count import count_parameters, flops_per_token
from headwater.plan.forecast.rank_memory import division_of
from headwater.plan.forecast.result import checkpoint_bytes
from headwater.plan.run_plan import sizes_of
from headwater.plan.times import keep_times, speed_here
from headwater.runfile.init import kept_base
from headwater.runfile.paths import Say, ignore
from headwater.runfile.run_config import RunConfig, train_plan
from headwater.runs.finish import evaluate_on_ranks, open_evaluator
from headwater.runs.stages import open_batches
from headwater.tokens.batches.source import BatchSource
from headwater.train.checkpoint.layout import checkpoint_dir
from headwater.train.checkpoint.save import require_space
from headwater.train.loop import Display, train
from headwater.train.resume import is_trained
from headwater.train.settings import fraction_repeated
from headwater.train.start import assemble, past_to_resume
from headwater.train.state import Run, RunState, stop_requested

if TYPE_CHECKING:
    from headwater.evaluate.evaluator import RunEvaluator

NOT_LEARNED = "forecasts are of an idle machine and don't learn from this run"


Forecast = Callable[[int, str], dict[str, Any] | None]
"Makes a run's forecast, by the step that it begins at and what it computes in."


def train_stage(
    config: RunConfig,
    batches: BatchSource,
    display: Display,
    say: Say,
    ranks: Ranks | None = None,
    stop_within: float | None = None,
    *,
    layout: Layout | None = None,
    forecast: Forecast = lambda step, dtype: None,
    measures: bool = False,
) -> bool:
    """Train to the last step and return True, or save and return False after a signal; by the lock's owner.

    A run that is trained, on the same rows, stays as it is.

    batches      the run's training text, open: what is wrong with it the first rank says before the others have come
    ranks        the processes that train together, which lie as `layout` says; this is the first of them
    stop_within  seconds after a SIGTERM in which nothing starts that would not end by then; None: no limit
    measures     several ranks then measure all of the run's held-out text, too
    """
    evaluator = open_evaluator(config, ranks)  # before a record says that the run has begun
    give_back_freed_memory()  # of what text was prepared with: otherwise it stays beside all that is to come
    with StopRequest(stop_within) as stop:
        run = _assembled(config, batches, say, ranks)
        try:
            # on the same rows: assembly has compared them
            is_done = run.ranks.world_size == 1 and is_trained(config.run_dir, config.train.num_steps)
            if not is_done:
                _require_space(run)
                # of what the peaks were measured with, so that a step's own memory comes on top
                give_back_freed_memory()
                layout = layout or Layout(run.ranks.mesh, run.ranks.place.local_world_size)
                _record_beginning(run, config, display, forecast(run.start.step, run.facts.dtype), layout)
                is_done = _train(run, config, evaluator, display, say, stop)
                if is_done and measures and run.ranks.world_size > 1:
                    evaluate_on_ranks(config, run, evaluator, say)
        finally:
            run.records.close()
    if is_done:
        stop.pass_on()
    return is_done


def _train(run: Run, config: RunConfig, evaluator: RunEvaluator, display: Display, say: Say, stop: StopRequest) -> bool:
    """Train to the last step, record what that took and return True; return False after a signal."""
    world_size, num_local = run.ranks.world_size, run.ranks.place.local_world_size
    meter, started_at = LoadMeter.of_ranks(num_local), time.perf_counter()
    energy = EnergyMeter(run.facts.num_threads * world_size, run.parallel.device.gpu_uuids())
    end = train(run, evaluator, display, stop)
    seconds = time.perf_counter() - started_at
    if end.step < config.train.num_steps:
        return False
    busy = meter.note()
    beside = {} if busy is None else {"beside": busy}
    display(run.records.append("finish", end.step, **_finish_fields(run, end, seconds, energy), **beside))
    if busy is None and run.facts.device == "cpu" and world_size == 1:
        _keep_times(run, config, say)
    elif busy:
        say(f"{busy}: {NOT_LEARNED}")
    run.records.close()
    if stop_requested(run, stop):
        name = stop.signal_name or "a signal to another rank"
        say(f"stopped by {name} after the last step; the same command resumes with what comes after it")
        return False
    return True


def _assembled(config: RunConfig, batches: BatchSource, say: Say, ranks: Ranks | None) -> Run:
    plan = train_plan(config)
    past = past_to_resume(config.run_dir, plan, batches, say, ranks)
    open_base = opener(kept_base(config.base, config.folders), plan.base)
    return assemble(config.run_dir, plan, batches, past, say, ranks=ranks, open_base=open_base)


def _keep_times(run: Run, config: RunConfig, say: Say) -> None:
    """Write what this process's steps took, for the plans of later runs.

    Raises nothing but LockedError: a run that is done is worth more than what it took.
    """
    records = read_records(run.run_dir / "records.jsonl")
    here = [record for record in records if record["attempt"] == run.records.attempt]
    try:
        speed = speed_here(run.facts.dtype, run.facts.num_threads, run.facts.compiled)
        keep_times(config, here, speed)
    except LockedError:
        raise
    except Exception as error:  # of whatever kind: evaluation, export and report are still to come
        say(f"later plans won't know what this run took: {error}")


def follow_training(
    config: RunConfig, ranks: Ranks, stop_within: float | None = None, *, measures: bool = False
) -> bool:
    """Train as another rank than the first, which keeps the records and prints."""
    batches, evaluator = open_batches(config), open_evaluator(config, ranks)
    with StopRequest(stop_within) as stop:
        run = _assembled(config, batches, ignore, ranks)
        end = train(run, evaluator, ignore, stop)
        if end.step < config.train.num_steps or stop_requested(run, stop):
            return False
        if measures:
            evaluate_on_ranks(config, run, evaluator, ignore)
    stop.pass_on()
    return True


def _require_space(run: Run) -> None:
    train, num_bytes = run.plan.train, checkpoint_bytes(run.plan.model, run.plan.optim)
    num_saves = math.ceil(train.num_steps / train.save_every) - run.start.step // train.save_every
    lasting = [step for step in run.plan.lasting_steps() if step > run.start.step]
    num_saves += sum(step % train.save_every != 0 for step in lasting)
    require_space(run.run_dir, num_bytes, train.keep_checkpoints, num_saves, len(lasting))


def _record_beginning(
    run: Run, config: RunConfig, display: Display, forecast: dict[str, Any] | None, layout: Layout
) -> None:
    """Record what begins here; the display gets the forecast besides, which has a file of its own."""
    train, facts, step = config.train, run.facts, run.start.step
    rows = {"rows_consumed": run.start.rows_consumed}
    parameters = count_parameters(config.model)
    of_rank = division_of(config.model, config.optim.name, run.ranks.mesh)
    counts, epochs = run.batches.plan.counts(config.num_rows), run.batches.plan.epochs(config.num_rows)
    sources = {
        name: {"tokens": counts[name] * config.model.seq_len, "epochs": round(epochs[name], 4)}
        for name in run.batches.plan.sources
    }
    for name, share in run.batches.loss_shares(config.num_rows).items():
        sources[name]["loss_share"] = share
    fields = {
        "num_steps": train.num_steps,
        "num_tokens": train.num_steps * train.batch_tokens,
        "parameters": {"total": parameters.total, "embedding": parameters.embedding, "matmul": parameters.matmul},
        "flops_per_token": flops_per_token(config.model, train.half_length_fraction),
        "microbatch": {"tokens": run.microbatch.tokens, "why": run.microbatch.why},
        "recompute": "selective" if train.recompute == "selective" else fraction_repeated(train),
        "device": {
            "name": facts.device_name,
            "cores": facts.num_threads,
            "dtype": facts.dtype,
            "dtype_why": facts.dtype_why,
            "compiled": facts.compiled,
            "torch": facts.torch_version,
            "peak_flops_per_second": facts.peak_flops_per_second,
            "peak_how": f"best of several {facts.peak_dtype} matrix multiplications, at the start of this process",
            **({} if facts.load is None else {"peak_under_load": facts.load}),
        },
        "plan": {
            "state_bytes": round(of_rank.kept_bytes + of_rank.gradient_bytes),
            "ranks": run.ranks.world_size,
            "sources": sources,
        },
    }
    if (sizes := sizes_of(layout)) is not None:
        fields["layout"] = {**sizes, "why": layout.why}
    if step:
        display(run.records.append("resume", step, **rows, **{"from": checkpoint_dir(run.run_dir, step).name}))
    record = run.records.append("start", step, **rows, **fields)
    display(record | {"forecast": forecast})


def _finish_fields(run: Run, end: RunState, seconds_here: float, energy: EnergyMeter) -> dict[str, Any]:
    """Return what the run took, in all its processes; the energy of earlier ones is estimated by this one's power."""
    path, seconds = run.run_dir / "records.jsonl", run.start.seconds + seconds_here
    watt_hours, how = energy.watt_hours(seconds_here)
    if run.start.seconds:
        share = run.start.seconds / seconds
        how += f"; {share:.0%} of the time was in earlier attempts, estimated by the power of the last one"
    return {
        "tokens_seen": end.tokens_seen,
        "seconds": round(seconds, 1),
        "energy_wh": round(watt_hours * seconds / seconds_here, 2),
        "energy_how": how,
        **memory_fields(
            read_all(path), run.records.attempt, run.peak_memory_bytes(), run.facts.device, run.ranks.world_size
        ),
        **error_fields(read_records(path)),
    }
