"""Sums of gradients whose bits don't depend on who adds what when: integers, of which addition is associative.

A sum of floating-point numbers depends on its order, so the same step on 1, 2 or 4 ranks, or in other microbatches to a
rank, would end in other last bits. Here every microbatch's gradient is rounded to a multiple of 2^-48 and added as a
64-bit integer. The rounding is 2e-15 at most, once a microbatch; the gradient is that of the mean loss over the
step's targets, so a microbatch's share of it is far below the limit of 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headwater.machine.parallel.settings import MAX_EXACT_MICROBATCHES

FRACTION_BITS = 48
NORM_BITS = 62  # of a sum of squares
LARGEST_SHARE = 2.0 ** (63 - FRACTION_BITS) / MAX_EXACT_MICROBATCHES  # as many fit into 63 bits


def as_integers(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return a gradient in units of 2^-48, and whether it is good; zeros where it is NaN or too large."""
    is_good = gradient.abs().max() < LARGEST_SHARE  # not "larger than": NaN is neither, and bad
    fractions = gradient.double().mul_(2.0**FRACTION_BITS).round_()
    return torch.where(is_good, fractions, 0.0).long(), is_good


def as_gradient(integers: Tensor, num_bad: Tensor) -> Tensor:
    """Return what a sum of integers stands for, fp64; NaN where one that was added was bad: the step is skipped."""
    return integers.double().mul_(2.0**-FRACTION_BITS) + torch.where(num_bad > 0, torch.nan, 0.0)


def exact_norm(
    tensors: Sequence[Tensor],
    num_numbers: int,
    max_: Callable[[Tensor], Tensor],
    sum_: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the norm, fp32, of tensors of `num_numbers` in all, with the same bits however they are divided.

    Squares are added as integers, at a scale by which the largest of them fills what the sum of all has room for.
    `max_` and `sum_` are over the ranks that hold the other parts. A number that isn't finite makes it NaN.
    """
    largest = torch.stack([tensor.abs().max() for tensor in tensors if tensor.numel()]).max().double()
    is_bad = ~largest.isfinite()
    largest, num_bad = max_(torch.stack([torch.where(is_bad, 0.0, largest), is_bad.double()])).unbind()
    exponent = NORM_BITS - math.ceil(math.log2(max(2, num_numbers))) - 2 * torch.frexp(largest).exponent.double()
    scale = torch.exp2(exponent)
    squares = [tensor.double().square_().mul_(scale).round_().long().sum() for tensor in tensors]
    norm = (sum_(torch.stack(squares).sum()).double() / scale).sqrt().float()
    return torch.where(num_bad > 0, torch.nan, norm)
