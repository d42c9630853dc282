"""What one device computes in a microbatch: FLOPs of matrices and attention, bytes through its memory. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from costing.layout import Layout
from costing.transformer import Transformer

VECTOR_PASSES = {"eager": 14.0, "fused": 11.0, "compiled": 8.0}
"""How often the residual width is read or written forward in a layer: two norms (4), two additions (6) and what splits
and turns heads (4); additions fused with dropout and bias; norms fused with additions."""
LOGIT_TRAFFIC = {"eager": 34.0, "fused": 24.0, "compiled": 12.0}
"Bytes that the loss moves for a logit: fp32 copy, softmax and gradient, or all in one pass when compiled."
GRADIENT_ADD_BYTES = 10.0
"Bytes a weight that adding a microbatch's gradient to the sum moves: read in bf16, the sum read and written in fp32."


@dataclass(frozen=True)
class Compute:
    """FLOPs of matrix products at the layout's precision and at bf16, of attention, and bytes of memory traffic."""

    narrow_flops: float
    matmul_flops: float
    attention_flops: float
    bytes: float


def microbatch_compute(shape: Transformer, layout: Layout) -> Compute:
    """Return forward, backward and recomputation of one microbatch on one device, of an average pipeline stage.

    The head's product stays in bf16 whatever the precision of the others.
    """
    tokens = layout.microbatch_tokens(shape.seq_len)
    parts = layout.tensor * layout.pipeline
    blocks = 2 * shape.block_weights * tokens / parts
    head = 2 * shape.head_weights * tokens / parts
    passes = 3 + recomputed_part(layout)
    core, core_bytes = attention_core(shape, layout)
    narrow_flops, bf16_flops = (0.0, passes * blocks) if layout.precision == "bf16" else (passes * blocks, 0.0)
    logits = LOGIT_TRAFFIC[layout.software.kernels] * tokens * shape.vocab_size / layout.tensor
    traffic = matrix_bytes(shape, layout) + vector_bytes(shape, layout) + cast_bytes(shape, layout) + logits
    num_bytes = traffic / layout.pipeline + core_bytes * tokens / parts + gradient_bytes(shape, layout)
    return Compute(narrow_flops, bf16_flops + 3 * head, core * tokens / parts, num_bytes)


def device_params(shape: Transformer, layout: Layout) -> float:
    """Return weights of one device's stage before state is sharded: layers, and on average the ends."""
    ends = shape.head_weights * (1 if shape.is_tied else 2)
    return (shape.block_weights + ends) / (layout.pipeline * layout.tensor)


def gradient_bytes(shape: Transformer, layout: Layout) -> float:
    """Return bytes of adding a microbatch's gradients to those of the ones before it, where they lie whole in memory.

    ZeRO-2 and FSDP scatter them after each microbatch, but a pipeline's stage waits for the last one.
    """
    is_whole = layout.sharding in ("none", "zero1") or layout.pipeline > 1
    return GRADIENT_ADD_BYTES * device_params(shape, layout) if is_whole and layout.num_microbatches > 1 else 0.0


def recomputed_part(layout: Layout) -> float:
    """Return how much of the blocks' forward products is computed again."""
    if layout.recompute == "full":
        return layout.forward_again
    return 0.5 * layout.recomputed_layers if layout.recompute == "selective" and layout.keeps_half_the_matmuls else 0.0


def attention_core(shape: Transformer, layout: Layout) -> tuple[float, float]:
    """Return FLOPs and memory traffic per token of scores and sums of values, forward, backward and again.

    Flash attention computes the causal half, and in the backward pass the scores once more: 1 + 2.5 times the forward
    FLOPs (arXiv:2307.08691). Without it everything is computed, and each score is written and read about ten times:
    product, mask, softmax, dropout, and their gradients.
    """
    causal, full = shape.attention_flops
    if layout.is_flash:
        # every second product kept means attention's output is kept as well
        return (3.5 + layout.forward_again) * causal, 0.0
    again = 0.0 if layout.recompute == "none" else layout.recomputed_layers
    forward_bytes, backward_bytes = 2 * 6.5, 2 * 8.5
    scores = shape.num_layers * shape.num_heads * shape.seq_len
    return (3 + again) * full, scores * ((1 + again) * forward_bytes + backward_bytes)


def matrix_bytes(shape: Transformer, layout: Layout) -> float:
    """Return bytes that products read and write in bf16 in a microbatch, over all layers and the head.

    A product reads both operands and writes its result once: what doesn't overlap with computing makes narrow models
    slow (roofline; Williams, Waterman and Patterson 2009).
    """
    tokens, passes = layout.microbatch_tokens(shape.seq_len), 3 + recomputed_part(layout)
    # one side is split over tensor ranks, the wider one, the residual stream is whole
    widths = sum(min(sides) + max(sides) / layout.tensor for sides in shape.matrices)
    blocks = shape.num_layers * tokens * widths + shape.block_weights / layout.tensor
    head = tokens * shape.d_model + (tokens + shape.d_model) * shape.vocab_size / layout.tensor
    return 2 * (passes * blocks + 3 * head)


def vector_bytes(shape: Transformer, layout: Layout) -> float:
    """Return bytes of norms, additions and activation functions in a microbatch; backward they are twice as many."""
    again = layout.recomputed_layers if layout.keeps_half_the_matmuls else layout.forward_again
    inner = shape.num_mlp_matrices * shape.d_ff / layout.tensor
    outer = VECTOR_PASSES[layout.software.kernels] * shape.d_model / layout.tensor
    return layout.microbatch_tokens(shape.seq_len) * shape.num_layers * 2 * (3 + again) * (inner + outer)


def cast_bytes(shape: Transformer, layout: Layout) -> float:
    """Return bytes that turning operands into fp8 or fp4 moves: read twice in bf16 (largest value, cast), written once.

    Inputs and output gradients of every product are cast (arXiv:2209.05433). A scale a row must run along the dimension
    that is summed, which is another one in the backward pass: each is cast twice.
    """
    if layout.precision == "bf16":
        return 0.0
    again, total = recomputed_part(layout), 0.0
    for matrix in shape.matrices:
        inputs, gradients = cast_widths(matrix, shape.d_model, layout)
        total += shape.num_layers * ((1 + again) * inputs + gradients)
    passes = 10 if layout.precision == "fp8-rowwise" else 5
    return passes * layout.microbatch_tokens(shape.seq_len) * total


def cast_widths(matrix: tuple[int, int], d_model: int, layout: Layout) -> tuple[float, float]:
    """Return how wide the inputs and the output gradients are that one of the tensor-parallel devices casts.

    Inputs of the first products and output gradients of the last ones are gathered, so that each device casts all of
    them; a scale a tensor lets inputs be cast before (`tensor_traffic`). Of products as wide as they are high, the
    query's and attention's output, one is a first and one is a last.
    """
    (num_out, num_in), split = matrix, layout.tensor
    inputs_split = split if layout.precision == "fp8" else 1
    is_first, is_last = num_in == d_model, num_out == d_model
    if is_first and is_last:
        return num_in * (1 / inputs_split + 1 / split) / 2, num_out * (1 + 1 / split) / 2
    return num_in / (inputs_split if is_first else split), num_out / (1 if is_last else split)
