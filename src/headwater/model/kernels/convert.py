"""A model for a processor: fused modules in the place of the plain ones, with the same parameters by the same names.

Torch makes the matrix products, kernels all that lies between them. Each module computes what the one that it replaces
computes (tests/model/kernels compares them), and what the kernels don't know stays plain.
B batch · T time · D model width · H query heads · G key and value heads · K head width · V vocabulary
"""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from headwater.model.kernels.calls import SUFFIX, Kernels
from headwater.model.kernels.functions import AddNorm, Attend, LossSum, SplitHeads, Swiglu, chunks
from headwater.model.kernels.int8 import Int8Products
from headwater.model.kernels.library import MAX_HEAD_DIM, load_kernels
from headwater.model.kernels.products import Products
from headwater.model.loss import NextTokenLoss
from headwater.model.transformer import (
    Attention,
    Blocks,
    GatedMlp,
    GeluMlp,
    Linear,
    RMSNorm,
    Transformer,
    TransformerBlock,
    first_visible,
    recomputed,
)


def convert_(model: Transformer, num_threads: int, dtype: str, library: ctypes.CDLL | None = None) -> None:
    """Put fused modules in the place of a model's blocks, final norm and loss.

    `dtype` int8 rounds the factors of training's linear maps; any other leaves products in the activations' dtype.
    Heads wider than MAX_HEAD_DIM keep the plain attention. Raises KernelError where the kernels can't be compiled.
    """
    kernels = Kernels(library or load_kernels(), num_threads)
    products = Int8Products(kernels) if dtype == "int8" else Products(kernels)
    model.blocks = FusedBlocks(model.blocks, products)
    model.final_norm = fused_norm(model.final_norm, kernels)
    model.loss = FusedLoss(products)


def keep_no_copies_(model: Transformer) -> None:
    """Have a model's products copy weights for each use: they are gathered for it, and no rank is to hold them all."""
    if isinstance(model.blocks, FusedBlocks):
        model.blocks.products.keeps_copies = False


def unrounded(model: Transformer) -> ExitStack | None:
    """Return a context in which a model's products aren't rounded to int8; None where they never are."""
    used = {getattr(module, "products", None) for module in model.modules()}
    found = [products for products in used if isinstance(products, Int8Products)]
    contexts = ExitStack()
    for products in found:
        contexts.enter_context(products.unrounded())
    return contexts if found else None


class PendingSum(NamedTuple):
    """A residual stream and what the last layer wrote: the next norm adds it, in the same pass over memory."""

    x_BTD: Tensor
    written_BTD: Tensor | None


class FusedBlocks(Blocks):
    def __init__(self, plain: Blocks, products: Products) -> None:
        nn.ModuleList.__init__(self)
        for name, block in plain.named_children():
            self.add_module(name, FusedBlock(cast(TransformerBlock, block), products))
        self.window, self.recompute, self.products = plain.window, plain.recompute, products

    def forward(self, x_BTD: Tensor, documents_BT: Tensor, table_2TP: Tensor | None) -> Tensor:
        self.products.weights_changed()
        first_BT = first_visible(documents_BT, self.window).int().contiguous()
        table_2TP = None if table_2TP is None else table_2TP.contiguous()
        stream = PendingSum(x_BTD, None)
        for block in recomputed(self, self.recompute, self.products.kernels.selective_contexts):
            stream = block(stream, first_BT, table_2TP)
        return added(stream)


class FusedBlock(TransformerBlock):
    """A block of a tensor is a tensor; inside `FusedBlocks` it takes and returns streams that are still to be added."""

    def __init__(self, plain: TransformerBlock, products: Products) -> None:
        nn.Module.__init__(self)
        self.attention_norm = fused_norm(plain.attention_norm, products.kernels)
        self.attention = fused_attention(plain.attention, products)
        self.mlp_norm = fused_norm(plain.mlp_norm, products.kernels)
        self.mlp = fused_mlp(plain.mlp, products)

    def forward(self, x: Tensor | PendingSum, first_BT: Tensor, table_2TP: Tensor | None) -> Tensor | PendingSum:  # type: ignore[override]
        if isinstance(x, Tensor):
            return added(self(PendingSum(x, None), first_BT, table_2TP))
        x_BTD, normed_BTD = add_norm(self.attention_norm, *x)
        x_BTD, normed_BTD = add_norm(self.mlp_norm, x_BTD, self.attention(normed_BTD, first_BT, table_2TP))
        return PendingSum(x_BTD, self.mlp(normed_BTD))


def added(stream: PendingSum) -> Tensor:
    return stream.x_BTD if stream.written_BTD is None else stream.x_BTD + stream.written_BTD


