"""What a rank exchanges in a step, and the least that a step takes on an accelerator by its data sheet. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headwater.forecast.device import Accelerator
from headwater.forecast.rank_memory import division_of
from headwater.forecast.work import Work
from headwater.ranks.mesh import Mesh

WIRE_UTILISATION = 0.8
"Of the data sheet's bandwidth; as it was fitted on published layouts."


@dataclass(frozen=True)
class Exchange:
    """Exchanges of one kind along one axis: how many, and the bytes of all their whole tensors.

    `axis` is that of the mesh, or "all ranks". Whole are an all-gather's result and a reduce-scatter's input; an
    all-reduce, a broadcast and an all-to-all have one size. A forecast doesn't count calls: `calls` is None.
    """

    kind: str
    axis: str
    calls: int | None
    num_bytes: int


def exchanges(work: Work) -> list[Exchange]:
    """Return a step's exchanges of the first rank, but for the few numbers that all ranks add up.

    Copies of the weights add their gradients once a step and give one another the updated weights. Weights that are
    divided are gathered for each pass, those outside of the blocks once, and their gradients added once a microbatch.
    """
    mesh, of_rank, found = work.mesh, division_of(work.model, work.optim.name, work.mesh), list[Exchange]()
    if mesh.shard > 1:
        vectors = 4 - work.sent_bytes  # of which a value is sent in fp32
        block = work.sent_bytes * of_rank.block + vectors * of_rank.block_vectors
        outside = 4 * of_rank.outside
        if work.model.family != "gpt2":  # whose embeddings are used in fp32
            outside = work.sent_bytes * of_rank.outside + vectors * of_rank.outside_vectors
        gathered = work.num_microbatches * (2 * work.model.num_layers * block + outside)
        found.append(Exchange("all-gather", "shard", None, gathered))
        found.append(Exchange("reduce-scatter", "shard", None, work.num_microbatches * 4 * of_rank.total))
        if work.optim.name == "muon":
            swapped = of_rank.look_ahead + of_rank.own_directions
            found.append(Exchange("all-to-all", "shard", None, round(work.value_bytes * swapped)))
    if mesh.replicate > 1:
        held = 4 * of_rank.total // mesh.shard
        found += [Exchange(kind, "replicate", None, held) for kind in ("all-reduce", "broadcast")]
    return found


def exchange_seconds(device: Accelerator, exchange: Exchange, mesh: Mesh) -> float:
    """Return what a ring takes for one step's exchanges: (n - 1) / n of the bytes pass each device, of sums twice.

    Over several nodes a ring passes through the network cards of all its ranks in a node together.
    """
    inner, num_ranks = 1, mesh.world_size
    if exchange.axis in mesh.axes:
        num_ranks = mesh.size(exchange.axis)
        inner = mesh.size(*mesh.axes[mesh.axes.index(exchange.axis) + 1 :])
    in_node = max(1, device.node_size // inner)
    bandwidth = device.links if num_ranks <= in_node else min(device.links, device.network * in_node)
    passes = 2 if exchange.kind == "all-reduce" else 1
    return passes * exchange.num_bytes * (num_ranks - 1) / num_ranks / (WIRE_UTILISATION * bandwidth)


@dataclass(frozen=True)
class LeastStep:
    """The least seconds that a step takes: of computing at the accelerator's peak, and of its exchanges.

    And the most of the peak that its model's FLOPs can be, where exchanges overlap with computing and where they don't.
    """

    computing_seconds: float
    exchange_seconds: float
    utilisation_overlapped: float
    utilisation_not_overlapped: float


def least_step(
    device: Accelerator, dtype: str, flops: float, model_flops: float, found: Iterable[Exchange], mesh: Mesh
) -> LeastStep:
    """Return the least of a step of `flops`, of which `model_flops` are the model's; raise ConfigError for no rate."""
    peak = device.flops_of(dtype)
    computing, at_peak = flops / peak, model_flops / peak
    exchanging = sum(exchange_seconds(device, each, mesh) for each in found)
    overlapped = min(1.0, at_peak / max(computing, exchanging))
    return LeastStep(computing, exchanging, overlapped, at_peak / (computing + exchanging))
