"""All published laws together: levels, and what tells sizes apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.scaling.posterior import published_prior
from headwater.scaling.published import NATS, PublishedLaws, published_laws, shares

LAWS = published_laws()


def test_families_count_alike():
    total = dict.fromkeys((law.family for law in LAWS.laws), 0.0)
    for law, share in zip(LAWS.laws, shares(LAWS.laws), strict=True):
        total[law.family] += share
    assert list(total.values()) == pytest.approx([1 / len(total)] * len(total))


def test_exponents_are_those_of_the_prior_where_both_have_the_law():
    prior = math.log(published_prior().centre)
    middle = np.mean([(math.log(law.law.alpha) + math.log(law.law.beta)) / 2 for law in LAWS.laws])
    assert middle == pytest.approx(prior, abs=0.2)


def test_a_law_without_rows_on_both_sides_of_its_optimum_tells_no_sizes_apart():
    # Step Law's rows have 18 tokens a parameter or more, its law's optimum lies at 3
    assert "Step Law" not in [law.name for law in LAWS.choosing]
    assert len({law.family for law in LAWS.choosing}) >= 5


@pytest.mark.parametrize(
    ("name", "params", "tokens", "loss"),
    [
        # of Chinchilla: arXiv:2404.10102's law at 73.2 billion and 1.31 trillion gives 1.974
        ("Chinchilla, refitted", 73.2e9, 1.31e12, 1.974),
        # 2.8 billion on 55 billion tokens of C4 (arXiv:2305.16264) had 2.576; its constants are 6 to 9 % low
        ("Data-constrained", 2.8e9, 55e9, 2.576 * 0.925),
        # OLMo's 190M on 3.8 billion tokens
        ("OLMo, C4", 190354176, 3812622336, 3.600),
        ("OLMo, Pile", 190354176, 3812622336, 3.005),
        # Step Law's 215M on 11.4 billion
        ("Step Law", 214663680, 11.4e9, 2.4847),
    ],
)
def test_a_law_gives_the_loss_that_was_published(name, params, tokens, loss):
    law = next(each.law for each in LAWS.laws if each.name == name)
    assert law.loss(np.array(params), np.array(tokens)) == pytest.approx(loss, rel=0.02)


def test_quantiles_are_those_of_a_mixture_drawn_by_chance():
    params, tokens = 3e9, 6e10
    generator = np.random.default_rng(1)
    flops = 6 * params * tokens
    laws = [law for law in LAWS.laws if law.unit == NATS]
    decades = np.array([law.decades_outside(flops) for law in laws])
    weights = np.array([1 / sum(each.family == law.family for each in laws) for law in laws]) * 0.5**decades
    which = generator.choice(len(laws), 200_000, p=weights / weights.sum())
    medians = np.array([float(law.law.loss(np.array(params), np.array(tokens))) for law in laws])
    drawn = medians[which] * np.exp(np.hypot(0.009, 0.02 * decades)[which] * generator.standard_normal(200_000))
    assert LAWS.quantiles(params, tokens) == pytest.approx(np.quantile(drawn, (0.1, 0.5, 0.9)), rel=0.005)


@pytest.mark.parametrize(("params", "tokens"), [(4e6, 4e6), (3e6, 3e8), (1e7, 1e9), (1e7, 6e9)])
def test_far_below_the_rows_of_two_families_there_is_no_level(params, tokens):
    """A budget of a laptop's hours showed 5.9 to 6.6 nats by a law of another recipe."""
    assert LAWS.quantiles(params, tokens) is None
    assert f"measured from 1.4e+18 to 1.3e+22 FLOPs, and {6 * params * tokens:.2g} lie" in LAWS.how(params, tokens)


def test_where_two_families_were_measured_there_is_a_level_of_those_alone():
    assert LAWS.quantiles(1e8, 1e9) is not None
    assert "Porian" in LAWS.how(1e8, 1e9) and "OLMo" not in LAWS.how(1e8, 1e9)


def test_near_laws_count_more_than_far_ones():
    porian = [law.family for law in LAWS.choosing].index("porian")
    assert shares(LAWS.choosing, 1e17)[porian] > 2 * shares(LAWS.choosing, 1e24)[porian]


def test_one_law_alone_is_itself():
    one = PublishedLaws((LAWS.laws[0],))
    law = LAWS.laws[0].law
    params, tokens = np.array([1e9]), np.array([2e10])
    assert one.log_loss(params, tokens) == pytest.approx(np.log(law.loss(params, tokens)))
    assert one.quantiles(1e9, 2e10)[1] == pytest.approx(float(law.loss(params, tokens)[0]), rel=1e-6)
