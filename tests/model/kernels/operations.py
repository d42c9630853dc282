"""The operations of the kernels and the plain ones, by the same names, for tests that compare them one by one."""

from __future__ import annotations

import torch
from exact import random
from torch import nn
from torch.nn import functional as F

from headwater.model.kernels.calls import Kernels
from headwater.model.kernels.convert import FusedLoss, convert_
from headwater.model.kernels.functions import AddNorm, Attend, SplitHeads, Swiglu
from headwater.model.kernels.int8 import Int8Products
from headwater.model.kernels.products import Products
from headwater.model.loss import NO_TARGET, NextTokenLoss
from headwater.model.rotary import rotate
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Linear, RMSNorm, Transformer, attend, first_visible


class Plain:
    """PyTorch's own operations, as the plain modules have them."""

    loss_sum, token_losses = NextTokenLoss().forward, NextTokenLoss().of_tokens

    def convert_(self, model: Transformer) -> None:
        pass

    def add_rms_norm(self, x, y, weight, eps):
        total = x if y is None else x + y
        norm = RMSNorm(len(weight), eps)
        return total, torch.func.functional_call(norm, {"weight": weight}, total)

    def project(self, x, maps):
        outs = []
        for one in maps:
            masters = {"weight": one.weight} | ({} if one.bias is None else {"bias": one.bias})
            plain = Linear(one.weight.shape[1], one.weight.shape[0], bias=one.bias is not None)
            outs.append(torch.func.functional_call(plain, masters, x))
        return torch.cat(outs, dim=-1)

    def split_heads(self, qkv, num_heads, num_kv_heads, norms, table_2TP):
        num_all = num_heads + 2 * num_kv_heads
        q, k, v = qkv.unflatten(-1, (num_all, -1)).split([num_heads, num_kv_heads, num_kv_heads], dim=-2)
        if norms is not None:
            q, k = (self.add_rms_norm(x, None, weight, norms[2])[1] for x, weight in ((q, norms[0]), (k, norms[1])))
        if table_2TP is not None:
            q, k = rotate(q, table_2TP), rotate(k, table_2TP)
        return q, k, v

    def attend(self, q, k, v, documents_BT, window=None):
        return attend(q, k, v, first_visible(documents_BT, window)).flatten(-2)

    def swiglu(self, gate_up):
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up


class OfKernels:
    """The kernels', whose own queries, keys and values are (B, heads, T, K)."""

    dtype, products_of = "float32", Products

    def __init__(self, library, num_threads: int) -> None:
        self.library, self.num_threads = library, num_threads
        self.kernels = Kernels(library, num_threads)
        self.products = self.products_of(self.kernels)
        loss = FusedLoss(self.products)
        self.loss_sum, self.token_losses = loss.forward, loss.of_tokens

    def convert_(self, model: Transformer) -> None:
        convert_(model, self.num_threads, self.dtype, self.library)

    def add_rms_norm(self, x, y, weight, eps):
        return AddNorm.apply(x, y, weight, eps, self.kernels)

    def project(self, x, maps):
        self.products.weights_changed()
        return self.products(x, maps)

    def split_heads(self, qkv, num_heads, num_kv_heads, norms, table_2TP):
        norms = (None, None, 0.0) if norms is None else norms
        parts = SplitHeads.apply(qkv, *norms, table_2TP, num_heads, num_kv_heads, self.kernels)
        return tuple(part.transpose(1, 2) for part in parts)

    def attend(self, q, k, v, documents_BT, window=None):
        q, k, v = (part.transpose(1, 2).contiguous() for part in (q, k, v))
        return Attend.apply(q, k, v, first_visible(documents_BT, window).int().contiguous(), self.kernels)

    def swiglu(self, gate_up):
        return Swiglu.apply(gate_up, self.kernels)


class OfInt8(OfKernels):
    dtype, products_of = "int8", Int8Products


def built(shape: ModelSettings, dtype: torch.dtype, ops: Plain | OfKernels | None = None) -> Transformer:
    model = Transformer(shape, dtype)
    (ops or Plain()).convert_(model)
    return model


def gradients(model: nn.Module) -> dict[str, torch.Tensor | None]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def documents_of(*rows_of_lengths: list[int]) -> torch.Tensor:
    """Return (B, T): the number of the document of each token, by the lengths of each row's documents."""
    return torch.tensor(
        [[number for number, length in enumerate(lengths) for _ in range(length)] for lengths in rows_of_lengths]
    )


def heads_of(documents_BT, num_heads, num_kv_heads, head_dim, dtype=torch.float32, scale=1.0) -> list[torch.Tensor]:
    """Return queries, as large as `scale`, keys and values for these documents."""
    q = random(*documents_BT.shape, num_heads, head_dim, dtype=dtype, scale=scale)
    return [q, *(random(*documents_BT.shape, num_kv_heads, head_dim, seed=seed, dtype=dtype) for seed in (1, 2))]


def targets_of(num_rows: int, num_tokens: int, vocab_size: int, share_without: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    targets_BT = torch.randint(0, vocab_size, (num_rows, num_tokens), generator=generator)
    targets_BT[torch.rand(num_rows, num_tokens, generator=generator) < share_without] = NO_TARGET
    return targets_BT
