"""Peak resident memory of training on a processor, term by term. No torch.

Weights, optimizer state, casts and gradients; what the forward pass keeps; what the loss and the backward pass hold
besides. Gradients are counted in full although most come when activations are already gone: the allocator seldom finds
room for them there. Where gradients outweigh activations (wide models, few tokens) that is up to a sixth too much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from headwater.forecast.before import BYTES_PER_VALUE, EXACT_BYTES, state_bytes
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings

Dtype = Literal["float32", "bfloat16", "int8"]
LIBRARY_BYTES = 375 * 2**20
"""Interpreter, torch and kernels: 260 MiB before there is a model (docs/performance.md), and what is left over of the
peaks in bf16 of the first two shapes in docs/log.md (throughput), 373 both."""
SLACK_FRACTION = 0.08
"Of activations: the slope of memory over layers, 41.7 bytes, over the tensors' 38.6 (docs/performance.md)."
CACHED_LOGITS, CHUNK_TOKENS, LOGITS_CHUNK = 1 << 22, 512, 1 << 24
"The chunk of logits as machine.kernels.functions has it; a test holds them together."
PACKED_OPERANDS, FP32_SUMS = 7, 3
RUN_BYTES = 13 * 2**20
"What a run holds beside the loop: its tokenizer, and what its own forecast brought in (docs/log.md)."
PLANNER_BYTES = 47 * 2**20
"torch.distributed.checkpoint with what it imports, which plans saves since the libraries were measured (docs/log.md)."
MEASURING_BYTES = 84 * 2**20
"""What a process takes on top of its libraries while it measures the machine's peaks, before there is a model: matrices
of the largest shape and the one before it in three dtypes, 72 MiB with their product, and their packed copies."""
INDEX_FRACTION = 0.16
"Of the token store's bytes: which rows they make."
ALMANAC_BYTES = 29 * 2**20
"The almanac's facts and questions, from the first probe on."
PROBE_BYTES = 22 * 2**20
"What else stays of a first probe: 10 MiB of products that are compiled for row counts (evaluate.scorer), and holes."
STACKED_NUMBERS = 1 << 23
"Numbers of matrices that Muon makes orthogonal together, as optim.optimizer has it."
STACK_COPIES = 4
"Copies in bf16 of such a stack: looked ahead, normalised, multiplied, and one that is being written."


@dataclass(frozen=True)
class ProcessorMemory:
    """Bytes of one process at its peak; `around` is what a run holds beside its training, 0 for the loop alone."""

    libraries: float
    weights: float
    optimizer: float
    casts: float
    gradients: float
    activations: float
    working: float
    slack: float
    exact_sums: float = 0.0
    around: Around | None = None

    @property
    def peak(self) -> float:
        kept = self.libraries + self.weights + self.optimizer + self.casts
        return max(kept + self.of_a_step + self.beside_the_loop, self.while_measuring)

    @property
    def while_measuring(self) -> float:
        """What a run's process holds at most before it has a model, 0 for the loop alone: the peak of tiny ones."""
        return self.libraries + self.around.libraries + MEASURING_BYTES if self.around else 0.0

    @property
    def of_a_step(self) -> float:
        """What a step takes and gives back: between steps it is free, and kept by the process."""
        return self.gradients + self.exact_sums + self.activations + self.working + self.slack

    @property
    def beside_the_loop(self) -> float:
        """What a whole run holds more than its steps alone.

        An evaluation leaves the heap with other holes, into which the next step's gradients don't fit.
        """
        return self.around.total + self.gradients + self.beyond_a_step if self.around else 0.0

    @property
    def beyond_a_step(self) -> float:
        """What a save's copy of weights and optimizer state takes more than the step before it gave back.

        The copy lies where that step's activations were, and is mostly written and gone before the next ones fill up:
        writing takes tens of nanoseconds a parameter, a step of 4,096 tokens more. Of a run of first-light's shape a
        save every other step raised the peak by 9 MiB of the copy's 38 (docs/log.md), which is not counted.
        """
        return max(0.0, self.weights + self.optimizer - self.of_a_step)

    def peak_from(self, held_bytes: float) -> float:
        """Return the peak of a run that holds so much before its first step: its text, weights and optimizer are there.

        What is more than usual was left by earlier stages, or is a larger library here: it stays. What is less comes
        later: before first-light's first step 84 MiB of libraries and text weren't there yet, and its peak was usual.
        """
        around = self.around.libraries + self.around.text if self.around else 0.0
        return self.peak + max(0.0, held_bytes - (self.libraries + around + self.weights + self.optimizer))

    def peak_with(self, probe_bytes: float) -> float:
        """Return the peak of a run whose steps alone, in a process with the same libraries, took so much."""
        return probe_bytes + self.beside_the_loop - (self.around.libraries if self.around else 0.0)


