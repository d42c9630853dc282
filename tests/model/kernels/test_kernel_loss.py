"""The kernels' loss against torch's cross entropy in double.

B batch · T time · D model width · V vocabulary
"""

from __future__ import annotations

import exact
import pytest
import torch
from exact import DTYPES, assert_near_exact, random, rounded, values_and_gradients
from operations import OfKernels, Plain, targets_of
from torch import Tensor
from torch.nn.functional import cross_entropy

from headwater.model.kernels import functions as module
from headwater.model.kernels.functions import chunks
from headwater.model.loss import NO_TARGET

PLAIN = Plain()


def in_double(x: Tensor, weight: Tensor, targets_BT: Tensor, dtype: torch.dtype, reduction: str = "sum") -> Tensor:
    logits = x @ rounded(weight, dtype).T
    return cross_entropy(logits.flatten(0, 1), targets_BT.flatten(), ignore_index=NO_TARGET, reduction=reduction)


def assert_loss(ops: OfKernels, x: Tensor, weight: Tensor, targets_BT: Tensor, dtype: torch.dtype) -> None:
    # divided, because training divides the sum before the backward pass
    assert_near_exact(
        lambda x, weight: ops.loss_sum(x, weight, targets_BT) / 7,
        lambda x, weight: PLAIN.loss_sum(x, weight, targets_BT) / 7,
        lambda x, weight: in_double(x, weight, targets_BT, dtype) / 7,
        [x, weight],
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens_a_chunk", [1, 5, 21, 41, 42, 43])
def test_borders_of_chunks_change_nothing(ops, monkeypatch, dtype, tokens_a_chunk):
    monkeypatch.setattr(module, "CACHED_LOGITS", tokens_a_chunk * 77)
    monkeypatch.setattr(module, "CHUNK_TOKENS", 1)
    x, weight, targets_BT = random(2, 21, 40, dtype=dtype), random(77, 40, seed=1), targets_of(2, 21, 77)
    assert_loss(ops, x, weight, targets_BT, dtype)
    losses_BT = ops.token_losses(x, weight, targets_BT)
    assert losses_BT.shape == targets_BT.shape
    assert not losses_BT[targets_BT == NO_TARGET].any()
    true = in_double(x.double(), weight.double(), targets_BT, dtype, reduction="none").view(2, 21)
    assert exact.relative_error(losses_BT, true) < (1e-5 if dtype == torch.float32 else 0.01)
    torch.testing.assert_close(losses_BT.sum(), ops.loss_sum(x, weight, targets_BT), rtol=1e-6, atol=0)


@pytest.mark.parametrize("num_tokens", [1, 7, 100, 4099])
@pytest.mark.parametrize("vocab_size", [1, 8192, 10**6])
def test_chunks_hold_every_token_once_and_are_not_much_larger_than_wanted(num_tokens, vocab_size):
    parts = chunks(num_tokens, vocab_size)
    assert [i for part in parts for i in range(num_tokens)[part]] == list(range(num_tokens))
    for part in parts:
        num_logits = len(range(num_tokens)[part]) * vocab_size
        assert num_logits <= max(1.5 * module.LOGITS_CHUNK + vocab_size, vocab_size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("right", [True, False])
def test_extreme_logits_are_exact(any_ops, dtype, right):
    """Logits of +1e4 and -1e4: a loss of 0 where the target has the large one, of 2e4 where another has."""
    width = 8
    signs = torch.tensor([1.0, -1.0, 1.0])[:, None].expand(3, width) * torch.eye(3, width)
    x = (1e4 * signs)[None].to(dtype)
    weight = torch.eye(5, width)
    targets_BT = torch.tensor([[0, 0, 2]]) if right else torch.tensor([[1, 1, 0]])
    values = values_and_gradients(lambda x, w: any_ops.loss_sum(x, w, targets_BT), [x, weight], dtype)
    true = values_and_gradients(lambda x, w: in_double(x, w, targets_BT, dtype), [x.double(), weight.double()], dtype)
    for value, expected in zip(values, true):
        assert value.isfinite().all()
        assert exact.relative_error(value, expected) <= (1e-6 if dtype == torch.float32 else 2.0**-8)
    x_small = -x.abs()
    losses = any_ops.token_losses(x_small, weight, targets_BT)
    true = in_double(x_small.double(), weight.double(), targets_BT, dtype, reduction="none")
    torch.testing.assert_close(losses.flatten().double(), true, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_hidden_state_that_is_not_finite_shows_in_the_loss(ops, bad):
    x, weight, targets_BT = random(1, 9, 4), random(33, 4, seed=1), targets_of(1, 9, 33, 0.0)
    x[0, 3, 1] = bad
    assert not ops.loss_sum(x, weight, targets_BT).isfinite()


def test_a_loss_does_not_change_what_it_is_given(ops):
    x, weight, targets_BT = random(2, 21, 40), random(77, 40, seed=1), targets_of(2, 21, 77)
    copies = x.clone(), weight.clone(), targets_BT.clone()
    values_and_gradients(lambda x, w: ops.loss_sum(x, w, targets_BT), [x, weight], torch.float32)
    ops.token_losses(x, weight, targets_BT)
    assert all(torch.equal(a, b) for a, b in zip(copies, (x, weight, targets_BT)))
