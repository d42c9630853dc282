"""Each operation of a model as an autograd function with its gradient written out, between torch's matrix products.

N tokens (B × T) · D model width · F MLP width · H query heads · G key and value heads · K head width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headwater.model.kernels.calls import SUFFIX, Kernels
from headwater.model.kernels.library import KernelError

# numbers in a chunk of logits: 8 MB in bf16, that all passes find in a processor's last cache, but 512 tokens or more,
# for the sum of the head's gradient to be touched seldom, and 32 MB at most (docs/log.md, 2026-11-25, Chunks of logits)
CACHED_LOGITS, CHUNK_TOKENS, LOGITS_CHUNK = 1 << 22, 512, 1 << 24

LogitsOf = Callable[[Tensor], Tensor]
NO_MEMORY = 2  # a status of attention.cpp


class AddNorm(torch.autograd.Function):
    """(x, y, weight) of (…, D), (…, D) or None, and (D) to x + y and its RMS norm, both (…, D) in x's dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, weight: Tensor, eps: float, kernels: Kernels) -> Any:
        x, y = x.contiguous(), None if y is None else y.contiguous()
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


class Project(torch.autograd.Function):
    """x (…, D) to the outputs of several linear maps side by side, (…, outputs of all).

    `cast` holds their weights, one below the other, in x's dtype: (outputs of all, D). `weights` are the same in fp32;
    they get the gradients, and are read where `again` is given: it makes `cast` once more in the backward pass, so that
    it isn't kept. `bias` (outputs of all) is in x's dtype.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, cast: Tensor, bias: Tensor | None, kernels: Kernels, again: Any, *weights: Tensor
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])

        def multiply() -> list[Tensor]:
            out = torch.mm(rows, cast.t()) if bias is None else torch.addmm(bias, rows, cast.t())
            return [out.resize_(*x.shape[:-1], out.shape[-1])]  # in place: a view is what FSDP warns of

        ctx.save_for_backward(rows, *((cast,) if again is None else weights))
        ctx.again = again
        ctx.heights = [weight.shape[0] for weight in weights]
        ctx.shape, ctx.has_bias, ctx.kernels = x.shape, bias is not None, kernels
        return kernels.once(multiply)[0]

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        rows, *saved = ctx.saved_tensors
        cast = saved[0] if ctx.again is None else ctx.again(saved, rows.dtype)
        drows = dout.reshape(-1, dout.shape[-1])
        dx = torch.mm(drows, cast).view(ctx.shape) if ctx.needs_input_grad[0] else None
        dweight = torch.empty(cast.shape)
        ctx.kernels.weight_gradient_(dweight, drows, rows, fresh=True)
        dbias = drows.float().sum(0) if ctx.has_bias else None
        return dx, None, dbias, None, None, *dweight.split(ctx.heights)


class SplitHeads(torch.autograd.Function):
    """qkv (B, T, (H + 2G) K) to queries (B, H, T, K), keys and values (B, G, T, K), normed and turned by position.

    `query_weight` and `key_weight` (K) are those of the heads' norms, None for none; `table` (2, T or more, K/2) has
    cosines and sines, None for no rotation.
    """

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
        qkv, table = qkv.contiguous(), None if table is None else table.contiguous()
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


class Attend(torch.autograd.Function):
    """q (B, H, T, K), k and v (B, G, T, K) to causal attention's values (B, T, H K).

    `first` (B, T), int32, is the first token that each one sees. Scores are computed in tiles, forward and backward.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, first: Tensor, kernels: Kernels) -> Tensor:
        num_rows, num_heads, num_tokens, head_dim = q.shape
        shape = (num_rows, num_heads, k.shape[1], num_tokens, head_dim)

        def attend() -> list[Tensor]:
            out = q.new_empty(num_rows, num_tokens, num_heads * head_dim)
            log_sums = torch.empty(num_rows, num_heads, num_tokens)
            name = f"attention_forward_{SUFFIX[q.dtype]}"
            _require_done(kernels(name, q, k, v, first, out, log_sums, *shape, head_dim**-0.5), shape)
            return [out, log_sums]

        out, log_sums = kernels.once(attend)
        ctx.save_for_backward(q, k, v, first, out, log_sums)
        ctx.shape, ctx.kernels = shape, kernels
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        q, k, v, first, out, log_sums = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        name = f"attention_backward_{SUFFIX[q.dtype]}"
        scale = ctx.shape[-1] ** -0.5
        given = (q, k, v, first, out, log_sums, dout.contiguous())
        _require_done(ctx.kernels(name, *given, dq, dk, dv, *ctx.shape, scale), ctx.shape)
        return dq, dk, dv, None, None


def _require_done(status: int, shape: tuple[int, ...]) -> None:
    """Raise KernelError where attention (B, H, G, T, K) wasn't computed: its outputs are then not even zeros."""
    if status == NO_MEMORY:
        raise KernelError(f"attention found no memory for sequences of {shape[3]} tokens; set a smaller model.seq_len")
    if status:
        raise KernelError(f'attention\'s kernel has no heads of width {shape[4]}; set machine.compile = "off"')


class Swiglu(torch.autograd.Function):
    """gate and up side by side, (…, 2F), to silu(gate) · up, (…, F)."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, kernels: Kernels) -> Tensor:
        gate_up = gate_up.contiguous()
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


class LossSum(torch.autograd.Function):
    """x (…, D), weight and its cast (V, D), targets (…), -1 for none, to the summed loss in nats, a scalar in fp32.

    `logits_of` makes logits of rows of x. The gradients are computed beside the loss, chunk by chunk, and only scaled
    in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, cast: Tensor, logits_of: LogitsOf, targets: Tensor, kernels: Kernels
    ) -> Tensor:
        rows, targets = x.reshape(-1, x.shape[-1]), targets.reshape(-1)
        drows, dweight = torch.empty_like(rows), torch.empty(cast.shape)
        losses = torch.empty(rows.shape[0])
        for part in chunks(rows.shape[0], cast.shape[0]):
            logits = logits_of(rows[part])
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
        return drows.mul_(dloss).view(ctx.shape), dweight.mul_(dloss), None, None, None, None


def chunks(num_tokens: int, vocab_size: int) -> list[slice]:
    """Return even parts of the tokens whose logits are as many numbers as is fast, about LOGITS_CHUNK at most."""
    wanted = min(LOGITS_CHUNK, max(CACHED_LOGITS, CHUNK_TOKENS * vocab_size))
    num_parts = max(1, round(num_tokens * vocab_size / wanted))
    size = max(1, -(-num_tokens // num_parts))
    return [slice(start, start + size) for start in range(0, num_tokens, size)]
