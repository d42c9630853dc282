"""Linear maps in int8: what is rounded and scaled, against numpy in double; exact where nothing need be rounded."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exact import DTYPES, random
from operations import OfInt8, OfKernels

from headwater.model.kernels import int8
from headwater.model.kernels.calls import Kernels
from headwater.model.kernels.int8 import multiply, packed, quantise_both, quantise_rows, quantised_weights
from headwater.model.kernels.updates import KernelUpdates
from headwater.model.optim.muon import orthogonalise

SIZES = [(1, 1), (3, 17), (40, 33), (130, 64), (257, 100)]
WEIGHT_ERROR = 0.003  # of the gradient of the weights, in bf16 whose sums are fp32
RANDOM_ERROR = 0.02  # of the norm: two factors with a rounding of 1/254 of their largest numbers, three times the rest


def _maps_of(weights, biases):
    """What `project` needs of each nn.Linear, with tensors of the test."""
    return [SimpleNamespace(weight=weight, bias=biases[i] if biases else None) for i, weight in enumerate(weights)]


@pytest.fixture
def int8_ops(any_library) -> OfInt8:
    return OfInt8(any_library, num_threads=2)


def rounded(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (integers, scales) by the definition: the largest magnitude along `axis` becomes 127."""
    scales = np.abs(values).max(axis=axis, keepdims=True) / 127
    return np.rint(values / np.where(scales == 0, 1, scales)), scales


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_rows_and_columns_are_scaled_by_their_largest_and_rounded_to_nearest(any_library, dtype, size):
    x, kernels = random(*size, dtype=dtype), Kernels(any_library, 2)
    x[0] = 0
    found, exact_x = quantise_both(x, kernels), x.double().numpy()
    expected = rounded(exact_x, 1), rounded(exact_x, 0)
    for (integers, scales), (true_integers, true_scales) in zip(found, expected):
        np.testing.assert_allclose(scales.numpy(), true_scales.ravel(), rtol=1e-6)
        # a number half-way between two may go either way: scales are fp32
        assert np.abs(integers.numpy() - true_integers).max() <= 1
        assert (integers.numpy() != true_integers).mean() < 0.01
    assert all(map(torch.equal, quantise_rows(x, kernels), found[0]))


def whole_numbers(height: int, width: int, seed: int) -> torch.Tensor:
    """Return integers of which every row and every column has one of 127: int8 holds them without rounding."""
    values = torch.from_numpy(np.random.default_rng(seed).integers(-126, 127, (height, width))).float()
    for i in range(max(height, width)):
        values[i % height, i % width] = 127 if i % 2 else -127
    return values


def outputs_and_gradients(ops: OfKernels, x, weights, slopes, biases=()) -> list[torch.Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in (x, *weights, *biases)]
    maps = _maps_of(leaves[1 : 1 + len(weights)], leaves[1 + len(weights) :])
    out = ops.project(leaves[0], maps)
    return [out.detach(), *torch.autograd.grad(out, leaves, slopes)]


