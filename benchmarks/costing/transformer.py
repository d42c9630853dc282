"""A dense transformer as sizes alone: what step time and memory of any layout depend on. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Transformer:
    """A decoder with grouped attention (arXiv:2305.13245) and an MLP of two matrices, or of three with a gate.

    `num_values` are its weights that no token is multiplied by: biases, norms, positions.
    """

    num_layers: int
    d_model: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    d_ff: int
    vocab_size: int
    seq_len: int
    num_mlp_matrices: int = 3
    is_tied: bool = False
    num_values: int = 0

    @property
    def query_width(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys of one token, over all heads; that of the values is the same."""
        return self.num_kv_heads * self.head_dim

    @cached_property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Outputs and inputs of a layer's matrices."""
        attention = ((self.query_width, self.d_model), *((self.kv_width, self.d_model),) * 2)
        first = ((self.d_ff, self.d_model),) * (self.num_mlp_matrices - 1)
        return (*attention, (self.d_model, self.query_width), *first, (self.d_model, self.d_ff))

    @cached_property
    def block_weights(self) -> int:
        """Weights of all matrices of the layers."""
        return self.num_layers * sum(num_out * num_in for num_out, num_in in self.matrices)

    @property
    def head_weights(self) -> int:
        return self.vocab_size * self.d_model

    @property
    def num_params(self) -> int:
        return self.block_weights + self.head_weights * (1 if self.is_tied else 2) + self.num_values

    @property
    def attention_flops(self) -> tuple[float, float]:
        """Forward FLOPs of scores and sums of values for one token: with a causal mask, and without one."""
        a_key = self.num_layers * 4 * self.query_width
        return a_key * (self.seq_len + 1) / 2, a_key * self.seq_len

    @property
    def palm_flops_per_token(self) -> float:
        """6 × parameters and full attention, forward and backward (arXiv:2204.02311, appendix B): what MFU counts."""
        return 6 * self.num_params + 3 * self.attention_flops[1]
