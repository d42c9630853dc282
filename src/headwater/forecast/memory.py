"""Peak memory of one device, term by term. No torch.

What is counted is what an allocator reserves; the context of driver and communication comes on top of it
(`CONTEXT_BYTES`) in what a device must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from headwater.forecast.communication import exchanged_width
from headwater.forecast.count import Recompute
from headwater.forecast.layout import Layout
from headwater.forecast.shape import Experts, Layer, Mlp, Shape

OptimizerName = Literal["adamw", "muon"]
CONTEXT_BYTES = 1.5e9
"CUDA and NCCL: 1 to 2 GB a process that talks to others."
SLACK_FRACTION = 0.05
"What an allocator holds beyond the tensors that come and go: planners add 5 to 10 %; not fitted."
ADAMW_BYTES, MUON_BYTES, MASTER_BYTES, GRADIENT_BYTES = 8, 4, 4, 4
"fp32: two moments or one, the weights, the gradients."


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
    slack: float

    @property
    def peak(self) -> float:
        parts = (self.weights, self.gradients, self.optimizer, self.gathered, self.activations, self.working)
        return sum(parts) + self.slack

    @property
    def needed(self) -> float:
        return self.peak + CONTEXT_BYTES


def estimate_memory(
    shape: Shape, layout: Layout, optimizer: OptimizerName = "adamw", slack_fraction: float = SLACK_FRACTION
) -> Memory:
    """Return the peak of the fullest device: the first stage of a pipeline, or its last, which has the head.

    `slack_fraction` is what the allocator holds beyond the tensors, as a part of what comes and goes.
    """
    stages = [Stage(shape, layout, is_first=True, is_last=layout.pipeline == 1)]
    if layout.pipeline > 1:
        stages.append(Stage(shape, layout, is_first=False, is_last=True))
    return max((stage.memory(optimizer, slack_fraction) for stage in stages), key=lambda memory: memory.peak)


@dataclass(frozen=True)
class Stage:
    """One device's part of a model: some layers, perhaps the embedding, perhaps the head."""

    shape: Shape
    layout: Layout
    is_first: bool
    is_last: bool

    def memory(self, optimizer: OptimizerName, slack_fraction: float) -> Memory:
        weights, gradients, state = self.state_bytes(optimizer)
        gathered, activations = self.gathered_bytes(), self.saved_bytes() + self.boundary_bytes()
        working = max(self.layer_working_bytes(), self.loss_working_bytes(), self.head_working_bytes())
        slack = slack_fraction * (gathered + activations + working)
        return Memory(weights, gradients, state, gathered, activations, working, slack)

    @cached_property
    def num_layers(self) -> float:
        return self.shape.num_layers / self.layout.pipeline

    @cached_property
    def block_params(self) -> float:
        """Weights of this device's layers before any sharding of state; experts are split further."""
        layout = self.layout
        split = self.shape.block_weights - self.shape.expert_weights * (1 - 1 / layout.expert)
        return split / (layout.pipeline * layout.tensor)

    @cached_property
    def block_shard(self) -> float:
        """Weights of this device's layers whose state it has when state is sharded; experts over fewer devices."""
        layout = self.layout
        experts = self.shape.expert_weights / (layout.expert * layout.pipeline * layout.tensor)
        return (self.block_params - experts) / layout.num_shards + experts / layout.num_expert_shards

    @cached_property
    def head_params(self) -> float:
        return self.shape.vocab_size * self.shape.d_model / self.layout.tensor

    @cached_property
    def end_params(self) -> float:
        """Embedding and head; on one device they may be one matrix."""
        if self.is_first and self.is_last:
            return self.head_params * (1 if self.shape.is_tied else 2)
        return self.head_params

    def state_bytes(self, optimizer: OptimizerName) -> tuple[float, float, float]:
        """Return bytes of weights, gradients and optimizer state with its fp32 weights (ZeRO: arXiv:1910.02054).

        Muon keeps one moment for the matrices of the blocks, AdamW two (Jordan 2024).
        """
        params, end_shard = self.block_params + self.end_params, self.end_params / self.layout.num_shards
        shard = self.block_shard + end_shard
        software = self.layout.software
        divided, whole = (MASTER_BYTES, 0) if software.divides_weights else (0, MASTER_BYTES)
        an_end = divided + ADAMW_BYTES
        a_block = divided + (MUON_BYTES if optimizer == "muon" else ADAMW_BYTES)
        state_shard = a_block * self.block_shard + an_end * end_shard
        sharding = self.layout.sharding
        if sharding in ("fsdp", "hsdp"):  # only shards lie in memory, in fp32; `gathered` holds the rest
            return 0.0, GRADIENT_BYTES * shard, state_shard
        state = a_block * self.block_params + an_end * self.end_params
        return (
            (software.param_bytes + whole) * params,
            GRADIENT_BYTES * (shard if sharding == "zero2" else params),
            state_shard if sharding in ("zero1", "zero2") else state,
        )

    def gathered_bytes(self) -> float:
        """Return unsharded weights under FSDP: two layers and the ends, or a pipeline's stage and its gradients.

        The next layer is gathered while one computes; embedding and head are the outermost unit, which FSDP keeps from
        forward to backward pass (arXiv:2304.11277). A pipeline doesn't gather again for every microbatch, and sums its
        gradients in fp32 until the last one.
        """
        if self.layout.sharding not in ("fsdp", "hsdp"):
            return 0.0
        if self.layout.pipeline > 1:
            return (2 + GRADIENT_BYTES) * (self.block_params + self.end_params)
        return 2 * (2 * self.gathered_params + self.end_params)

    @property
    def layer_params(self) -> float:
        return self.block_params / self.num_layers

    @property
    def gathered_params(self) -> float:
        """Weights of the layers that are gathered at a time."""
        return self.layer_params * self.layout.software.gathered_part

    @property
    def gathered_gradient_bytes(self) -> float:
        """Bytes a weight of a gradient before it is scattered: bf16, and the fp32 copy that is reduced."""
        is_gathered = self.layout.sharding in ("fsdp", "hsdp") and self.layout.pipeline == 1
        return 2 + GRADIENT_BYTES if is_gathered else 0.0

    @cached_property
    def tokens(self) -> float:
        """Tokens of one forward pass."""
        return self.layout.microbatch_tokens(self.shape.seq_len)

    @cached_property
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
        return 2 * 2 * self.shape.d_model / residual_split(self.layout) * self.tokens * self.num_under_way

    def saved_bytes(self) -> float:
        """Return what the layers' forward pass keeps for the backward pass, over all microbatches under way."""
        layout, under_way = self.layout, self.num_under_way
        a_layer = sum(num * saved_bytes_per_token(layer, self.shape, layout) for layer, num in self.shape.kinds)
        a_layer /= self.shape.num_layers
        # the last norm's input and output
        ends = 2 * 2 * self.shape.d_model / residual_split(layout) if self.is_last else 0.0
        return self.tokens * (a_layer * self.num_layers * under_way + ends)

    def layer_working_bytes(self) -> float:
        """Return what one layer's backward pass holds: its activations if they are computed again, and gathered ones.

        Tensor parallelism gathers the inputs of attention and MLP, and the gradient of one, whole (arXiv:2205.05198).
        """
        layout, d_model = self.layout, self.shape.d_model
        gathered = 3 * 2 * d_model if layout.tensor > 1 else 0.0
        again = 0.0
        if layout.recompute != "none":
            everything = max(all_bytes_per_token(layer, self.shape, layout) for layer, _ in self.shape.kinds)
            again = everything - min(
                _kept_by(layout.recompute, layer, self.shape, layout) for layer, _ in self.shape.kinds
            )
        working = self.tokens * (again + gathered) + self.gathered_gradient_bytes * self.gathered_params
        return working + self.whole_sequence_bytes()

    def whole_sequence_bytes(self) -> float:
        """Return keys and values of the whole sequence, as far as context parallelism gathers them.

        Of two layers: the exchange runs on a stream of its own, and memory comes back only when both have passed. Full
        recomputation gathers them once more for the forward pass.
        """
        layout = self.layout
        if layout.context == 1:
            return 0.0
        width = max(exchanged_width(layer, layout) for layer, _ in self.shape.kinds) / layout.tensor
        copies = 2 * (2 if layout.recompute == "full" else 1)
        return copies * 2 * 2 * width * layout.microbatch_rows * self.shape.seq_len

    def loss_working_bytes(self) -> float:
        """Return logits and what the loss makes of them (`Software.logit_bytes`), split over vocabulary ranks."""
        if not self.is_last:
            return 0.0
        a_token = self.layout.software.logit_bytes * self.shape.vocab_size / self.layout.tensor
        return self._loss_tokens * (a_token + self.head_input_bytes)

    @property
    def _loss_tokens(self) -> float:
        most = self.layout.software.loss_tokens
        return self.tokens if most is None else min(self.tokens, most)

    def head_working_bytes(self) -> float:
        """Return what the head's own backward pass holds: the logits' gradient in bf16, and its weights' gradient."""
        if not self.is_last or not self.layout.software.logit_bytes:
            return 0.0
        a_token = 2 * self.shape.vocab_size / self.layout.tensor + self.head_input_bytes
        return self._loss_tokens * a_token + self.gathered_gradient_bytes * self.head_params

    @property
    def head_input_bytes(self) -> float:
        """Bytes a token of the head's input and its gradient, where tensor parallelism gathers them."""
        return 2 * 2 * self.shape.d_model if self.layout.tensor > 1 else 0.0


