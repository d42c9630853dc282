"""The optimizer's passes of a GPU against PyTorch's plain operations on the same GPU."""

from __future__ import annotations

import pytest
import torch
from few_parameters import FewParameters

from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.update_rules import FusedUpdates, PlainUpdates


@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_fused_updates_are_the_plain_ones_and_the_host_waits_for_nothing(gpu, forbid_waits, rule):
    rates = {"matrix_lr": 0.02, "embedding_lr": 0.02, "head_lr": 0.02, "vector_lr": 0.02}
    settings = OptimSettings(name=rule, **rates, weight_decay=0.1)
    models = [FewParameters(num_rows=130, width=64, d_ff=128).to(gpu) for _ in range(2)]
    for model, updates in zip(models, (FusedUpdates(), PlainUpdates())):
        optimizer = Optimizer(model.named_parameters(), settings, torch.float32, updates)
        for step in range(6):
            sum((parameter * parameter).sum() for parameter in model.parameters()).backward()
            forbid_waits()
            optimizer.step(1 / (1 + step), step)
            torch.cuda.set_sync_debug_mode("default")
            optimizer.zero_grad()
    for ours, plain in zip(*(model.parameters() for model in models)):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
