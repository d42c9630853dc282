"""Integer sums of gradients: right to far below fp32's last bit, and blind to order and grouping; so is the norm."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from headwater.machine.parallel.data_parallel import LARGEST_SHARE, ExactGradientSum, exact_norm
from headwater.machine.ranks.exchange import Ranks

Gradients = list[torch.Tensor]


class Adding(Ranks):
    """Ranks that come one after another: each gets the sum of its own and all before it, the last one that of all."""

    before: Gradients | None = None

    def along(self, *axes: str) -> Ranks:
        return self

    def sum_tensors_(self, tensors) -> None:
        for mine, theirs in zip(tensors, self.before or [], strict=self.before is not None):
            mine += theirs
        self.before = [tensor.clone() for tensor in tensors]


def shares(num_shares: int) -> list[Gradients]:
    """Return gradients of two parameters, over nine decades of size, for each microbatch."""
    generator = torch.Generator().manual_seed(3)

    def one(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 10.0 ** torch.randint(-9, 0, shape, generator=generator)

    return [[one(17, 5), one(11)] for _ in range(num_shares)]


def summed(groups: list[list[Gradients]]) -> Gradients:
    """Return the gradients that ranks have in the end, each of which had a group of microbatches."""
    ranks = Adding()
    for group in groups:
        model = nn.ParameterList([torch.zeros_like(gradient) for gradient in group[0]])
        total = ExactGradientSum(ranks)
        for gradients in group:
            for parameter, gradient in zip(model, gradients, strict=True):
                parameter.grad = gradient.clone()
            total.add_(model)
            assert all(parameter.grad is None for parameter in model)
        total.reduce_(model)
    return [parameter.grad for parameter in model]


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
    (gradient,) = summed([[[almost]] * 2047])
    assert float(gradient) == pytest.approx(2047 * float(almost), rel=1e-6)


# ---- the norm


def norm_of(parts: list[torch.Tensor]) -> torch.Tensor:
    """Return the norm as ranks compute it that each have one part: sums and maxima over them are given to each."""
    found: dict[str, Gradients] = {"most": [], "sum": []}

    def noted(name: str, tensor: torch.Tensor) -> torch.Tensor:
        found[name].append(tensor)
        return tensor

    count = sum(part.numel() for part in parts)
    for part in parts:
        exact_norm([part], count, lambda tensor: noted("most", tensor), lambda tensor: tensor)
    most = torch.stack(found["most"]).max(0).values
    for part in parts:
        exact_norm([part], count, lambda _: most, lambda tensor: noted("sum", tensor))
    return exact_norm([parts[0]], count, lambda _: most, lambda _: torch.stack(found["sum"]).sum(0))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e8])
def test_a_norm_has_the_same_bits_at_any_cut(scale):
    generator = torch.Generator().manual_seed(1)
    numbers = scale * torch.randn(30_011, generator=generator) * torch.logspace(-8, 0, 30_011)
    found = [norm_of(list(numbers.chunk(num_parts))) for num_parts in (1, 2, 3, 7, 64)]
    assert len({float(norm) for norm in found}) == 1
    assert float(found[0]) == pytest.approx(float(numbers.double().norm()), rel=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_norm_of_what_is_not_finite_is_not_a_number(bad):
    assert norm_of([torch.ones(5), torch.tensor([1.0, bad])]).isnan()
    assert float(norm_of([torch.zeros(3), torch.zeros(2)])) == 0.0
