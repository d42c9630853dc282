"""The loss in chunks, against torch's cross entropy on whole logits.

B batch · T time · D model width · V vocabulary
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from headwater.model import loss
from headwater.model.loss import NO_TARGET, next_token_loss, token_losses
from headwater.tokens.batches import assemble


def random_inputs(num_rows: int = 2, num_tokens: int = 21, share_without_target: float = 0.3):
    generator = torch.Generator().manual_seed(0)
    x_BTD = torch.randn(num_rows, num_tokens, 6, generator=generator, requires_grad=True)
    weight_VD = torch.randn(11, 6, generator=generator, requires_grad=True)
    targets_BT = torch.randint(0, 11, (num_rows, num_tokens), generator=generator)
    targets_BT[torch.rand(num_rows, num_tokens, generator=generator) < share_without_target] = NO_TARGET
    return x_BTD, weight_VD, targets_BT


def reference(x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
    logits_NV = (x_BTD @ weight_VD.T).flatten(0, 1)
    return cross_entropy(logits_NV, targets_BT.flatten(), ignore_index=NO_TARGET, reduction="sum")


@pytest.mark.parametrize("chunk_tokens", [1, 5, 21, 42, 64])
@pytest.mark.parametrize("share_without_target", [0.0, 0.3, 1.0])
def test_loss_and_gradients_are_those_of_torch(monkeypatch, chunk_tokens, share_without_target):
    monkeypatch.setattr(loss, "CHUNK_TOKENS", chunk_tokens)
    x_BTD, weight_VD, targets_BT = random_inputs(share_without_target=share_without_target)
    ours, theirs = next_token_loss(x_BTD, weight_VD, targets_BT), reference(x_BTD, weight_VD, targets_BT)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    # scaled, because training divides the sum by a count before the backward pass
    ours_x, ours_weight = torch.autograd.grad(ours / 7, (x_BTD, weight_VD))
    theirs_x, theirs_weight = torch.autograd.grad(theirs / 7, (x_BTD, weight_VD))
    torch.testing.assert_close(ours_x, theirs_x, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours_weight, theirs_weight, rtol=1e-5, atol=1e-6)


def test_losses_of_tokens_sum_to_the_loss_and_are_zero_without_target(monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_TOKENS", 8)
    x_BTD, weight_VD, targets_BT = random_inputs()
    losses_BT = token_losses(x_BTD, weight_VD, targets_BT)
    assert losses_BT.shape == targets_BT.shape
    assert not losses_BT[targets_BT == NO_TARGET].any()
    torch.testing.assert_close(losses_BT.sum(), next_token_loss(x_BTD, weight_VD, targets_BT))


@given(st.integers(1, 2**22))
@example(491_777)
@example(400_003)
def test_a_number_of_targets_divides_gradients_in_fp32_whatever_hidden_states_are_kept_in(num_targets):
    x_BTD, weight_VD, targets_BT = random_inputs()
    hidden_BTD = x_BTD.detach().bfloat16().requires_grad_()
    loss = next_token_loss(hidden_BTD, weight_VD, targets_BT)
    whole, divided = (torch.autograd.grad(loss / n, hidden_BTD, retain_graph=True)[0] for n in (1, num_targets))
    assert torch.equal(divided, (whole.float() * (torch.ones(()) / num_targets)).bfloat16())


def test_a_target_that_is_none_is_that_of_batches():
    assert NO_TARGET == assemble.NO_TARGET < 0


def test_the_matrix_of_all_logits_is_never_held(monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_TOKENS", 8)
    shapes = []

    def spy(x_ND, weight_VD, targets_N):
        shapes.append(tuple(x_ND.shape))
        return loss.chunk_loss(x_ND, weight_VD, targets_N)

    x_BTD, weight_VD, targets_BT = random_inputs()
    next_token_loss(x_BTD, weight_VD, targets_BT, spy)
    assert shapes == [(8, 6)] * 5 + [(2, 6)]
