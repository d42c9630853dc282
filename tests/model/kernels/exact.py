"""Operations in double precision, written apart from the package, and how near to them an implementation comes.

B batch · T time · D model width · F MLP width · H query heads · G key and value heads · K head width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

FLOAT32_ERROR = 1e-5  # of the largest value: 100 roundings of 6e-8, or as many terms of a sum that don't cancel
BFLOAT16_ROUNDING = 2.0**-8  # twice a rounding of the largest value, for results that plain PyTorch rounds luckily
DTYPES = [torch.float32, torch.bfloat16]

Function = Callable[..., Tensor | tuple[Tensor, ...]]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + len(shape) + sum(shape))
    return (scale * torch.randn(shape, generator=generator)).to(dtype)


def values_and_gradients(function: Function, inputs: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return outputs, then the gradients of all inputs for slopes of the outputs that are drawn in `dtype`."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    slopes = [random(*out.shape, seed=7 + i).to(dtype).to(out.dtype) for i, out in enumerate(outputs)]
    gradients = torch.autograd.grad(outputs, leaves, slopes)
    for leaf, gradient in zip(leaves, gradients):
        assert gradient.dtype == leaf.dtype
    return [tensor.detach() for tensor in (*outputs, *gradients)]


def assert_near_exact(
    ours: Function, plain: Function, exact: Function, inputs: Sequence[Tensor], dtype: torch.dtype
) -> None:
    """Compare outputs and gradients of `ours` with those of `exact` on the same numbers in double.

    In fp32 the error must be small; in bf16, where each step that is rounded counts, at most twice that of `plain`.
    """
    expected = values_and_gradients(exact, [tensor.double() for tensor in inputs], dtype)
    found, plainly = (values_and_gradients(function, inputs, dtype) for function in (ours, plain))
    for number, (value, other, true) in enumerate(zip(found, plainly, expected, strict=True)):
        name = f"result {number} of {len(found)} (outputs, then gradients), {tuple(true.shape)}"
        assert value.shape == true.shape, name
        assert value.dtype == other.dtype, name
        error, allowed = relative_error(value, true), relative_error(other, true)
        limit = FLOAT32_ERROR if dtype == torch.float32 else 2 * allowed + BFLOAT16_ROUNDING
        assert error <= limit, f"{name}: error {error:.3g}, plain PyTorch's {allowed:.3g}, limit {limit:.3g}"


def relative_error(value: Tensor, true: Tensor) -> float:
    """Return the largest error over the largest true value, or over 1: differences of numbers near 1 may cancel."""
    if not true.numel():
        return 0.0
    return float((value.double() - true).abs().max() / true.abs().max().clamp_min(1.0))


def rounded(master: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a master as it is cast for a product, with the gradient of the master."""
    return master + (master.to(dtype).to(master.dtype) - master).detach()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def rotate(x_BTHK: Tensor, table_2TP: Tensor) -> Tensor:
    """Multiply pairs (i, i + K/2) as complex numbers by the table's."""
    first, second = x_BTHK.chunk(2, dim=-1)
    turn = torch.complex(table_2TP[0], table_2TP[1])[:, None]
    turned = torch.complex(first, second) * turn
    return torch.cat([turned.real, turned.imag], dim=-1)


def split_heads(qkv, num_heads, num_kv_heads, norms, table_2TP) -> tuple[Tensor, Tensor, Tensor]:
    heads = qkv.unflatten(-1, (num_heads + 2 * num_kv_heads, -1))
    q, k, v = heads.split([num_heads, num_kv_heads, num_kv_heads], dim=-2)
    if norms is not None:
        q, k = rms_norm(q, norms[0], norms[2]), rms_norm(k, norms[1], norms[2])
    if table_2TP is not None:
        q, k = rotate(q, table_2TP.double()), rotate(k, table_2TP.double())
    return q, k, v


def attend(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, documents_BT: Tensor, window: int | None = None) -> Tensor:
    repeats = q_BTHK.shape[2] // k_BTGK.shape[2]
    k_BTHK, v_BTHK = (x.repeat_interleave(repeats, dim=2) for x in (k_BTGK, v_BTGK))
    scores = torch.einsum("bqhk,bjhk->bhqj", q_BTHK, k_BTHK) / q_BTHK.shape[-1] ** 0.5
    num_tokens = q_BTHK.shape[1]
    near = torch.ones(num_tokens, num_tokens).tril().triu(1 - (window or num_tokens)).bool()
    visible = near & (documents_BT[:, :, None] == documents_BT[:, None])
    weights = scores.masked_fill(~visible[:, None], -torch.inf).softmax(-1)
    return torch.einsum("bhqj,bjhk->bqhk", weights, v_BTHK).flatten(-2)


def swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate) * up


def project(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    weight = torch.cat([rounded(weight, dtype) for weight in weights])
    return linear(x, weight, torch.cat([rounded(bias, dtype) for bias in biases]) if biases else None)
