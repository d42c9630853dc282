"""Attention in blocks of queries, against torch's own with the whole mask.

B batch · T time · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from headwater.model import transformer
from headwater.model.transformer import first_visible

BLOCK = transformer.QUERY_BLOCK


def attend(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, documents_BT: Tensor, window: int | None = None) -> Tensor:
    return transformer.attend(q_BTHK, k_BTGK, v_BTGK, first_visible(documents_BT, window))


def random_inputs(num_tokens: int, num_heads: int, num_kv_heads: int, num_documents: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    shape = lambda heads: (2, num_tokens, heads, 8)  # noqa: E731
    q_BTHK = torch.randn(shape(num_heads), generator=generator, requires_grad=True)
    k_BTGK = torch.randn(shape(num_kv_heads), generator=generator, requires_grad=True)
    v_BTGK = torch.randn(shape(num_kv_heads), generator=generator, requires_grad=True)
    cuts_BT = torch.rand(2, num_tokens, generator=generator) < (num_documents - 1) / num_tokens
    return q_BTHK, k_BTGK, v_BTGK, cuts_BT.cumsum(1)


def reference(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, documents_BT: Tensor, window: int | None) -> Tensor:
    num_tokens = q_BTHK.shape[1]
    causal = torch.ones(num_tokens, num_tokens).tril().bool()
    if window is not None:
        causal = causal.triu(1 - window)
    same = documents_BT[:, :, None] == documents_BT[:, None, :]
    q, k, v = (x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK))
    mask = (causal & same).unsqueeze(1)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True).transpose(1, 2)


@pytest.mark.parametrize("num_tokens", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 37])
@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize(("num_documents", "window"), [(1, None), (5, None), (1, 1), (5, 9)])
def test_values_and_gradients_are_those_of_torchs_attention(num_tokens, num_heads, num_kv_heads, num_documents, window):
    *inputs, documents_BT = random_inputs(num_tokens, num_heads, num_kv_heads, num_documents)
    ours, theirs = (one(*inputs, documents_BT, window) for one in (attend, reference))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    for name, our_gradient, their_gradient in zip(
        "qkv",
        torch.autograd.grad((ours * weights).sum(), inputs),
        torch.autograd.grad((theirs * weights).sum(), inputs),
    ):
        torch.testing.assert_close(
            our_gradient, their_gradient, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_grouped_heads_share_keys_in_the_order_of_hugging_face():
    """Query heads 0 and 1 read key head 0, heads 2 and 3 read key head 1."""
    q_BTHK, k_BTGK, v_BTGK, documents_BT = random_inputs(7, 4, 2, 1)
    y_BTHK = attend(q_BTHK, k_BTGK, v_BTGK, documents_BT)
    for head in range(4):
        alone = attend(q_BTHK[:, :, [head]], k_BTGK[:, :, [head // 2]], v_BTGK[:, :, [head // 2]], documents_BT)
        torch.testing.assert_close(y_BTHK[:, :, [head]], alone)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (None, [[0, 0, 2, 2, 2, 5], [0, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0]]),
        (2, [[0, 0, 2, 2, 3, 5], [0, 1, 2, 2, 3, 4], [0, 0, 1, 2, 3, 4]]),
        (1, [[0, 1, 2, 3, 4, 5]] * 3),
    ],
)
def test_the_first_visible_token_begins_the_document_or_the_window(window, expected):
    documents_BT = torch.tensor([[3, 3, 0, 0, 0, 9], [1, 2, 3, 3, 3, 3], [5, 5, 5, 5, 5, 5]])
    assert first_visible(documents_BT, window).tolist() == expected
