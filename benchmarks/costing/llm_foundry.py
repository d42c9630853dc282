"""Rows of mpt_throughput.csv: the throughput of llm-foundry's models (`# GPUs`, `SeqLen (T)`, …)."""

from __future__ import annotations

from costing.job import Devices, Job, whole
from costing.layout import Layout
from costing.technique import LLM_FOUNDRY_2023, read_precision
from costing.transformer import Transformer
from headwater.core.errors import DataError
from headwater.core.tables import CsvRow
from headwater.plan.forecast.device import find_device

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


def llm_foundry_shape(name: str, seq_len: int, where: str) -> Transformer:
    """Return one of its models: GPT-2's, with a position table as long as the row."""
    if name not in LLM_FOUNDRY:
        raise DataError(f"{where}: no model {name!r}; known are {', '.join(LLM_FOUNDRY)}")
    num_layers, d_model, heads = LLM_FOUNDRY[name]
    a_layer = 4 * d_model + 5 * d_model + 4 * d_model  # biases of attention and of the MLP, two norms
    return Transformer(
        num_layers, d_model, heads, heads, d_model // heads, 4 * d_model, LLM_FOUNDRY_VOCABULARY, seq_len,
        num_mlp_matrices=2, is_tied=True, num_values=num_layers * a_layer + seq_len * d_model + 2 * d_model,
    )  # fmt: skip


def read_llm_foundry(row: CsvRow, devices: Devices, where: str) -> Job:
    shape = llm_foundry_shape(row["Model"], whole(row, "SeqLen (T)", where), where)
    is_full = row["Sharding Strategy"] == "FULL_SHARD"
    layout = Layout(
        num_devices=whole(row, "# GPUs", where),
        batch_rows=whole(row, "GlobalBatchSize", where),
        microbatch_rows=whole(row, "MicroBatchSize", where),
        sharding="fsdp" if is_full else "zero2",
        recompute="full" if row["Activation Checkpointing"] == "True" else "none",
        precision=read_precision(row["Precision"]),
        software=LLM_FOUNDRY_2023,
    )
    name, device = f"{row['Model']} at {shape.seq_len}", find_device(row["GPU"], devices)
    return Job(name, shape, layout, device)
