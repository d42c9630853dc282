"""What one device computes in a microbatch: FLOPs of matrices and attention, bytes through its memory. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.forecast.count import attention_flops
from headwater.forecast.layout import Layout
from headwater.forecast.memory import residual_split
from headwater.forecast.shape import Matrix, Mlp, Shape


@dataclass(frozen=True)
class Compute:
    """FLOPs of matrix products at the layout's precision and at bf16, of attention, and bytes of memory traffic."""

    narrow_flops: float
    matmul_flops: float
    attention_flops: float
    bytes: float


def microbatch_compute(shape: Shape, layout: Layout) -> Compute:
    """Return forward, backward and recomputation of one microbatch on one device, of an average pipeline stage.

    The head's product stays in bf16 whatever the precision of the others.
    """
    tokens = layout.microbatch_tokens(shape.seq_len)
    parts = layout.tensor * layout.pipeline
    blocks = 2 * shape.active_block_weights * tokens / parts
    head = 2 * shape.vocab_size * shape.d_model * tokens / parts
    passes = 3 + recomputed_part(layout)
    core, core_bytes = attention_core(shape, layout)
    narrow_flops, bf16_flops = (0.0, passes * blocks) if layout.precision == "bf16" else (passes * blocks, 0.0)
    traffic = (
        matrix_bytes(shape, layout)
        + vector_bytes(shape, layout)
        + cast_bytes(shape, layout)
        + loss_bytes(shape, layout)
    )
    num_bytes = traffic / layout.pipeline + core_bytes * tokens / parts + gradient_bytes(shape, layout)
    return Compute(narrow_flops, bf16_flops + 3 * head, core * tokens / parts, num_bytes)


def device_params(shape: Shape, layout: Layout) -> float:
    """Return weights of one device's stage before state is sharded: layers, and on average the ends."""
    ends = shape.vocab_size * shape.d_model * (1 if shape.is_tied else 2)
    blocks = shape.block_weights - shape.expert_weights * (1 - 1 / layout.expert)
    return (blocks + ends) / (layout.pipeline * layout.tensor)


def gradient_bytes(shape: Shape, layout: Layout) -> float:
    """Return bytes of adding a microbatch's gradients to those of the ones before it, where they lie whole in memory.

    ZeRO-2 and FSDP scatter them after each microbatch, but a pipeline's stage waits for the last one.
    """
    is_whole = layout.sharding in ("none", "zero1") or layout.pipeline > 1
    if not is_whole or layout.num_microbatches == 1:
        return 0.0
    return layout.software.gradient_add_bytes * device_params(shape, layout)


def recomputed_part(layout: Layout) -> float:
    """Return how much of the blocks' forward products is computed again."""
    if layout.recompute == "full":
        return layout.forward_again
    return 0.5 * layout.recomputed_layers if layout.recompute == "selective" and layout.keeps_half_the_matmuls else 0.0


def attention_core(shape: Shape, layout: Layout) -> tuple[float, float]:
    """Return FLOPs and memory traffic per token of scores and sums of values, forward, backward and again.

    Flash attention computes the causal half, and in the backward pass the scores once more: 1 + 2.5 times the forward
    FLOPs (arXiv:2307.08691). Without it everything is computed, and each score is written and read about ten times:
    product, mask, softmax, dropout, and their gradients.
    """
    causal, full = attention_flops(shape)
    if layout.software.is_flash:
        # every second product kept means attention's output is kept as well
        return (3.5 + layout.forward_again) * causal, 0.0
    again = 0.0 if layout.recompute == "none" else layout.recomputed_layers
    forward_bytes, backward_bytes = 2 * 6.5, 2 * 8.5
    scores = sum(num * layer.attention.num_heads for layer, num in shape.kinds) * shape.seq_len
    return (3 + again) * full, scores * ((1 + again) * forward_bytes + backward_bytes)


