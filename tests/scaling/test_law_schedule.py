"""The law of schedules: the published formula summed step by step, published runs, and what must not move."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.optim.schedule import lr_factor
from headwater.optim.settings import ScheduleSettings
from headwater.scaling.schedule import FEW_STEPS, FITTED, UNSURE, Move, MultiPower, move

PEAK = 3e-4
SHORT = {"decay_fraction": 0.05}
# arXiv:2503.12811, 100 million parameters: floor, A, alpha, B, C, beta, gamma
OF_100M = (2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644)


def summed(rates: list[float]) -> float:
    """Return the published law's loss after the last of these rates, as it is printed, the warm-up in the sum."""
    floor, A, alpha, B, C, beta, gamma = OF_100M
    loss, before = floor + A * sum(rates) ** -alpha, 0.0
    for step, rate in enumerate(rates):
        loss += B * (rate - before) * (1 - (1 + C * rate**-gamma * sum(rates[step:])) ** -beta)
        before = rate
    return loss


def in_units_of_a_run(num_steps: int) -> MultiPower:
    floor, A, alpha, B, C, beta, gamma = OF_100M
    progress, noise = A * (PEAK * num_steps) ** -alpha / floor, B * PEAK / floor
    return MultiPower(progress, alpha, noise, C * PEAK ** (1 - gamma) * num_steps, beta, gamma)


def schedule(**changed) -> ScheduleSettings:
    return ScheduleSettings(**{"warmup_steps": 20} | changed)


def effect_of(own: list[float], reference: list[float]) -> Move:
    return move(own, reference, len(own))


def factors(num_steps: int = 1000, **changed) -> list[float]:
    return [lr_factor(step, num_steps, schedule(**changed)) for step in range(num_steps)]


@pytest.mark.parametrize("changed", [{}, {"name": "cosine", "final_fraction": 0.1}, {"final_fraction": 1.0}])
def test_it_is_the_published_law_in_units_of_a_run(changed):
    own = factors(400, **changed)
    level = float(in_units_of_a_run(400).level(own))
    assert OF_100M[0] * level == pytest.approx(summed([PEAK * factor for factor in own]), rel=1e-12)


def test_the_same_schedule_moves_nothing():
    effect = effect_of(factors(), factors())
    assert (effect.log_ratio, effect.deviation) == (0.0, 0.0)


def test_there_and_back_again_is_nothing():
    there, back = effect_of(factors(name="cosine"), factors()), effect_of(factors(), factors(name="cosine"))
    assert there.log_ratio == pytest.approx(-back.log_ratio)


def test_a_rate_that_never_falls_costs_what_published_runs_lost():
    """Constant against cosine to a tenth, 24,000 steps: 1.3, 1.9 and 2.8 % at 25M, 100M and 400M parameters."""
    cost = math.expm1(effect_of(factors(final_fraction=1.0), factors(name="cosine", final_fraction=0.1)).log_ratio)
    assert 0.013 < cost < 0.028


def test_a_short_decay_is_better_than_none_and_worse_than_a_usual_one():
    usual = factors(decay_fraction=0.2)
    short, none = (
        effect_of(factors(**changed), usual) for changed in ({"decay_fraction": 0.005}, {"final_fraction": 1.0})
    )
    assert 0 < short.log_ratio < none.log_ratio


def test_a_long_warm_up_costs_progress():
    assert effect_of(factors(warmup_steps=400), factors()).log_ratio > 0.002


def test_shares_of_a_run_are_as_good_as_its_steps():
    fine, coarse = (
        effect_of(factors(n, decay_fraction=0.1), factors(n, name="cosine")).log_ratio for n in (20_000, 2000)
    )
    assert coarse == pytest.approx(fine, rel=0.05)


def test_many_runs_at_once_are_each_as_alone():
    both = np.array([factors(), factors(name="linear")])
    alone = [float(FITTED.level(own)) for own in both]
    assert FITTED.level(both) == pytest.approx(alone, rel=1e-15)


def test_what_progress_and_noise_do_is_unsure_apart():
    """A schedule whose two effects cancel isn't a sure thing."""
    own, usual = factors(final_fraction=0.3, decay_fraction=0.6), factors()
    changes = [float(a - b) for a, b in zip(FITTED.parts(own), FITTED.parts(usual))]
    effect = effect_of(own, usual)
    assert changes[0] * changes[1] < 0
    assert effect.deviation == pytest.approx(UNSURE * math.hypot(*changes) / float(FITTED.level(usual)))
    assert effect.deviation > UNSURE * abs(effect.log_ratio)


def test_a_fall_in_few_steps_may_be_worth_anything_between_its_law_and_nothing():
    """10 of 200 steps: the law in units of the run, a rate that never falls, and the middle with both in its interval."""
    usual, short, none = (factors(200, warmup_steps=4, **changed) for changed in ({}, SHORT, {"final_fraction": 1.0}))
    by_law = math.log(float(FITTED.level(short)) / float(FITTED.level(usual)))
    effect, never = effect_of(short, usual), effect_of(none, usual)
    assert by_law < effect.log_ratio < never.log_ratio
    assert effect.log_ratio - 1.645 * effect.deviation < by_law
    assert effect.log_ratio + 1.645 * effect.deviation > 0.9 * never.log_ratio


@pytest.mark.parametrize("num_steps", [FEW_STEPS * 20, FEW_STEPS * 40])
def test_a_fall_in_enough_steps_is_worth_what_the_law_says(num_steps):
    own, usual = factors(num_steps, **SHORT), factors(num_steps)
    assert effect_of(own, usual).log_ratio == pytest.approx(math.log(float(FITTED.level(own) / FITTED.level(usual))))


def test_what_a_short_fall_leaves_open_is_the_same_for_the_same_fall():
    others = [{"warmup_steps": 9, **SHORT}, {"warmup_steps": 1}]
    moves = [effect_of(factors(100, warmup_steps=1, **SHORT), factors(100, **other)) for other in others]
    assert moves[0].deviation < 0.1 * moves[1].deviation
