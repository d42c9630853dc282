"""Memory of a run: what any training of its model needs, and the peak resident memory on a processor. No torch.

The peak is a constant of the process, text, 16 bytes a parameter and activations; coarse on purpose: details grow stale
with each torch. Where earlier runs of the same shape measured it, plans take theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.errors import ConfigError
from headwater.forecast.work import Work
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.numbers import size
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import STATE_AXES, Mesh

BYTES_PER_VALUE = 4  # weights, gradients and optimizer state are fp32
EXACT_BYTES = 8  # a parameter's sum of gradients as an integer, with `train.exact`
PROCESS_BYTES = 556 * 2**20
"""Of a run's process: libraries (370 MiB), what evaluation and saves add, holes between them (160), and the chunks of
logits (26, more from 8,192 ids on); torch 2.13, 2026-11-28."""
SLACK_FRACTION = 0.25
"Of activations: what is allocated again while the last is still held."
PARAMETER_BYTES = 16
"Weights, gradients, optimizer state and casts, about; also of Muon, which keeps less and needs room to multiply."
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

    @property
    def in_step(self) -> int:
        return self.weights + self.gradients + self.state


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
            (needs, of_rank.in_step, "this GPU", gpu_bytes),
            (of_save, num_local * of_rank.copy, "this machine", host_bytes),
        ]
    for needs, need_bytes, where, memory_bytes in least:
        if need_bytes > memory_bytes:
            raise ConfigError(
                f"{needs} {need_bytes / 1e9:,.0f} GB and {where} has {memory_bytes / 1e9:,.0f} GB of memory; lower "
                "model.d_model, model.num_layers or tokenizer.vocab_size"
            )


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


def process_bytes(token_bytes: float) -> float:
    """Return what a process holds besides its model, of which a token store with its index is mapped."""
    return PROCESS_BYTES + (1 + INDEX_FRACTION) * token_bytes


def run_memory(work: Work, token_bytes: float, *, exact: bool = False) -> PeakBytes:
    """Return the peak of a run of one process whose token store has `token_bytes`; of ranks see `rank_memory`.

    `exact`: gradients are summed as integers.
    """
    a_parameter = PARAMETER_BYTES + (EXACT_BYTES if exact else 0)
    activations = (1 + SLACK_FRACTION) * work.microbatch_tokens * kept_bytes_per_token(work)
    state = a_parameter * count_parameters(work.model).total
    return PeakBytes(process_bytes(token_bytes), state, 0.0, activations)


def kept_bytes_per_token(work: Work) -> float:
    """Return what the forward pass keeps of a token: blocks, of recomputed ones their two inputs, and the ends.

    Of recomputed blocks one at a time is kept whole. Selective ones keep the outputs of products and attention, too. Of
    a block these are two sums of the residual stream, heads before and after they are split, attention's output, gate
    and up; inputs of the four products. Log sums are fp32.
    """
    model, value_bytes = work.model, work.value_bytes
    gates, heads = 1 if model.family == "gpt2" else 2, (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    products = value_bytes * (model.d_model + heads + model.num_heads * model.head_dim + gates * model.d_ff)
    products += 4 * model.num_heads
    block = products + value_bytes * (3 * model.d_model + heads + model.d_ff) + 4 * 2
    is_selective = work.recompute == "selective"
    again = model.num_layers if work.recompute == "selective" else min(work.recompute, model.num_layers)
    kept_again = 2 * value_bytes * model.d_model + (products if is_selective else 0)
    # the last sum and norm; ids, targets and documents in int64, of this portion and of one fetched ahead
    ends = 2 * value_bytes * model.d_model + 2 * 3 * 8
    return max(1, model.num_layers - again) * block + again * kept_again + ends