@dataclass(frozen=True)
class Around:
    """Bytes that a run holds beside its loop: what else it imports, its text, and from its first probe on."""

    libraries: float
    text: float
    probes: float

    @property
    def total(self) -> float:
        return self.libraries + self.text + self.probes


@dataclass(frozen=True)
class Portion:
    """What goes through the model together: tokens and blocks recomputed; and whether the run validates between steps.

    Validation measures in bf16 also where training multiplies in int8. Each thread has its own room in attention.
    `exact`: whether gradients are added up as integers (machine.fixed_point).
    """

    tokens: int
    num_recomputed: int = 0
    validates: bool = True
    num_threads: int = 2
    exact: bool = False


def around_run(token_bytes: float, num_probes: int, has_almanac: bool) -> Around:
    """Return what a run holds beside its loop: `token_bytes` of text that is mapped, read through and indexed."""
    probes = PROBE_BYTES + (ALMANAC_BYTES if has_almanac else 0) if num_probes else 0.0
    return Around(RUN_BYTES + PLANNER_BYTES, (1 + INDEX_FRACTION) * token_bytes, probes)


def processor_memory(
    model: ModelSettings,
    optim: OptimSettings,
    portion: Portion,
    dtype: Dtype,
    around: Around | None = None,
) -> ProcessorMemory:
    """Return the peak of a process that trains, and does what is `around` it."""
    weights = BYTES_PER_VALUE * count_parameters(model).total
    optimizer = state_bytes(model, optim) - 2 * weights
    activations = kept_bytes(model, portion, dtype)
    working = loss_bytes(model, portion, dtype) + block_backward_bytes(model, portion, dtype)
    # the update begins when activations are gone
    working = max(working, update_bytes(model, optim, dtype) - activations)
    working += attention_scratch_bytes(model, portion, dtype)
    slack = SLACK_FRACTION * activations
    casts = cast_bytes(model, portion, dtype)
    exact_sums = EXACT_BYTES / BYTES_PER_VALUE * weights if portion.exact else 0.0
    return ProcessorMemory(
        LIBRARY_BYTES, weights, optimizer, casts, weights, activations, working, slack, exact_sums, around
    )


def cast_bytes(model: ModelSettings, portion: Portion, dtype: Dtype) -> float:
    """Return bytes of matrices kept a second time: in bf16, or the blocks' twice in int8 and for validation in bf16."""
    matrices = count_parameters(model).matmul
    blocks = matrices - model.vocab_size * model.d_model
    measured = 2 * blocks if portion.validates else 0
    return {"float32": 0, "bfloat16": 2 * matrices, "int8": 2 * matrices + measured}[dtype]


def kept_bytes(model: ModelSettings, portion: Portion, dtype: Dtype) -> float:
    """Return what the forward pass keeps of a portion: blocks, of recomputed ones their two inputs, and the ends.

    Of recomputed blocks one at a time is kept whole.
    """
    size = _size(dtype)
    whole = block_bytes_per_token(model, dtype)
    again = min(portion.num_recomputed, model.num_layers)
    blocks = (model.num_layers - again) * whole + again * 2 * size * model.d_model
    if again == model.num_layers:
        blocks += whole
    # the last sum and norm; ids, targets and documents in int64, of this portion and of one fetched ahead
    return portion.tokens * (blocks + 2 * size * model.d_model + 2 * 3 * 8)


