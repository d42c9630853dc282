"""Muon: momentum whose matrices are made orthogonal before they are added.

Muon (Jordan 2024, kellerjordan.github.io/posts/muon) with the polynomial coefficients of Polar Express
(arXiv:2505.16932), which contract the singular values to 1 faster than one repeated polynomial.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.optim.updates import PlainUpdates, Updates

# the optimal odd polynomials of degree 5 for singular values from 1e-3, with a safety factor of 2e-2 (arXiv:2505.16932)
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalise(matrices_NRC: Tensor, compute_dtype: torch.dtype, updates: Updates | None = None) -> Tensor:
    """Return the nearest semi-orthogonal matrix to each of a stack: U V^T of its singular value decomposition.

    Approximate: singular values end between 0.84 and 1.15. Small ones (under 1e-3 of the norm) stay smaller.
    """
    updates = PlainUpdates() if updates is None else updates
    x = matrices_NRC.to(compute_dtype)
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        gram = updates.symmetric_product(x)
        x = torch.baddbmm(x, updates.symmetric_product(gram, c, gram, b), x, beta=a)  # gram gram^T is its square
    return (x.mT if is_tall else x).to(matrices_NRC.dtype)


def muon_update_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    updates: Updates,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    compute_dtype: torch.dtype,
) -> None:
    """Update matrices of one shape in place.

    The update's scale is sqrt(max(1, rows/columns)), so that one learning rate serves every shape.
    """
    rows, columns = parameters[0].shape
    scale = max(1.0, rows / columns) ** 0.5
    ahead = updates.look_ahead_(gradients, momenta, momentum, compute_dtype)
    directions = orthogonalise(ahead, compute_dtype, updates)
    updates.descend_(parameters, directions, keep=1 - lr * weight_decay, rate=lr * scale)
