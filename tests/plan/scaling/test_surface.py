"""The response surface of a ladder: held against Bayes's formula for weights, and against losses drawn from its priors."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.plan.scaling.surface import NOISE, PRIOR, Surface

PARAMS = np.array([3e5, 3e5, 6e5, 6e5, 1.2e6, 2.4e6, 2.4e6])  # the last is the target
TOKENS = np.array([5e5, 2e6, 4e5, 1e6, 8e5, 4e5, 3e6])


def terms(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    n, d = np.log(params / params[-1]), np.log(tokens / tokens[-1])
    return np.stack([n**0, n, d, n * d, d**2, n**2], axis=1)


def test_it_is_bayesian_regression_on_the_terms():
    likeliest = terms(PARAMS, TOKENS)[:-1] @ [0.2, *(mean for mean, _ in PRIOR[:5])]
    loss = np.exp(likeliest + 0.002 * np.array([1, -1, 1, 1, -1, -1]))
    x, y = terms(PARAMS, TOKENS), np.log(loss)
    mean, deviation = (np.array([start, *column[:5]]) for start, column in zip((0.0, 1e3), zip(*PRIOR, strict=True)))
    precision = x[:-1].T @ x[:-1] / NOISE**2 + np.diag(deviation**-2.0)
    weights = np.linalg.solve(precision, x[:-1].T @ y / NOISE**2 + mean / deviation**2)
    median, spread = Surface(PARAMS, TOKENS).forecast(loss)
    assert median == pytest.approx(np.exp(weights[0]), rel=1e-4)
    assert spread**2 == pytest.approx(np.linalg.inv(precision)[0, 0] + NOISE**2, rel=1e-3)


def test_of_losses_drawn_from_the_priors_eight_in_ten_or_a_few_more_lie_in_the_interval():
    chance, surface, off = np.random.default_rng(0), Surface(PARAMS, TOKENS), []
    mean, deviation = np.array(PRIOR[:5]).T
    for _ in range(2000):
        logs = terms(PARAMS, TOKENS) @ [chance.normal(0, 1), *chance.normal(mean, deviation)]
        losses = np.exp(logs + chance.normal(0, NOISE, len(logs)))
        median, spread = surface.forecast(losses[:-1])
        off.append(np.log(losses[-1] / median) / spread)
    assert 0.8 < np.mean(np.abs(off) < 1.2816) < 0.86
    assert np.mean(off) == pytest.approx(0.0, abs=0.06)


def test_losses_that_the_priors_do_not_allow_make_the_forecast_less_sure():
    surface = Surface(PARAMS, TOKENS)
    likeliest = terms(PARAMS, TOKENS)[:-1] @ [0.2, *(mean for mean, _ in PRIOR[:5])]
    off = np.array([0.0, 0.1, -0.1, 0.0, 0.1, -0.1])
    assert surface.forecast(np.exp(likeliest))[1] ** 2 == pytest.approx(surface.variance(range(6)))
    assert surface.forecast(np.exp(likeliest + off))[1] > 3 * surface.forecast(np.exp(likeliest))[1]
