"""The back-test of hours and power on GPUs: what ships is what it gives."""

from __future__ import annotations

import pytest

from headwater.core.tables import read_csv
from headwater.plan.forecast import device


@pytest.fixture
def backtest(monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.config.rootpath / "benchmarks"))
    import cost_backtest

    return cost_backtest


def test_what_ships_is_what_the_back_test_gives(backtest):
    found = backtest.scores(read_csv(backtest.DATA))
    assert backtest.deviation(found["hours"], by_source=False) == pytest.approx(device.HOURS_DEVIATION, rel=1e-2)
    assert backtest.deviation(found["power"], by_source=True) == pytest.approx(device.POWER_DEVIATION, rel=1e-2)
    shipped = {"rows": device.HOURS_BACKTEST["runs"], **device.HOURS_BACKTEST}
    del shipped["runs"]
    assert backtest.summary(found["hours"]) == pytest.approx(shipped, abs=1e-3)


def test_energy_is_scored_of_estimated_hours_and_power_of_reported_ones(backtest):
    rows = read_csv(backtest.DATA)
    longer = [row | {"accel_hours": 2 * float(row["accel_hours"] or 0) or ""} for row in rows]
    before, after = (backtest.scores([{k: str(v) for k, v in row.items()} for row in each]) for each in (rows, longer))
    assert after["energy"] == before["energy"]
    assert [1 + score.off for score in after["power"]] == pytest.approx([2 + 2 * s.off for s in before["power"]])
