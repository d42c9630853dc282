"""A layer divided among ranks that have the same rows: tensor, sequence, vocabulary and context parallel.

Between layers a rank has a part of the sequence, along `context` and inside of it along `tensor`. Ranks along `tensor`
gather it before a layer and compute with their rows or columns of its matrices (arXiv:1909.08053); the sum of what they
come to is scattered again (arXiv:2205.05198). Ranks along `context` swap parts of the sequence for heads around
attention, in which each has some heads of all tokens (arXiv:2309.14509), so that documents stay apart. Modules compute
with plain tensors, plain and fused ones alike: what they are given is gathered, and what they return scattered.

B batch · T time · D model width · N tokens · V vocabulary of this rank
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.machine.device.compiled import CompiledForward
from headwater.machine.ranks.exchange import GroupOfRanks, Ranks
from headwater.model.loss import CHUNK_TOKENS, NO_TARGET, NextTokenLoss, error_of, next_token_loss
from headwater.model.transformer import Attention, Transformer, TransformerBlock


def divide_layers_(model: Transformer, fast: Transformer, ranks: Ranks) -> None:
    """Have a model and its faster root compute on parts of sequences; their weights are divided already."""
    context, tensor = ranks.along("context"), ranks.along("tensor")
    cut = partial(part_of, ranks=context)
    if isinstance(model.embed, nn.Embedding):  # a pipeline's first stage alone
        model.embed.forward = _divided_embedding(model.embed, cut, tensor)  # type: ignore[method-assign, assignment]
    if hasattr(model, "positions"):
        add_positions = model.positions.forward
        model.positions.forward = lambda ids: add_positions(cut(ids, dim=0))  # type: ignore[method-assign, assignment]
    for block in model.blocks:
        assert isinstance(block, TransformerBlock)
        _divide_attention_(block.attention, context, tensor, cut)
        block.mlp.forward = _divided(block.mlp.forward, tensor)  # type: ignore[method-assign]
        if isinstance(block.forward, CompiledForward):
            block.forward.allow_graph_breaks_()
    for loss in {model.loss, fast.loss}:
        _divide_loss_(loss, cut, tensor)


def part_of(x: Tensor, dim: int, ranks: Ranks) -> Tensor:
    """Return this rank's of the equal parts of a tensor along a dimension."""
    return x.chunk(ranks.world_size, dim)[ranks.rank]


Cut = Callable[..., Tensor]
"Of a tensor and the dimension that is a sequence's to this rank's part along `context`."


def _divided(forward: Callable[..., Tensor], tensor: Ranks) -> Callable[..., Tensor]:
    def divided(x_BTD: Tensor, *rest: Any) -> Tensor:
        return scattered(forward(gathered(x_BTD, tensor), *rest), tensor)

    return divided


def _divide_attention_(attention: Attention, context: Ranks, tensor: Ranks, cut: Cut) -> None:
    if isinstance(context, GroupOfRanks):
        attention.attend = partial(_attend_by_heads, attention.attend, context, attention.heads_dimension)
    divided = _divided(attention.forward, tensor)

    def forward(x_BTD: Tensor, visible: Any, table_2TP: Tensor | None) -> Tensor:
        return divided(x_BTD, visible, None if table_2TP is None else cut(table_2TP, dim=1))

    attention.forward = forward  # type: ignore[method-assign]


