"""Causal attention inside documents, in blocks of queries so that the masked half is hardly computed.

B batch · T time · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

import torch
from torch import Tensor

QUERY_BLOCK = 128  # queries a block: small enough to skip most of the masked half, large enough for fast matmuls


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
