"""Peak memory of one device, term by term. No torch.

What is counted is what an allocator reserves; the context of driver and communication comes on top of it
(`CONTEXT_BYTES`) in what a device must have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from costing.layout import Layout, Recompute
from costing.transformer import Transformer
from headwater.plan.forecast.rank_memory import CONTEXT_BYTES, SLACK_FRACTION, layer_values_per_token

PARAM_BYTES, MOMENT_BYTES, MASTER_BYTES, GRADIENT_BYTES = 2, 8, 4, 4
"bf16 weights; fp32: AdamW's two moments, the weights, the gradients."


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest device. `peak` is what an allocator reserves, `needed` what the device must have."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    "Weights and gradients of the layers at work, unsharded."
    activations: float
    working: float
    "What lives only while one layer, or the loss, is computed: the larger of the two."

    @property
    def slack(self) -> float:
        return SLACK_FRACTION * (self.gathered + self.activations + self.working)

    @property
    def peak(self) -> float:
        state = self.weights + self.gradients + self.optimizer
        return state + self.gathered + self.activations + self.working + self.slack

    @property
    def needed(self) -> float:
        return self.peak + CONTEXT_BYTES


def estimate_memory(shape: Transformer, layout: Layout) -> Memory:
    """Return the peak of the fullest device: the first stage of a pipeline, or its last, which has the head."""
    stages = [Stage(shape, layout, is_first=True, is_last=layout.pipeline == 1)]
    if layout.pipeline > 1:
        stages.append(Stage(shape, layout, is_first=False, is_last=True))
    return max((stage.memory() for stage in stages), key=lambda memory: memory.peak)


@dataclass(frozen=True)
class Stage:
    """One device's part of a model: some layers, perhaps the embedding, perhaps the head."""

    shape: Transformer
    layout: Layout
    is_first: bool
    is_last: bool

    def memory(self) -> Memory:
        working = max(self.layer_working_bytes(), self.loss_working_bytes(), self.head_working_bytes())
        activations = self.saved_bytes() + self.boundary_bytes()
        return Memory(*self.state_bytes(), self.gathered_bytes(), activations, working)

    @property
    def num_layers(self) -> int:
        """Layers of the fullest stage: where they don't divide, some stages have one more."""
        return math.ceil(self.shape.num_layers / self.layout.pipeline)

    @cached_property
    def layer_params(self) -> float:
        return self.shape.block_weights / self.shape.num_layers / self.layout.tensor

    @property
    def block_params(self) -> float:
        """Weights of this device's layers before any sharding of state."""
        return self.layer_params * self.num_layers

    @property
    def head_params(self) -> float:
        return self.shape.head_weights / self.layout.tensor

    @property
    def end_params(self) -> float:
        """Embedding and head; on one device they may be one matrix."""
        is_two = self.is_first and self.is_last and not self.shape.is_tied
        return self.head_params * (2 if is_two else 1)

    def state_bytes(self) -> tuple[float, float, float]:
        """Return bytes of weights, gradients and AdamW's state with its fp32 weights (ZeRO: arXiv:1910.02054)."""
        layout, params = self.layout, self.block_params + self.end_params
        state = (MASTER_BYTES + MOMENT_BYTES) * params
        if layout.sharding == "fsdp":  # only shards lie in memory, in fp32; `gathered` holds the rest
            return 0.0, GRADIENT_BYTES * params / layout.num_shards, state / layout.num_shards
        return (
            PARAM_BYTES * params,
            GRADIENT_BYTES * params / (layout.num_shards if layout.sharding == "zero2" else 1),
            state / (layout.num_shards if layout.sharding in ("zero1", "zero2") else 1),
        )

    def gathered_bytes(self) -> float:
        """Return unsharded weights under FSDP: two layers and the ends, or a pipeline's stage and its gradients.

        The next layer is gathered while one computes; embedding and head are the outermost unit, which FSDP keeps from
        forward to backward pass (arXiv:2304.11277). A pipeline doesn't gather again for every microbatch, and sums its
        gradients in fp32 until the last one.
        """
        if self.layout.sharding != "fsdp":
            return 0.0
        if self.layout.pipeline > 1:
            return (2 + GRADIENT_BYTES) * (self.block_params + self.end_params)
        return 2 * (2 * self.layer_params + self.end_params)

    @property
    def new_gradient_bytes(self) -> float:
        """Bytes a weight of a fresh gradient: bf16, and without a pipeline the fp32 copy that is reduced."""
        if self.layout.sharding != "fsdp":
            return 0.0
        return 2 + (GRADIENT_BYTES if self.layout.pipeline == 1 else 0)

    @property
    def tokens(self) -> float:
        """Tokens of one forward pass."""
        return self.layout.microbatch_tokens(self.shape.seq_len)

    @property
    def num_under_way(self) -> float:
        """Microbatches between their forward and their backward pass on this device.

        The first stage of a pipeline has as many as there are stages (1F1B), an interleaved one more by (p - 1) / (p v)
        (arXiv:2104.04473, section 2.2); the last has one.
        """
        layout = self.layout
        most = float(layout.pipeline) if self.is_first else 1.0
        if layout.virtual_stages > 1:
            most *= 1 + (layout.pipeline - 1) / (layout.pipeline * layout.virtual_stages)
        return min(most, layout.num_microbatches)

    def boundary_bytes(self) -> float:
        """Return what a pipeline's stage keeps of each microbatch under way: its output, and room for its gradient."""
        if self.is_last:
            return 0.0
        return 2 * 2 * self.shape.d_model / self.layout.tensor * self.tokens * self.num_under_way

    def saved_bytes(self) -> float:
        """Return what the layers' forward pass keeps for the backward pass, over all microbatches under way."""
        # the last norm's input and output
        ends = 2 * 2 * self.shape.d_model / self.layout.tensor if self.is_last else 0.0
        layers = saved_bytes_per_token(self.shape, self.layout) * self.num_layers * self.num_under_way
        return self.tokens * (layers + ends)

    def layer_working_bytes(self) -> float:
        """Return what one layer's backward pass holds: its activations if they are computed again, and gathered ones.

        Tensor parallelism gathers the inputs of attention and MLP, and the gradient of one, whole (arXiv:2205.05198).
        """
        layout, shape = self.layout, self.shape
        gathered = 3 * 2 * shape.d_model if layout.tensor > 1 else 0.0
        again = all_bytes_per_token(shape, layout) - _kept_by(layout.recompute, shape, layout)
        return (
            self.tokens * (again + gathered) + self.new_gradient_bytes * self.layer_params + self.whole_sequence_bytes()
        )

    def whole_sequence_bytes(self) -> float:
        """Return keys and values of the whole sequence, as far as context parallelism gathers them.

        Of two layers: the exchange runs on a stream of its own, and memory comes back only when both have passed. Full
        recomputation gathers them once more for the forward pass.
        """
        layout, shape = self.layout, self.shape
        if layout.context == 1:
            return 0.0
        width = (shape.query_width if layout.software.repeats_keys else shape.kv_width) / layout.tensor
        copies = 2 * (2 if layout.recompute == "full" else 1)
        return copies * 2 * 2 * width * layout.microbatch_rows * shape.seq_len

    def loss_working_bytes(self) -> float:
        """Return logits and what the loss makes of them (`Software.logit_bytes`), split over vocabulary ranks."""
        if not self.is_last:
            return 0.0
        a_token = self.layout.software.logit_bytes * self.shape.vocab_size / self.layout.tensor
        return self.tokens * (a_token + self.head_input_bytes)

    def head_working_bytes(self) -> float:
        """Return what the head's own backward pass holds: the logits' gradient in bf16, and its weights' gradient."""
        if not self.is_last:
            return 0.0
        a_token = 2 * self.shape.vocab_size / self.layout.tensor + self.head_input_bytes
        return self.tokens * a_token + self.new_gradient_bytes * self.head_params

    @property
    def head_input_bytes(self) -> float:
        """Bytes a token of the head's input and its gradient, where tensor parallelism gathers them."""
        return 2 * 2 * self.shape.d_model if self.layout.tensor > 1 else 0.0


