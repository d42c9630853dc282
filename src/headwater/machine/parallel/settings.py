"""How a run's ranks are laid out. No torch."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from pydantic import Field

from headwater.core.config import Settings
from headwater.core.errors import LayoutError
from headwater.core.validation import Count, wanted
from headwater.machine.ranks.mesh import DATA_AXES, LAYER_AXES, SAME_ROWS_AXES, Mesh
from headwater.model.settings import ModelSettings

_AXES = (*DATA_AXES, *SAME_ROWS_AXES)
Size = Annotated[Count | Literal["auto"], wanted("an axis has a number of ranks, 1 or more, or auto")]


class ParallelSettings(Settings):
    """Number of ranks along each axis; their product is the number of ranks that a launcher starts."""

    replicate: Size = "auto"
    "Ranks that each have the whole weights, or a whole set of shards; auto: what shard leaves."
    shard: Size = "auto"
    """Ranks that divide weights, gradients and optimizer state (FSDP); auto: what replicate leaves, and where that is
    auto, too, by memory: 1 where whole weights fit, else the fewest that fit (headwater plan RUN --ranks N)."""
    context: Size = "auto"
    """Ranks that divide each sequence; each computes attention of some heads for all of it. auto: 1 unless a sequence
    fits no rank otherwise."""
    tensor: Size = "auto"
    """Ranks that divide each matrix, the vocabulary and, between layers, the sequence; of one machine, for large
    layers. auto: 1 where ranks with rows of their own can train the model, else the fewest that can."""
    pipeline: Size = "auto"
    """Ranks that have consecutive layers each, and compute with several microbatches at a time (1F1B); for slow
    networks. auto: 1 unless tensor isn't enough."""
    stages_per_rank: int = Field(default=1, ge=1)
    "Groups of layers that each rank of a pipeline has, in turns with the others: ranks wait less and exchange more."
    silence_seconds: float | None = Field(default=30.0, ge=1)
    """Seconds without a heartbeat after which a rank is lost and the others end, to be started again; off: never. One
    without which an exchange fails, as its process has ended, is lost after 4."""

    def size(self, *axes: str) -> int:
        """Return the number of ranks along some axes taken as one; of auto 1."""
        return prod(1 if getattr(self, axis) == "auto" else getattr(self, axis) for axis in axes)


