"""Products that are symmetric: half of them computed, the other half mirrored."""

import pytest
import torch

from headwater.model.kernels.updates import KernelUpdates
from headwater.model.optim.muon import orthogonalise
from headwater.model.optim.update_rules import PlainUpdates

SHAPES = ((1, 1, 1), (2, 5, 7), (3, 32, 32), (2, 33, 31), (1, 70, 300), (5, 96, 64), (2, 129, 520))


def random_stack(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def relative_error(ours: torch.Tensor, true: torch.Tensor) -> float:
    return float((ours.double() - true).norm() / true.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_product_with_its_transpose_equals_fp64(library, shape, dtype):
    x_NRC = random_stack(*shape, dtype=dtype)
    ours = KernelUpdates(library, 2).symmetric_product(x_NRC)
    error = relative_error(ours, x_NRC.double() @ x_NRC.double().mT)
    limit = torch.finfo(dtype).eps * (
        0.5 if dtype == torch.bfloat16 else 4
    )  # fp32: sums are rounded too, in an order of the processor's
    assert ours.dtype == dtype
    assert error < limit, f"relative error {error:.2e}"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scaled_product_plus_a_symmetric_matrix_equals_fp64(library, shape):
    x_NRC = random_stack(*shape)
    plus_NRR = random_stack(shape[0], shape[1], shape[1])
    plus_NRR = (plus_NRR + plus_NRR.mT).contiguous()
    ours = KernelUpdates(library, 2).symmetric_product(x_NRC, -0.3, plus_NRR, 2.5)
    true = -0.3 * (x_NRC.double() @ x_NRC.double().mT) + 2.5 * plus_NRR.double()
    error = relative_error(ours, true)
    assert error < torch.finfo(torch.bfloat16).eps / 2, f"relative error {error:.2e}"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_result_is_exactly_symmetric(library, shape):
    updates = KernelUpdates(library, 2)
    if not updates.multiplies_half:
        pytest.skip("this processor has no products of bf16: torch's are used")
    gram_NRR = updates.symmetric_product(random_stack(*shape))
    again_NRR = updates.symmetric_product(gram_NRR, 0.5, gram_NRR, -2.0)
    for product in (gram_NRR, again_NRR):
        assert torch.equal(product, product.mT), f"differs by {(product - product.mT).abs().max()}"


@pytest.mark.parametrize("num_matrices", [1, 2, 5])
def test_result_does_not_depend_on_the_number_of_threads(library, num_matrices):
    x_NRC = random_stack(num_matrices, 100, 600)
    alone = KernelUpdates(library, 1).symmetric_product(x_NRC)
    for num_threads in (1, 2, 3, 7):
        again = KernelUpdates(library, num_threads).symmetric_product(x_NRC)
        assert torch.equal(alone, again), f"{num_threads} threads differ by {(alone - again).abs().max()}"


def test_a_transposed_stack_gives_what_its_copy_gives(library):
    updates, x_NRC = KernelUpdates(library, 2), random_stack(2, 65, 40)
    assert torch.equal(updates.symmetric_product(x_NRC.mT), updates.symmetric_product(x_NRC.mT.contiguous()))


def test_a_stack_of_no_matrices_gives_none(library):
    assert KernelUpdates(library, 2).symmetric_product(random_stack(0, 8, 8)).shape == (0, 8, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
# square ones would have some under a thousandth
@pytest.mark.parametrize("shape", [(3, 96, 130), (2, 64, 160), (2, 130, 50)], ids=str)
def test_orthogonalised_matrices_have_the_singular_values_that_are_promised(library, shape, dtype):
    ours = orthogonalise(random_stack(*shape, dtype=dtype), KernelUpdates(library, 2).symmetric_product)
    singular = torch.linalg.svdvals(ours.double())
    assert singular.min() > 0.76, f"smallest {singular.min():.3f}"
    assert singular.max() < 1.24, f"largest {singular.max():.3f}"


@pytest.mark.parametrize("shape", [(3, 96, 96), (2, 64, 160), (2, 130, 50)], ids=str)
def test_orthogonalised_in_bf16_is_as_near_to_fp64_as_with_torch(library, shape):
    matrices_NRC = random_stack(*shape)
    true = orthogonalise(matrices_NRC.double())
    errors = [
        relative_error(orthogonalise(matrices_NRC, updates.symmetric_product), true)
        for updates in (KernelUpdates(library, 2), PlainUpdates())
    ]
    assert errors[0] < 1.2 * errors[1], f"kernel {errors[0]:.4f}, torch {errors[1]:.4f}"


def test_plain_product_equals_fp64():
    x_NRC = random_stack(2, 9, 14, dtype=torch.float32)
    plus_NRR = random_stack(2, 9, 9, dtype=torch.float32)
    plus_NRR = plus_NRR + plus_NRR.mT
    true = -0.3 * (x_NRC.double() @ x_NRC.double().mT) + 2.5 * plus_NRR.double()
    assert relative_error(PlainUpdates().symmetric_product(x_NRC, -0.3, plus_NRR, 2.5), true) < 1e-6
