"""Memory of a run: what any training of its model needs, and the peak resident memory on a processor. No torch.

The peak is a constant of the process, text, 16 bytes a parameter and activations; coarse on purpose: details grow stale
with each torch. Where earlier runs of the same shape measured it, plans take theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from headwater.errors import ConfigError
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.numbers import size
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import STATE_AXES, WEIGHT_AXES, Mesh

BYTES_PER_VALUE = 4  # weights, gradients and optimizer state are fp32
EXACT_BYTES = 8  # a parameter's sum of gradients as an integer, with `train.exact`
PROCESS_BYTES = 556 * 2**20
"""Of a run's process: libraries (370 MiB), what evaluation and saves add, holes between them (160), and the chunks of
logits (26, more from 8,192 ids on); torch 2.13, 2026-11-28."""
SLACK_FRACTION = 0.25
"Of activations: what is allocated again while the last is still held."
PARAMETER_BYTES = 16
"Weights, gradients, optimizer state and casts, about; also of Muon, which keeps less and needs room to multiply."
CAST_BYTES = 2  # of these, a parameter's copy in bfloat16, which each rank has of whole weights
BUCKET_BYTES = 64 << 20  # gradients that are summed over ranks at a time
OUTSIDE_COPIES, BLOCK_COPIES, SWAPPED_COPIES = 3, 4, 4
"""Of divided weights: those outside of the blocks stay gathered from forward to backward beside their gradients, which
are then copied to be summed; of a block weights and gradients, each once more while it is exchanged. Of Muon's swap the
look-ahead, what is sent, what comes, and whole matrices of it, beside what the backward pass left (docs/log.md)."""
INDEX_FRACTION = 0.16
"Of the token store's bytes: which rows they make."


def state_bytes(model: ModelSettings, optim: OptimSettings) -> int:
    """Return the bytes of weights, gradients and optimizer state: Muon keeps one value a weight, AdamW two."""
    parameters = count_parameters(model)
    matrices = parameters.matmul - model.vocab_size * model.d_model
    values_kept = (1 if optim.name == "muon" else 2) * matrices + 2 * (parameters.total - matrices)
    return BYTES_PER_VALUE * (2 * parameters.total + values_kept)


def checkpoint_bytes(model: ModelSettings, optim: OptimSettings) -> int:
    """Return weights and optimizer state: all the state but the gradients."""
    return state_bytes(model, optim) - BYTES_PER_VALUE * count_parameters(model).total


@dataclass(frozen=True)
class RankBytes:
    """The least that one rank holds: weights, gradients with their exact sums, optimizer state, its part of a save."""

    weights: int
    gradients: int
    state: int
    copy: int


def least_of_rank(model: ModelSettings, optim: OptimSettings, mesh: Mesh, *, exact: bool = False) -> RankBytes:
    """Return what a rank holds: copies of weights and gradients, of which state and saves are divided by all ranks."""
    kept, parameters = checkpoint_bytes(model, optim), count_parameters(model).total
    parts, weights = mesh.size("pipeline", *STATE_AXES), BYTES_PER_VALUE * parameters
    gradients = (BYTES_PER_VALUE + (EXACT_BYTES if exact else 0)) * parameters
    return RankBytes(weights // parts, gradients // parts, (kept - weights) // mesh.world_size, kept // mesh.world_size)


def require_memory(of_rank: RankBytes, num_local: int, host_bytes: int, gpu_bytes: int | None = None) -> None:
    """Raise ConfigError when `num_local` ranks can't train in this much memory, however small their batch.

    In a step a rank holds weights, optimizer state, gradients and their exact sums; in a save, when gradients are gone,
    a copy of weights and optimizer state beside the first ones. That copy is the host's, also of a GPU.
    """
    kept = of_rank.weights + of_rank.state
    needs = "weights and optimizer state of this model, with gradients or the copy that a save makes, need"
    least = [(needs, num_local * (kept + max(of_rank.copy, of_rank.gradients)), "this machine", host_bytes)]
    if gpu_bytes is not None:
        needs = "weights, gradients and optimizer state of this model need"
        of_save = "the copy of weights and optimizer state that a save makes needs"
        least = [
            (needs, kept + of_rank.gradients, "this GPU", gpu_bytes),
            (of_save, num_local * of_rank.copy, "this machine", host_bytes),
        ]
    for needs, need_bytes, where, memory_bytes in least:
        if need_bytes > memory_bytes:
            raise ConfigError(
                f"{needs} {need_bytes / 1e9:,.0f} GB and {where} has {memory_bytes / 1e9:,.0f} GB of memory; lower "
                "model.d_model, model.num_layers or tokenizer.vocab_size"
            )


def plan_fields(
    model: ModelSettings,
    optim: OptimSettings,
    num_tokens: int,
    half_length_fraction: float = 0.0,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Return what the plan card shows and the run's start record keeps; the state is that of a rank of `mesh`."""
    total, mesh = count_parameters(model).total, mesh or Mesh()
    of_rank = least_of_rank(model, optim, mesh)
    return {
        "num_tokens": num_tokens,
        "flops": flops_per_token(model, half_length_fraction) * num_tokens,
        "tokens_per_parameter": round(num_tokens / total, 2),
        "state_bytes": of_rank.weights + of_rank.gradients + of_rank.state,
        "ranks": mesh.world_size,
    }


