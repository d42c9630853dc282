"""Causal attention inside documents, in blocks of queries so that the masked half is hardly computed.

B batch · T time · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

import torch
from torch import Tensor

QUERY_BLOCK = 128  # queries a block: small enough to skip most of the masked half, large enough for fast matmuls


def attend(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, documents_BT: Tensor) -> Tensor:
    """Return softmax(q k / sqrt(K)) v, where a token sees itself and earlier tokens of its own document.

    Queries are taken in blocks, each against the keys up to its own end: a compiler fuses the softmax of a block,
    and no (T, T) matrix is held. The softmax is computed in fp32.
    """
    num_tokens, num_heads = q_BTHK.shape[1], q_BTHK.shape[2]
    repeats = num_heads // k_BTGK.shape[2]
    q_BHTK = q_BTHK.transpose(1, 2) * q_BTHK.shape[-1] ** -0.5
    k_BHTK = k_BTGK.transpose(1, 2).repeat_interleave(repeats, dim=1)
    v_BHTK = v_BTGK.transpose(1, 2).repeat_interleave(repeats, dim=1)
    blocks = []
    for start in range(0, num_tokens, QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, num_tokens)
        scores = (q_BHTK[:, :, start:end] @ k_BHTK[:, :, :end].transpose(-2, -1)).float()
        visible = _visible(documents_BT, start, end)
        weights = torch.softmax(scores.masked_fill(~visible, float("-inf")), dim=-1)
        blocks.append(weights.to(v_BHTK.dtype) @ v_BHTK[:, :, :end])
    return torch.cat(blocks, dim=2).transpose(1, 2)


def _visible(documents_BT: Tensor, start: int, end: int) -> Tensor:
    """Return (B, 1, end - start, end): whether query start + i may see key j."""
    positions = torch.arange(end, device=documents_BT.device)
    causal = positions[start:end, None] >= positions[None, :]
    same_document = documents_BT[:, start:end, None] == documents_BT[:, None, :end]
    return (same_document & causal).unsqueeze(1)