def all_bytes_per_token(layer: Layer, shape: Shape, layout: Layout) -> float:
    """Return bytes that one token's backward pass through a layer needs, in bf16 (after arXiv:2205.05198, section 4).

    Inputs of the norms and of the projections after them, 2 × 4 d_model, are split with the sequence; queries, keys,
    values, attention's output and the MLP's products over tensor ranks. Without flash attention there are scores as
    well, and, the software being old, two dropout masks of a byte.
    """
    software, attention = layout.software, layer.attention
    query, value = attention.num_heads * attention.key_dim, attention.num_heads * attention.value_dim
    num_products = layer.mlp.num_matrices if isinstance(layer.mlp, Mlp) else 3
    inner = 2 * (query + 2 * attention.kv_width + value) + 2 * num_products * layer.mlp.active_d_ff
    outer = 2 * 4 * shape.d_model + (0 if software.is_flash else 2 * shape.d_model)
    if isinstance(layer.mlp, Experts):  # tokens sent to experts, and what comes back
        outer += 2 * 2 * shape.d_model * layer.mlp.num_active
    return outer / residual_split(layout) + (inner + score_bytes(layer, shape, layout)) / layout.tensor


def residual_split(layout: Layout) -> int:
    """Return over how many devices the residual stream of a token is split."""
    return layout.tensor if layout.software.has_sequence_parallel else 1


