"""The back-test's baselines and its cuts: a known law is read off without error, and no cut shows what it is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from headwater.plan.scaling.law import Prior
from headwater.plan.scaling.table import origins
from law_backtest import Cut, by_size, entries, ladders, law_of, published_prior, runs_of, summary, tables


def test_the_prior_counts_each_family_once_and_can_leave_one_out():
    everything, without = published_prior(), published_prior(without="marin")
    assert 0.2 < without.centre < everything.centre < 0.3
    assert everything.centre == pytest.approx(Prior().centre, rel=1e-7)


def isoflop(bend: float) -> list[Cut]:
    """Cuts of a known law, whose losses are lower by `bend` beyond 3e19 FLOPs."""
    flops = np.repeat(1e18 * 10 ** (0.25 * np.arange(12)), 5)
    params = np.tile(10 ** np.linspace(-0.5, 0.5, 5), 12) * 0.1 * np.sqrt(flops)
    tokens = flops / (6 * params)
    loss = (1.7 + 400 * params**-0.33 + 900 * tokens**-0.31) * np.where(flops > 3e19, 1 - bend, 1)
    cuts = [Cut("made", "t", origin) for origin in origins(runs_of(params, tokens, loss))]
    return [cut for cut in cuts if bend == 0 or cut.origin.fitted.flops.max() < 3e19 < cut.origin.beyond.flops.min()]


@pytest.mark.parametrize(("bend", "expected"), [(0.0, 0.0), (0.1, 100 * -np.log(0.9))])
def test_the_plain_fit_reads_a_known_law_without_error_and_one_that_bends_with_its_bend(bend, expected):
    found = [entry for cut in isoflop(bend)[:3] for entry in entries(cut, law_of(cut))]
    (line, _) = summary(found, [(0.0, 2.0)])
    assert line["fit_2"] == pytest.approx(expected, abs=0.3)
    assert line["last_2"] > 1


def test_a_cut_by_size_asks_for_larger_models_alone():
    cuts = [cut for cut in by_size(tables()) if cut.family in ("olmo", "gadre")]
    assert {cut.family for cut in cuts} == {"olmo", "gadre"}
    assert all(cut.origin.fitted.params.max() * 1.5 < cut.origin.beyond.params.min() for cut in cuts)


def test_ladders_are_six_rows_of_a_quarter_of_the_compute_or_less():
    cuts = list(ladders(tables()))
    assert {cut.family for cut in cuts} == {family for family, _, _ in tables()}
    assert all(len(cut.origin.fitted) == 6 for cut in cuts)
    assert all(4 * cut.origin.fitted.flops.max() <= cut.origin.beyond.flops[0] for cut in cuts)
