"""What devices send each other in a step, in bytes, hops and the wire they go over. No torch.

Each kind of parallelism is one function that returns `Traffic`; seconds follow from the alpha-beta model: bytes over
bandwidth, and a latency for each hop (research: nccl-tests, doc/PERFORMANCE.md, defines the bus bandwidth used here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costing.device import Device
from costing.layout import Layout
from costing.transformer import Transformer

Wire = Literal["links", "network"]


@dataclass(frozen=True)
class Traffic:
    """Bytes that one device sends, over `bandwidth` bytes/s of data sheet, in `hops` that each wait for the one before.

    `is_hidden`: it runs beside the computation, as far as that lasts.
    """

    bytes: float
    hops: float
    bandwidth: float
    wire: Wire
    is_hidden: bool


@dataclass(frozen=True)
class Group:
    """Devices that exchange: how many, over which wire, and the bandwidth of a ring through all of them.

    A ring through several nodes passes `rails` network cards together, as many as the group has devices in a node; its
    slowest part is the network or the links inside a node, whichever is slower.
    """

    size: int
    bandwidth: float
    wire: Wire

    @classmethod
    def of(cls, size: int, stride: int, device: Device, uses_all_network_cards: bool = True) -> Group:
        """Return the group of `size` devices that are `stride` apart in the numbering of devices."""
        in_a_node = max(1, device.node_size // stride)
        if size <= in_a_node:
            return cls(size, device.links, "links")
        rails = in_a_node if uses_all_network_cards else 1
        network = device.network * rails
        return cls(size, network, "network") if network < device.links else cls(size, device.links, "links")

    def all_gather(self, num_bytes: float, times: float, is_hidden: bool) -> Traffic:
        """Return a ring's all-gather or reduce-scatter of `num_bytes`: (n - 1) / n of them pass each device."""
        share = (self.size - 1) / self.size
        return Traffic(times * share * num_bytes, times * (self.size - 1), self.bandwidth, self.wire, is_hidden)

    def all_reduce(self, num_bytes: float, times: float, is_hidden: bool) -> Traffic:
        """Return an all-reduce: a reduce-scatter and an all-gather."""
        return self.all_gather(num_bytes, 2 * times, is_hidden)


def tensor_traffic(shape: Transformer, layout: Layout, device: Device) -> tuple[Traffic, ...]:
    """Return one microbatch's exchange of activations: two all-reduces a layer each way (arXiv:1909.08053).

    Sequence parallelism turns each into a reduce-scatter and an all-gather, the same bytes (arXiv:2205.05198); a
    parallel block needs half as many. Full recomputation repeats the forward ones; where every second product is kept,
    what the sums scattered is kept and the inputs are gathered again. fp8 with a scale a tensor casts inputs before it
    gathers them: a byte each.
    """
    if layout.tensor == 1:
        return ()
    sums = 6.0 + 2.0 * layout.forward_again
    # in part of the layers the inputs of attention and MLP are gathered a second time
    inputs = 2.0 * (1 + (layout.recomputed_layers if layout.keeps_half_the_matmuls else layout.forward_again))
    times = sums + (0.5 if layout.precision == "fp8" else 1.0) * inputs
    if layout.software.is_parallel_block:
        times /= 2
    num_bytes = 2 * layout.microbatch_tokens(shape.seq_len) * shape.d_model
    group = Group.of(layout.tensor, 1, device)
    layers = shape.num_layers / layout.pipeline
    return (group.all_gather(num_bytes, times * layers, layout.software.hides_tensor_traffic),)


def sharding_traffic(shape: Transformer, layout: Layout, device: Device, params: float) -> tuple[Traffic, ...]:
    """Return one microbatch's gathering of weights and scattering of gradients under FSDP, in bf16 (arXiv:2304.11277).

    Weights are gathered forward and again backward, gradients scattered once. A pipeline gathers once a step, which
    `step_traffic` counts. fp8 weights are gathered in a byte.
    """
    if layout.sharding not in ("fsdp", "zero2") or layout.pipeline > 1 or layout.num_shards == 1:
        return ()
    software = layout.software
    group = Group.of(layout.num_shards, layout.tensor, device, software.uses_all_network_cards)
    weight_bytes = 1 if layout.precision.startswith("fp8") else 2
    gathers = 1 if layout.sharding == "zero2" else 2
    hidden = software.hides_data_traffic
    layers = shape.num_layers
    gather = group.all_gather(weight_bytes * params / layers, gathers * layers, hidden)
    scatter = group.all_gather(2 * params / layers, layers, hidden)
    return (gather, scatter)


def step_traffic(shape: Transformer, layout: Layout, device: Device, params: float) -> tuple[Traffic, ...]:
    """Return what is exchanged once a step: the gradients' all-reduce, or a pipeline's gathering under FSDP."""
    software = layout.software
    if layout.data * layout.context == 1:
        return ()
    group = Group.of(layout.data * layout.context, layout.tensor, device, software.uses_all_network_cards)
    hidden = software.hides_data_traffic
    if layout.sharding in ("none", "zero1"):
        # Megatron's DDP reduces gradients in fp32; ZeRO-1 scatters them and gathers weights, as many bytes
        return (group.all_reduce(4 * params, 1, hidden),)
    if layout.pipeline > 1:
        return (group.all_gather(2 * params, 1, hidden), group.all_gather(4 * params, 1, hidden))
    return ()
