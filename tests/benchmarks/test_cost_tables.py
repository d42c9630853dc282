"""The readers of published tables: blind to results, and what a program's words say of its memory and layout."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from costing.device import read_devices
from costing.known import TABLES, table_of, without_results
from costing.llm_foundry import read_llm_foundry
from costing.memory import estimate_memory
from costing.observed import DATA as COST
from costing.technique import read_technique
from headwater.errors import HeadwaterError
from headwater.tables import read_csv


@pytest.mark.parametrize("known", TABLES, ids=lambda known: known.name)
def test_no_result_reaches_the_reader(known):
    rows = read_csv(COST / known.name)
    assert set(known.results) <= set(rows[0])
    assert table_of(list(rows[0])) is known
    assert not set(without_results(rows, known)[0]) & set(known.results)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("parallelism_benchmarks.csv", {"hardware": "H1000"}, "no device 'H1000' in the hardware table"),
        ("parallelism_benchmarks.csv", {"dp": "16"}, r"1 × 1 × 1 × 16 is not n_gpus=32"),
        ("parallelism_benchmarks.csv", {"n_layers": "2.5"}, "n_layers=2.5 must be a whole number"),
        ("parallelism_benchmarks.csv", {"params": "1e6"}, "are fewer than attention and embeddings"),
        ("mpt_throughput.csv", {"Model": "9b"}, "no model '9b'; known are 125m"),
        ("training_runs.csv", {"tokens": "0"}, "tokens=0 must be a positive number"),
        ("training_runs.csv", {"pue": "0.4"}, "pue=0.4 is below 1"),
    ],
)
def test_a_row_that_cannot_be_says_why(name, changed, message):
    row = read_csv(COST / name)[0] | changed
    with pytest.raises(HeadwaterError) as error:
        table_of(list(row)).read(row, read_devices(), "row 1")
    assert re.search(message, str(error.value))


@pytest.mark.parametrize(
    ("words", "parts", "stages"), [("Megatron-LM interleaved", None, 12), ("PTD-P interleaved", 3, 3)]
)
def test_a_program_without_a_number_of_parts_interleaves_one_a_layer(words, parts, stages):
    row = {
        **{"n_layers": "48", "d_model": "1024", "n_heads": "16", "seq_len": "2048", "vocab": "50000"},
        **{"hardware": "H100", "n_gpus": "4", "tp": "1", "pp": "4", "global_batch_seqs": "16", "technique": words},
    }
    assert read_technique(words).interleaved_parts == parts
    assert table_of(list(row)).read(row, read_devices(), "row 1").layout.virtual_stages == stages


@pytest.mark.parametrize(
    ("words", "sharding"),
    [
        ("PTD-P, full activation recompute, interleaved", "none"),
        ("FSDP+TP+compile, full AC", "fsdp"),
        ("Interleaved 1F1B, full AC, AsyncTP, float8", "fsdp"),
        ("DeepSpeed ZeRO-3, no model parallel", "fsdp"),
    ],
)
def test_full_activation_recompute_is_no_sharding(words, sharding):
    assert read_technique(words).sharding == sharding


def test_llm_foundrys_loss_holds_logits_and_their_gradient_in_bf16():
    """By hand, of MPT-125M: 26 rows of 2048 tokens and 50,368 logits of 2 + 2 bytes, which is more than a layer's."""
    devices = read_devices()
    rows = read_csv(COST / "mpt_throughput.csv")
    (row,) = [row for row in rows if (row["Model"], row["MicroBatchSize"], row["# GPUs"]) == ("125m", "26", "8")]
    job = read_llm_foundry(row, devices, "")
    assert estimate_memory(job.shape, job.layout).working == 26 * 2048 * 50368 * 4
