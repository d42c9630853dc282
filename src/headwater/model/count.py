"""Parameters, FLOPs and bytes of a model, exactly, from its settings alone. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.model.settings import ModelSettings


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of parameters: `total`, those of the token (and position) embedding, those multiplied per token.

    `matmul` counts every weight that a token is multiplied by, the head included even when it is tied.
    """

    total: int
    embedding: int
    matmul: int


@dataclass(frozen=True)
class ModelCount:
    """What the conventions of FLOPs need to know of any model.

    `active` is `total` without the experts that a token doesn't take, `head` the weights of the output head, which
    `matmul` includes. `attention` holds for each layer heads × (width of a key + width of a value), and the window in
    tokens, None where a query sees all tokens before it.
    """

    total: int
    active: int
    embedding: int
    matmul: int
    head: int
    seq_len: int
    attention: tuple[tuple[int, int | None], ...]


def count_model(model: ModelSettings) -> ModelCount:
    """Return the count of one of headwater's own families."""
    params = count_parameters(model)
    return ModelCount(
        total=params.total,
        active=params.total,
        embedding=params.embedding,
        matmul=params.matmul,
        head=model.vocab_size * model.d_model,
        seq_len=model.seq_len,
        attention=((2 * model.num_heads * model.head_dim, model.sliding_window),) * model.num_layers,
    )


def count_parameters(model: ModelSettings) -> ParameterCount:
    """Return what `Transformer(model).parameters()` would add up to."""
    query, key_value = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    attention = model.d_model * (2 * query + 2 * key_value)
    mlp_matrices = 2 if model.family == "gpt2" else 3
    mlp = mlp_matrices * model.d_model * model.d_ff
    matrices = model.num_layers * (attention + mlp)
    embedding = model.vocab_size * model.d_model
    head = embedding
    if model.family == "gpt2":
        positions = model.seq_len * model.d_model
        biases = model.num_layers * (query + 2 * key_value + model.d_ff + 2 * model.d_model)
        norms = (2 * model.num_layers + 1) * 2 * model.d_model
    else:
        positions = 0
        biases = model.num_layers * (query + 2 * key_value) if model.attention_bias else 0
        head_norms = 2 * model.head_dim * model.num_layers if model.family == "qwen3" else 0
        norms = (2 * model.num_layers + 1) * model.d_model + head_norms
    total = embedding + positions + matrices + biases + norms + (0 if model.tied_embeddings else head)
    return ParameterCount(total=total, embedding=embedding + positions, matmul=matrices + head)


def flops_per_token(model: ModelSettings, half_length_fraction: float = 0.0) -> float:
    """Return forward and backward FLOPs of one trained token: 6 a matmul weight, and attention's causal half.

    A token at position t attends to t + 1 tokens, (seq_len + 1) / 2 on average, or to the window: scores and values
    take 2 × 2 × num_heads × head_dim FLOPs each forward, three times that with the backward pass. Nothing recomputed is
    counted, nor norms, activations and the optimizer (model FLOPs, arXiv:2204.02311, appendix B). A fraction of the
    tokens may be in sequences of half the length.
    """
    whole, half = (mean_attended(length, model.sliding_window) for length in (model.seq_len, model.seq_len / 2))
    attended = whole + half_length_fraction * (half - whole)
    attention = 12 * model.num_layers * model.num_heads * model.head_dim * attended
    return 6 * count_parameters(model).matmul + attention


def mean_attended(seq_len: float, window: int | None) -> float:
    """Return the mean number of tokens that a token of a sequence of one document sees, itself among them."""
    if window is None or window >= seq_len:
        return (seq_len + 1) / 2
    return window - window * (window - 1) / (2 * seq_len)
