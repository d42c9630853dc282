"""One rank of a run on thousands, in one process: the run's own sharding, loop and optimizer on fake tensors.

torch's fake process group answers every exchange at once, and its fake tensors have shapes and no memory
(torch.testing._internal.distributed.fake_pg, torch._subclasses.fake_tensor).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from headwater.batches.assemble import Batch
from headwater.device.device import Device
from headwater.device.facts import DTYPES
from headwater.forecast.work import Work
from headwater.model.init import drawn
from headwater.model.transformer import Attention, Transformer
from headwater.optim.fused import FusedUpdates
from headwater.parallel import prepare, weights
from headwater.parallel.data_parallel import DataParallel
from headwater.ranks.exchange import ManyRanks, Ranks
from headwater.ranks.mesh import AXES, Mesh
from headwater.ranks.place import Place
from headwater.simulate.account import OPTIMIZER_STATE, WEIGHTS, Account, account_of
from headwater.train.step import train_step


class FakeDevice(Device):
    """A device whose numbers are all 1: nothing can be read from a fake tensor."""

    type = "meta"
    reads_are_free = False

    def read(self, *values: Tensor) -> list[float]:
        return [1.0] * sum(value.numel() for value in values)


def fused_attention(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, first_BT: Tensor) -> Tensor:
    """Stand for a GPU's attention, which holds no scores: torch's own in one operation, blind to documents."""
    q, k, v = (x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)


def simulate(work: Work, stage: int = 0) -> Account:
    """Return the account of a step of the first rank of a mesh that has a stage of the pipeline, or as many after it.

    The process must not be a rank already.
    """
    with fake_ranks(work.mesh, stage * (work.mesh.world_size // work.mesh.pipeline)) as ranks:
        device = FakeDevice()
        parallel = DataParallel(ranks, device)
        # on the meta device, for to divide fake tensors takes ten times as long
        with torch.device("meta"), mock.patch.object(weights, "initialise_", lambda *_, **__: None):
            model, fast_model = prepared(work, parallel)
        device.type = "cpu"
        with FakeTensorMode(allow_non_fake_inputs=True), stages_agree():
            for root in [fast_model] if parallel.pipeline is None else parallel.pipeline.roots:
                root.to_empty(device="cpu")
            return account_of_step(work, parallel, model, fast_model)


def account_of_rank(work: Work, ranks: Ranks) -> Account:
    """Return the account of a step of a rank that exists; all ranks call it together."""
    parallel = DataParallel(ranks, Device())
    return account_of_step(work, parallel, *prepared(work, parallel))


def prepared(work: Work, parallel: DataParallel) -> tuple[Transformer, Transformer]:
    """Return a model divided as a run's is, and what to train it with."""
    dtype = DTYPES[work.dtype]
    found = prepare.prepare(partial(built, work), lambda model: model, drawn(work.model, 0), parallel, dtype)
    return found.model, found.fast_model


def built(work: Work) -> Transformer:
    """Return a model with a GPU's attention."""
    model = Transformer(work.model, DTYPES[work.dtype], work.recompute)
    for module in model.modules():
        if isinstance(module, Attention):
            module.attend = fused_attention
    return model


def account_of_step(work: Work, parallel: DataParallel, model: Transformer, fast_model: Transformer) -> Account:
    """Return the account of a step of a model that is prepared."""
    optimizer = prepare.optimizer_for(model, work.optim, DTYPES[work.dtype], FusedUpdates(), parallel)
    rows = np.zeros((work.num_rows, work.model.seq_len), dtype=np.int64)
    max_norm = work.optim.max_grad_norm
    batches = [Batch(rows, rows, rows, rows.size, 0)] * work.num_microbatches

    def step() -> None:
        train_step(fast_model, optimizer, batches, parallel, lr_factor=1.0, step=0, max_grad_norm=max_norm)

    known: dict[str, Sequence[Tensor]] = {
        WEIGHTS: list(model.parameters()),
        OPTIMIZER_STATE: list(optimizer.state_tensors().values()),
    }
    return account_of(step, known, partial(axis_of, parallel.ranks))


def axis_of(ranks: Ranks, group: dist.ProcessGroup) -> str:
    """Return the axis, or axes, of the mesh along which a group's ranks lie."""
    members, mesh = dist.get_process_group_ranks(group), ranks.mesh
    # its first rank is the first along each of its axes, and its last the last
    axes = [axis for axis in AXES if mesh.index(members[0], axis) != mesh.index(members[-1], axis)]
    return "all ranks" if len(members) == mesh.world_size and len(axes) > 1 else " × ".join(axes)


@contextmanager
def stages_agree() -> Iterator[None]:
    """Have stages not ask one another whether the shapes of what they exchange are known: nobody answers."""
    if "torch.distributed.pipelining" not in sys.modules:
        yield
        return
    from torch.distributed.pipelining import schedules, stage

    def agree(schedule: object, stages: Sequence[Any], *_: object) -> None:
        for each in stages:
            each._inference_mode = stage.InferenceMode.STATIC

    with mock.patch.object(schedules._PipelineSchedule, "_warmup_p2p", agree):
        yield


@contextmanager
def fake_ranks(mesh: Mesh, rank: int = 0) -> Iterator[Ranks]:
    """Be one rank of a mesh whose others don't exist."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    world_size = mesh.world_size
    if world_size == 1:
        yield Ranks()
        return
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
    try:
        yield ManyRanks(Place(rank, world_size, 0, world_size), mesh)
    finally:
        dist.destroy_process_group()