def matrix_bytes(shape: Shape, layout: Layout) -> float:
    """Return bytes that products read and write in bf16 in a microbatch, over all layers and the head.

    A product reads both operands and writes its result once: what doesn't overlap with computing makes narrow models
    slow (roofline; Williams, Waterman and Patterson 2009).
    """
    tokens, total = layout.microbatch_tokens(shape.seq_len), 0.0
    passes = 3 + recomputed_part(layout)
    for matrix, num in shape.block_matrices:
        # one side is split over tensor ranks, the wider one, the residual stream is whole
        shorter, longer = sorted((matrix.num_in, matrix.num_out))
        activations = tokens * matrix.num_active * (shorter + longer / layout.tensor)
        total += (
            num * passes * 2 * (activations + matrix.weights / layout.tensor / (layout.expert if matrix.num > 1 else 1))
        )
    head = tokens * shape.d_model + (tokens + shape.d_model) * shape.vocab_size / layout.tensor
    return total + 3 * 2 * head


VECTOR_PASSES = {"eager": 14.0, "fused": 11.0, "compiled": 8.0}
"""How often the residual width is read or written forward in a layer: two norms (4), two additions (6) and what splits
and turns heads (4); additions fused with dropout and bias; norms fused with additions."""


def vector_bytes(shape: Shape, layout: Layout) -> float:
    """Return bytes of norms, additions and activation functions in a microbatch; backward they are twice as many."""
    tokens, total = layout.microbatch_tokens(shape.seq_len), 0.0
    again = layout.recomputed_layers if layout.keeps_half_the_matmuls else layout.forward_again
    for layer, num in shape.kinds:
        gate = 1 if isinstance(layer.mlp, Mlp) and layer.mlp.num_matrices == 2 else 2
        inner = (gate + 1) * layer.mlp.active_d_ff / layout.tensor
        outer = VECTOR_PASSES[layout.software.kernels] * shape.d_model / residual_split(layout)
        total += num * 2 * (3 + again) * (inner + outer)
    return tokens * total


def cast_bytes(shape: Shape, layout: Layout) -> float:
    """Return bytes that turning operands into fp8 or fp4 moves: read twice in bf16 (largest value, cast), written once.

    Inputs and output gradients of every product are cast (arXiv:2209.05433). A scale a row must run along the dimension
    that is summed, which is another one in the backward pass: each is cast twice.
    """
    if layout.precision == "bf16":
        return 0.0
    tokens = layout.microbatch_tokens(shape.seq_len)
    again = recomputed_part(layout)
    total = 0.0
    for matrix, num in shape.block_matrices:
        inputs, gradients = cast_widths(matrix, shape, layout)
        total += num * matrix.num_active * ((1 + again) * inputs + gradients)
    return (10 if layout.precision == "fp8-rowwise" else 5) * tokens * total


def cast_widths(matrix: Matrix, shape: Shape, layout: Layout) -> tuple[float, float]:
    """Return how wide the inputs and the output gradients are that one of the tensor-parallel devices casts.

    Inputs of the first products and output gradients of the last ones are gathered, so that each device casts all of
    them; a scale a tensor lets inputs be cast before (`tensor_traffic`). Of products as wide as they are high, the
    query's and attention's output, one is a first and one is a last.
    """
    split = layout.tensor
    inputs_split = split if layout.precision == "fp8" else 1
    is_first, is_last = matrix.num_in == shape.d_model, matrix.num_out == shape.d_model
    if is_first and is_last:
        return matrix.num_in * (1 / inputs_split + 1 / split) / 2, matrix.num_out * (1 + 1 / split) / 2
    return matrix.num_in / (inputs_split if is_first else split), matrix.num_out / (1 if is_last else split)


def loss_bytes(shape: Shape, layout: Layout) -> float:
    """Return bytes of the loss: logits in fp32, their softmax and its gradient, or all in one pass when compiled."""
    per_logit = {"eager": 34.0, "fused": 24.0, "compiled": 12.0}[layout.software.kernels]
    return per_logit * layout.microbatch_tokens(shape.seq_len) * shape.vocab_size / layout.tensor
