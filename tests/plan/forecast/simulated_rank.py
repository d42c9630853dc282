"""A step of one rank of many, in one process: the run's own sharding, loop and optimizer on tensors without memory.

torch's fake process group answers every exchange at once, and its fake tensors have shapes alone
(torch.testing._internal.distributed.fake_pg, torch._subclasses.fake_tensor). What the rank holds is seen below PyTorch,
operation by operation (decisions/0049).
"""

from __future__ import annotations

import sys
import weakref
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
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from headwater.machine.compute import DTYPES
from headwater.machine.device.device import Device
from headwater.machine.host.memory import collected_on_request
from headwater.machine.parallel import prepare
from headwater.machine.parallel.data_parallel import DataParallel, local
from headwater.machine.ranks.exchange import ManyRanks, Ranks
from headwater.machine.ranks.mesh import Mesh, Place
from headwater.model.init import drawn
from headwater.model.optim.update_rules import FusedUpdates
from headwater.model.transformer import Attention, Transformer
from headwater.plan.forecast.result import StepWork
from headwater.tokens.batches.assemble import Batch
from headwater.train.step import train_step


class Bookkeeper(TorchDispatchMode):
    """Follows every storage from the operation that makes it until it is freed."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        """`known` are tensors that are there already."""
        super().__init__()
        self._live: dict[int, int] = {}  # bytes by the storage's id
        self._now = self.peak_bytes = 0
        for tensor in known:
            self._note(local(tensor).untyped_storage())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented  # its parts come here themselves
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, num_bytes = id(storage), storage.nbytes()
        if key not in self._live:
            weakref.finalize(storage, self._forget, key)
        self._now += num_bytes - self._live.get(key, 0)
        self._live[key] = num_bytes
        self.peak_bytes = max(self.peak_bytes, self._now)

    def _forget(self, key: int) -> None:
        self._now -= self._live.pop(key)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow what happens inside, and storages that FSDP frees and fills again, which is no operation."""
        resize_ = torch.UntypedStorage.resize_

        def resized(storage: torch.UntypedStorage, size: int) -> Any:
            result = resize_(storage, size)
            self._note(storage)
            return result

        with mock.patch.object(torch.UntypedStorage, "resize_", resized), self:
            yield


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


def simulate(work: StepWork, stage: int = 0) -> int:
    """Return the most bytes that a rank holds in a step.

    It is the first rank of a mesh that has this stage of the pipeline. The process must not be a rank already.
    """
    with fake_ranks(work.mesh, stage * (work.mesh.world_size // work.mesh.pipeline)) as ranks:
        device = FakeDevice()
        parallel = DataParallel(ranks, device)
        # on the meta device, for to divide fake tensors takes ten times as long
        with torch.device("meta"), mock.patch.object(prepare, "initialise_", lambda *_, **__: None):
            dtype, first = DTYPES[work.dtype], drawn(work.model, 0)
            found = prepare.prepare(partial(built, work), lambda model: model, first, parallel, dtype)
        device.type = "cpu"
        with FakeTensorMode(allow_non_fake_inputs=True), stages_agree():
            for root in [found.fast_model] if parallel.pipeline is None else parallel.pipeline.roots:
                root.to_empty(device="cpu")
            book = booked(work, parallel, found.model, found.fast_model)
    return book.peak_bytes


def built(work: StepWork) -> Transformer:
    """Return a model with a GPU's attention."""
    model = Transformer(work.model, DTYPES[work.dtype], work.recompute)
    for module in model.modules():
        if isinstance(module, Attention):
            module.attend = fused_attention
    return model


def booked(work: StepWork, parallel: DataParallel, model: Transformer, fast_model: Transformer) -> Bookkeeper:
    """Take two steps, of which the first makes what stays, and return what the second held.

    Nothing is collected meanwhile, as in training (`host.memory`).
    """
    optimizer = prepare.optimizer_for(model, work.optim, DTYPES[work.dtype], FusedUpdates(), parallel)
    rows = np.zeros((work.num_rows, work.model.seq_len), dtype=np.int64)
    batches, max_norm = [Batch(rows, rows, rows, rows.size, 0)] * work.num_microbatches, work.optim.max_grad_norm
    step = partial(train_step, fast_model, optimizer, batches, parallel, lr_factor=1.0, step=0, max_grad_norm=max_norm)
    step()
    book = Bookkeeper([*model.parameters(), *optimizer.state_tensors().values()])
    with collected_on_request(), book.watching():
        step()
    return book


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
