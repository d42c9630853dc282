"""What a rank exchanges in a step, and how long that takes on an accelerator by its data sheet. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from headwater.machine.ranks.mesh import AXES, STATE_AXES, WEIGHT_AXES, Layout, Mesh
from headwater.plan.forecast.device import Accelerator
from headwater.plan.forecast.rank_memory import Division, division_of
from headwater.plan.forecast.work import StepWork

WIRE_UTILISATION = 0.8
"Of the data sheet's bandwidth; as it was fitted on published layouts."


@dataclass(frozen=True)
class AxisExchange:
    """Exchanges of one kind along one axis: the bytes of all their whole tensors.

    `axis` is that of the mesh, several with " × " between them, or "all ranks". Whole are an all-gather's result and a
    reduce-scatter's input; an all-reduce, a broadcast and an all-to-all have one size.
    """

    kind: str
    axis: str
    num_bytes: int


def exchanges(work: StepWork) -> list[AxisExchange]:
    """Return a step's exchanges of the first rank, but for the few numbers that all ranks add up.

    Copies of the weights add their gradients once a step and give one another the updated weights. Weights that are
    divided are gathered for each pass, those outside of the blocks once, and their gradients added once a microbatch;
    of small models, and in a pipeline, once a step.
    Muon's matrices go to owners among all ranks that have boxes of them. What layers exchange is `_add_layers_`.
    """
    mesh, of_rank = work.mesh, division_of(work.model, work.optim.name, work.mesh)
    axis, shards, found = _named(mesh, WEIGHT_AXES), mesh.size(*WEIGHT_AXES), Counter[tuple[str, str]]()
    if shards > 1:
        vectors = 4 - work.sent_bytes  # of which a value is sent in fp32
        block = work.sent_bytes * of_rank.block + vectors * of_rank.block_vectors
        outside = 4 * of_rank.outside
        if work.model.family != "gpt2":  # whose embeddings are used in fp32
            outside = work.sent_bytes * of_rank.outside + vectors * of_rank.outside_vectors
        times, passes = (1, 1) if mesh.gathers_once(4 * of_rank.total) else (work.num_microbatches, 2)
        found["all-gather", axis] += times * (passes * of_rank.layers * block + outside)
        found["reduce-scatter", axis] += times * 4 * of_rank.total
    if mesh.size(*STATE_AXES) > 1 and work.optim.name == "muon":
        swapped = of_rank.look_ahead + of_rank.own_directions
        found["all-to-all", _named(mesh, STATE_AXES)] += round(work.value_bytes * swapped)
    if mesh.replicate > 1:
        for kind in ("all-reduce", "broadcast"):
            found[kind, "replicate"] += 4 * of_rank.total // shards
    _add_layers_(found, work, of_rank)
    return [AxisExchange(*key, num_bytes) for key, num_bytes in found.items()]


def _add_layers_(found: Counter[tuple[str, str]], work: StepWork, of_rank: Division) -> None:
    """Add what layers exchange that ranks compute together.

    Along `tensor` each of attention and MLP gathers its input and scatters its sum, forward, and the other way round
    backward; what is recomputed does so again, but for the last sum, which nothing needs. So do the loss and, in fp32,
    the embedding. Along `context` attention swaps queries, keys, values and its output, forward and backward.
    """
    model, mesh, times, layers = work.model, work.mesh, work.num_microbatches, of_rank.layers
    again = of_rank.num_recomputed(work.recompute)
    if mesh.tensor > 1:
        stream = work.layer_tokens * model.d_model
        ends = (4 + work.value_bytes * of_rank.is_last) * stream
        for kind, num_again in (("all-gather", 2), ("reduce-scatter", 1)):
            of_blocks = work.value_bytes * stream * (4 * layers + num_again * again)
            found[kind, "tensor"] += times * (ends + of_blocks)
        scores = 3 * 4 * work.layer_tokens * of_rank.is_last  # the largest, a sum and the target's
        vectors = 4 * (layers * of_rank.block_vectors + of_rank.outside_vectors) // mesh.size(*WEIGHT_AXES)
        found["all-reduce", "tensor"] += times * scores + vectors
    if mesh.context > 1:
        heads = 2 * (model.num_heads // mesh.tensor + max(model.num_kv_heads // mesh.tensor, mesh.context))
        swapped = work.value_bytes * work.layer_tokens * heads * model.head_dim
        found["all-to-all", "context"] += times * swapped * (2 * layers + again)
    if mesh.pipeline > 1:  # the first rank's stages send hidden states, and all but the first one their gradients
        handed = work.value_bytes * work.layer_tokens * model.d_model // mesh.tensor
        for kind in ("send", "receive"):
            found[kind, "pipeline"] += times * (2 * mesh.stages_per_rank - 1) * handed


def _named(mesh: Mesh, axes: Iterable[str]) -> str:
    """Return the name of those of some axes that have several ranks."""
    several = [axis for axis in axes if mesh.size(axis) > 1]
    return "all ranks" if len(several) > 1 and mesh.size(*several) == mesh.world_size else " × ".join(several)


def exchange_seconds(device: Accelerator, exchange: AxisExchange, layout: Layout) -> float:
    """Return what a ring takes for one step's exchanges: (n - 1) / n of the bytes pass each device, of sums twice.

    Over several machines a ring passes through the network cards of all its ranks in a machine together.
    """
    axes, mesh = AXES if exchange.axis == "all ranks" else exchange.axis.split(" × "), layout.mesh
    num_ranks, inner = mesh.size(*axes), mesh.size(*AXES[AXES.index(axes[-1]) + 1 :])
    in_node = max(1, min(layout.num_local, device.node_size) // inner)
    bandwidth = device.links if num_ranks <= in_node else min(device.links, device.network * in_node)
    if exchange.kind in ("send", "receive"):  # between two neighbours, both ways at once
        return exchange.num_bytes / 2 / (WIRE_UTILISATION * bandwidth)
    passes = 2 if exchange.kind == "all-reduce" else 1
    return passes * exchange.num_bytes * (num_ranks - 1) / num_ranks / (WIRE_UTILISATION * bandwidth)
