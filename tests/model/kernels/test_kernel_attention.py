"""Attention of the kernels against the same in double: values, gradients, and what must not change a bit.

B batch · T time · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

import exact
import pytest
import torch
from exact import DTYPES, assert_near_exact, random, values_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import OfKernels, Plain
from torch import Tensor

from headwater.model.kernels.calls import Kernels
from headwater.model.kernels.functions import NO_MEMORY
from headwater.model.kernels.library import MAX_HEAD_DIM, KernelError

PLAIN = Plain()


def documents_of(*rows_of_lengths: list[int]) -> Tensor:
    return torch.tensor(
        [[number for number, length in enumerate(lengths) for _ in range(length)] for lengths in rows_of_lengths]
    )


def inputs_of(num_rows, num_tokens, num_heads, num_kv_heads, head_dim, dtype=torch.float32, scale=1.0):
    shape = lambda heads: (num_rows, num_tokens, heads, head_dim)  # noqa: E731
    q = random(*shape(num_heads), dtype=dtype, scale=scale)
    return [q, *(random(*shape(num_kv_heads), seed=seed, dtype=dtype) for seed in (1, 2))]


def of_kernels(ops, documents_BT: Tensor, window: int | None = None):
    """Return attention by the kernels as a function of q, k and v in the layout of the others."""

    def function(*qkv_BTHK: Tensor) -> Tensor:
        return ops.attend(*(part.transpose(1, 2).contiguous() for part in qkv_BTHK), documents_BT, window)

    return function


def assert_attention(ops, inputs, documents_BT, dtype, window: int | None = None) -> None:
    assert_near_exact(
        of_kernels(ops, documents_BT, window),
        lambda q, k, v: PLAIN.attend(q, k, v, documents_BT, window),
        lambda q, k, v: exact.attend(q, k, v, documents_BT, window),
        inputs,
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_heads", "num_kv_heads", "head_dim"), [(2, 2, 16), (4, 2, 64), (4, 1, 128)])
@pytest.mark.parametrize(
    "lengths", [[[1]], [[31], [1] * 31], [[33, 40, 1, 1, 25], [100]], [[7, 160, 30, 1, 2], [200]]], ids=str
)
def test_values_and_gradients(any_ops, dtype, num_heads, num_kv_heads, head_dim, lengths):
    documents_BT = documents_of(*lengths)
    inputs = inputs_of(*documents_BT.shape, num_heads, num_kv_heads, head_dim, dtype)
    assert_attention(any_ops, inputs, documents_BT, dtype)


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
    inputs = inputs_of(*documents_BT.shape, num_kv_heads * repeats, num_kv_heads, head_dim, dtype)
    assert_attention(OfKernels(any_library, 2), inputs, documents_BT, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [1, 7, 32, 33, 150])
def test_a_window_hides_what_is_far_behind(any_ops, dtype, window):
    documents_BT = documents_of([7, 160, 30, 1, 2], [200])
    assert_attention(any_ops, inputs_of(2, 200, 4, 2, 32, dtype), documents_BT, dtype, window)


@pytest.mark.parametrize("head_dim", [1, 2, 6, 10])
def test_the_narrowest_heads(any_ops, head_dim):
    documents_BT = documents_of([70, 5])
    assert_attention(any_ops, inputs_of(1, 75, 4, 2, head_dim), documents_BT, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_that_are_far_apart(any_ops, dtype):
    """Queries 30 times as large: weights are near one-hot, and later keys hold much larger scores than earlier ones."""
    documents_BT = documents_of([300], [150, 150])
    inputs = inputs_of(2, 300, 2, 1, 32, dtype, scale=30.0)
    # one fp32 rounding of a score of 500 is 3e-5 of a weight
    ours, plain, true = (
        values_and_gradients(function, [x.to(to) for x in inputs], dtype)
        for function, to in (
            (of_kernels(any_ops, documents_BT), dtype),
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
    inputs = inputs_of(1, 140, 2, 2, 16, dtype, scale=1e6)
    for value in values_and_gradients(of_kernels(ops, documents_BT), inputs, dtype):
        assert value.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head_dim", [256, 250])
def test_the_widest_heads(ops, dtype, head_dim):
    documents_BT = documents_of([40, 5])
    assert_attention(ops, inputs_of(1, 45, 2, 1, head_dim, dtype), documents_BT, dtype)


def test_a_head_that_the_kernel_does_not_know_is_an_error_and_no_numbers(ops):
    documents_BT = documents_of([4])
    with pytest.raises(KernelError):
        of_kernels(ops, documents_BT)(*inputs_of(1, 4, 1, 1, 258))


LENGTHS = [10, 120, 1, 1, 45, 23]  # blocks of 32 with several documents, and one document of several panels of keys
DOCUMENTS = documents_of(LENGTHS, [sum(LENGTHS)])


def effect_of_changing(ops, position: int, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return (B, T): whether a token's output changed with token `position`, and whether it may."""
    inputs = inputs_of(*DOCUMENTS.shape, 4, 2, 32, dtype, scale=scale)
    changed = [tensor.clone() for tensor in inputs]
    for tensor in changed:
        tensor[:, position] *= -2.0
    attend = of_kernels(ops, DOCUMENTS)
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
    leaves = [x.requires_grad_() for x in inputs_of(*DOCUMENTS.shape, 4, 2, 32, dtype)]
    out = of_kernels(ops, DOCUMENTS)(*leaves)
    slopes = torch.zeros_like(out)
    slopes[:, position] = random(*slopes[:, position].shape, dtype=dtype)
    dq, dk, dv = torch.autograd.grad(out, leaves, slopes)
    seen = (DOCUMENTS[:, [position]] == DOCUMENTS) & (torch.arange(DOCUMENTS.shape[1]) <= position)
    assert dv[seen].flatten(1).any(-1).all()
    assert not dv[~seen].any()
    assert not dk[~seen].any()
    elsewhere = torch.arange(DOCUMENTS.shape[1]) != position
    assert not dq[:, elsewhere].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_rows", "num_kv_heads"), [(1, 1), (2, 1), (3, 1), (2, 2)])