def meshes_of(parallel: ParallelSettings, world_size: int, local_world_size: int | None = None) -> list[Mesh]:
    """Return the layouts that the settings leave open: those of shards within a machine first, the fewest first.

    Of the other axes auto is 1 here. `local_world_size` is how many ranks a machine has; None: all. Raises LayoutError,
    with the arithmetic, where the ranks don't fill the layout.
    """
    named = _numbers(parallel)
    product = prod(named.values())
    if world_size % product or (product != world_size and named.keys() >= set(DATA_AXES)):
        raise LayoutError(_refusal(named, world_size))
    replicate, shard, rest = parallel.replicate, parallel.shard, world_size // product
    others = {axis: parallel.size(axis) for axis in (*SAME_ROWS_AXES, "stages_per_rank")}
    if replicate == shard == "auto":
        local = (local_world_size or world_size) / parallel.size(*LAYER_AXES)
        shards = [size for size in range(1, rest + 1) if rest % size == 0]
        shards.sort(key=lambda size: (local % size > 0, size))
        return [Mesh(replicate=rest // size, shard=size, **others) for size in shards]
    replicate, shard = (rest if size == "auto" else size for size in (replicate, shard))
    return [Mesh(replicate=replicate, shard=shard, **others)]


def _numbers(parallel: ParallelSettings) -> dict[str, int]:
    """Return the size of each axis that isn't left open."""
    return {axis: size for axis in _AXES if (size := getattr(parallel, axis)) != "auto"}


def _refusal(named: dict[str, int], world_size: int) -> str:
    """Return why ranks don't fill axes of these sizes."""
    shown = {f"parallel.{axis}": size for axis, size in named.items() if size > 1 or axis in DATA_AXES}
    product, there = prod(named.values()), f"there are {world_size}" if world_size > 1 else "this process is alone"
    if named.keys() >= set(DATA_AXES):
        sizes = " × ".join(map(str, shown.values()))
        return (
            f"{' × '.join(shown)} = {sizes} = {product} ranks, and {there}; start {product} with torchrun, or set "
            "replicate or shard to auto"
        )
    axes = " × ".join(f"{axis} = {size}" for axis, size in shown.items() if size > 1)
    return (
        f"{axes} needs {product} ranks or a multiple of {product}, and {there}; start "
        f"{max(1, round(world_size / product)) * product} with torchrun, or change {' or '.join(shown)}"
    )


def shared_layers(
    parallel: ParallelSettings,
    model: ModelSettings,
    world_size: int,
    local_world_size: int,
    shortest_row: int,
) -> list[ParallelSettings]:
    """Return the settings with a number for an axis of the same rows that is auto, the smallest change first.

    `tensor` within a machine; then, with most of that, `pipeline` across machines; then `context` in its place.
    """

    def along(axis: str, most: int, given: ParallelSettings) -> list[ParallelSettings]:
        sizes = [size for size in range(2, most + 1) if most % size == 0 and getattr(given, axis) == "auto"]
        found = [given.model_copy(update={axis: size}) for size in sizes]
        filled = [each for each in found if world_size % fewest_ranks(each) == 0]
        return [each for each in filled if not layers_problem(model, each, shortest_row)]

    tensors = along("tensor", local_world_size, parallel)
    widest = tensors[-1] if tensors else parallel
    return [
        *tensors,
        *along("pipeline", world_size // local_world_size, widest),
        *along("context", world_size // widest.size("tensor"), widest),
    ]


def fewest_ranks(parallel: ParallelSettings) -> int:
    """Return the fewest ranks that fill the layout."""
    return prod(_numbers(parallel).values())


def layers_problem(model: ModelSettings, parallel: ParallelSettings, shortest_row: int) -> str:
    """Return why a model's layers, or the work of one, can't be divided so, with the arithmetic; "" where they can.

    `shortest_row` is the number of tokens of the shortest rows that it is trained with.
    """
    context, tensor, pipeline = (parallel.size(axis) for axis in ("context", "tensor", "pipeline"))
    sizes = {axis: size for axis in SAME_ROWS_AXES if (size := parallel.size(axis)) > 1}
    axes = " × ".join(f"parallel.{axis} = {size}" for axis, size in sizes.items())
    if parallel.stages_per_rank > 1 and pipeline == 1:
        return f"parallel.stages_per_rank = {parallel.stages_per_rank} is for a pipeline; set parallel.pipeline"
    if not axes:
        return ""
    if tensor > 1 and model.family == "gpt2":
        return f"family gpt2 can't be divided along tensor, where each rank would add its biases, and here is {axes}"
    if pipeline > 1 and model.tied_embeddings:
        return (
            f"{axes} has the embedding on another rank than the head, and model.tied_embeddings makes them one; set "
            "model.tied_embeddings to false"
        )
    num_stages = pipeline * parallel.stages_per_rank
    if num_stages > model.num_layers:
        return (
            f"parallel.pipeline × stages_per_rank = {pipeline} × {parallel.stages_per_rank} = {num_stages} stages need "
            f"a layer each, and model.num_layers is {model.num_layers}"
        )
    return _uneven(model, context, tensor, shortest_row)


def _uneven(model: ModelSettings, context: int, tensor: int, shortest_row: int) -> str:
    sizes = {"context": context, "tensor": tensor}
    axes = " × ".join(f"parallel.{axis} = {size}" for axis, size in sizes.items() if size > 1)
    divided = {
        "model.num_heads": (model.num_heads, tensor * context),
        "model.num_kv_heads": (model.num_kv_heads, tensor),
        "model.d_ff": (model.d_ff, tensor),
        "model.vocab_size": (model.vocab_size, tensor),
        "the tokens of a row": (shortest_row, tensor * context),
    }
    for name, (size, parts) in divided.items():
        if size % parts:
            rest = f"{size % parts} is left; take a multiple of {parts}"
            return f"{axes} can't divide {name} = {size} into {parts} equal parts: {rest}"
    heads = model.num_kv_heads // tensor
    if heads % context and context % heads:
        of_rank = f"{model.num_kv_heads}{f' / {tensor}' if tensor > 1 else ''}"
        return f"{axes} shares model.num_kv_heads = {of_rank} unevenly: {heads} for {context} ranks"
    return ""


def division_problem(mesh: Mesh, batch_tokens: int, microbatch_tokens: int) -> str:
    """Return why ranks can't divide a step into microbatches of so many tokens, "" where they can."""
    num_parts = mesh.size(*DATA_AXES)
    whole, num_microbatches = microbatch_tokens * num_parts, batch_tokens // microbatch_tokens
    if batch_tokens % whole:
        return (
            f"train.batch_tokens={batch_tokens} must be a multiple of microbatch_tokens × replicate × shard = "
            f"{microbatch_tokens} × {num_parts}; try {max(1, round(batch_tokens / whole)) * whole}, a smaller "
            f"train.microbatch_tokens, or a number of ranks that divides the {num_microbatches} microbatch(es)"
        )
    return microbatches_problem(mesh, batch_tokens // whole)


def microbatches_problem(mesh: Mesh, num_microbatches: int) -> str:
    """Return why a pipeline can't take so many microbatches a rank and step, "" where it can."""
    in_turns = mesh.stages_per_rank > 1
    if num_microbatches >= mesh.pipeline and not (in_turns and num_microbatches % mesh.pipeline):
        return ""
    least = f"a multiple of {mesh.pipeline}" if in_turns else f"{mesh.pipeline} or more"
    return (
        f"parallel.pipeline = {mesh.pipeline} needs {least} microbatches a rank and step, and here are "
        f"{num_microbatches}; lower train.microbatch_tokens, or raise train.batch_tokens"
    )