class FusedNorm(RMSNorm):
    def __init__(self, plain: RMSNorm, kernels: Kernels) -> None:
        nn.Module.__init__(self)
        self.weight, self.eps, self.kernels = plain.weight, plain.eps, kernels

    def forward(self, x: Tensor) -> Tensor:
        return add_norm(self, x, None)[1]


def fused_norm(plain: nn.Module, kernels: Kernels) -> nn.Module:
    """Return a norm as kernels compute it; GPT-2's stays plain."""
    return FusedNorm(plain, kernels) if isinstance(plain, RMSNorm) else plain


def add_norm(norm: nn.Module, x_BTD: Tensor, written_BTD: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return x + written (x where nothing was) and its norm."""
    if isinstance(norm, FusedNorm):
        return AddNorm.apply(x_BTD, written_BTD, norm.weight, norm.eps, norm.kernels)
    x_BTD = added(PendingSum(x_BTD, written_BTD))
    return x_BTD, norm(x_BTD)


class FusedLinear(Linear):
    def __init__(self, plain: nn.Linear, products: Products) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight, self.bias, self.products = plain.weight, plain.bias, products

    def forward(self, x: Tensor) -> Tensor:
        return self.products(x, (self,))


class FusedAttention(Attention):
    """One product for queries, keys and values; their norms, rotation and layout (B, heads, T, K) in one pass."""

    heads_dimension = 1

    def __init__(self, plain: Attention, products: Products) -> None:
        nn.Module.__init__(self)
        self.query, self.key, self.value = plain.query, plain.key, plain.value
        self.out = FusedLinear(plain.out, products)
        self.query_norm, self.key_norm = plain.query_norm, plain.key_norm
        self.eps = getattr(plain.query_norm, "eps", 0.0)
        self.head_dim, self.products = plain.head_dim, products
        self.attend = self._attend

    def forward(self, x_BTD: Tensor, first_BT: Tensor, table_2TP: Tensor | None) -> Tensor:
        qkv = self.products(x_BTD, (self.query, self.key, self.value))
        norms = [getattr(one, "weight", None) for one in (self.query_norm, self.key_norm)]
        heads = [one.weight.shape[0] // self.head_dim for one in (self.query, self.key)]
        q, k, v = SplitHeads.apply(qkv, *norms, self.eps, table_2TP, *heads, self.products.kernels)
        return self.out(self.attend(q, k, v, first_BT))

    def _attend(self, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, first_BT: Tensor) -> Tensor:
        return Attend.apply(q_BHTK, k_BGTK, v_BGTK, first_BT, self.products.kernels)


def fused_attention(plain: Attention, products: Products) -> Attention:
    return FusedAttention(plain, products) if plain.head_dim <= MAX_HEAD_DIM else plain


class FusedMlp(GatedMlp):
    """One product for gate and up."""

    def __init__(self, plain: GatedMlp, products: Products) -> None:
        nn.Module.__init__(self)
        self.gate, self.up, self.down = plain.gate, plain.up, FusedLinear(plain.down, products)
        self.products = products

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_up = self.products(x_BTD, (self.gate, self.up))
        return self.down(Swiglu.apply(gate_up, self.products.kernels))


class FusedGeluMlp(GeluMlp):
    def __init__(self, plain: GeluMlp, products: Products) -> None:
        nn.Module.__init__(self)
        self.up, self.down = FusedLinear(plain.up, products), FusedLinear(plain.down, products)


def fused_mlp(plain: GatedMlp | GeluMlp, products: Products) -> GatedMlp | GeluMlp:
    return FusedMlp(plain, products) if isinstance(plain, GatedMlp) else FusedGeluMlp(plain, products)


class FusedLoss(NextTokenLoss):
    """The loss and its gradients in one sweep over chunks of logits."""

    def __init__(self, products: Products) -> None:
        super().__init__()
        self.products = products

    def forward(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        cast = self.products.cast([weight_VD], x_BTD.dtype)
        logits_of = self.products.logits_of(weight_VD, x_BTD.dtype)
        return LossSum.apply(x_BTD, weight_VD, cast, logits_of, targets_BT.long(), self.products.kernels)

    @torch.no_grad()
    def of_tokens(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        rows, targets = x_BTD.reshape(-1, x_BTD.shape[-1]), targets_BT.long().reshape(-1)
        logits_of, losses = self.products.logits_of(weight_VD, x_BTD.dtype), torch.empty(rows.shape[0])
        for part in chunks(rows.shape[0], weight_VD.shape[0]):
            logits = logits_of(rows[part])
            name = f"losses_{SUFFIX[x_BTD.dtype]}"
            self.products.kernels(name, logits, targets[part], *logits.shape, losses[part])
        return losses.view(targets_BT.shape)
