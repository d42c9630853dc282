"""The decoder-only transformer as plain modules: the mathematics, nothing about the machine.

B batch · T time · D model width · F MLP width · H query heads · G key and value heads · K head width
P channel pairs of a head (K/2) · 2 cosine and sine · V vocabulary

Every weight is stored in fp32 (the master); a linear map casts it to the dtype of its input, so that `compute_dtype`,
to which the embedded tokens are cast, is the precision of the whole model. A faster implementation replaces modules
here by its own, with the same parameters under the same names (docs/decisions/0043). Attention stays inside documents,
and is computed in blocks of queries, so that the masked half is hardly computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from headwater.model.loss import NextTokenLoss
from headwater.model.rotary import rotary_table, rotate
from headwater.model.settings import ModelSettings

QUERY_BLOCK = 128  # queries a block: small enough to skip most of the masked half, large enough for fast matmuls
AttentionFunction = Callable[[Tensor, Tensor, Tensor, Any], Tensor]
"""Attention of q_BTHK, k_BTGK and v_BTGK, to values BTHK. The last argument says what each token sees: of `attend`, the
first token that it does."""

Recompute = int | Literal["selective"]
"""What the backward pass computes again instead of keeping it: the first so many blocks, but for their inputs; or, in
all blocks, everything but the outputs of matrix products and, where it is one operation, attention."""


def first_visible(documents_BT: Tensor, window: int | None = None) -> Tensor:
    """Return the position of the first token that each token sees, (B, T): it sees from there up to itself.

    That is where its document begins (documents are contiguous), or the `window`'s first token, its own counted.
    """
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    positions_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    first_BT = torch.where(begins_BT, positions_T, 0).cummax(dim=1).values
    return first_BT if window is None else first_BT.maximum(positions_T - window + 1)


def attend(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, first_BT: Tensor) -> Tensor:
    """Return softmax(q k / sqrt(K)) v, (B, T, H, K), where a token sees the tokens from its `first_visible` to itself.

    Queries are taken in blocks, each against the keys up to its own end: a compiler fuses the softmax of a block,
    and no (T, T) matrix is held. The softmax is computed in fp32.
    """
    num_tokens, num_heads = q_BTHK.shape[1], q_BTHK.shape[2]
    repeats = num_heads // k_BTGK.shape[2]
    q_BHTK = q_BTHK.transpose(1, 2) * q_BTHK.shape[-1] ** -0.5
    k_BHTK = k_BTGK.transpose(1, 2).repeat_interleave(repeats, dim=1)
    v_BHTK = v_BTGK.transpose(1, 2).repeat_interleave(repeats, dim=1)
    positions_T = torch.arange(num_tokens, device=first_BT.device)
    blocks = []
    for start in range(0, num_tokens, QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, num_tokens)
        scores = (q_BHTK[:, :, start:end] @ k_BHTK[:, :, :end].transpose(-2, -1)).float()
        is_earlier = positions_T[start:end, None] >= positions_T[None, :end]
        visible = (is_earlier & (positions_T[:end] >= first_BT[:, start:end, None])).unsqueeze(1)
        weights = torch.softmax(scores.masked_fill(~visible, float("-inf")), dim=-1)
        blocks.append(weights.to(v_BHTK.dtype) @ v_BHTK[:, :, :end])
    return torch.cat(blocks, dim=2).transpose(1, 2)


class Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Draw nothing: first values are those of model.init, or of a checkpoint."""


