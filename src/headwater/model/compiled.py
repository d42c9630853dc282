"""A model for a GPU: its blocks and its loss compiled one by one, attention by FlexAttention."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from headwater.device.flex import FlexAttention, block_mask
from headwater.model.attention import first_visible
from headwater.model.loss import NextTokenLoss, chunk_loss
from headwater.model.transformer import Attention, Blocks, Transformer, recomputed


def compile_blocks_(model: Transformer, backend: str = "inductor") -> Transformer:
    """Return a second root over a model's modules and parameters, for rows of few different shapes.

    Each shape is compiled once for all blocks, which are alike. The model itself gets FlexAttention, too, and
    still runs uncompiled, for shapes that come once, as in the evaluation of prompts.
    """
    for module in model.modules():
        if isinstance(module, Attention) and not isinstance(module.attend, FlexAttention):
            module.attend = FlexAttention(module.attend)
    fast = copy.copy(model)
    fast._modules = dict(model._modules)
    fast.blocks = CompiledBlocks(model.blocks, backend)
    fast.loss = NextTokenLoss(torch.compile(chunk_loss, backend=backend, dynamic=False))
    return fast


class CompiledBlocks(Blocks):
    """The same blocks, each compiled; the mask is made outside of them, once for all."""

    def __init__(self, plain: Blocks, backend: str) -> None:
        nn.ModuleList.__init__(self, plain)
        self.window, self.num_recomputed = plain.window, plain.num_recomputed
        self._compiled = [torch.compile(block, backend=backend, dynamic=False, fullgraph=True) for block in plain]

    def forward(self, x_BTD: Tensor, documents_BT: Tensor, table_2TP: Tensor | None) -> Tensor:
        mask = block_mask(first_visible(documents_BT, self.window))
        for block in recomputed(self._compiled, self.num_recomputed):
            x_BTD = block(x_BTD, mask, table_2TP)
        return x_BTD
