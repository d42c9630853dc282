"""AdamW against torch's."""

from __future__ import annotations

import pytest
import torch

from headwater.model.optim.updates import AdamW, PlainUpdates

SHAPES = [(7,), (5, 3), (1, 1)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95)])
def test_ten_updates_are_those_of_torch(weight_decay, betas):
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(shape, generator=generator) for shape in SHAPES]
    theirs = [tensor.clone().requires_grad_() for tensor in ours]
    means, squares = ([torch.zeros_like(tensor) for tensor in ours] for _ in range(2))
    optimizer = torch.optim.AdamW(theirs, lr=1e-2, betas=betas, eps=1e-8, weight_decay=weight_decay)
    for step in range(1, 11):
        lr = 1e-2 * step / 10
        gradients = [torch.randn(shape, generator=generator) * 10.0 ** (step - 5) for shape in SHAPES]
        for parameter, gradient in zip(theirs, gradients):
            parameter.grad = gradient.clone()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        PlainUpdates().adamw_(
            ours,
            gradients,
            means,
            squares,
            AdamW(step, lr, *betas, 1e-8, weight_decay),
        )
        for our_tensor, their_tensor in zip(ours, theirs):
            torch.testing.assert_close(our_tensor, their_tensor.detach(), rtol=1e-6, atol=1e-7)


def test_the_first_update_moves_by_the_learning_rate_whatever_the_gradients_size():
    for size in (1e-4, 1.0, 1e4):
        parameter, gradient = torch.zeros(3), size * torch.tensor([1.0, -1.0, 1.0])
        means, squares = torch.zeros(3), torch.zeros(3)
        PlainUpdates().adamw_([parameter], [gradient], [means], [squares], AdamW(1, 0.5, 0.8, 0.95, 1e-10, 0.0))
        torch.testing.assert_close(parameter, torch.tensor([-0.5, 0.5, -0.5]))
