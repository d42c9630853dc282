"""The shape of any decoder-only transformer, as the matrices that a token is multiplied by. No torch.

`model.settings` describes the families that headwater trains; this describes those that people plan for as well:
mixtures of experts, latent attention, windows. Parameters, FLOPs, memory and time all follow from these matrices.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

from headwater.model.settings import ModelSettings


@dataclass(frozen=True)
class Matrix:
    """`num` matrices of `num_out` × `num_in` weights, of which a token is multiplied by `num_active`."""

    num_out: int
    num_in: int
    num: int = 1
    num_active: int = 1

    @property
    def weights(self) -> int:
        return self.num * self.num_out * self.num_in

    @property
    def active_weights(self) -> int:
        return self.num_active * self.num_out * self.num_in


@dataclass(frozen=True)
class GroupedAttention:
    """Attention with shared keys and values (arXiv:2305.13245); `num_values` are biases and head norms."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    num_values: int = 0

    @property
    def key_dim(self) -> int:
        return self.head_dim

    @property
    def value_dim(self) -> int:
        return self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys of one token, over all heads; that of the values is the same."""
        return self.num_kv_heads * self.head_dim

    def matrices(self, d_model: int) -> list[Matrix]:
        query = self.num_heads * self.head_dim
        return [Matrix(query, d_model), *[Matrix(self.kv_width, d_model)] * 2, Matrix(d_model, query)]


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention: keys and values from one narrow vector (DeepSeek-V2, arXiv:2405.04434, section 2.1).

    `query_rank` None: queries are projected in one step. The two norms are those on the narrow vectors; `num_biases`
    are those of all projections together.
    """

    num_heads: int
    query_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    num_biases: int = 0

    @property
    def key_dim(self) -> int:
        return self.nope_dim + self.rope_dim

    @property
    def kv_width(self) -> int:
        return self.num_heads * self.key_dim

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @property
    def num_values(self) -> int:
        return (self.query_rank or 0) + self.kv_rank + self.num_biases

    def matrices(self, d_model: int) -> list[Matrix]:
        query = self.num_heads * self.key_dim
        if self.query_rank is None:
            queries = [Matrix(query, d_model)]
        else:
            queries = [Matrix(self.query_rank, d_model), Matrix(query, self.query_rank)]
        return [
            *queries,
            Matrix(self.kv_rank + self.rope_dim, d_model),
            Matrix(self.num_heads * (self.nope_dim + self.value_dim), self.kv_rank),
            Matrix(d_model, self.num_heads * self.value_dim),
        ]


@dataclass(frozen=True)
class Mlp:
    """down(act(up x)), or with a gate (`num_matrices` 3): down(act(gate x) · up x)."""

    d_ff: int
    num_matrices: int = 3
    num_values: int = 0

    @property
    def active_d_ff(self) -> int:
        return self.d_ff

    def matrices(self, d_model: int) -> list[Matrix]:
        return [*[Matrix(self.d_ff, d_model)] * (self.num_matrices - 1), Matrix(d_model, self.d_ff)]


@dataclass(frozen=True)
class Experts:
    """A router, `num_experts` gated MLPs of which a token takes `num_active`, and MLPs that every token takes.

    `shared_d_ff` is the width of the shared ones together (0: none); `has_shared_gate` adds Qwen2-MoE's scalar gate.
    """

    num_experts: int
    num_active: int
    expert_d_ff: int
    shared_d_ff: int = 0
    has_shared_gate: bool = False
    num_values: int = 0

    @property
    def active_d_ff(self) -> int:
        return self.num_active * self.expert_d_ff + self.shared_d_ff

    def matrices(self, d_model: int) -> list[Matrix]:
        experts = Mlp(self.expert_d_ff).matrices(d_model)
        routed = [replace(matrix, num=self.num_experts, num_active=self.num_active) for matrix in experts]
        shared = Mlp(self.shared_d_ff).matrices(d_model) if self.shared_d_ff else []
        gate = [Matrix(1, d_model)] if self.has_shared_gate else []
        return [Matrix(self.num_experts, d_model), *routed, *shared, *gate]


@dataclass(frozen=True)
class Layer:
    """One block. `window` is how many keys a query may see, None: all before it."""

    attention: GroupedAttention | LatentAttention
    mlp: Mlp | Experts
    num_norm_values: int
    window: int | None = None

    def matrices(self, d_model: int) -> list[Matrix]:
        return [*self.attention.matrices(d_model), *self.mlp.matrices(d_model)]

    @property
    def num_values(self) -> int:
        """Weights that are no matrix: biases and norms."""
        return self.attention.num_values + self.mlp.num_values + self.num_norm_values


@dataclass(frozen=True)
class Shape:
    """A model. `num_positions` is the length of a learned position table, `num_end_values` the last norm's weights."""

    vocab_size: int
    d_model: int
    seq_len: int
    layers: tuple[Layer, ...]
    is_tied: bool
    num_positions: int = 0
    num_end_values: int = 0

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @cached_property
    def kinds(self) -> tuple[tuple[Layer, int], ...]:
        """Return each kind of layer and how many there are of it."""
        return tuple(Counter(self.layers).items())

    @cached_property
    def block_matrices(self) -> tuple[tuple[Matrix, int], ...]:
        """Return each matrix of the layers and how many layers have it."""
        return tuple((matrix, num) for layer, num in self.kinds for matrix in layer.matrices(self.d_model))

    @cached_property
    def block_weights(self) -> int:
        """Weights of all matrices of the layers."""
        return sum(num * matrix.weights for matrix, num in self.block_matrices)

    @cached_property
    def active_block_weights(self) -> int:
        """Weights of the layers that a token is multiplied by."""
        return sum(num * matrix.active_weights for matrix, num in self.block_matrices)

    @cached_property
    def expert_weights(self) -> int:
        """Weights of routed experts, which expert parallelism splits."""
        return sum(num * matrix.weights for matrix, num in self.block_matrices if matrix.num > 1)


def shape_of(model: ModelSettings) -> Shape:
    """Return the shape of one of headwater's own families."""
    is_gpt2 = model.family == "gpt2"
    query, key_value = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    attention_values = {"gpt2": query + 2 * key_value + model.d_model, "qwen3": 2 * model.head_dim}
    norm_width = 2 * model.d_model if is_gpt2 else model.d_model  # LayerNorm has a bias as well
    layer = Layer(
        GroupedAttention(model.num_heads, model.num_kv_heads, model.head_dim, attention_values.get(model.family, 0)),
        Mlp(model.d_ff, 2, model.d_ff + model.d_model) if is_gpt2 else Mlp(model.d_ff),
        num_norm_values=2 * norm_width,
    )
    return Shape(
        vocab_size=model.vocab_size,
        d_model=model.d_model,
        seq_len=model.seq_len,
        layers=(layer,) * model.num_layers,
        is_tied=model.tied_embeddings,
        num_positions=model.seq_len if is_gpt2 else 0,
        num_end_values=norm_width,
    )