def block_bytes_per_token(model: ModelSettings, dtype: Dtype) -> float:
    """Return what one block's forward pass keeps of a token for the backward pass.

    Two sums of the residual stream, heads before and after they are split, attention's output, gate and up; inputs of
    the four products. Log sums are fp32.
    """
    size = _size(dtype)
    query, heads = _widths(model)
    gates = 1 if model.family == "gpt2" else 2
    kept = size * (2 * model.d_model + 2 * heads + query + gates * model.d_ff)
    inputs = size * (2 * model.d_model + model.d_ff)
    return kept + inputs + 4 * (2 + model.num_heads)


def block_backward_bytes(model: ModelSettings, portion: Portion, dtype: Dtype) -> float:
    """Return what the first block's turn in the backward pass holds besides: gradients of its widest activations.

    The MLP's: output, inner product, gate and up, input; the residual's beside them. And its weights' gradients.
    """
    size = _size(dtype)
    gates = 1 if model.family == "gpt2" else 2
    inner = (gates + 1) * model.d_ff + 3 * model.d_model
    rounded = gates * model.d_ff if dtype == "int8" else 0
    weights = BYTES_PER_VALUE * (gates + 1) * model.d_model * model.d_ff
    return portion.tokens * (size * inner + rounded) + weights


def loss_bytes(model: ModelSettings, portion: Portion, dtype: Dtype) -> float:
    """Return chunks of logits, the gradient of the hidden states, and a tied head's: the embedding's comes beside it.

    A chunk is let go only when the next has been made: of several there are two at a time. Of more than two there is a
    third: the tables of docs/performance.md rise by one chunk from three parts on, so the place of the first isn't free
    again when the third is made.
    """
    wanted = min(LOGITS_CHUNK, max(CACHED_LOGITS, CHUNK_TOKENS * model.vocab_size))
    num_parts = max(1, round(portion.tokens * model.vocab_size / wanted))
    chunk = math.ceil(portion.tokens / num_parts) * model.vocab_size
    size = _size(dtype)
    head = BYTES_PER_VALUE * model.vocab_size * model.d_model if model.tied_embeddings else 0
    return min(3, num_parts) * size * chunk + size * portion.tokens * model.d_model + head


def attention_scratch_bytes(model: ModelSettings, portion: Portion, dtype: Dtype) -> float:
    """Return what threads hold of one head while attention's backward pass computes it, and keep until the end.

    Seven operands as the kernel wants them packed and three sums in fp32, each as long as the row
    (machine/kernels/attention_backward.h; a test holds the counts together).
    """
    packed = 4 if dtype == "float32" else 2
    a_token = model.head_dim * (PACKED_OPERANDS * packed + FP32_SUMS * 4)
    return portion.num_threads * model.seq_len * a_token


def update_bytes(model: ModelSettings, optim: OptimSettings, dtype: Dtype) -> float:
    """Return the copies of the largest stack of matrices that Muon makes orthogonal together; AdamW needs none."""
    if optim.name != "muon":
        return 0.0
    matrix = model.d_model * model.d_ff
    alike = (1 if model.family == "gpt2" else 2) * model.num_layers
    stacked = min(alike, max(1, STACKED_NUMBERS // matrix)) * matrix
    return STACK_COPIES * _size(dtype) * stacked


def _widths(model: ModelSettings) -> tuple[int, int]:
    """Return the width of all queries, and of queries, keys and values together."""
    query = model.num_heads * model.head_dim
    return query, query + 2 * model.num_kv_heads * model.head_dim


def _size(dtype: Dtype) -> int:
    return 4 if dtype == "float32" else 2
