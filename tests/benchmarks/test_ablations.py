"""Ablations: differences by hand, and a table and a JSON line from made-up runs."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import ablate  # noqa: E402


def runs(*values):
    return [{"bits_per_byte": value} for value in values]


def test_a_difference_is_paired_by_seed():
    # the seeds differ by 1, the pairs by 0.1 and 0.3: t(1 degree, 97.5 %) = 12.706, standard error 0.1
    mean, half = ablate.difference(runs(2.1, 3.3), runs(2.0, 3.0))
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_one_seed_has_no_interval_and_a_diverged_run_is_infinitely_worse():
    assert math.isnan(ablate.difference(runs(2.1), runs(2.0))[1])
    assert ablate.difference(runs(None), runs(2.0))[0] == math.inf