def all_bytes_per_token(shape: Transformer, layout: Layout) -> float:
    """Return bytes that one token's backward pass through a layer needs, in bf16 (after arXiv:2205.05198, section 4).

    What `layer_values_per_token` counts is split over tensor ranks, the inputs of norms with the sequence. Without
    flash attention there are scores as well, and, the software being old, two dropout masks of a byte.
    """
    widths = shape.d_model, shape.query_width, shape.kv_width, shape.d_ff
    flash = 2 * layer_values_per_token(*widths, shape.num_mlp_matrices)
    masks = 0 if layout.is_flash else 2 * shape.d_model
    return (flash + masks + score_bytes(shape, layout)) / layout.tensor


def score_bytes(shape: Transformer, layout: Layout) -> float:
    """Return bytes per token of softmax, its dropout and the mask, where attention isn't flash: 5 a head and key."""
    return 0.0 if layout.is_flash else 5.0 * shape.num_heads * shape.seq_len


def saved_bytes_per_token(shape: Transformer, layout: Layout) -> float:
    """Return bytes of a token that a layer keeps, by the policy of recomputation.

    full: the layer's input. selective: all but attention's core, which flash attention never keeps; or, where every
    second product is kept: the input, the query's, value's and first MLP product, attention's and the MLP's output.
    """
    part = layout.recomputed_layers
    return part * _kept_by(layout.recompute, shape, layout) + (1 - part) * all_bytes_per_token(shape, layout)


def _kept_by(recompute: Recompute, shape: Transformer, layout: Layout) -> float:
    if recompute == "full":
        return 2 * shape.d_model / layout.tensor
    if recompute == "none":
        return all_bytes_per_token(shape, layout)
    if not layout.keeps_half_the_matmuls:
        return all_bytes_per_token(shape, layout) - score_bytes(shape, layout) / layout.tensor
    return 2 * (2 * shape.d_model + 2 * shape.query_width + shape.kv_width + shape.d_ff) / layout.tensor
