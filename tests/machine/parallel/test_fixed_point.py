"""Integer sums of gradients: right to far below fp32's last bit, and blind to order and grouping."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from headwater.machine.parallel.fixed_point import LARGEST_SHARE, FixedPointSum


def shares(num_shares: int) -> list[list[torch.Tensor]]:
    """Return gradients of two parameters, over nine decades of size, for each microbatch."""
    generator = torch.Generator().manual_seed(3)

    def one(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 10.0 ** torch.randint(-9, 0, shape, generator=generator)

    return [[one(17, 5), one(11)] for _ in range(num_shares)]


def summed(groups: list[list[list[torch.Tensor]]]) -> list[torch.Tensor]:
    """Return the gradients at the first of some ranks, each of which has a group of microbatches."""
    ranks = []
    for group in groups:
        parameters = [nn.Parameter(torch.zeros(17, 5)), nn.Parameter(torch.zeros(11))]
        total = FixedPointSum(parameters)
        for gradients in group:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            total.take_()
            assert all(parameter.grad is None for parameter in parameters)
        ranks.append((parameters, total))

    def sum_tensors_(tensors):
        for _, total in ranks[1:]:
            for mine, theirs in zip(tensors, [*total._sums, total._num_bad], strict=True):
                mine += theirs

    parameters, total = ranks[0]
    total.give_(sum_tensors_)
    return [parameter.grad for parameter in parameters]


def test_the_sum_is_that_of_doubles():
    found = shares(8)
    for number, gradient in enumerate(summed([found])):
        exact = sum(gradients[number].double() for gradients in found)
        # what a microbatch is rounded by, and the last bit of fp32
        assert torch.all((gradient.double() - exact).abs() <= 8 * 2.0**-49 + exact.abs() * 2.0**-24)


@pytest.mark.parametrize("num_ranks", [1, 2, 4, 8])
def test_ranks_and_order_change_no_bit(num_ranks):
    found = shares(8)
    whole = summed([found])
    random.Random(num_ranks).shuffle(found)
    size = 8 // num_ranks
    split = summed([found[start : start + size] for start in range(0, 8, size)])
    assert all(torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in zip(whole, split, strict=True))
    plain = [sum(gradients[0] for gradients in order) for order in (found, found[::-1])]
    assert num_ranks == 1 or not torch.equal(*plain), "fp32 sums don't depend on the order here: nothing is shown"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), LARGEST_SHARE, -2 * LARGEST_SHARE])
@pytest.mark.parametrize("rank", [0, 1])
def test_one_bad_number_on_any_rank_makes_no_number_of_all(bad, rank):
    found = shares(4)
    found[2 * rank][1][3] = bad
    assert all(torch.isnan(gradient).all() for gradient in summed([found[:2], found[2:]]))


def test_the_largest_shares_do_not_wrap_around():
    almost = torch.full((1,), LARGEST_SHARE * (1 - 2**-20))
    parameter = nn.Parameter(torch.zeros(1))
    total = FixedPointSum([parameter])
    for _ in range(2047):
        parameter.grad = almost.clone()
        total.take_()
    total.give_(lambda tensors: None)
    assert float(parameter.grad) == pytest.approx(2047 * float(almost), rel=1e-6)
