"""Muon's kernels for wide blocks, against fp64 and against the update without them."""

from __future__ import annotations

import pytest
import torch

from headwater.model.kernels.library import load_kernels
from headwater.model.kernels.updates import KernelUpdates
from headwater.model.optim import muon
from headwater.model.optim.update_rules import Muon, PlainUpdates

# (rows, columns, size of a block): wide and tall, in tiles of 32 and not, one block and several, deeper than a piece
SHAPES = [(128, 768, 128), (768, 128, 64), (64, 1100, 32), (1100, 64, 32), (100, 500, 50), (501, 99, 33), (12, 61, 12)]


def random_stack(rows: int, columns: int, num: int = 3) -> torch.Tensor:
    return torch.randn(num, rows, columns, generator=torch.Generator().manual_seed(rows)).bfloat16()


def kernel_updates(num_threads: int = 2) -> KernelUpdates:
    updates = KernelUpdates(load_kernels(), num_threads)
    if not updates.multiplies_half:
        pytest.skip("this processor has no products of bf16")
    return updates


def blocks_of(x_NRC: torch.Tensor, size: int) -> torch.Tensor:
    """Return every block with the shorter side as its rows, in fp64."""
    rows, columns = x_NRC.shape[1:]
    return (x_NRC.mT if rows > columns else x_NRC).reshape(-1, size, max(rows, columns)).double()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_gram_matrix_is_exactly_symmetric_and_its_sums_are_not_rounded_to_bf16(shape):
    *sides, size = shape
    x_NRC = random_stack(*sides)
    grams = kernel_updates().block_grams(x_NRC, size)
    blocks = blocks_of(x_NRC, size)
    true = blocks @ blocks.mT
    assert torch.equal(grams, grams.mT), f"differs by {(grams - grams.mT).abs().max()}"
    assert float((grams - true).norm() / true.norm()) < 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_factors_are_those_of_the_plain_update_at_any_number_of_threads(shape):
    *sides, size = shape
    blocks = blocks_of(random_stack(*sides), size)
    grams, true = (blocks @ blocks.mT).float(), muon.factors(blocks @ blocks.mT)
    one, two = (kernel_updates(num_threads).factors_(grams.clone()) for num_threads in (1, 2))
    assert torch.equal(one, two)
    assert float((one - true).norm() / true.norm()) < 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_block_goes_down_by_its_factor_times_itself(shape):
    rows, columns, size = shape
    x_NRC = random_stack(rows, columns)
    blocks = blocks_of(x_NRC, size)
    factors = torch.randn(len(blocks), size, size, generator=torch.Generator().manual_seed(1))
    factors = (factors + factors.mT).bfloat16()
    directions = (factors.double() @ blocks).reshape(3, min(rows, columns), max(rows, columns))
    directions = directions.mT if rows > columns else directions
    parameters = [torch.full((rows, columns), float(number)) for number in range(3)]
    kernel_updates().descend_blocks_(parameters, x_NRC, factors, keep=0.9, rate=0.3)
    for number, (parameter, direction) in enumerate(zip(parameters, directions, strict=True)):
        true = 0.9 * number - 0.3 * direction
        assert float((parameter - true).norm() / true.norm()) < 1e-6


@pytest.mark.parametrize("shape", [(128, 768, 128), (768, 128, 64), (64, 768, None)], ids=str)
def test_an_update_with_the_kernels_is_the_one_without_them(shape):
    rows, columns, block_rows = shape

    def updated(updates: PlainUpdates) -> torch.Tensor:
        parameters = list(random_stack(rows, columns).float())
        gradients = list(0.01 * random_stack(rows, columns).float().flip(0))
        momenta = [torch.zeros(rows, columns) for _ in parameters]
        updates.muon_(parameters, gradients, momenta, Muon(0.1, 0.9, 0.5, block_rows, torch.bfloat16))
        return torch.stack(parameters)

    before, with_kernels, without = (
        random_stack(rows, columns).float(),
        updated(kernel_updates()),
        updated(PlainUpdates()),
    )
    assert float((with_kernels - without).norm() / (without - 0.95 * before).norm()) < 0.01


def test_the_number_of_threads_changes_nothing():
    x_NRC = random_stack(384, 2000)
    alone = kernel_updates(1).block_grams(x_NRC, 128)
    for num_threads in (2, 3, 7):
        assert torch.equal(kernel_updates(num_threads).block_grams(x_NRC, 128), alone), f"{num_threads} threads"
