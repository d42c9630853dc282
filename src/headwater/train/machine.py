"""The machine behind a handful of verbs, so that the loop names no device, dtype or rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from headwater.cpu_kernels.convert import convert_, unrounded
from headwater.cpu_kernels.library import load_kernels
from headwater.cpu_kernels.updates import KernelUpdates
from headwater.device.device import device_of
from headwater.device.facts import MachineFacts
from headwater.device.float8 import convert_linears_
from headwater.device.peak import Peak
from headwater.host.memory import available_bytes, keep_freed_memory, resident_bytes
from headwater.host.waiting import sleep_under_load
from headwater.model.compiled import compiled
from headwater.model.transformer import Transformer
from headwater.optim.fused import FusedUpdates
from headwater.parallel.data_parallel import DataParallel
from headwater.ranks.exchange import Ranks
from headwater.train.machine_facts import threads


class Machine:
    """One process on one device, perhaps one of several; with `exact` gradients are summed as integers."""

    def __init__(self, facts: MachineFacts, ranks: Ranks | None = None, *, exact: bool = False) -> None:
        self.facts = facts
        self.on = device_of(facts.device)
        self.device = self.on.torch_device
        self.compute_dtype, self.evaluation_dtype = facts.compute_dtype, facts.evaluation_dtype
        self.peak = Peak(facts.peak_flops_per_second)
        self.ranks = ranks or Ranks()
        self.rank, self.world_size = self.ranks.rank, self.ranks.world_size
        self.parallel = DataParallel(self.ranks, self.on, exact=exact)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Set the process up as this machine computes, inside: threads and how they wait, determinism, memory kept.

        Afterwards threads and algorithms are as they were; how the C library keeps memory can't be asked for.
        """
        before = torch.are_deterministic_algorithms_enabled()
        fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        keep_freed_memory()
        try:
            with threads(self.facts.num_threads), sleep_under_load(self.facts.num_threads):
                torch.use_deterministic_algorithms(True)
                # no value is read before it is written here, and filling every new tensor with NaN costs time
                torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
                yield
        finally:
            torch.use_deterministic_algorithms(before)
            torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]

    def prepare_(self, model: Transformer) -> Transformer:
        """Put what computes fastest here into a model; return the model to train with, which has the same parameters.

        That is the model itself, or on a GPU a compiled one.
        """
        if self._has_kernels:
            convert_(model, self.facts.num_threads, self.facts.dtype)
            return model
        if self.facts.dtype == "float8":
            convert_linears_(model.blocks)
        return compiled(model) if self.facts.compiled else model

    def unrounded(self, model: Transformer) -> AbstractContextManager[None] | None:
        """Return a context in which a model's products aren't rounded to int8; None where they never are."""
        return unrounded(model)

    def updates(self) -> KernelUpdates | FusedUpdates | None:
        """Return an optimizer's passes as this machine computes them fastest, or None where PyTorch's own are used."""
        if self.device.type == "cuda":
            return FusedUpdates()
        if not self._has_kernels:
            return None
        return KernelUpdates(load_kernels(), self.facts.num_threads)

    @property
    def _has_kernels(self) -> bool:
        return self.facts.compiled and self.device.type == "cpu"

    def place(self, array: np.ndarray) -> Tensor:
        return self.on.place(array)

    def read(self, *values: Tensor) -> list[float]:
        return self.on.read(*values)

    def seconds_of(self, work: Callable[[], None]) -> float | None:
        return self.on.seconds_of(work)

    def has_room_to_double(self) -> bool:
        """Return whether the memory would hold this process twice; a GPU is asked by trying, which harms nothing."""
        return self.device.type == "cuda" or available_bytes() > resident_bytes()

    def use_peak(self, flops_per_second: float | None) -> None:
        """Let `utilisation` count from this peak of one rank, in place of the one measured; None: from none."""
        self.peak = Peak(flops_per_second)

    def utilisation(self, flops_per_second: float) -> float | None:
        """Return the fraction of the peak of all ranks."""
        return self.peak.utilisation(flops_per_second / self.world_size)

    def sum_ranks(self, count: int) -> int:
        """Return the sum of a count over all ranks."""
        return int(self.ranks.sum_(torch.tensor(count, device=self.device))) if self.world_size > 1 else count

    def any_rank(self, flags: Sequence[bool]) -> list[bool]:
        """Return which of the flags any rank has set."""
        if self.world_size == 1:
            return list(flags)
        return [bool(count) for count in self.ranks.sum_(torch.tensor(flags, dtype=torch.int64, device=self.device))]

    def of_all_ranks(self, loss: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over all ranks, and the first rank's norm, so that all judge by the same bits."""
        if self.world_size == 1:
            return loss, norm
        both = torch.stack([loss, norm.double() if self.ranks.is_first else torch.zeros_like(loss)])
        return tuple(self.ranks.sum_(both))  # type: ignore[return-value]

    @contextmanager
    def microbatch(self, model: nn.Module) -> Iterator[None]:
        """Run one forward and backward of a step, whose gradient is added to those of this rank before it."""
        yield
        self.parallel.take_(model)

    def own_gradients(self, model: nn.Module) -> dict[str, Tensor]:
        return self.parallel.own_gradients(model)

    def exchange_gradients_(self, model: nn.Module) -> None:
        self.parallel.exchange_(model)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip_gradients_(self, model: nn.Module, max_norm: float | None) -> Tensor:
        return self.parallel.clip_(model, max_norm)
