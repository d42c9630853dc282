"""The benchmark of lost ranks goes on from what its file has of the same faults."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "reliability")]

from lost_ranks import Cell, Fault, known  # noqa: E402


def test_faults_of_ranks_that_start_and_that_make_steps_are_told_apart(tmp_path):
    amid_steps = Cell("sharded", 2, "kill", is_starting=False)
    starting = replace(amid_steps, is_starting=True)
    faults = [Fault(cell, 1, 7, 1.0, 2.0, True) for cell in (amid_steps, starting, starting)]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(asdict(fault)) + "\n" for fault in faults))
    assert known(path, [amid_steps]) == faults[:1]
    assert known(path, [starting]) == faults[1:]
