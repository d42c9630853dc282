"""Rows of published tables as jobs to estimate. Columns that hold results are never read. No torch.

Three tables are known by their columns: layouts of parallelism (`n_gpus`, `tp`, …), llm-foundry's throughput
(`# GPUs`, `SeqLen (T)`, …) and whole training runs (`params_total`, `tokens`, …).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from headwater.errors import DataError
from headwater.plan.count import count_params
from headwater.plan.device import Device, find_device
from headwater.plan.infer import Sizes, infer_shape
from headwater.plan.layout import Layout, Software
from headwater.plan.shape import GroupedAttention, Layer, Mlp, Shape
from headwater.plan.tables import CsvRow, number, required
from headwater.plan.technique import LLM_FOUNDRY_2023, Technique, read_precision, read_technique
from headwater.plan.usual import in_words, least_recompute, usual_layout

Devices = dict[str, Device]


@dataclass(frozen=True)
class Job:
    """One row: what is trained, on what and how. `assumed` names what the row left out and a rule filled in.

    `device_hours` are those a row reports; energy may be asked for them, time never is.
    """

    name: str
    shape: Shape
    layout: Layout
    device: Device
    assumed: tuple[str, ...] = ()
    tokens: float | None = None
    device_hours: float | None = None
    pue: float | None = None


@dataclass(frozen=True)
class Table:
    """How one kind of table is read: its name, the columns it must have, those that hold results, and its reader."""

    name: str
    needs: tuple[str, ...]
    results: tuple[str, ...]
    read: Callable[[CsvRow, Devices, str], Job]
    old_results: tuple[str, ...] = ()
    "Names that result columns had before, which files that circulate still have."

    def results_in(self, columns: Iterable[str]) -> list[str]:
        """Return all columns of results by their present names, then those of `columns` that go by an old one."""
        return [*self.results, *(name for name in columns if name in self.old_results)]


def table_of(columns: list[str]) -> Table:
    """Return the table that has these columns; raise DataError that says what is missing from the nearest."""
    for known in TABLES:
        if set(known.needs) <= set(columns):
            return known
    nearest = max(TABLES, key=lambda known: len(set(known.needs) & set(columns)))
    missing = [name for name in nearest.needs if name not in columns]
    raise DataError(
        f"these columns are of no table that can be estimated; nearest is {nearest.name}, which needs also "
        f"{', '.join(missing)}"
    )


def without_results(rows: list[CsvRow], known: Table) -> list[CsvRow]:
    """Return rows without the columns that hold what is to be estimated."""
    return [{name: text for name, text in row.items() if name not in known.results_in(row)} for row in rows]


def _whole(row: CsvRow, column: str, where: str) -> int:
    value = required(row, column, where=where)
    if value != int(value):
        raise DataError(f"{where}: {column}={row[column]} must be a whole number")
    return int(value)


def _whole_or(row: CsvRow, column: str, default: int, where: str) -> int:
    return _whole(row, column, where) if (row.get(column) or "").strip() else default


def _maybe_whole(row: CsvRow, column: str, where: str) -> int | None:
    return _whole(row, column, where) if (row.get(column) or "").strip() else None


# ---- layouts of parallelism


def _read_parallelism(row: CsvRow, devices: Devices, where: str) -> Job:
    device = find_device(row["hardware"], devices)
    shape = _parallelism_shape(row, where)
    technique = read_technique(row.get("technique") or "", year=_year(row.get("source") or "", device))
    degrees = {name: _whole_or(row, name, 1, where) for name in ("tp", "pp", "cp")}
    num_devices, batch_rows = _whole(row, "n_gpus", where), _whole(row, "global_batch_seqs", where)
    data = num_devices // (degrees["tp"] * degrees["pp"] * degrees["cp"])
    if data * degrees["tp"] * degrees["pp"] * degrees["cp"] != num_devices or _whole_or(row, "dp", data, where) != data:
        raise DataError(
            f"{where}: tp × pp × cp × dp = {' × '.join(str(degree) for degree in degrees.values())} × "
            f"{row.get('dp') or data} is not n_gpus={num_devices}; correct one of them"
        )
    layout = Layout(
        num_devices=num_devices,
        batch_rows=batch_rows,
        microbatch_rows=_parallelism_microbatch(row, batch_rows // max(1, data), degrees["pp"], where),
        tensor=degrees["tp"],
        pipeline=degrees["pp"],
        context=degrees["cp"],
        virtual_stages=_virtual_stages(technique, shape.num_layers // degrees["pp"], degrees["pp"]),
        sharding=technique.sharding or ("zero1" if degrees["pp"] > 1 else "fsdp"),
        keeps_half_the_matmuls=technique.keeps_half_the_matmuls,
        precision=read_precision(row.get("precision") or ""),
        software=_loss_over_ranks(technique.software, degrees["tp"]),
    )
    layout, assumed = _with_recompute(shape, layout, device, technique)
    return Job(row.get("bench") or where, shape, layout, device, assumed)


def _loss_over_ranks(software: Software, tensor: int) -> Software:
    """Return software whose loss over split logits holds two fp32 copies more: shifted logits, their exponentials."""
    return replace(software, logit_bytes=software.logit_bytes + 8) if tensor > 1 else software


def _parallelism_shape(row: CsvRow, where: str) -> Shape:
    return infer_shape(
        Sizes(
            num_layers=_whole(row, "n_layers", where),
            d_model=_whole(row, "d_model", where),
            num_heads=_whole(row, "n_heads", where),
            vocab_size=_whole(row, "vocab", where),
            seq_len=_whole(row, "seq_len", where),
            params=number(row, "params", where=where),
        )
    )


def _parallelism_microbatch(row: CsvRow, rows_of_replica: int, pipeline: int, where: str) -> int:
    """Return rows that go forward at once.

    A pipeline whose stated microbatch is the replica's whole batch cuts it into as many parts as it has stages
    (torchtitan's default); without a statement it is 1 row in a pipeline, and up to 16 otherwise.
    """
    stated = _maybe_whole(row, "micro_batch", where)
    if stated is None:
        return 1 if pipeline > 1 else _largest_divisor(rows_of_replica, 16)
    if pipeline > 1 and stated >= rows_of_replica > 1:
        return max(1, rows_of_replica // pipeline)
    return stated


def _largest_divisor(number_of_rows: int, most: int) -> int:
    return max(part for part in range(1, most + 1) if number_of_rows % part == 0) if number_of_rows else 1


def _virtual_stages(technique: Technique, layers_of_stage: int, pipeline: int) -> int:
    if pipeline == 1:
        return 1
    if technique.virtual_stages is not None:
        return max(1, min(technique.virtual_stages, layers_of_stage))
    stated = technique.software.interleaved_parts
    parts = layers_of_stage if stated is None else stated
    return parts if technique.is_interleaved and parts <= layers_of_stage else 1


def _year(source: str, device: Device) -> int | None:
    """Return the year that a source's name holds (…_202412_…, …_2025-06_…), or of the first such device."""
    found = re.search(r"[_-](20\d\d)-?\d\d[_.]", source)
    return int(found.group(1)) if found else 2025 if device.architecture == "blackwell" else None


def _with_recompute(
    shape: Shape, layout: Layout, device: Device, technique: Technique
) -> tuple[Layout, tuple[str, ...]]:
    """Return the layout with the stated recomputation, else the least with which it fits the device."""
    if technique.recompute is not None:
        return replace(layout, recompute=technique.recompute), ()
    layout = least_recompute(shape, layout, device)
    part = f" in {layout.recomputed_layers:.0%} of the layers" if layout.recompute == "full" else ""
    return layout, (f"recompute {layout.recompute}{part}: the least that fits",)


# ---- llm-foundry's throughput

LLM_FOUNDRY = {
    "125m": (12, 768, 12),
    "350m": (24, 1024, 16),
    "760m": (24, 1536, 12),
    "1b": (24, 2048, 16),
    "3b": (32, 2560, 20),
    "7b": (32, 4096, 32),
    "13b": (40, 5120, 40),
    "30b": (48, 7168, 56),
    "70b": (80, 8192, 64),
}
"Layers, width and heads of its models (llm-foundry, scripts/train/yamls)."
LLM_FOUNDRY_VOCABULARY = 50368


def llm_foundry_shape(name: str, seq_len: int, where: str) -> Shape:
    """Return one of its models: GPT-2's, with a position table as long as the row."""
    if name not in LLM_FOUNDRY:
        raise DataError(f"{where}: no model {name!r}; known are {', '.join(LLM_FOUNDRY)}")
    num_layers, d_model, heads = LLM_FOUNDRY[name]
    attention = GroupedAttention(heads, heads, d_model // heads, 4 * d_model)
    layer = Layer(attention, Mlp(4 * d_model, 2, 5 * d_model), 4 * d_model)
    return Shape(LLM_FOUNDRY_VOCABULARY, d_model, seq_len, (layer,) * num_layers, True, seq_len, 2 * d_model)


def _read_llm_foundry(row: CsvRow, devices: Devices, where: str) -> Job:
    shape = llm_foundry_shape(row["Model"], _whole(row, "SeqLen (T)", where), where)
    is_full = row["Sharding Strategy"] == "FULL_SHARD"
    layout = Layout(
        num_devices=_whole(row, "# GPUs", where),
        batch_rows=_whole(row, "GlobalBatchSize", where),
        microbatch_rows=_whole(row, "MicroBatchSize", where),
        sharding="fsdp" if is_full else "zero2",
        recompute="full" if row["Activation Checkpointing"] == "True" else "none",
        precision=read_precision(row["Precision"]),
        software=LLM_FOUNDRY_2023,
    )
    return Job(f"{row['Model']} at {shape.seq_len}", shape, layout, find_device(row["GPU"], devices))


# ---- whole training runs


def _read_training_run(row: CsvRow, devices: Devices, where: str) -> Job:
    device = find_device(row["hardware"], devices)
    shape = infer_shape(_run_sizes(row, where))
    stated = _maybe_whole(row, "n_accel", where)
    num_devices = stated or _usual_devices(count_params(shape).total)
    software = read_technique("", year=_maybe_whole(row, "year", where)).software
    start = Layout(num_devices, num_devices, 1, precision=read_precision(row.get("precision") or ""), software=software)
    layout = usual_layout(shape, device, start, row.get("parallelism") or "")
    assumed = () if stated else (f"{num_devices} devices",)
    return Job(
        name=row.get("model") or where,
        shape=shape,
        layout=layout,
        device=device,
        assumed=(*assumed, in_words(layout)),
        tokens=number(row, "tokens", where=where),
        device_hours=number(row, "accel_hours", where=where),
        pue=number(row, "pue", where=where),
    )


def _run_sizes(row: CsvRow, where: str) -> Sizes:
    return Sizes(
        num_layers=_whole(row, "n_layers", where),
        d_model=_whole(row, "d_model", where),
        num_heads=_whole(row, "n_heads", where),
        vocab_size=_whole(row, "vocab", where),
        seq_len=_whole(row, "seq_len", where),
        params=number(row, "params_total", where=where),
        active=number(row, "params_active", where=where),
        num_kv_heads=_maybe_whole(row, "n_kv_heads", where),
        d_ff=_maybe_whole(row, "d_ff", where),
    )


def _usual_devices(params: int) -> int:
    """Return a size of cluster: 8 below 2 billion parameters, 256 below 30, else 2048."""
    return 8 if params < 2e9 else 256 if params < 30e9 else 2048


TABLES = (
    Table(
        "parallelism_benchmarks.csv",
        ("n_layers", "d_model", "n_heads", "seq_len", "vocab", "hardware", "n_gpus", "tp", "pp", "global_batch_seqs"),
        ("tflops_per_gpu", "mfu_pct", "hfu_pct", "tok_s_per_gpu", "iter_s", "mem_GiB", "note"),
        _read_parallelism,
    ),
    Table(
        "mpt_throughput.csv",
        (
            *("Model", "SeqLen (T)", "# GPUs", "GPU", "MicroBatchSize", "GlobalBatchSize", "Precision"),
            *("Sharding Strategy", "Activation Checkpointing"),
        ),
        ("MFU", "HFU", "Model TFLOP", "Throughput (S/s)", "Throughput (T/s)", "Throughput (T/s/GPU)"),
        _read_llm_foundry,
    ),
    Table(
        "training_runs.csv",
        ("n_layers", "d_model", "n_heads", "seq_len", "vocab", "hardware", "tokens", "params_total"),
        (
            *(
                "mfu_pct",
                "hfu_pct",
                "tflops_per_accel",
                "tok_s_per_accel",
                "wall_days",
                "energy_MWh",
                "tCO2e",
                "cost_usd",
            ),
            *("check_6ND_flops", "check_mfu_6ND_pct", "check_mfu_with_attn_pct", "check_W_per_accel_hour"),
            *("check_kgCO2_per_kWh", "grade", "grade_note", "note"),
        ),
        _read_training_run,
        old_results=("judge_grade", "judge_note"),
    ),
)
