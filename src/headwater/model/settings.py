"""The shape of a model. No torch, so that a plan can be made without it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from headwater.config import Settings

Family = Literal["qwen3", "llama", "gpt2"]


class ModelSettings(Settings):
    """A decoder-only transformer.

    `qwen3` (default): pre-norm RMSNorm, rotary positions, grouped-query attention, RMSNorm on each head's query and
    key, SwiGLU; it loads in other people's tools without custom code. `llama` is the same without the norms on
    query and key. `gpt2`: LayerNorm, learned positions, biases, GELU.
    """

    family: Family = "qwen3"
    "Architecture: qwen3, llama or gpt2."
    vocab_size: int = Field(ge=1)
    "Number of token ids the embedding and the head have; the tokenizer's."
    num_layers: int = Field(ge=1, le=10_000)
    "Number of transformer blocks."
    d_model: int = Field(ge=1)
    "Width of the residual stream."
    d_ff: int = Field(ge=1)
    "Width inside the MLP."
    num_heads: int = Field(ge=1)
    "Number of query heads."
    num_kv_heads: int = Field(ge=1)
    "Number of key and value heads; divides num_heads."
    head_dim: int = Field(ge=1)
    "Width of one head."
    seq_len: int = Field(ge=1)
    "Number of input tokens of a row in training."
    rope_theta: float = Field(default=10000.0, gt=0)
    "Base of the rotary positions (qwen3, llama)."
    tied_embeddings: bool = True
    "Whether the head uses the embedding's matrix."
    norm_eps: float = Field(default=1e-6, gt=0)
    "Added to the mean square in each norm."

    @model_validator(mode="after")
    def _check_shapes(self) -> ModelSettings:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads={self.num_heads} must be a multiple of num_kv_heads={self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} must be even: rotary positions turn pairs of channels")
        is_gpt2_shaped = self.num_kv_heads == self.num_heads and self.num_heads * self.head_dim == self.d_model
        if self.family == "gpt2" and not is_gpt2_shaped:
            raise ValueError(
                "family gpt2 has num_kv_heads = num_heads and num_heads × head_dim = d_model; found "
                f"num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}, head_dim={self.head_dim}, "
                f"d_model={self.d_model}"
            )
        return self
