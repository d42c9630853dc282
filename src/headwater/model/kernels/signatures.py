"""What each compiled function takes, in order; a test compares it with the sources and the compiled library.

A pointer is named by what it points to, T being the dtype in the function's name; `n` is an int64, `x` a float. Every
function takes the number of threads, an int, as its last argument, and returns nothing or an int.
"""

from __future__ import annotations

import torch

SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}
POINTERS = {
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "i8": torch.int8,
    "i32": torch.int32,
    "i64": torch.int64,
}

OF_BOTH_DTYPES = {
    # x, y, weight, N, D, eps, sum, out, inverse_rms
    "add_norm": "T T f32 n n x T T f32",
    # dout, dsum, sum, weight, inverse_rms, N, D, dx, dweight, partials
    "add_norm_backward": "T T T f32 f32 n n T f32 f32",
    # qkv, query_weight, key_weight, table, B, T, table's T, H, G, K, eps, q, k, v
    "split_heads": "T f32 f32 f32 n n n n n n x T T T",
    # dq, dk, dv, qkv, query_weight, key_weight, table, B, T, table's T, H, G, K, eps, dqkv, dweights, partials
    "split_heads_backward": "T T T T f32 f32 f32 n n n n n n x T f32 f32",
    # q, k, v, first, out, log_sums, B, H, G, T, K, scale
    "attention_forward": "T T T i32 T f32 n n n n n x",
    # q, k, v, first, out, log_sums, dout, dq, dk, dv, B, H, G, T, K, scale
    "attention_backward": "T T T i32 T f32 T T T T n n n n n x",
    # gate_up, N, F, out
    "swiglu": "T n n T",
    # dout, gate_up, N, F, dgate_up
    "swiglu_backward": "T T n n T",
    # logits, targets, N, V, losses
    "loss_and_error": "T i64 n n f32",
    "losses": "T i64 n n f32",
    # x, N, K, out, scales
    "quantise_rows": "T n n i8 f32",
    # x, N, K, by_rows, row_scales, by_columns, column_scales, magnitudes
    "quantise_both": "T n n i8 f32 i8 f32 f32",
    # sums, row_scales, column_scales, bias, N, R, out
    "scale_sums": "i32 f32 f32 f32 n n T",
    # x, packed, scales, bias, N, K, R, out
    "int8_product": "T i32 f32 f32 n n n T",
    # gradient, mean, n, keep, out
    "momentum": "f32 f32 n x T",
    # parameter, direction, n, keep, rate
    "descend": "f32 T n x x",
}
OF_ONE_DTYPE = {
    # parameter, gradient, mean, square, n, mean_rate, square_keep, square_rate, eps, keep, rate, square_scale
    "adamw": "f32 f32 f32 f32 n x x x x x x x",
    # dy, x, out, N, R, C, is_fresh
    "weight_gradient_bf16": "bf16 bf16 f32 n n n n",
    # nothing
    "int8_panel": "",
    # three weights, their rows, K, by_rows, row_scales, by_columns, column_scales, magnitudes
    "int8_pack": "f32 f32 f32 n n n n i32 f32 i32 f32 f32",
    # x, plus, out, N, R, C, alpha, beta
    "symmetric_product_bf16": "bf16 bf16 bf16 n n n x x",
    # grams, coefficients, N, R, degrees
    "muon_factors": "f32 f32 n n n",
    # x, out, N, R, C, size
    "block_grams_bf16": "bf16 f32 n n n n",
    # parameter, x, factors, R, C, size, keep, rate
    "descend_blocks_bf16": "f32 bf16 bf16 n n n x x",
}

SIGNATURES = {name: tuple(kinds.split()) for name, kinds in OF_ONE_DTYPE.items()} | {
    f"{name}_{suffix}": tuple(kinds.replace("T", suffix).split())
    for name, kinds in OF_BOTH_DTYPES.items()
    for suffix in SUFFIX.values()
}
"The kinds of the arguments of hw_NAME, but for the threads."
