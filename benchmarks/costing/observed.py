"""What was published of each row: seconds a step, memory, hours, energy; and which rows belong together.

A group is a source, a model and a device: constants that predict a row were fitted without any row of its group. The
stricter `source` excludes everything that one publication measured on one kind of device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from costing.device import read_devices
from costing.job import Job, WholeRun
from costing.known import table_of, without_results
from costing.step_time import StepWork, step_work
from headwater.core.errors import HeadwaterError
from headwater.core.tables import CsvRow, read_csv

DATA = Path(__file__).parents[1] / "data" / "cost"
FILES, RUNS = ("parallelism_benchmarks.csv", "mpt_throughput.csv"), "training_runs.csv"
HELD_OUT = "parallelism_held_out.csv"
"""More rows of publications that the first file has rows of: no constant is fitted on them, and they were first scored
when the effects had been chosen."""


@dataclass(frozen=True)
class Observed:
    """One row that was estimated. What it doesn't say is None. `kind` is the line of the table it counts in."""

    kind: str
    source: str
    group: str
    job: Job
    work: StepWork
    seconds: float | None = None
    memory_gib: float | None = None


@dataclass(frozen=True)
class ObservedRun:
    """One whole run: device-hours and energy that were published, None where they weren't, and how sure they are."""

    source: str
    run: WholeRun
    hours: float | None
    energy_kwh: float | None
    grade: str


@dataclass(frozen=True)
class Refused:
    """A row that can't be estimated, and why."""

    name: str
    reason: str


def observe(folder: Path = DATA) -> tuple[list[Observed], list[Refused]]:
    """Return every row with a layout, as observed or as refused."""
    return _observe(folder, FILES)


def observe_runs(folder: Path = DATA) -> list[ObservedRun]:
    """Return every whole run."""
    found, devices = [], read_devices() | read_devices(folder / "hardware.csv")
    rows = read_csv(folder / RUNS)
    known = table_of(list(rows[0]))
    for index, (row, blind) in enumerate(zip(rows, without_results(rows, known), strict=True)):
        run, energy = known.read(blind, devices, f"row {index + 1}"), _number(row, "energy_MWh")
        kwh = None if energy is None else energy * 1000
        found.append(ObservedRun(row["org"], run, _number(row, "accel_hours"), kwh, row["grade"]))
    return found


def observe_held_out(folder: Path = DATA) -> list[Observed]:
    """Return the rows that the model was not made with."""
    return [replace(row, kind="held out") for row in _observe(folder, (HELD_OUT,))[0]]


def _observe(folder: Path, names: tuple[str, ...]) -> tuple[list[Observed], list[Refused]]:
    observed: list[Observed] = []
    refused: list[Refused] = []
    devices = read_devices() | read_devices(folder / "hardware.csv")
    for name in names:
        rows = read_csv(folder / name)
        known = table_of(list(rows[0]))
        for index, (row, blind) in enumerate(zip(rows, without_results(rows, known), strict=True)):
            try:
                job = known.read(blind, devices, f"row {index + 1}")
                observed.append(READERS[name](row, job, step_work(job.shape, job.layout, job.device)))
            except HeadwaterError as error:
                refused.append(Refused(f"{name}: {row.get('bench') or row.get('model') or index + 1}", str(error)))
    return observed, refused


def _number(row: CsvRow, column: str) -> float | None:
    return float(row[column]) if row.get(column) else None


def _parallelism(row: CsvRow, job: Job, work: StepWork) -> Observed:
    source = row["source"].split(" Table")[0].split("(")[0].strip() + " / " + job.device.name
    narrow = " fp8" if job.layout.precision != "bf16" else ""
    return Observed(
        kind=_short_source(row["source"]) + narrow,
        source=source + narrow,
        group=f"{source}{narrow} / {row['params'] or job.name}",
        job=job,
        work=work,
        seconds=_seconds(row, job),
        memory_gib=_number(row, "mem_GiB"),
    )


def _short_source(text: str) -> str:
    names = {"SC21": "Megatron 2021", "Korthikanti": "Megatron 2022", "MT-NLG": "MT-NLG", "MegaScale": "MegaScale"}
    names |= {"Llama 3": "Llama 3", "Nemotron": "Nemotron-4", "torchtitan": "torchtitan", "megatron-bridge": "NeMo"}
    return next((short for part, short in names.items() if part in text), text)


def _seconds(row: CsvRow, job: Job) -> float | None:
    """Return seconds a step: as stated, from tokens per second, or from TFLOP/s by the source's own convention.

    Megatron's counts recomputation and whole rows of attention (its equation 3); the others are PaLM's.
    """
    tokens = job.layout.batch_rows * job.shape.seq_len / job.layout.num_devices
    if stated := _number(row, "iter_s"):
        return stated
    if rate := _number(row, "tok_s_per_gpu"):
        return tokens / rate
    if rate := _number(row, "tflops_per_gpu"):
        counts_again = "96BslH^2" in row["note"] or "SC21" in row["source"]
        flops = _megatron_flops(job) if counts_again else job.shape.palm_flops_per_token
        return tokens * flops / rate / 1e12
    return None


def _megatron_flops(job: Job) -> float:
    """Return Megatron's FLOPs per token: products, whole rows of attention, and what is computed again."""
    shape, full = job.shape, job.shape.attention_flops[1]
    again = {"none": 0.0, "selective": full, "full": full + 2 * shape.block_weights}[job.layout.recompute]
    return 6 * (shape.block_weights + shape.head_weights) + 3 * full + again


def _llm_foundry(row: CsvRow, job: Job, work: StepWork) -> Observed:
    tokens = job.layout.batch_rows * job.shape.seq_len / job.layout.num_devices
    device = f"{job.device.name}{' fp8' if job.layout.precision == 'fp8' else ''}"
    rate = float(row["Throughput (T/s/GPU)"])
    source = f"llm-foundry / {device}"
    return Observed(source, source, f"{source} / {row['Model']}", job, work, seconds=tokens / rate)


READERS = {
    "parallelism_benchmarks.csv": _parallelism,
    HELD_OUT: _parallelism,
    "mpt_throughput.csv": _llm_foundry,
}
