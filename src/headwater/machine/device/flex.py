"""Attention on a GPU: FlexAttention, whose kernel skips the blocks that nobody sees (arXiv:2412.05496).

B batch · T time · N blocks of tokens · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128  # tokens: the kernel's own choice of a block of the mask
MIN_HEAD_DIM = 16  # of the kernel's products


def block_mask(first_BT: Tensor) -> BlockMask:
    """Return who sees whom: a token sees the tokens from its first visible one, which never decreases, to itself.

    Made in steps of blocks: unlike `create_block_mask`, it holds no (T, T) matrix, and the host waits for nothing.
    """
    num_tokens = first_BT.shape[1]
    starts_N = torch.arange(0, num_tokens, BLOCK, device=first_BT.device)
    ends_N = (starts_N + BLOCK - 1).clamp_max(num_tokens - 1)
    numbers_N = torch.arange(len(starts_N), device=first_BT.device)
    # a block of queries sees some of each block of keys from its first token's first visible one on, and all of a block
    # that lies before it and begins no earlier than its last token's first visible one
    lowest_BN1 = (first_BT[:, starts_N] // BLOCK)[:, :, None]
    lowest_whole_BN1 = first_BT[:, ends_N][:, :, None]
    is_seen_BNN = (numbers_N >= lowest_BN1) & (numbers_N <= numbers_N[:, None])
    is_whole_BNN = (starts_N >= lowest_whole_BN1) & (numbers_N < numbers_N[:, None])
    is_whole_BNN &= (starts_N + BLOCK <= num_tokens)[:, None]  # a last block that the row doesn't fill

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key >= first_BT[row, query])

    return BlockMask.from_kv_blocks(
        *_listed(is_seen_BNN & ~is_whole_BNN),
        *_listed(is_whole_BNN),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees,
        seq_lengths=(num_tokens, num_tokens),
    )


def _listed(chosen_BNN: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks of keys are chosen, (B, 1, N), and all blocks, chosen ones first, (B, 1, N, N)."""
    order_BNN = torch.argsort(chosen_BNN.int(), dim=-1, descending=True, stable=True)
    return chosen_BNN.sum(-1).int()[:, None], order_BNN.int()[:, None]


class FlexAttention:
    """Attention for a mask of `block_mask`; `plain` for the first visible tokens themselves (evaluation)."""

    def __init__(self, plain: Callable[..., Tensor]) -> None:
        self._plain = plain

    def __call__(self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, visible: Tensor | BlockMask) -> Tensor:
        """Return the values (B, T, H, K). To be compiled with the model: alone it would hold all scores."""
        if isinstance(visible, Tensor):
            return self._plain(q_BTHK, k_BTGK, v_BTGK, visible)
        q, k, v = (x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK))
        out_BHTK = flex_attention(q, k, v, block_mask=visible, enable_gqa=q.shape[1] != k.shape[1])
        assert isinstance(out_BHTK, Tensor)
        return out_BHTK.transpose(1, 2)