@dataclass(frozen=True)
class PeakBytes:
    """The most that a process holds, by what takes it.

    `exchanged` are copies of what passes between ranks, `slack` is what an allocator holds besides.
    """

    process: float
    state: float
    exchanged: float
    activations: float
    slack: float = 0.0

    @property
    def total(self) -> float:
        return self.process + self.tensors + self.slack

    @property
    def tensors(self) -> float:
        return self.state + self.exchanged + self.activations

    def __str__(self) -> str:
        parts = {
            "libraries and text": self.process,
            "weights, gradients and optimizer state": self.state,
            "on its way between ranks": self.exchanged,
            "activations": self.activations,
            "of the allocator's": self.slack,
        }
        return " + ".join(f"{size(value)} {name}" for name, value in parts.items() if value)


def run_memory(
    model: ModelSettings,
    tokens: int,
    dtype: str,
    token_bytes: float,
    recompute: int | Literal["selective"] = 0,
    mesh: Mesh | None = None,
    num_local: int = 1,
    *,
    exact: bool = False,
    swaps: bool = False,
) -> PeakBytes:
    """Return the peak of a run whose token store has `token_bytes`, and whose microbatch so many tokens.

    `exact`: gradients are summed as integers. Of several ranks it is one's; `num_local` on a machine share the text.
    `swaps`: the optimizer is Muon.
    """
    mesh, total = mesh or Mesh(), count_parameters(model).total
    weights_and_gradients = 2 * BYTES_PER_VALUE + (EXACT_BYTES if exact else 0)
    has_casts = dtype != "float32" and mesh.size(*WEIGHT_AXES) == 1
    casts = CAST_BYTES / (mesh.tensor * mesh.pipeline) if has_casts else 0
    state = weights_and_gradients / mesh.size("pipeline", *STATE_AXES)
    state += (PARAMETER_BYTES - 2 * BYTES_PER_VALUE - CAST_BYTES * has_casts) / mesh.world_size
    kept = kept_bytes_per_token(model, dtype, recompute) / mesh.tensor
    if recompute != "selective":  # whole blocks' inputs of products are gathered along `tensor`
        num_whole = max(1, model.num_layers - recompute)
        kept += (1 - 1 / mesh.tensor) * num_whole * 2 * _size(dtype) * model.d_model
    activations = (1 + SLACK_FRACTION) * tokens * kept / mesh.context
    text = (1 + INDEX_FRACTION) * token_bytes / num_local
    return PeakBytes(
        PROCESS_BYTES + text,
        (state + casts) * total,
        exchanged_bytes(model, mesh, _size(dtype) if swaps else 0),
        activations,
    )


def exchanged_bytes(model: ModelSettings, mesh: Mesh, swapped_bytes: int = 0) -> float:
    """Return what a rank holds of weights and gradients that are gathered, or on their way to other ranks.

    `swapped_bytes` are those of a value that Muon sends to a matrix's owner; 0: of none.
    """
    total, shards = count_parameters(model).total / (mesh.tensor * mesh.pipeline), mesh.size(*WEIGHT_AXES)
    tables = model.vocab_size * model.d_model * (1 if model.tied_embeddings else 2)
    outside = tables / (mesh.tensor * mesh.pipeline)
    block = (total - outside) / model.num_layers
    swapped = SWAPPED_COPIES * swapped_bytes * (total - outside) / shards if mesh.size(*STATE_AXES) > 1 else 0.0
    if shards == 1:
        return swapped + (min(BYTES_PER_VALUE * total, BUCKET_BYTES) if mesh.replicate > 1 else 0.0)
    if mesh.pipeline > 1:  # all weights stay gathered, and gradients whole, for all microbatches
        return 2 * BYTES_PER_VALUE * total + swapped
    return BYTES_PER_VALUE * (OUTSIDE_COPIES * outside + BLOCK_COPIES * block) + swapped


def kept_bytes_per_token(model: ModelSettings, dtype: str, recompute: int | Literal["selective"]) -> float:
    """Return what the forward pass keeps of a token: blocks, of recomputed ones their two inputs, and the ends.

    Of recomputed blocks one at a time is kept whole. Selective ones keep the outputs of products and attention, too.
    """
    value_bytes, is_selective = _size(dtype), recompute == "selective"
    again = model.num_layers if recompute == "selective" else min(recompute, model.num_layers)
    num_whole = max(1, model.num_layers - again)
    kept_again = 2 * value_bytes * model.d_model + (product_bytes_per_token(model, dtype) if is_selective else 0)
    # the last sum and norm; ids, targets and documents in int64, of this portion and of one fetched ahead
    ends = 2 * value_bytes * model.d_model + 2 * 3 * 8
    return num_whole * block_bytes_per_token(model, dtype) + again * kept_again + ends


def block_bytes_per_token(model: ModelSettings, dtype: str) -> float:
    """Return what one block's forward pass keeps of a token for the backward pass.

    Two sums of the residual stream, heads before and after they are split, attention's output, gate and up; inputs of
    the four products. Log sums are fp32.
    """
    value_bytes, heads = _size(dtype), (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    kept = product_bytes_per_token(model, dtype) + value_bytes * (model.d_model + heads)
    return kept + value_bytes * (2 * model.d_model + model.d_ff) + 4 * 2


def product_bytes_per_token(model: ModelSettings, dtype: str) -> float:
    """Return the bytes of a token's outputs of a block's products and attention, with attention's log sums."""
    gates = 1 if model.family == "gpt2" else 2
    width = model.d_model + (2 * model.num_heads + 2 * model.num_kv_heads) * model.head_dim + gates * model.d_ff
    return _size(dtype) * width + 4 * model.num_heads


def _size(dtype: str) -> int:
    return 4 if dtype == "float32" else 2
