"""A model for a GPU: its blocks and its loss compiled one by one, attention by FlexAttention."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._functorch import config as partitioning
from torch.nn.attention.flex_attention import BlockMask

from headwater.machine.device.flex import FlexAttention, block_mask
from headwater.model.attention import first_visible
from headwater.model.loss import NextTokenLoss, chunk_loss
from headwater.model.transformer import Block, Transformer

SELECTIVE_BUDGET = 0.5
"""Of the memory that a compiled block's forward pass would keep, for what is recomputed selectively: the compiler then
chooses the cheapest operations. As OLMo 3 trains; untested on a GPU here."""


def compile_blocks_(model: Transformer, backend: str = "inductor") -> Transformer:
    """Return a second root over a model's modules and parameters, for rows of few different shapes.

    Each shape is compiled once for all blocks, which are alike. The model itself gets FlexAttention, too, and
    still runs uncompiled, for shapes that come once, as in the evaluation of prompts.
    """
    is_selective = model.blocks.recompute == "selective"
    for block in cast(list[Block], model.blocks):
        if not isinstance(block.forward, CompiledForward):
            block.attention.attend = FlexAttention(block.attention.attend)
            budget = SELECTIVE_BUDGET if is_selective else 1.0
            block.forward = CompiledForward(block, backend, budget)  # type: ignore[method-assign]
    fast = copy.copy(model)
    fast._modules = dict(model._modules)
    fast.blocks = copy.copy(model.blocks)
    fast.blocks.visible = visible_blocks
    fast.blocks.recompute = 0 if is_selective else model.blocks.recompute
    fast.loss = NextTokenLoss(torch.compile(chunk_loss, backend=backend, dynamic=False))
    return fast


def visible_blocks(documents_BT: Tensor, window: int | None) -> BlockMask:
    """Return what each token sees as a mask, made outside of the blocks, once for all."""
    return block_mask(first_visible(documents_BT, window))


class CompiledForward:
    """A block's forward pass: compiled where a mask says what tokens see, as it is for first visible tokens.

    What comes before and after it in a call of the block, as FSDP's gathers, isn't part of the graph.
    """

    def __init__(self, block: nn.Module, backend: str, memory_budget: float) -> None:
        self._plain, self._backend, self._memory_budget = block.forward, backend, memory_budget
        self._compiled = torch.compile(block.forward, backend=backend, dynamic=False, fullgraph=True)

    def allow_graph_breaks_(self) -> None:
        """Have what a compiler can't trace, as exchanges between ranks, called between several graphs."""
        self._compiled = torch.compile(self._plain, backend=self._backend, dynamic=False)

    def __call__(self, x_BTD: Tensor, visible: Any, table_2TP: Tensor | None) -> Tensor:
        if isinstance(visible, Tensor):
            return self._plain(x_BTD, visible, table_2TP)
        with partitioning.patch(activation_memory_budget=self._memory_budget):
            return self._compiled(x_BTD, visible, table_2TP)
