"""Values and gradients of every operation of the kernels, against the same in double: one table.

Sizes are odd on purpose: kernels take 16 or 32 numbers at a time and must get the rest right, too.
B batch · T time · D model width · H query heads · G key and value heads · K head width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from types import SimpleNamespace

import exact
import pytest
import torch
from exact import DTYPES, assert_near_exact, random, rounded, values_and_gradients
from operations import OfKernels, Plain, documents_of, heads_of, targets_of
from torch import Tensor
from torch.nn.functional import cross_entropy

from headwater.model.loss import NO_TARGET

EPS = 1e-6
Case = tuple[Callable[[torch.dtype], list[Tensor]], Callable, Callable]
"Inputs in a dtype; the operation on them, of kernels and plain; and in double what a dtype rounds of it."


def norms() -> Iterator[tuple[str, Case]]:
    for shape, has_y in product([(1, 1, 1), (2, 5, 37), (3, 11, 64), (1, 33, 200)], [True, False]):

        def inputs(dtype, shape=shape, has_y=has_y):
            sums = [random(*shape, seed=seed, dtype=dtype) for seed in range(1 + has_y)]
            return [*sums, random(shape[-1], seed=2)]

        def call(ops, x, *more):
            return ops.add_rms_norm(x, None if len(more) == 1 else more[0], more[-1], EPS)

        def in_double(dtype, x, *more):
            total = x + more[0] if len(more) == 2 else 1 * x
            return total, exact.rms_norm(total, more[-1], EPS)

        yield f"norm of {shape}" + " of a sum" * has_y, (inputs, call, in_double)


def projections() -> Iterator[tuple[str, Case]]:
    sizes = [(1, 3, [5]), (7, 33, [17, 1, 40]), (150, 64, [32]), (531, 40, [70, 9])]
    for (num_tokens, inner, heights), has_bias in product(sizes, [False, True]):
        num = len(heights)

        def inputs(dtype, num_tokens=num_tokens, inner=inner, heights=heights, has_bias=has_bias):
            weights = [random(height, inner, seed=i + 1, scale=inner**-0.5) for i, height in enumerate(heights)]
            biases = [random(height, seed=i + 5) for i, height in enumerate(heights)] if has_bias else []
            return [random(2, num_tokens, inner, dtype=dtype), *weights, *biases]

        def call(ops, x, *masters, num=num):
            biases = masters[num:] or [None] * num
            return ops.project(x, [SimpleNamespace(weight=w, bias=b) for w, b in zip(masters[:num], biases)])

        def in_double(dtype, x, *masters, num=num):
            return exact.project(x, masters[:num], masters[num:], dtype)

        yield f"project {num_tokens} × {inner} to {heights}" + " + biases" * has_bias, (inputs, call, in_double)


def heads() -> Iterator[tuple[str, Case]]:
    kinds = [(True, True), (False, True), (False, False)]
    for head_dim, num, (has_norms, has_table) in product([2, 48, 128], [(2, 2), (4, 1)], kinds):
        angles = random(9, head_dim // 2, seed=3, scale=3.0)  # a table of more positions than there are
        table = torch.stack([angles.cos(), angles.sin()])[:, :7] if has_table else None

        def inputs(dtype, head_dim=head_dim, num=num, has_norms=has_norms):
            qkv = random(2, 7, (num[0] + 2 * num[1]) * head_dim, dtype=dtype)
            return [qkv, *([random(head_dim, seed=4), random(head_dim, seed=5)] if has_norms else [])]

        def call(ops, qkv, *norms, num=num, table=table):
            return ops.split_heads(qkv, *num, (*norms, EPS) if norms else None, table)

        name = f"heads {num} of {head_dim}" + ", normed" * has_norms + ", turned" * has_table
        yield name, (inputs, call, lambda dtype, *given, call=call: call(exact, *given))


def swiglus() -> Iterator[tuple[str, Case]]:
    for num_tokens, width in [(1, 1), (5, 33), (13, 96)]:

        def inputs(dtype, shape=(2, num_tokens, 2 * width)):
            return [random(*shape, dtype=dtype, scale=3.0)]

        yield f"swiglu {num_tokens} × {width}", (inputs, lambda ops, x: ops.swiglu(x), lambda dtype, x: exact.swiglu(x))


def attentions() -> Iterator[tuple[str, Case]]:
    lengths = [[[1]], [[31], [1] * 31], [[33, 40, 1, 1, 25], [100]], [[7, 160, 30, 1, 2], [200]]]
    shapes = [(rows, heads, None) for rows in lengths for heads in [(2, 2, 16), (4, 2, 64), (4, 1, 128)]]
    shapes += [(lengths[-1], (4, 2, 32), window) for window in (1, 7, 32, 33, 150)]
    shapes += [([[70, 5]], (4, 2, narrow), None) for narrow in (1, 2, 6, 10)]
    shapes += [([[40, 5]], (2, 1, wide), None) for wide in (250, 256)]
    for rows, sizes, window in shapes:
        documents_BT = documents_of(*rows)

        def inputs(dtype, documents_BT=documents_BT, sizes=sizes):
            return heads_of(documents_BT, *sizes, dtype)

        def call(ops, q, k, v, documents_BT=documents_BT, window=window):
            return ops.attend(q, k, v, documents_BT, window)

        name = f"attention {sizes} over {rows}" + f", window {window}" * (window is not None)
        yield name, (inputs, call, lambda dtype, *given, call=call: call(exact, *given))


def losses() -> Iterator[tuple[str, Case]]:
    for share, (num_tokens, width, vocab_size) in product(
        [0.0, 0.3, 1.0], [(1, 1, 1), (5, 6, 2), (21, 40, 77), (64, 33, 512)]
    ):
        targets_BT = targets_of(2, num_tokens, vocab_size, share)

        def inputs(dtype, sizes=(num_tokens, width, vocab_size)):
            return [random(2, sizes[0], sizes[1], dtype=dtype), random(sizes[2], sizes[1], seed=1)]

        def call(ops, x, weight, targets_BT=targets_BT):
            return ops.loss_sum(x, weight, targets_BT) / 7  # because training divides before the backward pass

        def in_double(dtype, x, weight, targets_BT=targets_BT):
            logits = (x @ rounded(weight, dtype).T).flatten(0, 1)
            return cross_entropy(logits, targets_BT.flatten(), ignore_index=NO_TARGET, reduction="sum") / 7

        yield f"loss {num_tokens} × {width} × {vocab_size}, {share:.0%} without", (inputs, call, in_double)


CASES: dict[str, Case] = dict([*norms(), *projections(), *heads(), *swiglus(), *attentions(), *losses()])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_in_double(any_ops, name, dtype):
    inputs, call, in_double = CASES[name]
    ours, plain = (lambda *given, ops=ops: call(ops, *given) for ops in (any_ops, Plain()))
    assert_near_exact(ours, plain, lambda *given: in_double(dtype, *given), inputs(dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_again_and_for_any_number_of_threads(library, name, dtype):
    """Work is divided by rows, or by parts of a head; only gradients of weights are sums over threads."""
    inputs, call, _ = CASES[name]
    first, *others = (
        values_and_gradients(partial(call, OfKernels(library, num_threads)), inputs(dtype), dtype)
        for num_threads in (2, 2, 1, 3, 8)
    )
    num_alike = len(first) if name.startswith("attention") else len(first) - len(inputs(dtype)) + 1
    assert all(map(torch.equal, first, others[0]))
    for other in others[1:]:
        assert all(map(torch.equal, first[:num_alike], other[:num_alike]))
        for a, b in zip(first, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
