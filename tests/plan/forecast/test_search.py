"""Choices under a budget, against closed forms and against trying everything."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from headwater.model.count import count_parameters
from headwater.plan.budget import MIN_RUN_STEPS, TOO_SHORT, offer_of
from headwater.plan.forecast.result import Spread
from headwater.plan.scaling.published import PublishedLaw
from headwater.plan.scaling.repetition import EXPONENT, OWN, A, B, most_epochs, repeated_loss, worth_params
from headwater.plan.sizes import DIAL, Candidate, model_of
from headwater.plan.text_size import useful_epochs

RATE = 4e15
"FLOP/s of the machine."
LAWS = PublishedLaw()


def candidate(model) -> Candidate:
    return Candidate(
        model=model,
        batch_tokens=256 * 2048,
        seconds_per_token=6 * count_parameters(model).matmul / RATE,
        memory=Spread(1e9, 0.1),
        hours_deviation=0.1,
    )


CANDIDATES = tuple(candidate(model) for model in (model_of(layers, "qwen3", 65_536, 2048) for layers in DIAL))


def offers(flops: float, unique=math.inf, candidates=CANDIDATES):
    return [offer_of(each, flops / RATE, unique, LAWS) for each in candidates]


def best(flops: float, unique=math.inf, candidates=CANDIDATES):
    return min(offers(flops, unique, candidates), key=lambda each: each.log_loss)


def test_the_published_law_chooses_chinchilla():
    # arXiv:2203.15556 trained 70 billion parameters on 1.4 trillion tokens, 5.88e23 FLOPs
    larger = tuple(candidate(model_of(layers, "qwen3", 65_536, 2048)) for layers in (104, 112, 120, 128, 144))
    found = best(5.88e23, candidates=CANDIDATES + larger)
    assert found.candidate.size.matmul == pytest.approx(70e9, rel=0.15)
    assert found.tokens == pytest.approx(1.4e12, rel=0.2)


@pytest.mark.parametrize("flops", [1e20, 1e22])
def test_compute_optimal_is_the_closed_form_of_the_law(flops):
    closed_form = (A / B) ** (1 / (2 * EXPONENT)) * (flops / 6) ** 0.5
    # sizes of the dial lie up to a third apart
    assert best(flops).candidate.size.matmul == pytest.approx(closed_form, rel=0.2)


@pytest.mark.parametrize("unique", [math.inf, 1e12, 1e10, 1e9])
def test_the_choice_is_a_whole_run_within_the_budget(unique):
    found = best(1e22, unique)
    each, tokens = found.candidate, found.tokens
    assert each.seconds(tokens) <= 1e22 / RATE * (1 + 1e-9)
    assert tokens <= 16 * unique
    assert tokens % each.batch_tokens == 0
    assert tokens >= MIN_RUN_STEPS * each.batch_tokens


def test_text_read_again_is_chosen_for_as_the_published_law_alone_would():
    """That law alone, over every size and up to sixteen epochs, as far as the hours allow."""
    found, unique = best(5e21, 8.9e9), 8.9e9
    tried = []
    for each in CANDIDATES:
        tokens = np.geomspace(unique / 10, min(16 * unique, 5e21 / RATE / each.seconds_per_token), 2000)
        size = float(each.size.matmul)
        tried += [(float(loss), size) for loss in repeated_loss(np.array(size), tokens, unique)]
    size = float(found.candidate.size.matmul)
    own = float(repeated_loss(np.array(size), np.array(found.tokens), unique))
    assert own == pytest.approx(min(tried)[0], rel=3e-3)
    assert size == pytest.approx(min(tried)[1], rel=0.35)


def test_what_comes_around_the_steps_is_in_the_time():
    one = replace(CANDIDATES[5], around_seconds=30.0)
    assert one.seconds(1e9) == pytest.approx(30 + 1e9 * one.seconds_per_token)
    assert offer_of(one, 10.0, math.inf, LAWS).refused == TOO_SHORT


def test_a_run_of_few_steps_is_not_offered():
    each = CANDIDATES[10]
    found = offers(6 * each.size.matmul * (MIN_RUN_STEPS + 0.5) * each.batch_tokens)
    assert [offer.refused is None for offer in found] == [True] * 11 + [False] * (len(CANDIDATES) - 11)


def test_parameters_beyond_the_text_are_worth_less_and_without_a_limit_all():
    sizes, text = np.array([float(each.size.matmul) for each in CANDIDATES]), 1e8 / 4.5
    assert worth_params(sizes, math.inf) == pytest.approx(sizes)
    assert max(worth_params(sizes, text)) < text < 0.01 * max(sizes)


@pytest.mark.parametrize("unique", [1e8, 5e9])
def test_no_text_is_read_more_often_than_plans_say_helps(unique):
    """Sixteen times where the published law was measured, and denser models as often as headwater's runs show."""
    for each, offer in zip(CANDIDATES, offers(1e22, unique), strict=True):
        useful = useful_epochs(each.size.total, unique, each.batch_tokens)
        assert offer.tokens / unique <= max(useful, MIN_RUN_STEPS * each.batch_tokens / unique) * 1.001
        assert useful <= (16 if each.size.total <= 1.4 * unique else 8)


def test_the_most_epochs_fall_without_a_jump_where_the_published_law_was_not_measured():
    ratios = np.geomspace(0.5, 3, 200)
    most = [most_epochs(1e9 * ratio, 1e9) for ratio in ratios]
    assert most == sorted(most, reverse=True)
    assert (most[0], most[-1]) == (16, OWN.best_epochs(3e9, 1e9))
    assert max(before / after for before, after in itertools.pairwise(most)) < 1.05
