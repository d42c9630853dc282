"""Attention of the kernels against the same in double: values, gradients, and what must not change a bit.

B batch · T time · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

from functools import partial

import exact
import pytest
import torch
from exact import DTYPES, assert_near_exact, random, values_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import OfKernels, Plain, documents_of, heads_of
from torch import Tensor

from headwater.model.kernels.calls import Kernels
from headwater.model.kernels.functions import NO_MEMORY
from headwater.model.kernels.library import MAX_HEAD_DIM, KernelError

PLAIN = Plain()


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    head_dim=st.integers(8, 80).map(lambda half: 2 * half),
    num_kv_heads=st.integers(1, 3),
    repeats=st.sampled_from([1, 2, 4]),
    dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=20)
def test_any_shape_gives_values_and_gradients(any_library, lengths, head_dim, num_kv_heads, repeats, dtype):
    documents_BT = documents_of(lengths, [sum(lengths)])
    attends = [lambda *qkv, by=by: by.attend(*qkv, documents_BT) for by in (OfKernels(any_library, 2), PLAIN, exact)]
    assert_near_exact(*attends, heads_of(documents_BT, num_kv_heads * repeats, num_kv_heads, head_dim, dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_that_are_far_apart(any_ops, dtype):
    """Queries 30 times as large: weights are near one-hot, and later keys hold much larger scores than earlier ones."""
    documents_BT = documents_of([300], [150, 150])
    inputs = heads_of(documents_BT, 2, 1, 32, dtype, scale=30.0)
    # one fp32 rounding of a score of 500 is 3e-5 of a weight
    ours, plain, true = (
        values_and_gradients(function, [x.to(to) for x in inputs], dtype)
        for function, to in (
            (partial(any_ops.attend, documents_BT=documents_BT), dtype),
            (lambda q, k, v: PLAIN.attend(q, k, v, documents_BT), dtype),
            (lambda q, k, v: exact.attend(q, k, v, documents_BT), torch.float64),
        )
    )
    for value, other, expected in zip(ours, plain, true):
        limit = 3e-4 if dtype == torch.float32 else 2 * exact.relative_error(other, expected) + 2.0**-8
        assert exact.relative_error(value, expected) < limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_enormous_scores_stay_finite(ops, dtype):
    documents_BT = documents_of([140])
    inputs = heads_of(documents_BT, 2, 2, 16, dtype, scale=1e6)
    for value in values_and_gradients(partial(ops.attend, documents_BT=documents_BT), inputs, dtype):
        assert value.isfinite().all()


LENGTHS = [10, 120, 1, 1, 45, 23]  # blocks of 32 with several documents, and one document of several panels of keys
DOCUMENTS = documents_of(LENGTHS, [sum(LENGTHS)])


def effect_of_changing(ops, position: int, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return (B, T): whether a token's output changed with token `position`, and whether it may."""
    inputs = heads_of(DOCUMENTS, 4, 2, 32, dtype, scale=scale)
    changed = [tensor.clone() for tensor in inputs]
    for tensor in changed:
        tensor[:, position] *= -2.0
    attend = partial(ops.attend, documents_BT=DOCUMENTS)
    has_changed = (attend(*inputs) != attend(*changed)).any(-1)
    may_change = (DOCUMENTS[:, [position]] == DOCUMENTS) & (torch.arange(DOCUMENTS.shape[1]) >= position)
    return has_changed, may_change


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("position", [0, 9, 10, 40, 129, 130, 131, 140, 199])
def test_a_changed_token_changes_no_bit_before_it_nor_in_other_documents(any_ops, dtype, position):
    has_changed, may_change = effect_of_changing(any_ops, position, dtype)
    assert torch.equal(has_changed, may_change)


def test_a_changed_token_changes_no_bit_elsewhere_also_where_scores_are_far_apart(ops):
    for position in (9, 40, 129, 130, 140, 199):
        has_changed, may_change = effect_of_changing(ops, position, torch.float32, scale=30.0)
        assert not (has_changed & ~may_change).any(), f"changed by token {position}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("position", [0, 9, 40, 130, 199])
def test_the_slope_of_a_token_reaches_nothing_after_it_and_no_other_document(ops, dtype, position):
    leaves = [x.requires_grad_() for x in heads_of(DOCUMENTS, 4, 2, 32, dtype)]
    out = ops.attend(*leaves, DOCUMENTS)
    slopes = torch.zeros_like(out)
    slopes[:, position] = random(*slopes[:, position].shape, dtype=dtype)
    dq, dk, dv = torch.autograd.grad(out, leaves, slopes)
    seen = (DOCUMENTS[:, [position]] == DOCUMENTS) & (torch.arange(DOCUMENTS.shape[1]) <= position)
    assert dv[seen].flatten(1).any(-1).all()
    assert not dv[~seen].any()
    assert not dk[~seen].any()
    elsewhere = torch.arange(DOCUMENTS.shape[1]) != position
    assert not dq[:, elsewhere].any()


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_memory_that_is_short_is_an_error_in_both_directions(any_library, direction):
    """A sequence of half a billion tokens takes more scratch than there is; nothing of it is read then."""
    num_tokens, width = 1 << 29, 256
    num_arrays = 6 if direction == "forward" else 10
    shape = (1, 1, 1, num_tokens, width)
    status = Kernels(any_library, 2)(f"attention_{direction}_f32", *[None] * num_arrays, *shape, 1.0)
    assert status == NO_MEMORY


def test_a_backward_pass_without_memory_raises(ops, monkeypatch):
    leaves = [x.requires_grad_() for x in heads_of(documents_of([40]), 2, 2, 16)]
    out = ops.attend(*leaves, documents_of([40])).sum()
    call = Kernels.__call__
    monkeypatch.setattr(
        Kernels, "__call__", lambda self, name, *more: NO_MEMORY if "backward" in name else call(self, name, *more)
    )
    with pytest.raises(KernelError, match="no memory for sequences of 40 tokens"):
        out.backward()


def test_the_widest_heads_are_those_that_are_promised(ops):
    documents_BT = documents_of([3])
    ops.attend(*heads_of(documents_BT, 1, 1, MAX_HEAD_DIM), documents_BT)
    with pytest.raises(KernelError, match=f"no heads of width {MAX_HEAD_DIM + 2}"):
        ops.attend(*heads_of(documents_BT, 1, 1, MAX_HEAD_DIM + 2), documents_BT)


def test_documents_of_another_batch_are_not_taken_for_those_of_the_last(ops):
    inputs = heads_of(documents_of([40]), 2, 2, 16)
    for lengths in ([40], [20, 20], [39, 1], [40]):
        documents_BT = documents_of(lengths)
        error = exact.relative_error(
            ops.attend(*inputs, documents_BT), exact.attend(*(x.double() for x in inputs), documents_BT)
        )
        assert error < exact.FLOAT32_ERROR
