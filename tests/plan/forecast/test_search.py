"""Choices under a budget, against closed forms and against trying everything."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from headwater.model.count import count_parameters
from headwater.plan.forecast.budget import DIAL, MIN_RUN_STEPS, Candidate, Field, model_of
from headwater.plan.forecast.result import Spread
from headwater.plan.scaling.published import LAW, PublishedLaw
from headwater.plan.scaling.repetition import OWN, most_epochs, repeated_loss, worth_params
from headwater.plan.text_size import useful_epochs

RATE = 4e15
"FLOP/s of the machine."
LAWS = PublishedLaw()


def multiplied(model) -> int:
    return count_parameters(model).matmul


def candidate(model, slower=1.0) -> Candidate:
    return Candidate(
        model=model,
        batch_tokens=256 * 2048,
        seconds_per_token=slower * 6 * multiplied(model) / RATE,
        memory=Spread(1e9, 0.1),
        hours_deviation=0.1,
    )


CANDIDATES = tuple(candidate(model) for model in (model_of(layers, "qwen3", 65_536, 2048) for layers in DIAL))


def budget(flops: float, unique=math.inf, laws=LAWS, candidates=CANDIDATES) -> Field:
    return Field(candidates, flops / RATE, unique, laws)


def loss_at(field: Field, found: tuple[int, float]) -> float:
    place, tokens = found
    return float(field.log_loss_cg[place][field.tokens_cg[place] == tokens][0])


def test_the_published_law_chooses_chinchilla():
    # arXiv:2203.15556 trained 70 billion parameters on 1.4 trillion tokens, 5.88e23 FLOPs
    larger = tuple(candidate(model_of(layers, "qwen3", 65_536, 2048)) for layers in (104, 112, 120, 128, 144))
    field = budget(5.88e23, candidates=CANDIDATES + larger)
    place, tokens = field.least
    assert multiplied(field.candidates[place].model) == pytest.approx(70e9, rel=0.15)
    assert tokens == pytest.approx(1.4e12, rel=0.2)


@pytest.mark.parametrize("flops", [1e20, 1e22])
def test_compute_optimal_is_the_closed_form_of_the_law(flops):
    place, _ = budget(flops).least
    best = (LAW.A / LAW.B) ** (1 / (2 * LAW.alpha)) * (flops / 6) ** 0.5
    # sizes of the dial lie up to a third apart
    assert multiplied(CANDIDATES[place].model) == pytest.approx(best, rel=0.2)


@pytest.mark.parametrize("unique", [math.inf, 1e12, 1e10, 1e9])
def test_the_choice_is_a_whole_run_within_the_budget(unique):
    field = budget(1e22, unique)
    place, tokens = field.least
    each = field.candidates[place]
    assert each.seconds(tokens) <= field.seconds * (1 + 1e-9)
    assert tokens <= 16 * unique
    assert tokens % each.batch_tokens == 0
    assert tokens >= MIN_RUN_STEPS * each.batch_tokens
    assert loss_at(field, field.least) == field.log_loss_cg.min()


def test_text_read_again_is_chosen_for_as_the_published_law_alone_would():
    """That law alone, over every size and up to sixteen epochs, as far as the hours allow."""
    field, unique = budget(5e21, 8.9e9), 8.9e9
    tried = []
    for each in CANDIDATES:
        tokens = np.geomspace(unique / 10, min(16 * unique, field.seconds / each.seconds_per_token), 2000)
        size = float(multiplied(each.model))
        tried += [(float(loss), size) for loss in repeated_loss(np.array(size), tokens, unique)]
    place, tokens = field.least
    size = float(multiplied(field.candidates[place].model))
    own = float(repeated_loss(np.array(size), np.array(tokens), unique))
    assert own == pytest.approx(min(tried)[0], rel=3e-3)
    assert size == pytest.approx(min(tried)[1], rel=0.35)


def test_seconds_and_tokens_are_inverse():
    one = replace(CANDIDATES[5], around_seconds=30.0)
    assert one.tokens(one.seconds(1e9)) == pytest.approx(1e9)
    assert one.tokens(10.0) == 0


def test_a_run_of_few_steps_is_not_offered():
    field = budget(6 * multiplied(CANDIDATES[10].model) * (MIN_RUN_STEPS + 0.5) * CANDIDATES[10].batch_tokens)
    assert [reason is None for reason in field.refused] == [True] * 11 + [False] * (len(CANDIDATES) - 11)


SHORT = 1e8 / 4.5
"Unique tokens of 100 MB of text, which a large budget reads as often as it likes."


def test_the_loss_is_continuous_at_one_epoch():
    field = budget(1e22, SHORT, candidates=tuple(replace(each, batch_tokens=8 * 2048) for each in CANDIDATES))
    for logs, tokens in zip(field.log_loss_cg, field.tokens_cg, strict=True):
        after = int(np.searchsorted(tokens, SHORT))
        # each step of the grid is rounded to whole batches, so slopes are compared
        slopes = np.diff(logs[after - 3 : after + 3]) / np.diff(np.log(tokens[after - 3 : after + 3]))
        assert abs(np.diff(slopes)).max() < 0.05


def test_parameters_beyond_the_text_are_worth_less_and_without_a_limit_all():
    text, none = budget(1e22, SHORT), budget(1e22)
    assert worth_params(none.sizes, math.inf) == pytest.approx(none.sizes)
    assert max(worth_params(text.sizes, SHORT)) < SHORT < 0.01 * max(text.sizes)


@pytest.mark.parametrize("unique", [1e8, 5e9])
def test_no_text_is_read_more_often_than_plans_say_helps(unique):
    """Sixteen times where the published law was measured, and denser models as often as headwater's runs show."""
    field = budget(1e22, unique)
    most = field.tokens_cg.max(axis=1) / unique
    for each, epochs in zip(field.candidates, most, strict=True):
        useful = useful_epochs(each.params, unique, each.batch_tokens)
        assert epochs <= max(useful, MIN_RUN_STEPS * each.batch_tokens / unique) * 1.001
        assert useful <= (16 if each.params <= 1.4 * unique else 8)


def test_the_most_epochs_fall_without_a_jump_where_the_published_law_was_not_measured():
    ratios = np.geomspace(0.5, 3, 200)
    most = [most_epochs(1e9 * ratio, 1e9) for ratio in ratios]
    assert most == sorted(most, reverse=True)
    assert (most[0], most[-1]) == (16, OWN.best_epochs(3e9, 1e9))
    assert max(before / after for before, after in itertools.pairwise(most)) < 1.05
