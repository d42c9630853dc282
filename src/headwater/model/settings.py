"""The shape of a model. No torch, so that a plan can be made without it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from headwater.core.config import Settings

Family = Literal["qwen3", "llama", "gpt2"]


class RopeScaling(Settings):
    """Rotary frequencies for positions beyond the length that a base was trained at, by the names of Hugging Face.

    llama3 takes the factors of frequencies, yarn (arXiv:2309.00071) the betas, `attention_factor` and `truncate`.
    """

    rope_type: Literal["llama3", "yarn"]
    "Rule by which low frequencies are divided by the factor and high ones are kept."
    factor: float = Field(ge=1)
    "By what low frequencies are divided: about the new length over the old one."
    original_max_position_embeddings: int = Field(ge=1)
    "Length in tokens that the base was trained at."
    low_freq_factor: float = Field(default=1.0, gt=0)
    "llama3: turns over the original length up to which a frequency is divided whole."
    high_freq_factor: float = Field(default=4.0, gt=0)
    "llama3: turns over the original length from which a frequency is kept whole."
    beta_fast: float = Field(default=32.0, gt=0)
    "yarn: turns over the original length from which a frequency is kept whole."
    beta_slow: float = Field(default=1.0, gt=0)
    "yarn: turns over the original length up to which a frequency is divided whole."
    attention_factor: float | None = Field(default=None, gt=0)
    "yarn: what queries and keys are multiplied by; unset: 0.1 ln(factor) + 1."
    truncate: bool = True
    "yarn: whether the limits between pairs of channels are whole numbers."

    @model_validator(mode="after")
    def _check_limits(self) -> RopeScaling:
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor={self.high_freq_factor} must be above low_freq_factor={self.low_freq_factor}"
            )
        if self.beta_fast <= self.beta_slow:
            raise ValueError(f"beta_fast={self.beta_fast} must be above beta_slow={self.beta_slow}")
        return self


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
    max_positions: int | None = Field(default=None, ge=1)
    "Tokens that the model is made for, where it is trained on shorter rows, as on top of a base; unset: seq_len."
    rope_theta: float = Field(default=10000.0, gt=1)
    "Base of the rotary positions (qwen3, llama)."
    rope_scaling: RopeScaling | None = None
    "Rotary positions stretched beyond the length of a base (qwen3, llama); off: the plain ones."
    attention_bias: bool = False
    "Whether queries, keys and values have biases, as in Qwen2 (qwen3, llama); gpt2 has its own everywhere."
    sliding_window: int | None = Field(default=None, ge=1)
    "Tokens that a token sees at most, itself among them, as in Mistral (qwen3, llama); off: all of its document."
    tied_embeddings: bool = True
    "Whether the head uses the embedding's matrix."
    norm_eps: float = Field(default=1e-6, gt=0)
    "Added to the mean square in each norm."

    @property
    def num_positions(self) -> int:
        return self.seq_len if self.max_positions is None else self.max_positions

    @model_validator(mode="after")
    def _check_shapes(self) -> ModelSettings:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads={self.num_heads} must be a multiple of num_kv_heads={self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} must be even: rotary positions turn pairs of channels")
        if self.num_positions < self.seq_len:
            raise ValueError(f"max_positions={self.max_positions} must be at least seq_len={self.seq_len}")
        is_gpt2_shaped = self.num_kv_heads == self.num_heads and self.num_heads * self.head_dim == self.d_model
        if self.family == "gpt2" and not is_gpt2_shaped:
            raise ValueError(
                "family gpt2 has num_kv_heads = num_heads and num_heads × head_dim = d_model; found "
                f"num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}, head_dim={self.head_dim}, "
                f"d_model={self.d_model}"
            )
        rotary_only = {
            "rope_scaling": self.rope_scaling is not None,
            "attention_bias": self.attention_bias,
            "sliding_window": self.sliding_window is not None,
        }
        found = [name for name, is_set in rotary_only.items() if is_set]
        if self.family == "gpt2" and found:
            raise ValueError(f"family gpt2 has no {', '.join(found)}; leave out, or choose family qwen3 or llama")
        if self.rope_scaling is not None and self.rope_scaling.rope_type == "yarn":
            self._check_yarn(self.rope_scaling)
        return self

    def _check_yarn(self, scaling: RopeScaling) -> None:
        """Refuse lengths that can't be exported: transformers 4.57 takes the ratio of the two for the factor."""
        reached = scaling.factor * scaling.original_max_position_embeddings
        if reached != round(reached) or reached < self.seq_len:
            raise ValueError(
                f"rope_scaling reaches factor × original_max_position_embeddings = {scaling.factor:g} × "
                f"{scaling.original_max_position_embeddings} tokens, which must be a whole number and at least "
                f"seq_len={self.seq_len}: transformers 4.57 would compute other positions"
            )
