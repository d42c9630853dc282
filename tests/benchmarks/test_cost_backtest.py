"""The back-test of the cost model: no row helps to predict itself, the constants are those of the fit, the promises hold."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from costing.efficiency import Efficiency  # noqa: E402
from costing.fit import fit, predict_blind  # noqa: E402
from costing.observed import DATA, HELD_OUT, observe, observe_held_out, observe_runs  # noqa: E402
from costing.score import blind_times, flops_score, memory_scores, run_scores, spreads, summary  # noqa: E402
from costing.step_time import step_seconds  # noqa: E402
from headwater.core.tables import read_csv  # noqa: E402
from headwater.plan.forecast import device  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return observe()[0]


@pytest.fixture(scope="module")
def timed(rows):
    return [row for row in rows if row.seconds is not None]


def test_what_ships_is_what_the_back_test_gives(rows):
    scores = [*memory_scores(rows), *run_scores(observe_runs())]
    shipped = {"memory": device.MEMORY_DEVIATION, "power": device.POWER_DEVIATION, "hours": device.HOURS_DEVIATION}
    assert spreads(scores) == pytest.approx(shipped, rel=1e-2)
    (line,) = [line for line in summary(scores) if (line["quantity"], line["kind"]) == ("hours", "all")]
    assert {name: line[name] for name in ("rows", "median", "p90")} == pytest.approx(
        {
            "rows": device.HOURS_BACKTEST["runs"],
            "median": device.HOURS_BACKTEST["median"],
            "p90": device.HOURS_BACKTEST["p90"],
        },
        abs=1e-3,
    )


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
    truth = fit(timed)
    invented = [replace(row, seconds=step_seconds(row.work, Efficiency(truth))) for row in some]
    found = Efficiency(fit(invented))
    for row in invented:
        assert step_seconds(row.work, found) == pytest.approx(row.seconds, rel=0.05)


def test_flops_reproduce_utilisation_to_a_thousandth():
    assert flops_score() < 1e-3


def test_summary_counts_every_score():
    from costing.score import Score

    scores = [
        Score("time", "s", "a", "x", 0.1, 0.5),
        Score("time", "s", "a", "y", -0.3, 0.5),
        Score("memory", "s", "b", "z", 0.0, 1.0),
    ]
    lines = {(line["quantity"], line["kind"]): line for line in summary(scores)[:4]}
    assert lines["time", "a"]["median"] == pytest.approx(0.2)
    assert lines["time", "all"]["worst_under"] == -0.3
    assert lines["time", "a"]["baseline_median"] == 0.5
    assert lines["memory", "all"]["rows"] == 1


def test_every_quantity_beats_its_simple_rule_over_all_rows(rows, timed):
    scores = [*blind_times(timed, "group", fit(timed)), *memory_scores(rows), *run_scores(observe_runs())]
    for line in summary(scores):
        if line["kind"] == "all":
            assert line["median"] <= line["baseline_median"], line
            assert line["p90"] <= line["baseline_p90"], line


def test_rows_held_out_are_not_among_those_fitted():
    fitted = {tuple(row.values()) for row in read_csv(DATA / "parallelism_benchmarks.csv")}
    held_out = [tuple(row.values()) for row in read_csv(DATA / HELD_OUT)]
    assert not fitted & set(held_out)
    assert len(observe_held_out()) == len(held_out)


def test_memory_is_never_more_than_three_percent_under(rows):
    under = {score.name: score.off for score in memory_scores(rows) if score.off < -0.03}
    assert not under, under


@pytest.mark.slow
def test_nine_layouts_of_ten_are_within_a_fifth(timed):
    scores = blind_times(timed, "group", fit(timed))
    (line,) = [line for line in summary(scores) if line["kind"] == "parallelism_benchmarks.csv"]
    assert line["median"] <= 0.10, line
    assert line["p90"] <= 0.20, line


def test_energy_is_scored_of_estimated_hours_and_power_of_reported_ones():
    runs = observe_runs()
    longer = [replace(row, hours=2 * row.hours) if row.run.name == "LLaMA-65B" else row for row in runs]
    scores, names = run_scores(runs), ("energy", "power")
    before, after = (
        {score.quantity: score.off for score in found if score.name == "LLaMA-65B"}
        for found in (scores, run_scores(longer))
    )
    assert after["energy"] == before["energy"]
    assert 1 + after["power"] == pytest.approx(2 * (1 + before["power"]))
    medians = {line["quantity"]: line["median"] for line in summary(scores) if line["kind"] == "all"}
    assert max(medians[name] for name in names) <= 0.15, medians