def score_bytes(layer: Layer, shape: Shape, layout: Layout) -> float:
    """Return bytes per token of softmax, its dropout and the mask, where attention isn't flash: 5 a head and key."""
    return 0.0 if layout.software.is_flash else 5.0 * layer.attention.num_heads * shape.seq_len


def saved_bytes_per_token(layer: Layer, shape: Shape, layout: Layout) -> float:
    """Return bytes of a token that a layer keeps, by the policy of recomputation.

    full: the layer's input. selective: all but attention's core, which flash attention never keeps; or, where every
    second product is kept: the input, the query's, value's and first MLP product, attention's and the MLP's output.
    """
    part = layout.recomputed_layers
    kept = _kept_by(layout.recompute, layer, shape, layout)
    return part * kept + (1 - part) * all_bytes_per_token(layer, shape, layout)


def _kept_by(recompute: Recompute, layer: Layer, shape: Shape, layout: Layout) -> float:
    if recompute == "full":
        return 2 * shape.d_model / residual_split(layout)
    if recompute == "none":
        return all_bytes_per_token(layer, shape, layout)
    if not layout.keeps_half_the_matmuls:
        return all_bytes_per_token(layer, shape, layout) - score_bytes(layer, shape, layout) / layout.tensor
    attention = layer.attention
    query, value = attention.num_heads * attention.key_dim, attention.num_heads * attention.value_dim
    inner = query + attention.kv_width + value + layer.mlp.active_d_ff
    return 2 * (2 * shape.d_model / residual_split(layout) + inner / layout.tensor)
