from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import ConfigError
from headwater.scaling.mixture_law import choose_mixtures, draw_mixtures, fit_mixture_law, propose

SOURCES = ["books", "code", "web", "math"]
BASE = np.array([0.4, 0.1, 0.45, 0.05])
# how much a token of each column teaches about each row's text: most about its own
TRANSFER = np.array([[1.0, 0.1, 0.4, 0.1], [0.05, 1.0, 0.1, 0.2], [0.4, 0.1, 1.0, 0.1], [0.1, 0.2, 0.1, 1.0]])


def power_law(weights: np.ndarray) -> np.ndarray:
    """Losses that fall as a power of the tokens that teach: not of the form that is fitted."""
    return 0.6 + 0.9 * (0.02 + weights @ TRANSFER.T) ** -0.15


def runs(count: int, noise: float = 0.0, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    weights = choose_mixtures(BASE, draw_mixtures(BASE, np.ones(4), 2000, chance), count, chance)
    losses = power_law(weights)
    return weights, losses * np.exp(noise * chance.standard_normal(losses.shape))


def test_losses_of_unseen_mixtures_are_forecasts_within_a_percent():
    law = fit_mixture_law(SOURCES, *runs(16))
    unseen = draw_mixtures(BASE, np.ones(4), 500, np.random.default_rng(8))
    errors = np.abs(law.losses(unseen) / power_law(unseen) - 1)
    assert np.median(errors) < 0.01
    assert law.left_out_error < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_the_proposal_is_better_than_the_base_and_near_the_best_there_is(seed):
    weights, losses = runs(16, noise=0.003, seed=seed)
    law = fit_mixture_law(SOURCES, weights, losses)
    found = propose(law, BASE, np.ones(4), dict.fromkeys(SOURCES, 1.0), np.random.default_rng(seed))
    proposed = np.array([found.weights[name] for name in SOURCES])
    assert proposed.sum() == pytest.approx(1)

    def objective(mixtures):
        return np.log(power_law(mixtures)).mean(axis=1)

    best = objective(draw_mixtures(BASE, np.ones(4), 50_000, np.random.default_rng(99))).min()
    base, now = objective(np.stack([BASE, proposed]))
    assert best <= now < base
    assert (base - now) > 0.8 * (base - best)
    assert 1 - np.exp(now - base) == pytest.approx(found.gain, abs=0.008)


def test_importance_decides_what_a_mixture_is_good_for():
    law = fit_mixture_law(SOURCES, *runs(16))
    for name in SOURCES:
        found = propose(law, BASE, np.ones(4), {name: 1.0}, np.random.default_rng(1))
        assert max(found.weights, key=lambda each: found.weights[each]) == name


def test_no_mixture_has_more_of_a_source_than_its_text_allows():
    most = np.array([1.0, 1.0, 1.0, 0.07])
    drawn = draw_mixtures(BASE, most, 3000, np.random.default_rng(2))
    assert drawn.sum(axis=1) == pytest.approx(1)
    assert drawn[:, 3].max() <= 0.07 + 1e-9
    law = fit_mixture_law(SOURCES, *runs(16))
    found = propose(law, BASE, most, {"math": 1.0}, np.random.default_rng(2))
    assert 0.04 < found.weights["math"] <= 0.07 + 1e-9


def test_caps_that_leave_nothing_to_choose_are_refused():
    with pytest.raises(ConfigError, match="caps of epochs"):
        draw_mixtures(BASE, np.array([0.2, 0.2, 0.2, 0.2]), 100, np.random.default_rng(2))


def test_losses_that_follow_nothing_are_shown_by_their_rank():
    weights, _ = runs(16)
    noise = np.exp(np.random.default_rng(5).standard_normal((16, 1)) * 0.01)
    law = fit_mixture_law(SOURCES, weights, np.repeat(noise, 4, axis=1))
    assert max(law.rank.values()) < 0.6
    found = propose(law, BASE, np.ones(4), {"books": 1.0}, np.random.default_rng(1))
    assert abs(found.gain) < 0.02


def test_too_few_runs_are_refused():
    with pytest.raises(ConfigError, match="5 runs can't show"):
        fit_mixture_law(SOURCES, *runs(5))
