"""The table of what a step takes here: rows that the planner reads, from what the benchmark finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.plan.forecast import processor

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MS = {"int8": 200.0, "bfloat16": 260.0}


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import processor_shapes

    return processor_shapes


def test_a_row_that_was_measured_is_one_the_planner_gives_back(shapes, monkeypatch):
    rows = [shapes.row_of(shape, None, MS) for shape in reversed(shapes.SHAPES)]
    peaks = {"int8": 9e11, "bfloat16": 4.5e11}
    table = json.loads(shapes.with_rows(processor.constants(), "usual", rows, peaks, 2e11))
    changed, *others = (kind for kind in table["kinds"] if kind["name"] == "usual")
    assert not others
    assert [row["d_model"] for row in changed["shapes"]] == [64, 128, 192, 384, 768]
    assert "narrow" not in changed
    assert changed["rate_over_float32"] == {"int8": 4.5, "bfloat16": 2.25}
    unchanged = [{**one, "kinds": [kind for kind in one["kinds"] if kind["name"] != "usual"]} for one in both(table)]
    assert unchanged[0] == unchanged[1]
    monkeypatch.setattr(processor, "constants", lambda: table)
    row = changed["shapes"][1]
    assert row["flops"] == processor.step_flops(shapes.shape_model(row), 4096, row["block_rows"])
    found = processor.step_seconds(row["flops"], 128, processor.Peaks(9e11, "int8", "as measured"))
    assert found == pytest.approx(0.2)


def both(table: dict) -> list[dict]:
    return [table, processor.constants()]


def test_the_tables_file_is_as_the_benchmark_writes_it(shapes):
    assert shapes.table_text(processor.constants()) == shapes.DATA.read_text(encoding="utf-8")
