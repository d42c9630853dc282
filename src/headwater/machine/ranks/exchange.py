"""What the processes of one run exchange: sums, shared tensors, JSON.

Tensors go by gloo on processors and by NCCL on GPUs. Nothing is pickled: other values travel as JSON in tensors of
bytes. All groups are made when ranks join, by every rank: one that made another later would wait for those that don't.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.distributed.device_mesh import DeviceMesh

from headwater.core.errors import HeadwaterError, LostRanksError
from headwater.machine.ranks.heartbeat import Heartbeat, Slowest
from headwater.machine.ranks.mesh import AXES, DATA_AXES, LAYER_AXES, SAME_ROWS_AXES, STATE_AXES, WEIGHT_AXES, Mesh
from headwater.machine.ranks.place import Place
from headwater.machine.ranks.watchdog import RESUMES, RankProgress

ALONE_TIMEOUT = timedelta(days=1)  # for what one rank does alone in between: evaluate, save, read checkpoints
STEP_TIMEOUT = timedelta(minutes=30)  # for an exchange in which all ranks take part at about the same time
GROUPS = (*((axis,) for axis in ("pipeline", "replicate", *LAYER_AXES)), WEIGHT_AXES, LAYER_AXES, STATE_AXES)
"The axes along which ranks exchange, those of each group taken as one."
_GLOO_CONNECTION = re.compile(r"\[\S*gloo/transport/\S+:\d+\]")  # of another class are only its errors of use
BUCKET_BYTES = 64 << 20  # an exchange of so much takes far longer than its start
# torch 2.13 has other names for them, and warns of these
_gather_into = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
_scatter_sum = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)


def local(tensor: Tensor) -> Tensor:
    """Return what this rank has of a tensor, in the same memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


class Ranks:
    """This process alone: every exchange gives back what it is given."""

    def __init__(self, place: Place | None = None, mesh: Mesh | None = None) -> None:
        """Stand at `place` of a mesh; None: all ranks are along `replicate`."""
        self.place = place or Place()
        self.rank, self.world_size = self.place.rank, self.place.world_size
        self.mesh = mesh or Mesh(replicate=self.world_size)
        self.progress = RankProgress()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.leave(error)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def lay_out_(self, mesh: Mesh) -> None:
        """Let the ranks lie like this from now on; all call it together, once, before they use an axis."""
        self.mesh = mesh

    def along(self, *axes: str) -> Ranks:
        """Return the ranks that differ from this one along some axes (of GROUPS) alone, numbered by them as by one."""
        return Ranks()

    @property
    def part_of_rows(self) -> tuple[int, int]:
        """Return which part of a step's rows is this rank's, and of how many."""
        return self.mesh.index(self.rank, *DATA_AXES), self.mesh.size(*DATA_AXES)

    @property
    def is_first_of_its_rows(self) -> bool:
        """Return whether this is the first of the ranks that have the same rows: what they count is counted once."""
        return self.mesh.index(self.rank, *SAME_ROWS_AXES) == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over all ranks, which each gets with the same bits; return it."""
        return tensor

    def max_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its largest values over all ranks; return it."""
        return tensor

    def sum_tensors_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of any dtypes, by their sums over all ranks."""

    def share_(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        """Copy tensors from their owners to all others: `tensors[r]` are those that rank r has the values of."""

    def joined(self, part: Tensor, dim: int) -> Tensor:
        """Return the parts of all ranks, joined along a dimension."""
        return part

    def gather(self, value: Any) -> list[Any]:
        """Return the JSON values of all ranks, in their order."""
        return [value]

    def from_first(self, value: Any) -> Any:
        """Return the first rank's JSON value; it may take up to ALONE_TIMEOUT to come."""
        return value

    def wait(self) -> None:
        """Return when all ranks have come here; one of them may take up to ALONE_TIMEOUT."""

    def slowest(self) -> Slowest | None:
        """Return the rank that the others wait for, on the first rank; None where none stands out."""
        return None

    def leave(self, error: BaseException | None = None) -> None:
        """End the exchange; call it once, at the end, with the error that ends this rank."""


