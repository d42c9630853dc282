"""The optimizer's passes of a GPU against PyTorch's plain operations on the same GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headwater.optim.fused import FusedUpdates
from headwater.optim.optimizer import Optimizer
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import PlainUpdates


class Small(nn.Module):
    """One parameter of each kind, and matrices of two shapes."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embed, self.head, self.final_norm = nn.Module(), nn.Module(), nn.Module()
        self.blocks = nn.ModuleList(nn.Module() for _ in range(3))
        owners = [self.embed, self.head, self.final_norm, *self.blocks]
        for owner, shape in zip(owners, [(130, 64), (130, 64), (64,), (64, 128), (128, 64), (64, 128)]):
            owner.weight = nn.Parameter(torch.randn(shape, generator=generator))


@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_fused_updates_are_the_plain_ones_and_the_host_waits_for_nothing(gpu, forbid_waits, rule):
    rates = {"matrix_lr": 0.02, "embedding_lr": 0.02, "head_lr": 0.02, "vector_lr": 0.02}
    settings = OptimSettings(name=rule, **rates, weight_decay=0.1)
    models = [Small().to(gpu), Small().to(gpu)]
    for model, updates in zip(models, (FusedUpdates(), PlainUpdates())):
        optimizer = Optimizer(model.named_parameters(), settings, torch.float32, updates)
        for step in range(6):
            sum((parameter * parameter).sum() for parameter in model.parameters()).backward()
            forbid_waits()
            optimizer.step(1 / (1 + step))
            torch.cuda.set_sync_debug_mode("default")
            optimizer.zero_grad()
    for ours, plain in zip(*(model.parameters() for model in models)):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
