"""The back-test's baseline: the usual fit over the same cuts, beside the forecaster."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import law_backtest
from law_backtest import (
    Cut,
    add_medians_,
    baseline,
    from_own_size,
    from_the_rest,
    hindsight,
    origins,
    runs_of,
    tables,
)


def test_the_baseline_reads_a_known_law_without_error_and_one_that_bends_with_its_bend():
    flops = np.repeat(1e18 * 10 ** (0.25 * np.arange(14)), 7)
    params = np.tile(10 ** np.linspace(-0.5, 0.5, 7), 14) * 0.1 * np.sqrt(flops)
    tokens = flops / (6 * params)
    loss = 1.7 + 400 * params**-0.33 + 900 * tokens**-0.31
    steady = [Cut("steady", "t", origin) for origin in origins(runs_of(params, tokens, loss))]
    bent_loss = np.where(flops > 3e19, 0.9 * loss, loss)
    cuts = origins(runs_of(params, tokens, bent_loss))
    bent = [Cut("bent", "t", origin) for origin in cuts if origin.fitted.flops.max() < 3e19]
    found = baseline([*steady, *bent])
    lines = [{"family": name} for name in ("bent", "steady", "all")]
    add_medians_(lines, found, "baseline")
    assert lines[1]["baseline_0.5"] < 0.05
    assert lines[1]["baseline_2"] < 0.3
    assert lines[0]["baseline_2"] == pytest.approx(100 * -np.log(0.9), abs=1.5)
    assert lines[1]["baseline_2"] <= lines[2]["baseline_2"] <= lines[0]["baseline_2"]


def test_every_forecast_of_the_forecaster_has_one_of_the_baseline():
    runs = {name: runs for _, name, runs in tables()}["dense"]
    cuts = [Cut("steplaw", "dense", origin) for origin in origins(runs)]
    found = baseline(cuts)
    assert [entry["decades"] for entry in found] == [far for cut in cuts for far in cut.origin.decades.tolist()]
    looking_back = hindsight(cuts)
    for others in (looking_back, from_the_rest(cuts)):
        assert [entry["decades"] for entry in others] == [entry["decades"] for entry in found]
    assert np.median([abs(entry["error"]) for entry in looking_back]) < np.median([abs(e["error"]) for e in found])


def test_a_run_is_read_off_the_runs_of_its_own_size_alone(monkeypatch):
    params, tokens = (sizes.ravel() for sizes in np.meshgrid([1e7, 1e8, 1e9], 1e8 * 2.0 ** np.arange(12)))
    smooth = 3.0 * (tokens / 1e10) ** -0.05 * (params / 1e8) ** -0.1
    is_bumpy = (params == 1e8) & (np.round(np.log2(tokens / 1e8)) % 2 == 0)
    runs = runs_of(params, tokens, np.where(is_bumpy, 1.02 * smooth, smooth))
    monkeypatch.setattr(law_backtest, "tables", lambda: iter([("made", "t", runs)]))
    cuts = [Cut("made", "t", origin) for origin in origins(runs)]
    found = from_own_size(cuts)
    targets = [(n, d) for cut in cuts for n, d in zip(cut.origin.beyond.params, cut.origin.beyond.tokens)]
    inside = [n for n, d in targets if d < tokens.max()]  # the longest run of a size has no longer one beside it
    assert len(found) == len(inside)
    for entry, size in zip(found, inside):
        bump = 0.01 if size == 1e8 else 0.0  # of what alternates by 2 %, a parabola sees about the middle
        assert abs(abs(entry["error"]) - bump) < (0.01 if bump else 1e-6)
    lines = [{"family": name} for name in ("made", "none", "all")]
    add_medians_(lines, found, "size")
    assert lines[1]["size_0.5"] is None and lines[0]["size_0.5"] == lines[2]["size_0.5"]