class GroupOfRanks(Ranks):
    """One of several processes of a group, which is all of a run's or those along one axis."""

    _heartbeat: Heartbeat | None = None

    def __init__(self, place: Place, group: dist.ProcessGroup, mesh: Mesh | None = None) -> None:
        super().__init__(place, mesh)
        self.rank, self.world_size = dist.get_rank(group), dist.get_world_size(group)
        self._group = group
        self._device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")

    @property
    def group(self) -> dist.ProcessGroup:
        """Return these ranks as torch takes them."""
        return self._group

    @property
    def device_mesh(self) -> DeviceMesh:
        """Return these ranks as FSDP takes them: one axis, `shard`."""
        return DeviceMesh.from_group(self._group, self._device.type, mesh_dim_names=("shard",))

    def sum_(self, tensor: Tensor) -> Tensor:
        return self._all_reduce(tensor, self._group)

    def max_(self, tensor: Tensor) -> Tensor:
        return self._all_reduce(tensor, self._group, dist.ReduceOp.MAX)

    def _all_reduce(self, tensor: Tensor, group: dist.ProcessGroup | None, op: Any = dist.ReduceOp.SUM) -> Tensor:
        with self.exchange():
            dist.all_reduce(tensor, op, group=group)
        return tensor

    def sum_tensors_(self, tensors: Sequence[Tensor]) -> None:
        for same in _buckets(tensors):
            _copy_back(self.sum_(_flatten_dense_tensors(same)), same)

    def share_(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        for owner, owned in enumerate(tensors):
            for same in _buckets(owned):
                flat = _flatten_dense_tensors(same)
                with self.exchange():
                    dist.broadcast(flat, group=self._group, group_src=owner)
                if owner != self.rank:
                    _copy_back(flat, same)

    def gather_into_(self, whole: Tensor, part: Tensor, *, is_queued: bool = False) -> dist.Work | None:
        """Fill `whole` with the flat tensors of all ranks, in their order; `is_queued`: return what to wait for."""
        with self.exchange():
            return _gather_into(whole, part, group=self._group, async_op=is_queued)

    def scatter_sum_(self, part: Tensor, whole: Tensor, *, is_queued: bool = False) -> dist.Work | None:
        """Fill `part` with this rank's of the equal parts of the sum of all ranks' flat `whole`."""
        with self.exchange():
            return _scatter_sum(part, whole, group=self._group, async_op=is_queued)

    def joined(self, part: Tensor, dim: int) -> Tensor:
        whole = part.new_empty(self.world_size, *part.shape)
        self.gather_into_(whole.flatten(), part.contiguous().flatten())
        return torch.cat(whole.unbind(), dim)

    def swap(self, flat: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Send each rank its piece of a flat tensor, `sent` numbers long; return what comes, `received` from each."""
        came = flat.new_empty(sum(received))
        with self.exchange():
            dist.all_to_all_single(came, flat, list(received), list(sent), group=self._group)
        return came

    def gather(self, value: Any) -> list[Any]:
        return self._gather(value, self._group)

    def _gather(self, value: Any, group: dist.ProcessGroup | None) -> list[Any]:
        mine = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self._device)
        sizes = torch.zeros(self.world_size, dtype=torch.int64, device=self._device)
        sizes[self.rank] = mine.numel()
        counts = self._all_reduce(sizes, group).tolist()
        padded = torch.zeros(max(counts), dtype=torch.uint8, device=self._device)
        padded[: mine.numel()] = mine
        texts = [torch.zeros_like(padded) for _ in counts]
        with self.exchange():
            dist.all_gather(texts, padded, group=group)
        return [json.loads(bytes(text[:size].tolist())) for text, size in zip(texts, counts, strict=True)]

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Say what it means when an exchange can't reach another rank: that one has ended, or hangs.

        This rank's own errors keep their words: tensors of a wrong size, too little memory, an accelerator's.
        """
        try:
            with self.progress.exchanging():
                yield
        except RuntimeError as error:
            if not (isinstance(error, dist.DistError) or _GLOO_CONNECTION.search(str(error))):
                raise
            reason = str(error).strip().splitlines()[0][:200]
            why = "" if self._heartbeat is None else self._heartbeat.why()
            raise LostRanksError(
                f"rank {self.place.rank} of {self.place.world_size} lost the others: "
                f"{why or f'the rank that ended first says why ({reason})'}. {RESUMES}"
            ) from error


class ManyRanks(GroupOfRanks):
    """One of several processes of the default process group."""

    def __init__(self, place: Place, mesh: Mesh | None = None, heartbeat: Heartbeat | None = None) -> None:
        """The default group has ALONE_TIMEOUT, all others STEP_TIMEOUT; `heartbeat` beats already."""
        super().__init__(place, dist.new_group(timeout=STEP_TIMEOUT), mesh)
        if heartbeat is not None:
            self._heartbeat, self.progress = heartbeat, heartbeat.progress
        self.lay_out_(self.mesh)

    def lay_out_(self, mesh: Mesh) -> None:
        super().lay_out_(mesh)
        self._groups = dict[tuple[str, ...], GroupOfRanks]()
        for axes in map(self._filled, GROUPS):
            if axes not in self._groups and 1 < mesh.size(*axes) < mesh.world_size:
                group = GroupOfRanks(self.place, _own_group(mesh, axes))
                group.progress, group._heartbeat = self.progress, self._heartbeat
                self._groups[axes] = group

    def _filled(self, axes: Sequence[str]) -> tuple[str, ...]:
        """Return those of some axes that have more than one rank."""
        return tuple(axis for axis in axes if self.mesh.size(axis) > 1)

    def along(self, *axes: str) -> Ranks:
        if self.mesh.size(*axes) == 1:
            return Ranks()
        return self if self.mesh.size(*axes) == self.world_size else self._groups[self._filled(axes)]

    def from_first(self, value: Any) -> Any:
        return self._gather(value, dist.group.WORLD)[0]

    def wait(self) -> None:
        # read: a GPU's exchange is only queued, and the time that a rank is alone would count as part of the next step
        self._all_reduce(torch.zeros(1, device=self._device), dist.group.WORLD).item()

    def slowest(self) -> Slowest | None:
        return None if self._heartbeat is None else self._heartbeat.slowest()

    def leave(self, error: BaseException | None = None) -> None:
        has_named = isinstance(error, LostRanksError) and self._heartbeat is not None and self._heartbeat.has_found
        self.progress.trouble = "" if has_named else _trouble(error)
        if self._heartbeat is not None:
            if error is None:
                self.wait()  # with beats: a rank that stops here is named
            self._heartbeat.close()
            if error is None:
                self.wait()  # the store of ranks without a launcher ends with the first one
        dist.destroy_process_group()


def _trouble(error: BaseException | None) -> str:
    """Return what the others are told of a rank that ends; "" where it ends as it should."""
    if error is None:
        return ""
    text = str(error) if isinstance(error, HeadwaterError) else f"{type(error).__name__}: {error}"
    return f"ended ({text.strip()[:300] or 'without a word'})"


def _own_group(mesh: Mesh, axes: Sequence[str]) -> dist.ProcessGroup:
    """Make all groups along some axes, on every rank, and return the one that has this rank."""
    others = [axis for axis in AXES if axis not in axes]
    members: dict[int, list[int]] = {}
    for rank in range(mesh.world_size):
        members.setdefault(mesh.index(rank, *others), []).append(rank)
    own, _ = dist.new_subgroups_by_enumeration(list(members.values()), timeout=STEP_TIMEOUT)
    return own


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors of one dtype together, in their order, up to BUCKET_BYTES, and larger ones alone.

    One exchange for many small tensors saves its latency; one for all of them would take a copy of all.
    """
    found: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        bucket = found.setdefault(tensor.dtype, [])
        if bucket and sum(each.nbytes for each in bucket) + tensor.nbytes > BUCKET_BYTES:
            yield found.pop(tensor.dtype)
            bucket = found.setdefault(tensor.dtype, [])
        bucket.append(tensor)
    yield from found.values()


def _copy_back(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    for tensor, values in zip(tensors, _unflatten_dense_tensors(flat, list(tensors)), strict=True):
        tensor.copy_(values)
