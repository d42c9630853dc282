"""Clipping is torch's; what ranks know of a step is the same on all, and waited for once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from many_ranks import on_ranks
from torch import nn

from headwater.machine.device.device import Device
from headwater.machine.parallel.data_parallel import DataParallel, Sums, clip_, norms
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import Mesh, Place


def model_with_gradients(size: float = 1.0) -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(2, 2))
    generator = torch.Generator().manual_seed(0)
    for parameter in list(model.parameters())[:4]:  # the last layer has none
        parameter.grad = size * torch.randn(parameter.shape, generator=generator)
    return model


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_clipping_is_torchs_and_has_the_same_bits_whether_the_norm_is_read_or_not(size):
    looking, blind, theirs = (model_with_gradients(size) for _ in range(3))
    device = Device()
    norm = clip_(looking, 1.0, DataParallel(Ranks(), device))
    device.reads_are_free = False
    assert torch.equal(clip_(blind, 1.0, DataParallel(Ranks(), device)), norm)
    assert all(torch.equal(a, b) for a, b in zip(gradients(looking), gradients(blind)))
    assert norm.item() == pytest.approx(nn.utils.clip_grad_norm_(theirs.parameters(), 1.0).item(), rel=1e-5)
    for ours, its in zip(gradients(looking), gradients(theirs)):
        torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-9)


class BothOfTwo(Ranks):
    """Two ranks along `tensor`, of which the other one has zeros alone."""

    def along(self, *axes: str) -> Ranks:
        return self


def test_norms_of_divided_matrices_copy_no_number_to_the_device(monkeypatch):
    """A copy from the host waits until a GPU has done all that it was given."""
    tensors = {"blocks.0.mlp_norm.weight": torch.tensor([3.0, 4.0]), "embed.weight": torch.tensor([[6.0, 8.0]])}
    monkeypatch.setattr(torch, "tensor", None)
    found = norms(tensors, BothOfTwo(Place(0, 2), Mesh(tensor=2)))
    assert found.tolist() == pytest.approx([12.5**0.5, 10.0]), "of what both have a half, of what one has all"


def test_one_rank_reads_its_own_loss_and_norm():
    parallel = DataParallel(Ranks(), Device())
    loss, norm = torch.tensor(1 / 3, dtype=torch.float64), torch.tensor(0.7)
    assert parallel.total(5) == 5
    assert parallel.read(loss, norm, 5, [True, False]) == Sums(1 / 3, float(norm), 5, [True, False])


@pytest.mark.parametrize("num_targets", [1, 3, 8191, 8192, 65535, (1 << 24) + 1, 123456789])
def test_a_loss_divided_by_a_count_on_the_device_has_the_bits_of_one_divided_by_a_number(num_targets):
    """One rank has the number at hand, and several have it on the device."""
    gradients = []
    for count in (num_targets, torch.tensor(num_targets)):
        losses = torch.linspace(0.1, 1e6, 1001, requires_grad=True)
        mean = losses / count
        mean.sum().backward()
        gradients.append((mean.detach(), losses.grad))
    assert all(torch.equal(ours, others) for ours, others in zip(*gradients, strict=True))


READS = """
sys.path.insert(0, HERE)
from host_waits import HostWaits
from headwater.machine.device.device import Device
from headwater.machine.parallel.data_parallel import DataParallel

class Counting(Device):
    reads = 0
    def read(self, *values):
        self.reads += 1
        return super().read(*values)

device = Counting()
parallel, first = DataParallel(ranks, device), ranks.is_first
with HostWaits() as waits:
    total = parallel.total(3 + ranks.rank)
    loss = torch.tensor(0.5 + ranks.rank, dtype=torch.float64)
    sums = parallel.read(loss, torch.tensor(0.25 if first else float("nan")), total, [False, not first, False])
print(json.dumps([sums.loss, sums.norm, sums.num_targets, sums.flags, waits.count, device.reads]))
"""


def test_ranks_know_the_same_of_a_step_after_one_wait(tmp_path):
    program = READS.replace("HERE", repr(str(Path(__file__).parents[2])))
    found = on_ranks(2, program, tmp_path)
    assert found == [[2.0, 0.25, 7, [False, True, False], 0, 1]] * 2, "loss, norm, targets, flags, waits, reads"
