"""All published laws together: levels, and what tells sizes apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.scaling.posterior import published_prior
from headwater.scaling.published import PublishedLaws, published_laws, weights

LAWS = published_laws()


def test_families_count_alike():
    total = dict.fromkeys((law.family for law in LAWS.laws), 0.0)
    for law, weight in zip(LAWS.laws, weights(LAWS.laws), strict=True):
        total[law.family] += weight
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
    flops = np.array(6 * params * tokens)
    decades = np.array([float(law.decades_outside(flops)) for law in LAWS.in_nats])
    shares = weights(LAWS.in_nats) * 0.5**decades
    which = generator.choice(len(LAWS.in_nats), 200_000, p=shares / shares.sum())
    medians = np.array([float(law.law.loss(np.array(params), np.array(tokens))) for law in LAWS.in_nats])
    drawn = medians[which] * np.exp(np.hypot(0.009, 0.02 * decades)[which] * generator.standard_normal(200_000))
    assert LAWS.quantiles(params, tokens) == pytest.approx(np.quantile(drawn, (0.1, 0.5, 0.9)), rel=0.005)


def test_far_below_all_rows_there_is_no_level():
    assert LAWS.quantiles(4e6, 4e6) is None
    assert "--runs CSV" in LAWS.how(4e6, 4e6)
    assert LAWS.quantiles(1e9, 2e10) is not None


def test_near_laws_count_more_than_far_ones():
    small, large = published_laws(1e17), published_laws(1e24)
    porian = [law.family for law in LAWS.choosing].index("porian")
    assert small._shares(LAWS.choosing, 1e17)[porian] > 2 * large._shares(LAWS.choosing, 1e24)[porian]


def test_one_law_alone_is_itself():
    one = PublishedLaws((LAWS.laws[0],))
    law = LAWS.laws[0].law
    params, tokens = np.array([1e9]), np.array([2e10])
    assert one.log_loss(params, tokens) == pytest.approx(np.log(law.loss(params, tokens)))
    assert one.quantiles(1e9, 2e10)[1] == pytest.approx(float(law.loss(params, tokens)[0]), rel=1e-6)
