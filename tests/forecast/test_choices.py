"""Choices under a budget, against closed forms and against trying everything."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from headwater.forecast.candidate import Candidate, Placement, sizes
from headwater.forecast.choices import SERVED_COST, SLACK, Field, PublishedRepetition, choose, recommended
from headwater.forecast.failures import Checkpoints, Shares
from headwater.model.count import count_parameters, flops_per_token
from headwater.scaling.published import PublishedLaws, published_laws

RATE = 4e15
"FLOP/s of the machine."
LAWS = published_laws()


def multiplied(model) -> int:
    return count_parameters(model).matmul


def candidate(model, penalty=0.0, slower=1.0) -> Candidate:
    return Candidate(
        model=model,
        flops_per_token=flops_per_token(model),
        seconds_per_token=slower * 6 * multiplied(model) / RATE,
        placement=Placement(1, "bf16", 256, 8),
        memory_bytes=1e9,
        memory_limit=2e9,
        checkpoints=Checkpoints(3600, 10, 1e6, Shares(1.0, 0.0, 0.0, 0.0)),
        hours_deviation=0.1,
        memory_deviation=0.1,
        log_penalty=penalty,
    )


CANDIDATES = tuple(candidate(model) for model in sizes("qwen3", 65_536, 2048))


def budget(flops: float, unique=math.inf, laws=LAWS, candidates=CANDIDATES) -> Field:
    return Field(candidates, flops / RATE, unique, laws, PublishedRepetition())


def kinds(choices) -> dict[str, object]:
    return {kind: choice for choice in choices for kind in choice.kinds}


def test_chinchillas_law_alone_chooses_chinchilla():
    # arXiv:2203.15556 trained 70 billion parameters on 1.4 trillion tokens, 5.88e23 FLOPs; 2404.10102 finds its law so
    refitted = PublishedLaws(tuple(law for law in LAWS.laws if law.name == "Chinchilla, refitted"))
    first = choose(budget(5.88e23, laws=refitted), None)[0][0]
    assert multiplied(first.candidate.model) == pytest.approx(70e9, rel=0.15)
    assert first.tokens == pytest.approx(1.4e12, rel=0.2)


def test_compute_optimal_is_the_closed_form_of_each_law():
    for law in LAWS.choosing:
        found = choose(budget(1e22, laws=PublishedLaws((law,))), None)[0][0]
        a, b, alpha, beta = law.law.A, law.law.B, law.law.alpha, law.law.beta
        best = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (1e22 / 6) ** (beta / (alpha + beta))
        # sizes of the dial lie up to a third apart
        assert multiplied(found.candidate.model) == pytest.approx(best, rel=0.2), law.name


@pytest.mark.parametrize("unique", [math.inf, 1e12, 1e10, 1e9])
@pytest.mark.parametrize("served", [None, 1e9, 1e13])
def test_no_choice_is_dominated_and_none_costs_more_than_the_budget(unique, served):
    field = budget(1e22, unique)
    choices, _ = choose(field, served)
    assert choices[0].kinds[0] == "compute-optimal"
    for one in choices:
        assert one.cost[0] <= field.seconds * (1 + 1e-9)
        assert one.tokens <= 16 * unique
        assert one.tokens % one.candidate.batch_tokens == 0
        others = [other for other in choices if other is not one]
        assert not any(all(a <= b for a, b in zip(other.cost, one.cost, strict=True)) for other in others)
        assert len(one.kinds) == len(one.reasons)


@pytest.mark.parametrize("served", [1e10, 1e12, 1e14])
def test_inference_aware_is_the_cheapest_of_all_sizes_and_tokens(served):
    # arXiv:2401.00448: 6 N D of training and 2 N of each token served, at this code's price of the latter
    field = budget(1e22)
    choices, _ = choose(field, served)
    limit = choices[0].cost[1] + math.log1p(SLACK)
    cheapest = math.inf
    for each in CANDIDATES:
        most = field.seconds / each.seconds_per_token
        tokens = np.linspace(most / 5000, most, 5000)
        logs = LAWS.log_loss(np.full_like(tokens, multiplied(each.model)), tokens)
        reached = tokens[logs <= limit]
        if len(reached):
            total = (reached[0] + served * SERVED_COST) * each.seconds_per_token
            cheapest = min(cheapest, float(total))
    found = kinds(choices)["inference-aware"]
    assert found.cost[0] + served * found.cost[2] == pytest.approx(cheapest, rel=0.01)


def test_more_serving_makes_a_smaller_model_trained_longer():
    few, many = (kinds(choose(budget(1e22), served)[0])["inference-aware"] for served in (1e9, 1e14))
    assert many.candidate.params < few.candidate.params
    assert many.tokens > few.tokens


def test_short_text_makes_the_shortest_run_and_says_so():
    field = budget(1e22, unique=5e9)
    choices, _ = choose(field, None)
    named = kinds(choices)
    assert named["data-limited"].cost[0] < 0.5 * named["compute-optimal"].cost[0]
    assert named["data-limited"].cost[1] <= named["compute-optimal"].cost[1] + math.log1p(SLACK) + 1e-9
    assert "of the compute-optimal run's time comes within 1% of its loss" in " ".join(named["data-limited"].reasons)


@pytest.mark.parametrize("unique", [5e11, math.inf])
def test_text_that_is_not_read_again_limits_nothing(unique):
    assert "data-limited" not in kinds(choose(budget(1e22, unique), None)[0])


def test_a_penalty_of_loss_counts():
    # twice as fast for 0.25 % of loss is worth it, for 50 % it isn't
    models = list(sizes("qwen3", 65_536, 2048))
    for penalty, is_fast in ((0.0025, True), (0.5, False)):
        fast = tuple(candidate(model, penalty, 0.5) for model in models)
        first = choose(budget(1e22, candidates=CANDIDATES + fast), None)[0][0]
        assert (first.candidate in fast) == is_fast


def test_seconds_and_tokens_are_inverse_across_the_first_epoch():
    one = Candidate(**{**vars(CANDIDATES[5]), "start_seconds": 30.0, "prepare_seconds": 1e-7})
    for tokens in (1e8, 1e9, 5e9):
        assert one.tokens(one.seconds(tokens, 1e9), 1e9) == pytest.approx(tokens)
    assert one.tokens(10.0, 1e9) <= 0


SHORT = 1e8 / 4.5
"Unique tokens of 100 MB of text, which a large budget reads as often as it likes."


def test_each_size_trains_on_the_tokens_of_the_loss_that_it_is_scored_by():
    for repetition in (PublishedRepetition(), LAWS.strength):
        field = replace(budget(1e22, SHORT), repetition=repetition)
        for place, each in enumerate(field.candidates):
            tokens, params = field.best_tokens[place], np.array(float(each.params))
            logs = LAWS.log_loss(field.sizes[place : place + 1], np.array([tokens]))
            own = float(logs[0] + repetition.log_cost(params, tokens, SHORT))
            assert own == pytest.approx(field.log_loss_cg[place, -1], abs=0.01), (each.params, tokens / SHORT)


def test_the_loss_is_continuous_at_one_epoch():
    field = budget(1e22, SHORT)
    for logs, tokens in zip(field.log_loss_cg, field.grid_cg, strict=True):
        after = int(np.searchsorted(tokens, SHORT))
        falls = -np.diff(logs[after - 3 : after + 3])
        assert falls.max() < 2 * falls.min() + 1e-3


def test_parameters_beyond_the_text_are_worth_less_and_without_a_limit_all():
    text, none = budget(1e22, SHORT), budget(1e22)
    assert none.sizes == pytest.approx([multiplied(each.model) for each in CANDIDATES])
    assert max(text.sizes) < SHORT < 0.01 * max(none.sizes)


def test_a_short_text_gets_a_model_of_its_size_whatever_the_money():
    choices, served = choose(budget(1e22, SHORT), None)
    assert choices[recommended(choices, served)].candidate.params < 2 * SHORT


def test_the_recommended_choice_is_the_cheapest_within_the_slack():
    choices, served = choose(budget(1e22, unique=5e9), None)
    taken = choices[recommended(choices, served)]
    limit = min(each.cost[1] for each in choices) + math.log1p(SLACK) + 1e-9
    near = [each for each in choices if each.cost[1] <= limit]
    assert taken in near
    assert taken.cost[0] + served * taken.cost[2] == min(each.cost[0] + served * each.cost[2] for each in near)
