"""The model's operations on a processor: torch's matrix products, kernels for all that lies between.

Each operation is an autograd function with its gradient written out. The methods are those of `model.ops.PlainOps`,
against which they are tested. N tokens (B × T) · D model width · F MLP width · H query heads · G key and value heads
K head width · V vocabulary
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headwater.machine.kernels.library import KernelError

SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}
NO_TARGET = -1
LOGITS_CHUNK = 1 << 24  # numbers in a chunk of logits: large enough for fast matrix products, 32 MB in bf16


class Kernels:
    """The compiled functions, called with tensors and numbers."""

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._library = library
        self.num_threads = num_threads
        self._multiplies_bf16 = self("weight_gradient_bf16", None, None, None, 0, 0, 0, 0) == 0

    def __call__(self, name: str, *arguments: Tensor | int | float | None) -> int:
        """Call hw_NAME; tensors go as pointers and must be contiguous, ints as int64, the last as the thread count."""
        return getattr(self._library, f"hw_{name}")(*map(_argument, arguments), ctypes.c_int(self.num_threads))

    def weight_gradient_(self, gradient: Tensor, dout: Tensor, rows: Tensor, *, fresh: bool) -> None:
        """Write (`fresh`) or add to a gradient (R, C) in fp32 the sum over tokens of dout (N, R) times rows (N, C)."""
        if rows.dtype == torch.bfloat16 and self._multiplies_bf16:
            shape = (dout.shape[0], *gradient.shape)
            self("weight_gradient_bf16", dout.contiguous(), rows.contiguous(), gradient, *shape, int(fresh))
        elif fresh and rows.dtype == gradient.dtype:
            torch.mm(dout.t(), rows, out=gradient)
        elif fresh:
            gradient.copy_(torch.mm(dout.t(), rows))
        else:
            gradient += torch.mm(dout.t(), rows)


def _argument(value: Tensor | int | float | None) -> Any:
    if isinstance(value, Tensor):
        assert value.is_contiguous()
        return ctypes.c_void_p(value.data_ptr())
    if value is None:
        return ctypes.c_void_p(None)
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int64(value)


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, weight: Tensor, eps: float, kernels: Kernels) -> Any:
        width = x.shape[-1]
        num_rows = x.numel() // width
        total = x if y is None else torch.empty_like(x)
        out, inverse = torch.empty_like(x), torch.empty(num_rows)
        suffix = SUFFIX[x.dtype]
        kernels(f"add_norm_{suffix}", x, y, weight, num_rows, width, eps, total, out, inverse)
        ctx.save_for_backward(total, weight, inverse)
        ctx.kernels, ctx.has_y = kernels, y is not None
        ctx.set_materialize_grads(False)
        return (total.view_as(x) if y is None else total), out

    @staticmethod
    def backward(ctx: Any, dsum: Tensor | None, dout: Tensor) -> Any:  # type: ignore[override]
        total, weight, inverse = ctx.saved_tensors
        width, num_rows = total.shape[-1], inverse.shape[0]
        dx, dweight = torch.empty_like(total), torch.empty_like(weight)
        partials = torch.zeros(ctx.kernels.num_threads, width)
        name = f"add_norm_backward_{SUFFIX[total.dtype]}"
        dsum = None if dsum is None else dsum.contiguous()
        ctx.kernels(name, dout.contiguous(), dsum, total, weight, inverse, num_rows, width, dx, dweight, partials)
        return dx, (dx if ctx.has_y else None), dweight, None, None


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cast: Tensor, bias: Tensor | None, kernels: Kernels, *weights: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out = torch.mm(rows, cast.t()) if bias is None else torch.addmm(bias, rows, cast.t())
        ctx.save_for_backward(rows, cast)
        ctx.heights = [weight.shape[0] for weight in weights]
        ctx.shape, ctx.has_bias, ctx.kernels = x.shape, bias is not None, kernels
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        rows, cast = ctx.saved_tensors
        drows = dout.reshape(-1, dout.shape[-1])
        dx = torch.mm(drows, cast).view(ctx.shape) if ctx.needs_input_grad[0] else None
        dweight = torch.empty(cast.shape)
        ctx.kernels.weight_gradient_(dweight, drows, rows, fresh=True)
        dbias = drows.float().sum(0) if ctx.has_bias else None
        return dx, None, dbias, None, *dweight.split(ctx.heights)


class _SplitHeads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        query_weight: Tensor | None,
        key_weight: Tensor | None,
        eps: float,
        table: Tensor | None,
        num_heads: int,
        num_kv_heads: int,
        kernels: Kernels,
    ) -> Any:
        num_rows, num_tokens, width = qkv.shape
        head_dim = width // (num_heads + 2 * num_kv_heads)
        q = qkv.new_empty(num_rows, num_heads, num_tokens, head_dim)
        k, v = (qkv.new_empty(num_rows, num_kv_heads, num_tokens, head_dim) for _ in range(2))
        table_tokens = 0 if table is None else table.shape[1]
        shape = (num_rows, num_tokens, table_tokens, num_heads, num_kv_heads, head_dim)
        kernels(f"split_heads_{SUFFIX[qkv.dtype]}", qkv, query_weight, key_weight, table, *shape, eps, q, k, v)
        ctx.save_for_backward(qkv, query_weight, key_weight, table)
        ctx.shape, ctx.eps, ctx.kernels = shape, eps, kernels
        return q, k, v

    @staticmethod
    def backward(ctx: Any, dq: Tensor, dk: Tensor, dv: Tensor) -> Any:  # type: ignore[override]
        qkv, query_weight, key_weight, table = ctx.saved_tensors
        head_dim = ctx.shape[-1]
        dqkv, dweights = torch.empty_like(qkv), torch.empty(2, head_dim)
        partials = torch.zeros(ctx.kernels.num_threads, 2, head_dim)
        ctx.kernels(
            f"split_heads_backward_{SUFFIX[qkv.dtype]}",
            dq.contiguous(),
            dk.contiguous(),
            dv.contiguous(),
            qkv,
            query_weight,
            key_weight,
            table,
            *ctx.shape,
            ctx.eps,
            dqkv,
            dweights,
            partials,
        )
        dnorms = (None, None) if query_weight is None else (dweights[0], dweights[1])
        return dqkv, *dnorms, None, None, None, None, None


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, first: Tensor, kernels: Kernels) -> Tensor:
        num_rows, num_heads, num_tokens, head_dim = q.shape
        out = q.new_empty(num_rows, num_tokens, num_heads * head_dim)
        log_sums = torch.empty(num_rows, num_heads, num_tokens)
        shape = (num_rows, num_heads, k.shape[1], num_tokens, head_dim)
        name = f"attention_forward_{SUFFIX[q.dtype]}"
        if kernels(name, q, k, v, first, out, log_sums, *shape, head_dim**-0.5):
            raise KernelError(f'attention\'s kernel has no heads of width {head_dim}; set machine.compile = "off"')
        ctx.save_for_backward(q, k, v, first, out, log_sums)
        ctx.shape, ctx.kernels = shape, kernels
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        q, k, v, first, out, log_sums = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        name = f"attention_backward_{SUFFIX[q.dtype]}"
        scale = ctx.shape[-1] ** -0.5
        ctx.kernels(name, q, k, v, first, out, log_sums, dout.contiguous(), dq, dk, dv, *ctx.shape, scale)
        return dq, dk, dv, None, None


class _Swiglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, kernels: Kernels) -> Tensor:
        width = gate_up.shape[-1] // 2
        out = gate_up.new_empty(*gate_up.shape[:-1], width)
        kernels(f"swiglu_{SUFFIX[gate_up.dtype]}", gate_up, gate_up.numel() // (2 * width), width, out)
        ctx.save_for_backward(gate_up)
        ctx.kernels = kernels
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        (gate_up,) = ctx.saved_tensors
        width = gate_up.shape[-1] // 2
        dgate_up = torch.empty_like(gate_up)
        name = f"swiglu_backward_{SUFFIX[gate_up.dtype]}"
        ctx.kernels(name, dout.contiguous(), gate_up, gate_up.numel() // (2 * width), width, dgate_up)
        return dgate_up, None


class _LossSum(torch.autograd.Function):
    """The gradients are computed beside the loss, chunk by chunk, and only scaled in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, cast: Tensor, targets: Tensor, kernels: Kernels) -> Tensor:
        rows, targets = x.reshape(-1, x.shape[-1]), targets.reshape(-1)
        drows, dweight = torch.empty_like(rows), torch.empty(cast.shape)
        losses = torch.empty(rows.shape[0])
        for part in chunks(rows.shape[0], cast.shape[0]):
            logits = torch.mm(rows[part], cast.t())
            kernels(f"loss_and_error_{SUFFIX[x.dtype]}", logits, targets[part], *logits.shape, losses[part])
            torch.mm(logits, cast, out=drows[part])
            kernels.weight_gradient_(dweight, logits, rows[part], fresh=part.start == 0)
        ctx.gradients = drows, dweight
        ctx.shape = x.shape
        return losses.double().sum().float()

    @staticmethod
    def backward(ctx: Any, dloss: Tensor) -> Any:  # type: ignore[override]
        # scaled in place and let go: a copy of the head's gradient is the largest tensor of a step
        (drows, dweight), ctx.gradients = ctx.gradients, None
        return drows.mul_(dloss).view(ctx.shape), dweight.mul_(dloss), None, None, None


