"""The decoder-only transformer as plain modules: the mathematics, nothing about the machine.

B batch · T time · D model width · F MLP width · H query heads · G key and value heads · K head width
P channel pairs of a head (K/2) · V vocabulary

Every weight is stored in fp32 (the master) and cast to the dtype of the activations where it is used, so that the
dtype of the first activation, chosen by `compute_dtype`, is the precision of the whole model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.model.attention import attend
from headwater.model.settings import ModelSettings


class Linear(nn.Linear):
    """A linear map whose fp32 master weight is cast to the input's dtype."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, computed in fp32 (arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """Layer norm with bias, computed in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


def norm(model: ModelSettings, width: int) -> nn.Module:
    return LayerNorm(width, eps=model.norm_eps) if model.family == "gpt2" else RMSNorm(width, model.norm_eps)


def rotary_table(model: ModelSettings, num_positions: int) -> Tensor:
    """Return cosines and sines, (2, T, P) in fp32: position t turns pair i by t · theta^(-2i/K) (arXiv:2104.09864)."""
    channels_P = torch.arange(0, model.head_dim, 2, dtype=torch.float64)
    positions_T = torch.arange(num_positions, dtype=torch.float64)
    angles_TP = torch.outer(positions_T, model.rope_theta ** (-channels_P / model.head_dim))
    return torch.stack([angles_TP.cos(), angles_TP.sin()]).float()


def rotate(x_BTHK: Tensor, table_2TP: Tensor) -> Tensor:
    """Turn channel pairs (i, i + K/2) by their position's angle: the half-split layout that Hugging Face models use."""
    cos, sin = table_2TP[:, :, None, :].to(x_BTHK.dtype)
    first, second = x_BTHK.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    """Causal grouped-query attention inside documents (arXiv:2305.13245), with per-head norms in family qwen3."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        self.head_dim = model.head_dim
        bias = model.family == "gpt2"
        query_width, key_width = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
        self.query = Linear(model.d_model, query_width, bias=bias)
        self.key = Linear(model.d_model, key_width, bias=bias)
        self.value = Linear(model.d_model, key_width, bias=bias)
        self.out = Linear(query_width, model.d_model, bias=bias)
        if model.family == "qwen3":
            self.query_norm = RMSNorm(model.head_dim, model.norm_eps)
            self.key_norm = RMSNorm(model.head_dim, model.norm_eps)
        self.has_head_norms = model.family == "qwen3"

    def forward(self, x_BTD: Tensor, documents_BT: Tensor, table_2TP: Tensor | None) -> Tensor:
        heads = (-1, self.head_dim)
        q_BTHK = self.query(x_BTD).unflatten(-1, heads)
        k_BTGK = self.key(x_BTD).unflatten(-1, heads)
        v_BTGK = self.value(x_BTD).unflatten(-1, heads)
        if self.has_head_norms:
            q_BTHK, k_BTGK = self.query_norm(q_BTHK), self.key_norm(k_BTGK)
        if table_2TP is not None:
            q_BTHK, k_BTGK = rotate(q_BTHK, table_2TP), rotate(k_BTGK, table_2TP)
        y_BTHK = attend(q_BTHK, k_BTGK, v_BTGK, documents_BT)
        return self.out(y_BTHK.flatten(-2))


class GatedMlp(nn.Module):
    """SwiGLU: down(silu(gate x) · up x) (arXiv:2002.05202)."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        self.gate = Linear(model.d_model, model.d_ff, bias=False)
        self.up = Linear(model.d_model, model.d_ff, bias=False)
        self.down = Linear(model.d_ff, model.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class GeluMlp(nn.Module):
    """GPT-2's MLP: down(gelu(up x)), with biases and the tanh form of GELU."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        self.up = Linear(model.d_model, model.d_ff, bias=True)
        self.down = Linear(model.d_ff, model.d_model, bias=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x_BTD), approximate="tanh"))


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        self.attention_norm = norm(model, model.d_model)
        self.attention = Attention(model)
        self.mlp_norm = norm(model, model.d_model)
        self.mlp = GeluMlp(model) if model.family == "gpt2" else GatedMlp(model)

    def forward(self, x_BTD: Tensor, documents_BT: Tensor, table_2TP: Tensor | None) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), documents_BT, table_2TP)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Transformer(nn.Module):
    """Token ids to the hidden states from which the next token is predicted; weights start uninitialised (see init).

    `compute_dtype` is the dtype of the activations: torch.float32, or torch.bfloat16 where the device computes it.
    """

    rotary_2TP: Tensor

    def __init__(self, model: ModelSettings, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.settings = model
        self.compute_dtype = compute_dtype
        self.embed = nn.Embedding(model.vocab_size, model.d_model)
        if model.family == "gpt2":
            self.positions = nn.Embedding(model.seq_len, model.d_model)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.num_layers))
        self.final_norm = norm(model, model.d_model)
        if not model.tied_embeddings:
            self.head = Linear(model.d_model, model.vocab_size, bias=False)
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
        for block in self.blocks:
            x_BTD = block(x_BTD, documents_BT, table_2TP)
        return self.final_norm(x_BTD)

    def hidden(self, tokens_BT: Tensor, documents_BT: Tensor) -> Tensor:
        return self(tokens_BT, documents_BT)

    def logits(self, x_D: Tensor) -> Tensor:
        """Return fp32 scores (..., V) of the next token for hidden states (..., D)."""
        return F.linear(x_D, self.head_weight().to(x_D.dtype)).float()
