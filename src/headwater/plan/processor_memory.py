"""Peak resident memory of training on a processor, term by term. No torch.

What a step holds depends on its moment: at the loss all activations lie beside a chunk of logits and the head's
gradient; in the backward pass activations go and gradients come; the update needs none of them and copies of matrices
instead. The peak is the worst moment, since the allocator keeps what it was once given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.plan.before import BYTES_PER_VALUE, state_bytes

Dtype = Literal["float32", "bfloat16", "int8"]
LIBRARY_BYTES = 260 * 2**20
"Interpreter, torch, kernels and their buffers: peak less step in every row of docs/performance.md."
SLACK_FRACTION = 0.06
"What the allocator holds beyond tensors that come and go, of freed blocks that fit nothing new."
CACHED_LOGITS, CHUNK_TOKENS, LOGITS_CHUNK = 1 << 22, 512, 1 << 24
"The chunk of logits as machine.kernels.functions has it; a test holds them together."
STACKED_NUMBERS = 1 << 23
"Numbers of matrices that Muon makes orthogonal together, as optim.optimizer has it."
STACK_COPIES = 4
"Copies in bf16 of such a stack: looked ahead, normalised, multiplied, and one that is being written."


@dataclass(frozen=True)
class ProcessorMemory:
    """Bytes of one process. `moment` is what holds most at the worst moment: `loss`, `backward` or `update`."""

    libraries: float
    weights: float
    optimizer: float
    casts: float
    gradients: float
    activations: float
    working: float
    slack: float
    moment: str

    @property
    def peak(self) -> float:
        kept = self.libraries + self.weights + self.optimizer + self.casts
        return kept + self.gradients + self.activations + self.working + self.slack


@dataclass(frozen=True)
class Portion:
    """What goes through the model at once: tokens, whether more portions come before the update, blocks recomputed."""

    tokens: int
    is_only_one: bool = True
    num_recomputed: int = 0


def processor_memory(
    model: ModelSettings, optim: OptimSettings, portion: Portion, dtype: Dtype, largest_chunk: int | None = None
) -> ProcessorMemory:
    """Return the peak of a training process; `largest_chunk` is a fixed chunk of logits, None the rule's."""
    parameters = count_parameters(model)
    weights = BYTES_PER_VALUE * parameters.total
    optimizer = state_bytes(model, optim) - 2 * weights
    head = BYTES_PER_VALUE * model.vocab_size * model.d_model
    kept = kept_bytes(model, portion, dtype)
    before = 0 if portion.is_only_one else weights
    moments = {
        "loss": (before, kept, loss_bytes(model, portion, dtype, largest_chunk)),
        "backward": (max(before, head), kept, block_backward_bytes(model, portion, dtype)),
        "update": (weights, 0.0, update_bytes(model, optim, dtype)),
    }
    moment = max(moments, key=lambda name: sum(moments[name]))
    gradients, activations, working = moments[moment]
    slack = SLACK_FRACTION * (activations + working)
    casts = cast_bytes(model, dtype)
    return ProcessorMemory(
        LIBRARY_BYTES, weights, optimizer, casts, gradients, activations, working, slack, moment
    )


def cast_bytes(model: ModelSettings, dtype: Dtype) -> float:
    """Return bytes of matrices kept a second time: bf16 for all; for int8 two copies of the blocks' beside it.

    Validation measures in bf16 also where training multiplies in int8.
    """
    matrices = count_parameters(model).matmul
    blocks = matrices - model.vocab_size * model.d_model
    return {"float32": 0, "bfloat16": 2 * matrices, "int8": 2 * matrices + 2 * blocks}[dtype]


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
    the four products, in int8 where products are. Scales and log sums are fp32.
    """
    size, narrow = _size(dtype), 1 if dtype == "int8" else _size(dtype)
    query, heads = _widths(model)
    gates = 1 if model.family == "gpt2" else 2
    kept = size * (2 * model.d_model + 2 * heads + query + gates * model.d_ff)
    inputs = narrow * (2 * model.d_model + model.d_ff) + (query if dtype == "int8" else 0)
    return kept + inputs + 4 * (2 + model.num_heads) + (16 if dtype == "int8" else 0)


def block_backward_bytes(model: ModelSettings, portion: Portion, dtype: Dtype) -> float:
    """Return what the first block's turn in the backward pass holds besides: gradients of its widest activations.

    The MLP's: output, inner product, gate and up, input; the residual's beside them. And its weights' gradients.
    """
    size = _size(dtype)
    gates = 1 if model.family == "gpt2" else 2
    inner = (gates + 1) * model.d_ff + 3 * model.d_model
    rounded = (gates + 1) * model.d_ff if dtype == "int8" else 0
    weights = BYTES_PER_VALUE * (gates + 1) * model.d_model * model.d_ff
    return portion.tokens * (size * inner + rounded) + (weights if portion.is_only_one else weights / 2)


def loss_bytes(model: ModelSettings, portion: Portion, dtype: Dtype, largest_chunk: int | None) -> float:
    """Return a chunk of logits, the gradient of the hidden states and the head's gradient."""
    wanted = largest_chunk or min(LOGITS_CHUNK, max(CACHED_LOGITS, CHUNK_TOKENS * model.vocab_size))
    num_parts = max(1, round(portion.tokens * model.vocab_size / wanted))
    chunk = math.ceil(portion.tokens / num_parts) * model.vocab_size
    size = _size(dtype)
    head = BYTES_PER_VALUE * model.vocab_size * model.d_model
    return size * chunk + size * portion.tokens * model.d_model + head


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