def _attend_by_heads(
    attend: Callable[..., Tensor], context: GroupOfRanks, heads: int, q: Tensor, k: Tensor, v: Tensor, visible: Any
) -> Tensor:
    """Return attention's values of a part of the sequence, computed for some heads of the whole.

    `heads` is the dimension of heads, 1 or 2, and the other one is time. Where there are fewer keys and values than
    ranks, ranks share them.
    """
    num_ranks = context.world_size
    k, v = (x.repeat_interleave(max(1, num_ranks // x.shape[heads]), dim=heads) for x in (k, v))
    whole = (regrouped(x, context, split=heads, join=3 - heads) for x in (q, k, v))
    return regrouped(attend(*whole, visible), context, split=1, join=2)


def _divided_embedding(embed: nn.Embedding, cut: Cut, tensor: Ranks) -> Callable[[Tensor], Tensor]:
    def divided(tokens_BT: Tensor) -> Tensor:
        tokens_BT = cut(tokens_BT, dim=1)
        if tensor.world_size == 1:
            return F.embedding(tokens_BT, embed.weight)
        own_BT, is_here_BT = _in_part(tokens_BT, embed.weight.shape[0], tensor)
        return scattered(torch.where(is_here_BT[..., None], F.embedding(own_BT, embed.weight), 0.0), tensor)

    return divided


def _in_part(tokens: Tensor, vocab_size: int, tensor: Ranks) -> tuple[Tensor, Tensor]:
    """Return tokens as rows of this rank's part of the vocabulary, any of them where they aren't in it, and whether."""
    own = tokens - tensor.rank * vocab_size
    return own.clamp(0, vocab_size - 1), (own >= 0) & (own < vocab_size)


# ---- the loss


def _divide_loss_(loss: NextTokenLoss, cut: Cut, tensor: Ranks) -> None:
    forward = loss.forward
    if isinstance(tensor, GroupOfRanks):
        forward = partial(next_token_loss, chunk=partial(chunk_loss_of_vocabulary, tensor=tensor))
        loss.of_tokens = partial(_token_losses_of_vocabulary, tensor=tensor)  # type: ignore[method-assign]

    def divided(x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        return forward(gathered(x_BTD, tensor), weight_VD, cut(targets_BT, dim=1))

    loss.forward = divided  # type: ignore[method-assign]


def chunk_loss_of_vocabulary(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, tensor: Ranks
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `model.loss.chunk_loss` does with this rank's rows of the head: its share of the gradient of `x_ND`."""
    own_N, is_here_N = _in_part(targets_N, weight_VD.shape[0], tensor)
    losses_N, powers_NV, total_N = _losses(x_ND, weight_VD, own_N, is_here_N, tensor)
    has_target_N = targets_N != NO_TARGET
    vocabulary = torch.arange(weight_VD.shape[0], device=x_ND.device)
    is_target_NV = (vocabulary == own_N[:, None]) & is_here_N[:, None]
    error_NV = error_of(powers_NV / total_N[:, None], is_target_NV, has_target_N).to(x_ND.dtype)
    return torch.where(has_target_N, losses_N, 0.0).sum(), error_NV @ weight_VD, error_NV.T @ x_ND


def _losses(
    x_ND: Tensor, weight_VD: Tensor, own_N: Tensor, is_here_N: Tensor, tensor: Ranks
) -> tuple[Tensor, Tensor, Tensor]:
    """Return losses, the exponentials of this rank's logits less the largest, and their sums over all ranks."""
    logits_NV = (x_ND @ weight_VD.T).float()
    largest_N = tensor.max_(logits_NV.max(dim=-1).values)
    picked_N = torch.where(is_here_N, logits_NV.gather(-1, own_N[:, None]).squeeze(-1), 0.0)
    powers_NV = torch.exp(logits_NV - largest_N[:, None])
    total_N, picked_N = tensor.sum_(torch.stack([powers_NV.sum(dim=-1), picked_N]))
    return largest_N + total_N.log() - picked_N, powers_NV, total_N


def _token_losses_of_vocabulary(x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, tensor: Ranks) -> Tensor:
    weight, parts = weight_VD.to(x_BTD.dtype), []
    for x_ND, targets_N in zip(x_BTD.flatten(0, -2).split(CHUNK_TOKENS), targets_BT.flatten().split(CHUNK_TOKENS)):
        losses_N, *_ = _losses(x_ND, weight, *_in_part(targets_N, len(weight), tensor), tensor)
        parts.append(torch.where(targets_N != NO_TARGET, losses_N, 0.0))
    return torch.cat(parts).view(targets_BT.shape)


# ---- exchanges


def _scatter_sum(x: Tensor, ranks: GroupOfRanks) -> Tensor:
    """Return this rank's part of the sequence of the sum over all ranks."""
    parts = x.chunk(ranks.world_size, dim=1)
    part = torch.empty_like(parts[0], memory_format=torch.contiguous_format)
    ranks.scatter_sum_(part, torch.cat(parts))
    return part


def _swap(x: Tensor, ranks: GroupOfRanks, split: int, join: int) -> Tensor:
    """Give each rank its part along one dimension; return all ranks' of this one's, joined along another."""
    parts = torch.stack(x.chunk(ranks.world_size, split))
    sizes = [parts[0].numel()] * ranks.world_size
    return torch.cat(ranks.swap(parts.flatten(), sizes, sizes).view(parts.shape).unbind(), dim=join)


class _Exchange(torch.autograd.Function):
    """An exchange, and as its gradient another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exchange: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = back
        return exchange(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(grad_outputs[0]), None, None


@torch.compiler.disable
def gathered(x_BTD: Tensor, ranks: Ranks) -> Tensor:
    """Return the whole of a sequence of which each rank has a part; the gradients of all ranks are added."""
    if not isinstance(ranks, GroupOfRanks):
        return x_BTD
    return _Exchange.apply(x_BTD, partial(ranks.joined, dim=1), partial(_scatter_sum, ranks=ranks))


@torch.compiler.disable
def scattered(x_BTD: Tensor, ranks: Ranks) -> Tensor:
    """Return this rank's part of a sequence that is the sum of all ranks'."""
    if not isinstance(ranks, GroupOfRanks):
        return x_BTD
    return _Exchange.apply(x_BTD, partial(_scatter_sum, ranks=ranks), partial(ranks.joined, dim=1))


@torch.compiler.disable
def regrouped(x: Tensor, ranks: GroupOfRanks, *, split: int, join: int) -> Tensor:
    """Return of a tensor divided along `join` a part along `split` instead."""
    forward, back = (partial(_swap, ranks=ranks, split=a, join=b) for a, b in ((split, join), (join, split)))
    return _Exchange.apply(x, forward, back)
