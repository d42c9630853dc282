"""The tables that can be estimated, known by their columns."""

from __future__ import annotations

from costing.job import Table
from costing.llm_foundry import read_llm_foundry
from costing.parallelism import read_parallelism
from costing.training_runs import read_training_run
from headwater.core.errors import DataError
from headwater.core.tables import CsvRow

TABLES = (
    Table(
        "parallelism_benchmarks.csv",
        ("n_layers", "d_model", "n_heads", "seq_len", "vocab", "hardware", "n_gpus", "tp", "pp", "global_batch_seqs"),
        ("tflops_per_gpu", "mfu_pct", "hfu_pct", "tok_s_per_gpu", "iter_s", "mem_GiB", "note"),
        read_parallelism,
    ),
    Table(
        "mpt_throughput.csv",
        (
            *("Model", "SeqLen (T)", "# GPUs", "GPU", "MicroBatchSize", "GlobalBatchSize", "Precision"),
            *("Sharding Strategy", "Activation Checkpointing"),
        ),
        ("MFU", "HFU", "Model TFLOP", "Throughput (S/s)", "Throughput (T/s)", "Throughput (T/s/GPU)"),
        read_llm_foundry,
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
                "accel_hours",
                "wall_days",
                "energy_MWh",
                "tCO2e",
                "cost_usd",
            ),
            *("check_6ND_flops", "check_mfu_6ND_pct", "check_mfu_with_attn_pct", "check_W_per_accel_hour"),
            *("check_kgCO2_per_kWh", "grade", "grade_note", "note"),
        ),
        read_training_run,
    ),
)


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
    return [{name: text for name, text in row.items() if name not in known.results} for row in rows]
