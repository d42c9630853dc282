"""The decoder-only transformer as plain modules: the mathematics, nothing about the machine.

B batch · T time · D model width · F MLP width · H query heads · G key and value heads · K head width
P channel pairs of a head (K/2) · V vocabulary

Every weight is stored in fp32 (the master) and cast to the dtype of the activations where it is used (`ops`), so that
the dtype of the first activation, chosen by `compute_dtype`, is the precision of the whole model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from headwater.model.ops import PlainOps
from headwater.model.settings import ModelSettings


class RMSNorm(nn.Module):
    """Adds what the last layer wrote, then normalises: the residual stream and its root-mean-square norm."""

    def __init__(self, width: int, eps: float, ops: PlainOps) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps
        self.ops = ops

    def forward(self, x_BTD: Tensor, written_BTD: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.ops.add_rms_norm(x_BTD, written_BTD, self.weight, self.eps)


class LayerNorm(nn.LayerNorm):
    """Adds what the last layer wrote, then normalises: layer norm with bias, computed in fp32."""

    def forward(self, x_BTD: Tensor, written_BTD: Tensor | None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x_BTD = x_BTD if written_BTD is None else x_BTD + written_BTD
        normed = F.layer_norm(x_BTD.float(), self.normalized_shape, self.weight, self.bias, self.eps)
        return x_BTD, normed.to(x_BTD.dtype)


def norm(model: ModelSettings, ops: PlainOps) -> nn.Module:
    if model.family == "gpt2":
        return LayerNorm(model.d_model, eps=model.norm_eps)
    return RMSNorm(model.d_model, model.norm_eps, ops)


class HeadNorm(nn.Module):
    """The weight of an RMSNorm over each head (family qwen3); applied where heads are split."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))


def rotary_table(model: ModelSettings, num_positions: int) -> Tensor:
    """Return cosines and sines, (2, T, P) in fp32: position t turns pair i by t · theta^(-2i/K) (arXiv:2104.09864)."""
    channels_P = torch.arange(0, model.head_dim, 2, dtype=torch.float64)
    positions_T = torch.arange(num_positions, dtype=torch.float64)
    angles_TP = torch.outer(positions_T, model.rope_theta ** (-channels_P / model.head_dim))
    return torch.stack([angles_TP.cos(), angles_TP.sin()]).float()


class Attention(nn.Module):
    """Causal grouped-query attention inside documents (arXiv:2305.13245), with per-head norms in family qwen3."""

    def __init__(self, model: ModelSettings, ops: PlainOps) -> None:
        super().__init__()
        self.ops = ops
        self.num_heads, self.num_kv_heads, self.eps = model.num_heads, model.num_kv_heads, model.norm_eps
        bias = model.family == "gpt2"
        query_width, key_width = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
        self.query = nn.Linear(model.d_model, query_width, bias=bias)
        self.key = nn.Linear(model.d_model, key_width, bias=bias)
        self.value = nn.Linear(model.d_model, key_width, bias=bias)
        self.out = nn.Linear(query_width, model.d_model, bias=bias)
        if model.family == "qwen3":
            self.query_norm = HeadNorm(model.head_dim)
            self.key_norm = HeadNorm(model.head_dim)
        self.has_head_norms = model.family == "qwen3"

    def forward(self, x_BTD: Tensor, visible: Any, table_2TP: Tensor | None) -> Tensor:
        """`visible` is what `ops.visibility` made of the documents."""
        qkv = self.ops.project(x_BTD, (self.query, self.key, self.value))
        norms = (self.query_norm.weight, self.key_norm.weight, self.eps) if self.has_head_norms else None
        q, k, v = self.ops.split_heads(qkv, self.num_heads, self.num_kv_heads, norms, table_2TP)
        return self.ops.project(self.ops.attend(q, k, v, visible), (self.out,))


