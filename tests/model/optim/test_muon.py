"""Muon's orthogonal factor against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch
from golden_rows import rows
from torch.utils.flop_counter import FlopCounterMode

from headwater.model.optim import muon
from headwater.model.optim.muon import POLAR_EXPRESS, orthogonalise, symmetric_product
from headwater.model.optim.settings import gram_is_cheaper, orthogonalisation_flops, rows_of_block

SHAPES = {
    "square": (24, 24),
    "gram": (16, 40),
    "very gram": (12, 50),
    "tall": (40, 16),
    "very tall": (50, 12),
    "row": (1, 9),
    "column": (9, 1),
}


def random_matrices(shape: tuple[int, int], num: int = 3) -> torch.Tensor:
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(0))


def decompose(matrices_NRC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.linalg.svd(matrices_NRC.double(), full_matrices=False)


def polynomials(values: torch.Tensor) -> torch.Tensor:
    for a, b, c in POLAR_EXPRESS:
        values = a * values + b * values**3 + c * values**5
    return values


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_close_to_u_v_transposed(name):
    """For matrices whose singular values are within a factor 30 of each other, as most of a gradient's are."""
    u, s, vh = decompose(random_matrices(SHAPES[name]))
    matrices_NRC = (u @ torch.diag_embed(s.clamp_min(s.max() / 30)) @ vh).float()
    error = torch.linalg.matrix_norm(orthogonalise(matrices_NRC) - u @ vh, ord=2)
    assert float(error.max()) < 0.25, f"spectral distance {error.tolist()}"


@pytest.mark.parametrize("name", SHAPES)
def test_it_turns_each_singular_value_and_no_vector(name):
    matrices_NRC = random_matrices(SHAPES[name])
    u, s, vh = decompose(matrices_NRC)
    turned = polynomials(s / (1.02 * matrices_NRC.norm(dim=(-2, -1), keepdim=True).squeeze(-1)))
    exact = (u @ torch.diag_embed(turned) @ vh).float()
    ours = orthogonalise(matrices_NRC)
    assert ours.shape == exact.shape
    torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-3)


def test_every_singular_value_above_three_thousandths_of_the_norm_ends_near_1():
    values = polynomials(torch.linspace(0.003, 1, 10**5, dtype=torch.float64) / 1.02)
    assert float(values.min()) > 0.76
    assert float(values.max()) < 1.24


def test_each_polynomial_is_the_best_on_what_the_one_before_leaves():
    """By equal ripples, at the four points that the alternation theorem asks of three coefficients."""
    low, high = 0.003, 1.0
    for number, (a, b, c) in enumerate(POLAR_EXPRESS):
        safety = 1.02 if number < len(POLAR_EXPRESS) - 1 else 1.0
        at = torch.linspace(max(low, 0.02407 * high), high, 10**6, dtype=torch.float64)
        polynomial = a * safety * at + b * safety**3 * at**3 + c * safety**5 * at**5
        inner = polynomial[(polynomial.diff().sign().diff() != 0).nonzero().flatten() + 1]
        assert len(inner) == 2, "an odd quintic ripples twice inside"
        deviations = torch.stack([polynomial[0], *inner, polynomial[-1]]) - (polynomial[0] + polynomial[-1]) / 2
        assert float(deviations.abs().max() / deviations.abs().min()) < 1.2, (number, deviations)
        low = a * low + b * low**3 + c * low**5
        high = 2 - low


@pytest.mark.parametrize("alpha", [1.0, 0.3, 2.0, -1.0])
@pytest.mark.parametrize("beta", [None, 1.0, -2.5])
def test_a_symmetric_product_is_alpha_times_it_and_beta_times_what_is_added(alpha, beta):
    x_NRC, plus_NRR = random_matrices((5, 7)), random_matrices((5, 5))
    true = alpha * torch.einsum("nrc,nsc->nrs", x_NRC.double(), x_NRC.double())
    more = () if beta is None else (plus_NRR, beta)
    true = true if beta is None else true + beta * plus_NRR.double()
    torch.testing.assert_close(symmetric_product(x_NRC, alpha, *more).double(), true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("side", "most", "rows"), rows("rows_of_a_block_divide_the_side"))
def test_rows_of_a_block_divide_the_side(side, most, rows):
    assert rows_of_block(side, most) == rows


def test_an_oblong_matrix_in_bf16_is_no_further_from_its_polynomials_than_by_products():
    """With singular values over two decades: what is squared in bf16 would lose the small ones."""
    u, _, vh = decompose(random_matrices((32, 160)))
    s = torch.logspace(0, -2, 32, dtype=torch.float64)
    matrices_NRC = (u @ torch.diag(s) @ vh).bfloat16()
    exact = u @ torch.diag(polynomials(s / (1.02 * s.norm()))) @ vh
    products, gram = muon._by_products(matrices_NRC, symmetric_product), muon._by_gram(matrices_NRC)
    errors = [float((found.double() - exact).norm() / exact.norm()) for found in (products, gram)]
    assert errors[1] < 1.05 * errors[0] < 0.1, f"by products {errors[0]:.4f}, by the Gram matrix {errors[1]:.4f}"


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (12, 50), (5, 90)], ids=str)
def test_flops_are_those_that_torch_counts(shape):
    """Where torch makes the whole of a symmetric product, half is counted: that is what the kernels make."""
    rows, columns = shape
    with FlopCounterMode(display=False) as counter:
        orthogonalise(random_matrices(shape, num=1))
    halves = rows**2 * columns if gram_is_cheaper(*shape) else 4 * (rows**2 * columns + rows**3)
    assert orthogonalisation_flops(*shape) == counter.get_total_flops() - halves
