"""The readers of published tables are blind to results, and one row by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from costing.device import read_devices
from costing.known import TABLES, table_of, without_results
from costing.llm_foundry import read_llm_foundry
from costing.memory import estimate_memory
from costing.observed import DATA as COST
from headwater.core.tables import read_csv


@pytest.mark.parametrize("known", TABLES, ids=lambda known: known.name)
def test_no_result_reaches_the_reader(known):
    rows = read_csv(COST / known.name)
    assert set(known.results) <= set(rows[0])
    assert table_of(list(rows[0])) is known
    assert not set(without_results(rows, known)[0]) & set(known.results)


def test_llm_foundrys_loss_holds_logits_and_their_gradient_in_bf16():
    """By hand, of MPT-125M: 26 rows of 2048 tokens and 50,368 logits of 2 + 2 bytes, which is more than a layer's."""
    devices = read_devices()
    rows = read_csv(COST / "mpt_throughput.csv")
    (row,) = [row for row in rows if (row["Model"], row["MicroBatchSize"], row["# GPUs"]) == ("125m", "26", "8")]
    job = read_llm_foundry(row, devices, "")
    assert estimate_memory(job.shape, job.layout).working == 26 * 2048 * 50368 * 4
