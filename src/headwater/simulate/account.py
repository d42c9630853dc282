"""What a step of one rank holds, exchanges and computes, seen below PyTorch: on real tensors or on fake ones."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from headwater.forecast.exchange import Exchange
from headwater.host.garbage import collected_on_request
from headwater.parallel.gradient_sum import local

WEIGHTS, OPTIMIZER_STATE, GRADIENTS, GATHERED = "weights", "optimizer state", "gradients", "gathered weights"
REST = "activations and the rest"
KINDS = (WEIGHTS, OPTIMIZER_STATE, GRADIENTS, GATHERED, REST)

c10d = torch.ops.c10d
# an operation's name in the field, and which of its arguments are its process group and its whole tensors
EXCHANGES: dict[Any, tuple[str, int, int]] = {
    c10d.allreduce_.default: ("all-reduce", 1, 0),
    c10d.broadcast_.default: ("broadcast", 1, 0),
    c10d._allgather_base_.default: ("all-gather", 2, 0),
    c10d._reduce_scatter_base_.default: ("reduce-scatter", 2, 1),
    c10d.alltoall_base_.default: ("all-to-all", 2, 1),
    c10d.send.default: ("send", 1, 0),
    c10d.recv_.default: ("receive", 1, 0),
}


def _causal_products(number: int) -> Callable[..., int]:
    """Return how to count products of attention's queries with keys they see, half of them all."""

    def flops(*shapes: Any, out_val: Any = None, **_: Any) -> int:
        batch, heads, tokens, width = next(
            shape for shape in shapes if isinstance(shape, torch.Size) and len(shape) == 4
        )
        return number * batch * heads * tokens * tokens * width

    return flops


attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
# torch's formulas know no processor's fused attention; its backward pass makes the scores again
ATTENTION = {attention: _causal_products(2)}
ATTENTION |= {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _causal_products(5)}


@dataclass(frozen=True)
class Account:
    """A step of one rank: bytes at the moment when it holds most, by kind; exchanges; floating-point operations."""

    peak_bytes: dict[str, int]
    exchanges: tuple[Exchange, ...]
    flops: int

    @property
    def total_peak_bytes(self) -> int:
        return sum(self.peak_bytes.values())


class Bookkeeper(TorchDispatchMode):
    """Follows every storage from the operation that makes it until it is freed, and every exchange."""

    def __init__(self, known: Mapping[str, Sequence[Tensor]], axis_of: Callable[[dist.ProcessGroup], str]) -> None:
        """`known` are tensors that are there already, by kind; `axis_of` names the axis of a group."""
        super().__init__()
        self._axis_of = axis_of
        self._live: dict[int, tuple[str, int]] = {}  # kind and bytes by the storage's id
        self._now: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.flops, self._formulas = 0, FlopCounterMode(display=False, custom_mapping=ATTENTION).flop_registry
        self.exchanges: Counter[tuple[str, str]] = Counter()
        self.exchanged_bytes: Counter[tuple[str, str]] = Counter()
        for kind, tensors in known.items():
            for tensor in tensors:
                self._note(local(tensor), kind)

    def label(self, tensor: Tensor, kind: str) -> None:
        """Say of what kind a tensor is that the rank holds already."""
        key = id(local(tensor).untyped_storage())
        if key in self._live:
            before, num_bytes = self._live[key]
            self._now[before] -= num_bytes
            self._now[kind] += num_bytes
            self._live[key] = kind, num_bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor) for each in types):
            return NotImplemented  # its parts come here themselves
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor, REST)
        if func in EXCHANGES:
            self._note_exchange(func, args)
        elif (formula := self._formulas.get(func._overloadpacket)) is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result

    def _note_exchange(self, func: Any, args: Any) -> None:
        name, of_group, of_whole = EXCHANGES[func]
        tensors = [leaf for leaf in tree_leaves(args[of_whole]) if isinstance(leaf, Tensor)]
        key = name, self._axis_of(dist.ProcessGroup.unbox(args[of_group]))
        self.exchanges[key] += 1
        self.exchanged_bytes[key] += sum(tensor.nbytes for tensor in tensors)
        if name == "all-gather":
            self.label(args[0], GATHERED)
        if name == "reduce-scatter":
            self.label(args[0], GRADIENTS)
            self.label(args[1], GRADIENTS)

    def _note(self, tensor: Tensor, kind: str) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._live:
            weakref.finalize(storage, self._forget, key)
            self._live[key] = kind, 0
        self._resize(key, storage.nbytes())

    def _resize(self, key: int, num_bytes: int) -> None:
        kind, before = self._live[key]
        self._live[key] = kind, num_bytes
        self._now[kind] += num_bytes - before
        if num_bytes > before and self._now.total() > self.peak.total():
            self.peak = self._now.copy()

    def _forget(self, key: int) -> None:
        kind, num_bytes = self._live.pop(key)
        self._now[kind] -= num_bytes

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow what happens inside, and storages that FSDP frees and fills again, which is no operation."""
        resize_ = torch.UntypedStorage.resize_

        def resized(storage: torch.UntypedStorage, size: int) -> Any:
            result = resize_(storage, size)
            key = id(storage)
            if key not in self._live:
                weakref.finalize(storage, self._forget, key)
            if self._live.get(key, (GATHERED, 0))[1] == 0:
                self._live[key] = GATHERED, 0
            self._resize(key, size)
            return result

        with mock.patch.object(torch.UntypedStorage, "resize_", resized), self:
            yield


def account_of(
    step: Callable[[], object], known: Mapping[str, Sequence[Tensor]], axis_of: Callable[[dist.ProcessGroup], str]
) -> Account:
    """Take two steps and return the account of the second; the first makes what stays.

    Nothing is collected meanwhile, as in training (`host.garbage`).
    """
    step()
    book = Bookkeeper(known, axis_of)
    hooks = [
        parameter.register_post_accumulate_grad_hook(lambda each: book.label(each.grad, GRADIENTS))
        for parameter in known[WEIGHTS]
    ]
    with collected_on_request(), book.watching():
        step()
    for hook in hooks:
        hook.remove()
    exchanges = [Exchange(*key, calls, book.exchanged_bytes[key]) for key, calls in book.exchanges.items()]
    return Account(dict(book.peak), tuple(exchanges), book.flops)
