"""The back-test of the cost model: no row helps to predict itself, the constants are those of the fit, the promises hold."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from costing.fit import fit, predict_blind  # noqa: E402
from costing.observed import observe  # noqa: E402
from costing.score import flops_score, power_part, summary  # noqa: E402
from headwater.plan.efficiency import Efficiency, shipped_constants  # noqa: E402
from headwater.plan.time import step_seconds  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return observe()[0]


@pytest.fixture(scope="module")
def timed(rows):
    return [row for row in rows if row.seconds is not None]


def test_constants_that_ship_are_those_of_the_fit(timed, rows):
    shipped = shipped_constants()["constants"]
    for name, value in fit(timed).items():
        assert shipped[name] == pytest.approx(value, rel=0.02), name
    assert shipped["power_part"] == pytest.approx(power_part([row for row in rows if row.kind == "training runs"]))


def test_spoiling_a_group_does_not_change_its_own_blind_prediction(timed):
    some = [row for row in timed if row.source.startswith(("Megatron", "Nemotron"))]
    group = some[-1].group
    spoilt = [replace(row, seconds=row.seconds * 3) if row.group == group else row for row in some]
    start = fit(some)
    before, after = predict_blind(some, "group", start), predict_blind(spoilt, "group", start)
    for row, one, other in zip(some, before, after, strict=True):
        assert (one == other) == (row.group == group), row.job.name


def test_constants_fitted_on_invented_times_are_found_again(timed):
    some = timed[::6]
    truth = shipped_constants()["constants"]
    invented = [replace(row, seconds=step_seconds(row.work, Efficiency(truth))) for row in some]
    found = Efficiency(fit(invented))
    for row in invented:
        assert step_seconds(row.work, found) == pytest.approx(row.seconds, rel=0.05)


def test_flops_reproduce_utilisation_to_a_thousandth():
    assert flops_score() < 1e-3


def test_summary_counts_every_score():
    from costing.score import Score

    scores = [Score("time", "a", "x", 0.1), Score("time", "a", "y", -0.3), Score("memory", "b", "z", 0.0)]
    lines = {(line["quantity"], line["kind"]): line for line in summary(scores)["lines"][:4]}
    assert lines["time", "a"]["median"] == pytest.approx(0.2)
    assert lines["time", "all"]["worst_under"] == -0.3
    assert lines["memory", "all"]["rows"] == 1