def chunks(num_tokens: int, vocab_size: int) -> list[slice]:
    """Return even parts of the tokens whose logits are about LOGITS_CHUNK numbers."""
    num_parts = max(1, round(num_tokens * vocab_size / LOGITS_CHUNK))
    size = max(1, -(-num_tokens // num_parts))
    return [slice(start, start + size) for start in range(0, num_tokens, size)]


class _Cast:
    """Masters stacked and cast to the dtype of the activations, again only after one of them has changed."""

    @torch.inference_mode(False)  # an evaluation may come before the first step, and the copy serves both
    def __init__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
        self.weights = list(weights)
        self.value = torch.empty(sum(weight.shape[0] for weight in weights), weights[0].shape[1], dtype=dtype)
        self._versions: list[int] = []

    @torch.no_grad()
    def current(self) -> Tensor:
        versions = [weight._version for weight in self.weights]
        if versions != self._versions:
            start = 0
            for weight in self.weights:
                self.value[start : start + weight.shape[0]] = weight
                start += weight.shape[0]
            self._versions = versions
        return self.value


class KernelOps:
    """The operations of one model; see `model.ops.PlainOps` for their contracts.

    Queries, keys and values are (B, heads, T, K) here.
    """

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._kernels = Kernels(library, num_threads)
        self._casts: dict[tuple[int, ...], _Cast] = {}
        self._first: tuple[Tensor, Tensor] | None = None

    def add_rms_norm(self, x_BTD: Tensor, y_BTD: Tensor | None, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        y_BTD = None if y_BTD is None else y_BTD.contiguous()
        return _AddNorm.apply(x_BTD.contiguous(), y_BTD, weight_D, eps, self._kernels)

    def project(self, x_BTD: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
        weights = [one.weight for one in maps]
        biases: list[Tensor] = [one.bias for one in maps if one.bias is not None]
        bias = torch.cat(biases).to(x_BTD.dtype) if biases else None
        return _Project.apply(x_BTD, self._cast(weights, x_BTD.dtype), bias, self._kernels, *weights)

    def split_heads(
        self,
        qkv: Tensor,
        num_heads: int,
        num_kv_heads: int,
        norms: tuple[Tensor, Tensor, float] | None,
        table_2TP: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        query_weight, key_weight, eps = norms or (None, None, 0.0)
        table = None if table_2TP is None else table_2TP.contiguous()
        return _SplitHeads.apply(
            qkv.contiguous(), query_weight, key_weight, eps, table, num_heads, num_kv_heads, self._kernels
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor, documents_BT: Tensor) -> Tensor:
        return _Attend.apply(q, k, v, self._first_visible(documents_BT), self._kernels)

    def swiglu(self, gate_up: Tensor) -> Tensor:
        return _Swiglu.apply(gate_up.contiguous(), self._kernels)

    def loss_sum(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        cast = self._cast([weight_VD], x_BTD.dtype)
        return _LossSum.apply(x_BTD, weight_VD, cast, targets_BT.long(), self._kernels)

    @torch.no_grad()
    def token_losses(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        rows, targets = x_BTD.reshape(-1, x_BTD.shape[-1]), targets_BT.long().reshape(-1)
        cast, losses = self._cast([weight_VD], x_BTD.dtype), torch.empty(rows.shape[0])
        for part in chunks(rows.shape[0], cast.shape[0]):
            logits = torch.mm(rows[part], cast.t())
            self._kernels(f"losses_{SUFFIX[x_BTD.dtype]}", logits, targets[part], *logits.shape, losses[part])
        return losses.view(targets_BT.shape)

    def _cast(self, weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        if len(weights) == 1 and weights[0].dtype == dtype:
            return weights[0].detach()
        key = tuple(map(id, weights))
        if key not in self._casts:
            self._casts[key] = _Cast(weights, dtype)
        return self._casts[key].current()

    def _first_visible(self, documents_BT: Tensor) -> Tensor:
        """Return (B, T) int32: the first token of each token's document; every layer of a model asks for the same."""
        if self._first is None or self._first[0] is not documents_BT:
            self._first = (documents_BT, first_visible(documents_BT))
        return self._first[1]


def first_visible(documents_BT: Tensor) -> Tensor:
    """Return the position at which each token's document begins, (B, T) int32; documents are contiguous."""
    begins = torch.ones_like(documents_BT, dtype=torch.bool)
    begins[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    positions = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    return torch.where(begins, positions, 0).cummax(dim=1).values.int().contiguous()