def test_the_same_bits_again_and_for_any_number_of_threads(any_library, dtype, num_rows, num_kv_heads):
    """Work is divided by rows and heads, or by parts of a head where those are too few for the threads."""
    documents_BT = documents_of(*[LENGTHS] * num_rows)
    inputs = inputs_of(*documents_BT.shape, 2 * num_kv_heads, num_kv_heads, 64, dtype)
    found = []
    for num_threads in (1, 1, 2, 3, 8):
        ops = OfKernels(any_library, num_threads)
        found.append(values_and_gradients(of_kernels(ops, documents_BT), inputs, dtype))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other))


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_memory_that_is_short_is_an_error_in_both_directions(any_library, direction):
    """A sequence of half a billion tokens takes more scratch than there is; nothing of it is read then."""
    num_tokens, width = 1 << 29, 256
    num_arrays = 6 if direction == "forward" else 10
    shape = (1, 1, 1, num_tokens, width)
    status = Kernels(any_library, 2)(f"attention_{direction}_f32", *[None] * num_arrays, *shape, 1.0)
    assert status == NO_MEMORY


def test_a_backward_pass_without_memory_raises(ops, monkeypatch):
    leaves = [x.requires_grad_() for x in inputs_of(1, 40, 2, 2, 16)]
    out = of_kernels(ops, documents_of([40]))(*leaves).sum()
    call = Kernels.__call__
    monkeypatch.setattr(
        Kernels, "__call__", lambda self, name, *more: NO_MEMORY if "backward" in name else call(self, name, *more)
    )
    with pytest.raises(KernelError, match="no memory for sequences of 40 tokens"):
        out.backward()


def test_the_widest_heads_are_those_that_are_promised(ops):
    documents_BT = documents_of([3])
    of_kernels(ops, documents_BT)(*inputs_of(1, 3, 1, 1, MAX_HEAD_DIM))
    with pytest.raises(KernelError, match=f"no heads of width {MAX_HEAD_DIM + 2}"):
        of_kernels(ops, documents_BT)(*inputs_of(1, 3, 1, 1, MAX_HEAD_DIM + 2))


def test_documents_of_another_batch_are_not_taken_for_those_of_the_last(ops):
    inputs = inputs_of(1, 40, 2, 2, 16)
    for lengths in ([40], [20, 20], [39, 1], [40]):
        documents_BT = documents_of(lengths)
        error = exact.relative_error(
            of_kernels(ops, documents_BT)(*inputs), exact.attend(*(x.double() for x in inputs), documents_BT)
        )
        assert error < exact.FLOAT32_ERROR
