"""A module with one parameter of each kind that an optimizer tells apart, and two matrices of one shape."""

from __future__ import annotations

import torch
from torch import nn


class FewParameters(nn.Module):
    """Two tables of vectors, a vector, and three matrices, of which Muon stacks two."""

    def __init__(self, seed: int = 0, num_rows: int = 11, width: int = 6, d_ff: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embed, self.head, self.final_norm = nn.Module(), nn.Module(), nn.Module()
        self.blocks = nn.ModuleList(nn.Module() for _ in range(3))
        owners = [self.embed, self.head, self.final_norm, *self.blocks]
        matrices = [(width, d_ff), (d_ff, width), (width, d_ff)]
        for owner, shape in zip(owners, [(num_rows, width), (num_rows, width), (width,), *matrices], strict=True):
            owner.weight = nn.Parameter(torch.randn(shape, generator=generator))
