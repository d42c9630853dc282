"""Muon: momentum whose matrices are made orthogonal before they are added.

Muon (Jordan 2024, kellerjordan.github.io/posts/muon) with the polynomial coefficients of Polar Express
(arXiv:2505.16932), which contract the singular values to 1 faster than one repeated polynomial.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headwater.model.optim.settings import gram_is_cheaper

SymmetricProduct = Callable[..., Tensor]  # as `symmetric_product` below

# the best odd polynomials of degree 5, each on the interval that the one before leaves of [0.003, 1], all but the last
# with a safety factor of 1.02 (arXiv:2505.16932, by linear programming on a grid)
POLAR_EXPRESS = (
    (8.058, -22.0524, 15.5409),
    (3.9292, -2.7545, 0.4972),
    (3.4773, -2.5035, 0.4793),
    (2.5579, -1.8915, 0.4431),
)


def symmetric_product(x_NRC: Tensor, alpha: float = 1.0, plus_NRR: Tensor | None = None, beta: float = 1.0) -> Tensor:
    """Return alpha × X X^T + beta × `plus`, which is symmetric or absent, in the dtype of X."""
    if plus_NRR is None:
        product_NRR = x_NRC @ x_NRC.mT
        return product_NRR if alpha == 1 else alpha * product_NRR
    return torch.baddbmm(plus_NRR, x_NRC, x_NRC.mT, beta=beta, alpha=alpha)


def orthogonalise(x_NRC: Tensor, product: SymmetricProduct = symmetric_product) -> Tensor:
    """Return the nearest semi-orthogonal matrix to each of a stack: U V^T of its singular value decomposition.

    Approximate: singular values end between 0.76 and 1.24. Small ones (under 0.003 of the norm) stay smaller: a fifth
    iteration would lift those of a thousandth, for a quarter more time and no better model
    (docs/log.md, 2026-11-25, Linear maps in int8).
    """
    is_tall = x_NRC.shape[-2] > x_NRC.shape[-1]
    if is_tall:
        x_NRC = x_NRC.mT.contiguous()  # once, where each product would make a copy of its own
    # products in fp32, which a GPU's units for bf16 don't make
    by_gram = gram_is_cheaper(*x_NRC.shape[-2:]) and x_NRC.device.type == "cpu"
    x_NRC = _by_gram(x_NRC) if by_gram else _by_products(x_NRC, product)
    return x_NRC.mT if is_tall else x_NRC


def _by_products(x_NRC: Tensor, product: SymmetricProduct) -> Tensor:
    x = x_NRC / (x_NRC.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        gram = product(x)
        x = torch.baddbmm(x, product(gram, c, gram, b), x, beta=a)  # gram gram^T is its square
    return x


def _by_gram(x_NRC: Tensor) -> Tensor:
    """Return the same as `_by_products`, of wide matrices."""
    x32_NRC = x_NRC.to(torch.promote_types(x_NRC.dtype, torch.float32))
    return factors(x32_NRC @ x32_NRC.mT).to(x_NRC.dtype) @ x_NRC


def factors(grams_NRR: Tensor) -> Tensor:
    """Return what each X is multiplied by, from X X^T: every iteration multiplies X by a polynomial of that.

    These commute. They are multiplied with one another first, R × R, and X only once. In bf16 that would be too
    coarse: X X^T has the squares of the singular values.
    """
    scale = 1 / (grams_NRR.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt() * 1.02 + 1e-6)[:, None, None]
    gram = grams_NRR * scale**2
    step = factor = _polynomial(gram, POLAR_EXPRESS[0])
    for coefficients in POLAR_EXPRESS[1:]:
        gram = step @ gram @ step
        step = _polynomial(gram, coefficients)
        factor = step @ factor
    return factor * scale


def _polynomial(gram_NRR: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    """Return a I + b G + c G², by which the polynomial a x + b x³ + c x⁵ of singular values multiplies X."""
    a, b, c = coefficients
    polynomial = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
    polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
    return polynomial


def orthogonalise_blocks(x_NRC: Tensor, size: int, product: SymmetricProduct = symmetric_product) -> Tensor:
    """Return each matrix of a stack with blocks of `size` of its shorter side orthogonalised, each by itself.

    A block of r of m rows costs r/m of its part of the whole. The shorter side is cut: of query, key and value mostly
    their outputs, so that a block holds heads or parts of heads.
    """
    rows, columns = x_NRC.shape[1:]
    if size == min(rows, columns):
        return orthogonalise(x_NRC, product)
    is_tall = rows > columns
    x = x_NRC.mT.contiguous() if is_tall else x_NRC
    done = orthogonalise(x.reshape(-1, size, x.shape[-1]), product).reshape(x.shape)
    return done.mT if is_tall else done