class Linear(nn.Linear):
    """A linear map in the dtype of its input."""

    def reset_parameters(self) -> None:
        """Draw nothing, as an embedding."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class RMSNorm(nn.Module):
    """x over its root mean square, computed in fp32, times a weight (arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        scale = torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)
        return (x32 * scale * self.weight).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """Layer norm with bias, computed in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


def norm(model: ModelSettings) -> nn.Module:
    """Return a norm over the model's width, of its family's kind."""
    if model.family == "gpt2":
        return LayerNorm(model.d_model, eps=model.norm_eps)
    return RMSNorm(model.d_model, model.norm_eps)


class Attention(nn.Module):
    """Causal grouped-query attention inside documents (arXiv:2305.13245), with a norm of each head in family qwen3."""

    heads_dimension = 2  # of what `attend` takes
    attend: AttentionFunction

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        query_width, key_width = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
        is_gpt2 = model.family == "gpt2"
        self.query = Linear(model.d_model, query_width, bias=is_gpt2 or model.attention_bias)
        self.key = Linear(model.d_model, key_width, bias=is_gpt2 or model.attention_bias)
        self.value = Linear(model.d_model, key_width, bias=is_gpt2 or model.attention_bias)
        self.out = Linear(query_width, model.d_model, bias=is_gpt2)
        has_norms = model.family == "qwen3"
        self.query_norm = RMSNorm(model.head_dim, model.norm_eps) if has_norms else nn.Identity()
        self.key_norm = RMSNorm(model.head_dim, model.norm_eps) if has_norms else nn.Identity()
        self.head_dim = model.head_dim
        self.attend = attend

    def forward(self, x_BTD: Tensor, visible: Any, table_2TP: Tensor | None) -> Tensor:
        """Return what the tokens read from those they see, (B, T, D).

        `visible` is what `attend` takes; `table_2TP` turns each token's channels by its position; None (gpt2): nothing.
        """
        q_BTHK = self.query_norm(self.query(x_BTD).unflatten(-1, (-1, self.head_dim)))
        k_BTGK = self.key_norm(self.key(x_BTD).unflatten(-1, (-1, self.head_dim)))
        v_BTGK = self.value(x_BTD).unflatten(-1, (-1, self.head_dim))
        if table_2TP is not None:
            q_BTHK, k_BTGK = rotate(q_BTHK, table_2TP), rotate(k_BTGK, table_2TP)
        return self.out(self.attend(q_BTHK, k_BTGK, v_BTGK, visible).flatten(-2))


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


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        self.attention_norm = norm(model)
        self.attention = Attention(model)
        self.mlp_norm = norm(model)
        self.mlp = GeluMlp(model) if model.family == "gpt2" else GatedMlp(model)

    def forward(self, x_BTD: Tensor, visible: Any, table_2TP: Tensor | None) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), visible, table_2TP)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Blocks(nn.ModuleList):
    """One block after the other.

    What is recomputed (whole blocks: arXiv:1604.06174; selectively: arXiv:2205.05198) has the same bits: less memory,
    for at most a third more time.
    """

    def __init__(self, model: ModelSettings, recompute: Recompute = 0) -> None:
        super().__init__(TransformerBlock(model) for _ in range(model.num_layers))
        self.window = model.sliding_window
        self.recompute = recompute
        self.visible: Callable[[Tensor, int | None], Any] = first_visible  # as the blocks' attention takes it

    def forward(self, x_BTD: Tensor, documents_BT: Tensor, table_2TP: Tensor | None) -> Tensor:
        visible = self.visible(documents_BT, self.window)
        for block in recomputed(self, self.recompute, plain_contexts):
            x_BTD = block(x_BTD, visible, table_2TP)
        return x_BTD


def recomputed(
    blocks: Iterable[Callable[..., Any]], recompute: Recompute, contexts: Callable[[], Any]
) -> list[Callable[..., Any]]:
    """Return the blocks as they are called in training, to be recomputed in the backward pass as `recompute` says.

    Whole ones are the first, since the backward pass comes to them last, when the memory of the later ones is free
    again. `contexts` returns those of a selective one's first pass and of the second, in which products come from it.
    """
    # nothing in a block is random: no generator's state has to be kept
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    if recompute == "selective":
        return [partial(again, block, context_fn=contexts) for block in blocks]
    return [partial(again, block) if index < recompute else block for index, block in enumerate(blocks)]


def plain_contexts() -> Any:
    """Return the contexts of plain modules: products, but attention's scores, which take more memory than all else."""
    return create_selective_checkpoint_contexts([torch.ops.aten.mm.default, torch.ops.aten.addmm.default])


class Transformer(nn.Module):
    """Token ids to the loss of predicting each next one; `model.init.initialise_` gives the weights their values.

    `compute_dtype` is the dtype of the activations: torch.float32, or torch.bfloat16 where the device supports it.
    """

    rotary_2TP: Tensor | None

    def __init__(
        self, model: ModelSettings, compute_dtype: torch.dtype = torch.float32, recompute: Recompute = 0
    ) -> None:
        super().__init__()
        self.settings = model
        self.compute_dtype = compute_dtype
        self.embed = Embedding(model.vocab_size, model.d_model)
        if model.family == "gpt2":
            self.positions = Embedding(model.num_positions, model.d_model)
        self.blocks = Blocks(model, recompute)
        self.final_norm = norm(model)
        if not model.tied_embeddings:
            self.head = Linear(model.d_model, model.vocab_size, bias=False)
        self.loss = NextTokenLoss()
        table_2TP = None if model.family == "gpt2" else torch.empty(2, model.seq_len, model.head_dim // 2)
        self.register_buffer("rotary_2TP", table_2TP, persistent=False)
        self.fill_buffers_()

    def forward(self, tokens_BT: Tensor, documents_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Return the summed loss of next tokens in nats, a scalar in fp32.

        `documents_BT` numbers the documents of each row: a token sees its own alone. `targets_BT` holds the token after
        each one, or -1 where none counts: padding.
        """
        return self.loss(self.hidden(tokens_BT, documents_BT), self.head_weight(), targets_BT)

    def hidden(self, tokens_BT: Tensor, documents_BT: Tensor) -> Tensor:
        """Return the final hidden states (B, T, D); T is at most the model's seq_len."""
        num_tokens = documents_BT.shape[1]
        x_BTD = self.embed(tokens_BT)
        if hasattr(self, "positions"):
            x_BTD = x_BTD + self.positions(torch.arange(num_tokens, device=tokens_BT.device))
        table_2TP = None if self.rotary_2TP is None else self.rotary_2TP[:, :num_tokens]
        x_BTD = self.blocks(x_BTD.to(self.compute_dtype), documents_BT, table_2TP)
        return self.final_norm(x_BTD)

    def token_losses(self, x_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Return each token's loss in nats, in fp32 and without a gradient; 0 where there is no target."""
        return self.loss.of_tokens(x_BTD, self.head_weight(), targets_BT)

    def logits(self, x_D: Tensor) -> Tensor:
        """Return fp32 scores (..., V) of the next token for hidden states (..., D)."""
        return F.linear(x_D, self.head_weight().to(x_D.dtype)).float()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def head_weight(self) -> Tensor:
        """Return the matrix (V, D) whose rows score the next token."""
        return self.embed.weight if self.settings.tied_embeddings else self.head.weight

    def fill_buffers_(self) -> None:
        """Fill the buffers, which no checkpoint holds: of a model built on the meta device, after `to_empty`."""
        if self.rotary_2TP is not None and not self.rotary_2TP.is_meta:
            self.rotary_2TP.copy_(rotary_table(self.settings, self.settings.seq_len))
