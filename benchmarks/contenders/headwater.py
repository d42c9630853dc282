"""headwater as a run trains: its assembly, its loop, its records; settings from its own rules."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.machine.device.settings import MachineSettings
    from headwater.tokens.batches.source import BatchSource
    from headwater.train.settings import TrainPlan
    from job import Job
    from watch import Watch

MODES = ("auto",)  # it measures and decides by itself; `headwater_bfloat16` gives another
NUM_STEPS = 100_000  # never reached: no save, validation or probe falls into a measurement


def train(job: Job, watch: Watch) -> None:
    from headwater.machine.host.signals import StopRequest
    from headwater.model.count import count_parameters, flops_per_token
    from headwater.train.loop import train as train_loop
    from headwater.train.start import assemble, past_to_resume

    plan = make_plan(job)
    job.scratch_dir.mkdir(parents=True, exist_ok=True)
    run_dir = Path(tempfile.mkdtemp(prefix="headwater-", dir=job.scratch_dir))
    rows = open_rows(job, plan)
    run = assemble(run_dir, plan, rows, past_to_resume(run_dir, plan, rows, print), say=print)
    watch.model(count_parameters(plan.model).total, flops_per_token(plan.model))

    def display(record: dict[str, Any]) -> None:
        if record["event"] == "step":
            watch.step(record["loss"], mfu=record["mfu"], data_wait_fraction=record["data_wait_fraction"])

    try:
        train_loop(run, None, display, StopRequest())
    finally:
        run.records.close()


def make_plan(job: Job) -> TrainPlan:
    """Return the plan of an endless run at the job's shape; what the shape leaves open comes from the rules."""
    from headwater.model.optim.schedule import ScheduleSettings
    from headwater.model.optim.settings import OptimSettings
    from headwater.model.settings import ModelSettings
    from headwater.runfile.given import Given
    from headwater.runfile.rules import by_rules
    from headwater.tokens.batches.settings import MixtureSettings
    from headwater.train.settings import TrainPlan, TrainSettings

    shape = job.shape
    model = {"vocab_size": shape.vocab_size, "num_layers": shape.num_layers, "d_model": shape.d_model}
    model |= {"num_heads": shape.num_heads, "head_dim": shape.head_dim, "seq_len": shape.seq_len}
    train: dict[str, Any] = {
        "num_steps": NUM_STEPS,
        "batch_tokens": shape.batch_tokens,
        "microbatch_tokens": shape.microbatch_tokens,
    }
    train |= {"save_every": NUM_STEPS, "validate_every": NUM_STEPS, "num_probes": 0}
    train |= {"half_length_fraction": 0.0}  # every step has the requested shape
    given = Given({"model": model, "train": train, "optim": {}, "schedule": {}})
    whole = given.with_decided(by_rules(given))
    return TrainPlan(
        seed=1,
        mixture=MixtureSettings(),
        model=ModelSettings(**whole.table["model"]),
        optim=OptimSettings(**whole.table["optim"]),
        schedule=ScheduleSettings(**whole.table["schedule"]),
        train=TrainSettings(**whole.table["train"]),
        machine=machine_of(job.mode),
    )


def machine_of(mode: str) -> MachineSettings:
    """Return the settings of a mode: a dtype, with "-free" one whose bits may differ from run to run."""
    from headwater.machine.device.settings import MachineSettings

    dtype, _, is_free = mode.partition("-")
    return MachineSettings.model_validate({"dtype": dtype, "deterministic": not is_free})


def open_rows(job: Job, plan: TrainPlan) -> BatchSource:
    from headwater.tokens.batches.mixture import make_plan as make_mixture_plan
    from headwater.tokens.batches.pack import pack_source
    from headwater.tokens.batches.source import BatchSource
    from headwater.tokens.read import TokenStore
    from token_stream import STORE

    source = pack_source(TokenStore(job.tokens_dir / STORE), plan.model.seq_len)
    num_rows = plan.train.num_steps * job.shape.rows * job.shape.num_microbatches
    mixture = make_mixture_plan({"text": source.num_rows}, plan.mixture, num_rows)
    return BatchSource({"text": source}, mixture, plan.model.seq_len, plan.seed)
