"""Attention compiled for a GPU against attention in blocks of queries on the same GPU, values and gradients.

B batch · T time · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

import pytest
import torch

from headwater.machine.device.compiled import BLOCK, FlexAttention, block_mask
from headwater.model.transformer import attend, first_visible

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, when it traces


@pytest.mark.parametrize("window", [None, 100])
@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("num_tokens", [50, BLOCK, 5 * BLOCK - 3])
@pytest.mark.parametrize("share_of_starts", [0.0, 0.02])
def test_values_and_gradients_are_those_of_plain_attention(
    gpu, window, num_heads, num_kv_heads, num_tokens, share_of_starts
):
    generator = torch.Generator().manual_seed(0)
    documents_BT = (torch.rand(3, num_tokens, generator=generator) < share_of_starts).cumsum(1).to(gpu)
    first_BT = first_visible(documents_BT, window)
    compiled = torch.compile(FlexAttention(attend), dynamic=False, fullgraph=True)
    results = []
    for attention, visible in ((compiled, block_mask(first_BT)), (attend, first_BT)):
        generator.manual_seed(1)
        heads = [num_heads, num_kv_heads, num_kv_heads]
        inputs = [torch.randn(3, num_tokens, count, 64, generator=generator).bfloat16().to(gpu) for count in heads]
        inputs = [tensor.requires_grad_() for tensor in inputs]
        out_BTHK = attention(*inputs, visible)
        slope_K = torch.arange(64, device=gpu).sub(32).div(64).to(out_BTHK.dtype)
        out_BTHK.backward(slope_K.expand_as(out_BTHK).contiguous())
        results.append([out_BTHK.detach(), *(tensor.grad for tensor in inputs)])
    for ours, plain in zip(*results):
        assert (ours.float() - plain.float()).norm() <= 0.02 * plain.float().norm() + 1e-3