class GatedMlp(nn.Module):
    """SwiGLU: down(silu(gate x) · up x) (arXiv:2002.05202)."""

    def __init__(self, model: ModelSettings, ops: PlainOps) -> None:
        super().__init__()
        self.ops = ops
        self.gate = nn.Linear(model.d_model, model.d_ff, bias=False)
        self.up = nn.Linear(model.d_model, model.d_ff, bias=False)
        self.down = nn.Linear(model.d_ff, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.ops.project(self.ops.swiglu(self.ops.project(x_BTD, (self.gate, self.up))), (self.down,))


class GeluMlp(nn.Module):
    """GPT-2's MLP: down(gelu(up x)), with biases and the tanh form of GELU."""

    def __init__(self, model: ModelSettings, ops: PlainOps) -> None:
        super().__init__()
        self.ops = ops
        self.up = nn.Linear(model.d_model, model.d_ff, bias=True)
        self.down = nn.Linear(model.d_ff, model.d_model, bias=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        up = self.ops.project(x_BTD, (self.up,))
        return self.ops.project(F.gelu(up, approximate="tanh"), (self.down,))


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x).

    What a layer writes is added where the next one reads (the norm), so that the addition and the norm are one pass.
    """

    def __init__(self, model: ModelSettings, ops: PlainOps) -> None:
        super().__init__()
        self.attention_norm = norm(model, ops)
        self.attention = Attention(model, ops)
        self.mlp_norm = norm(model, ops)
        self.mlp = GeluMlp(model, ops) if model.family == "gpt2" else GatedMlp(model, ops)

    def forward(
        self, x_BTD: Tensor, written_BTD: Tensor | None, visible: Any, table_2TP: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the residual stream and what this block's MLP wrote, not yet added to it."""
        x_BTD, normed_BTD = self.attention_norm(x_BTD, written_BTD)
        x_BTD, normed_BTD = self.mlp_norm(x_BTD, self.attention(normed_BTD, visible, table_2TP))
        return x_BTD, self.mlp(normed_BTD)


def recomputed(block: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return `block` as a function that keeps only its inputs and is computed again in the backward pass."""
    # nothing in a block is random, so that no generator's state need be kept
    return partial(checkpoint, block, use_reentrant=False, preserve_rng_state=False)


class Transformer(nn.Module):
    """Token ids to the hidden states from which the next token is predicted; weights start uninitialised (see init).

    `compute_dtype` is the dtype of the activations: torch.float32, or torch.bfloat16 where the device computes it.
    `num_recomputed` blocks keep only their inputs in training and are computed again in the backward pass
    (arXiv:1604.06174): the same loss and gradients, for less memory and at most a third more time.
    """

    rotary_2TP: Tensor

    def __init__(
        self,
        model: ModelSettings,
        compute_dtype: torch.dtype = torch.float32,
        ops: PlainOps | None = None,
        num_recomputed: int = 0,
    ) -> None:
        super().__init__()
        ops = PlainOps() if ops is None else ops
        self.settings = model
        self.compute_dtype = compute_dtype
        self.ops = ops
        self.num_recomputed = num_recomputed
        self.embed = nn.Embedding(model.vocab_size, model.d_model)
        if model.family == "gpt2":
            self.positions = nn.Embedding(model.seq_len, model.d_model)
        self.blocks = nn.ModuleList(Block(model, ops) for _ in range(model.num_layers))
        self.final_norm = norm(model, ops)
        if not model.tied_embeddings:
            self.head = nn.Linear(model.d_model, model.vocab_size, bias=False)
        self.register_buffer("rotary_2TP", rotary_table(model, model.seq_len), persistent=False)

    def head_weight(self) -> Tensor:
        """Return the matrix (V, D) whose rows score the next token."""
        return self.embed.weight if self.settings.tied_embeddings else self.head.weight

    def forward(self, tokens_BT: Tensor, documents_BT: Tensor) -> Tensor:
        """Return the final hidden states (B, T, D); T is at most the model's seq_len."""
        x_BTD = self.embed(tokens_BT)
        num_positions = tokens_BT.shape[1]
        table_2TP: Tensor | None = None
        if self.settings.family == "gpt2":
            x_BTD = x_BTD + self.positions.weight[:num_positions]
        else:
            table_2TP = self.rotary_2TP[:, :num_positions]
        x_BTD = x_BTD.to(self.compute_dtype)
        visible = self.ops.visibility(documents_BT)
        written_BTD: Tensor | None = None
        for index, block in enumerate(self.blocks):
            # the first ones: when their turn comes in the backward pass, what the later ones kept is already free
            run = recomputed(block) if index < self.num_recomputed else block
            x_BTD, written_BTD = run(x_BTD, written_BTD, visible, table_2TP)
        return self.final_norm(x_BTD, written_BTD)[1]

    def loss_sum(self, x_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Return the summed next-token loss in nats of final hidden states, in fp32; a target of -1 does not count."""
        return self.ops.loss_sum(x_BTD, self.head_weight(), targets_BT)

    def token_losses(self, x_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Return each token's loss in nats, in fp32 and without a gradient; 0 where there is no target."""
        return self.ops.token_losses(x_BTD, self.head_weight(), targets_BT)

    def logits(self, x_D: Tensor) -> Tensor:
        """Return fp32 scores (..., V) of the next token for hidden states (..., D)."""
        return F.linear(x_D, self.head_weight().to(x_D.dtype)).float()
