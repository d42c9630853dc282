"""The score of a forecast, against the integral that defines it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from headwater.core.intervals import Z_P90
from headwater.runs.outcome import crps


def by_integration(fact: float, p50: float, deviation: float) -> float:
    """Return ∫ (F(x) − 1{x ≥ log fact})² dx, the definition, for the normal F of the logarithm."""
    law, place = stats.norm(math.log(p50), deviation), math.log(fact)
    below, _ = integrate.quad(lambda x: law.cdf(x) ** 2, place - 40 * deviation, place, limit=200)
    above, _ = integrate.quad(lambda x: law.sf(x) ** 2, place, place + 40 * deviation, limit=200)
    return below + above


@pytest.mark.parametrize(("fact", "p50", "deviation"), [(5.6, 6.2, 0.05), (1.0, 1.0, 0.3), (9.0, 3.0, 0.2)])
def test_the_score_is_the_integral_that_defines_it(fact, p50, deviation):
    factor = math.exp(Z_P90 * deviation)
    assert crps(fact, p50 / factor, p50, p50 * factor) == pytest.approx(by_integration(fact, p50, deviation), rel=1e-6)


def test_without_a_band_the_score_is_the_relative_error():
    assert crps(1.05, 1.0, 1.0, 1.0) == pytest.approx(math.log(1.05))


def test_no_band_does_better_than_the_true_one():
    facts = np.exp(0.1 * np.random.default_rng(0).standard_normal(4000))
    means = {}
    for deviation in (0.05, 0.07, 0.1, 0.14, 0.2):
        factor = math.exp(Z_P90 * deviation)
        means[deviation] = np.mean([crps(float(fact), 1 / factor, 1.0, factor) for fact in facts])
    assert min(means, key=means.__getitem__) == 0.1, means