def test_what_int8_holds_is_multiplied_exactly(int8_ops):
    x, weight, slopes = whole_numbers(24, 16, 1), whole_numbers(24, 16, 2), whole_numbers(24, 24, 3)
    weights, bias = weight.split([16, 8]), [random(16), random(8)]
    found = outputs_and_gradients(int8_ops, x, weights, slopes, bias)
    expected = [x @ weight.T + torch.cat(bias), slopes @ weight, *(slopes.T @ x).split([16, 8])]
    for value, true in zip(found, expected):
        torch.testing.assert_close(value, true, rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(torch.cat(found[-2:]), slopes.sum(0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("num_tokens", "inner", "heights"), [(1, 3, [5]), (7, 33, [17, 1, 40]), (150, 64, [32]), (531, 40, [70, 9])]
)
def test_random_factors_differ_by_their_rounding_alone(int8_ops, dtype, num_tokens, inner, heights):
    x, slopes = random(num_tokens, inner, dtype=dtype), random(num_tokens, sum(heights), seed=9, dtype=dtype)
    weights = [random(height, inner, seed=i + 1, scale=inner**-0.5) for i, height in enumerate(heights)]
    weight = torch.cat(weights).double()
    expected = [x.double() @ weight.T, slopes.double() @ weight, *(slopes.double().T @ x.double()).split(heights)]
    found = outputs_and_gradients(int8_ops, x, weights, slopes)
    for index, (value, true) in enumerate(zip(found, expected, strict=True)):
        error = float((value.double() - true).norm() / true.norm())
        assert 0 < error < RANDOM_ERROR if index < 2 else error < WEIGHT_ERROR, error


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_heavy_tails_of_tokens_cost_the_gradient_of_the_weights_nothing(int8_ops, sigma):
    """Tokens whose gradients have lognormal sizes: in int8 with a scale a channel the small ones would be zeros."""
    x, slopes = random(4096, 32, dtype=torch.bfloat16), random(4096, 24, seed=1)
    sizes = (sigma * random(4096, 1, seed=2)).exp()
    slopes = (slopes * sizes).bfloat16()
    gradient = outputs_and_gradients(int8_ops, x, [random(24, 32, seed=3)], slopes)[2]
    true = slopes.double().T @ x.double()
    assert float((gradient.double() - true).norm() / true.norm()) < WEIGHT_ERROR


def test_a_token_far_larger_than_the_others_costs_them_nothing(int8_ops):
    """Each token has a scale of its own."""
    x, slopes, weights = random(64, 32), random(64, 16, seed=1), [random(16, 32, seed=2)]
    plain = outputs_and_gradients(int8_ops, x, weights, slopes)[0]
    x[5] *= 1e4
    assert torch.equal(outputs_and_gradients(int8_ops, x, weights, slopes)[0][6:], plain[6:])


def test_threads_products_and_chunks_change_no_bit(library, monkeypatch):
    x, slopes, weights = random(70, 48), random(70, 33, seed=1), [random(33, 48, seed=2)]
    first = outputs_and_gradients(OfInt8(library, 1), x, weights, slopes)
    # chunks are of torch's product; its sums are whole at 1 << 21, and a row each at 1
    for num_threads, chunk in [(2, None), (2, 1 << 21), (3, 100), (5, 1)]:
        ops = OfInt8(library, num_threads)
        if chunk is not None:
            ops.kernels.multiplies_int8 = False
            monkeypatch.setattr(int8, "SUMS_CHUNK", chunk)
        again = outputs_and_gradients(ops, x, weights, slopes)
        assert all(map(torch.equal, again, first)), (num_threads, chunk)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_so_where_it_goes(int8_ops, bad):
    x, slopes, weights = random(9, 20), random(9, 6, seed=1), [random(6, 20, seed=2)]
    x[4, 3] = bad
    out, dx, dweight = outputs_and_gradients(int8_ops, x, weights, slopes)
    assert not out[4].isfinite().any()
    assert out[[0, 8]].isfinite().all()
    assert not dweight[:, 3].isfinite().any()
    assert dx.isfinite().all()
    slopes[2, 1] = bad
    _, dx, dweight = outputs_and_gradients(int8_ops, random(9, 20), weights, slopes)
    assert not dx[2].isfinite().any()
    assert not dweight.isfinite().all()
    weights[0][0, 0] = bad
    assert not outputs_and_gradients(int8_ops, random(9, 20), weights, random(9, 6))[0].isfinite().all()


def test_weights_are_rounded_again_after_an_update(int8_ops):
    maps = _maps_of([random(6, 20).requires_grad_()], [])
    x = random(9, 20)
    first = int8_ops.project(x, maps)
    with torch.no_grad():
        maps[0].weight.mul_(2)
    torch.testing.assert_close(int8_ops.project(x, maps), 2 * first)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_a_gradient_it_is_what_an_export_computes(library, dtype):
    x, maps = random(2, 9, 20, dtype=dtype), _maps_of([random(6, 20).requires_grad_()], [])
    with torch.no_grad():
        assert torch.equal(OfInt8(library, 2).project(x, maps), OfKernels(library, 2).project(x, maps))
    assert not torch.equal(OfInt8(library, 2).project(x, maps), OfKernels(library, 2).project(x, maps))


def test_unrounded_it_computes_as_bfloat16_does(library):
    ops, x, slopes = OfInt8(library, 2), random(9, 20, dtype=torch.bfloat16), random(9, 6, dtype=torch.bfloat16)
    weights = [random(6, 20, seed=2)]
    expected = outputs_and_gradients(OfKernels(library, 2), x, weights, slopes)
    with ops.products.unrounded():
        assert all(map(torch.equal, outputs_and_gradients(ops, x, weights, slopes), expected))
    assert not torch.equal(outputs_and_gradients(ops, x, weights, slopes)[0], expected[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("heights", [[33], [70, 9], [1, 64, 96], [1030]])
def test_this_processors_own_product_has_the_bits_of_torchs(library, dtype, num_threads, heights):
    own, torchs = Kernels(library, num_threads), Kernels(library, num_threads)
    torchs.multiplies_int8 = False
    for num_rows, depth in [(1, 3), (70, 48), (130, 66), (700, 1030)]:
        x, dy = random(num_rows, depth, dtype=dtype), random(num_rows, sum(heights), seed=1, dtype=dtype)
        weights = [random(height, depth, seed=i) for i, height in enumerate(heights)]
        found, expected = (
            [
                multiply(left, right, bias, kernels)
                for left, right, bias in zip((x, dy), rights, (random(sum(heights)), None))
            ]
            for kernels in (own, torchs)
            for rights in [quantised_weights(weights, kernels)]
        )
        assert all(map(torch.equal, found, expected)), (num_rows, depth)
        if own.multiplies_int8:
            assert all(map(torch.equal, packed(weights, own, "rows")[0], quantised_weights(weights, own)[0]))


def test_the_deepest_sums_that_int32_holds_are_exact(any_library):
    x, weight = torch.ones(2, 133_000), torch.ones(3, 133_000)
    x[1] = -1
    for multiplies_int8 in {Kernels(any_library, 1).multiplies_int8, False}:
        kernels = Kernels(any_library, 1)
        kernels.multiplies_int8 = multiplies_int8
        found = multiply(x, quantised_weights([weight], kernels)[0], None, kernels)
        torch.testing.assert_close(found, x[:, :1].expand(2, 3) * 133_000)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_are_rounded_in_training_alone_and_where_that_is_faster(any_library, dtype):
    x, weight = random(2, 90, 64, dtype=dtype).requires_grad_(), random(300, 64, seed=1, scale=0.2).requires_grad_()
    targets = torch.arange(180).view(2, 90)
    (loss, *found), (true_loss, *expected) = (
        [loss.item(), *torch.autograd.grad(loss, (x, weight))]
        for of in (OfInt8, OfKernels)
        for loss in [of(any_library, 2).loss_sum(x, weight, targets)]
    )
    assert (loss != true_loss) == Kernels(any_library, 2).multiplies_int8
    assert loss == pytest.approx(true_loss, rel=1e-3)
    for value, true in zip(found, expected):
        assert float((value - true).norm() / true.norm()) < RANDOM_ERROR
    of_tokens = [of(any_library, 2).token_losses(x.detach(), weight, targets) for of in (OfInt8, OfKernels)]
    assert torch.equal(*of_tokens)


@pytest.mark.parametrize("size", [(48, 48), (48, 128), (128, 48)])
def test_an_orthogonal_factor_points_where_the_exact_one_does(library, size):
    gradients = random(3, *size, dtype=torch.bfloat16)
    u, _, vh = torch.linalg.svd(gradients.double(), full_matrices=False)
    exact_factors = u @ vh
    found = orthogonalise(gradients, KernelUpdates(library, 2).symmetric_product).double()
    cosines = (found * exact_factors).sum((1, 2)) / found.norm(dim=(1, 2)) / exact_factors.norm(dim=(1, 2))
    assert float(cosines.min()) > 0.97, cosines
    assert float(torch.linalg.svdvals(found).max()) < 1.4
