"""The settings of one run: the only thing that passes between the campaign and a worker."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from headwater.errors import ConfigError
from headwater.files import digest_json

MIN_VOCAB_SIZE = 288  # tokenizer.vocab_size takes no less: bytes and special tokens


@dataclass(frozen=True)
class Shape:
    """Size of the models, and the batch of the baselines; written L,H,D,T,V,B."""

    num_layers: int
    num_heads: int
    d_model: int
    seq_len: int
    vocab_size: int
    rows_per_step: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Return the shape written as six integers; raise ConfigError for anything else."""
        try:
            shape = cls(*(int(part) for part in text.split(",")))
        except (ValueError, TypeError):
            raise ConfigError(
                f"--shape {text!r} must be six integers: layers,heads,width,sequence,vocabulary,rows a step, "
                "such as 4,4,192,256,8192,16"
            ) from None
        small = [field.name for field in fields(cls) if getattr(shape, field.name) < 1]
        if small:
            raise ConfigError(f"--shape {text}: {', '.join(small)} must be at least 1")
        if shape.vocab_size < MIN_VOCAB_SIZE:
            raise ConfigError(
                f"--shape {text}: a vocabulary of {shape.vocab_size} is under {MIN_VOCAB_SIZE}, the least"
            )
        if shape.d_model % shape.num_heads:
            raise ConfigError(f"--shape {text}: width {shape.d_model} must be a multiple of heads {shape.num_heads}")
        return shape

    @property
    def batch_tokens(self) -> int:
        return self.rows_per_step * self.seq_len


@dataclass(frozen=True)
class Job:
    """One run of one contender.

    lr                 AdamW's peak learning rate, or the scale of all of nanochat's; headwater has its own settings
    num_steps          what the schedule is planned for
    max_seconds        the run stops here when it isn't done; from the start of building the model
    probe_seconds      when set: stop this long after the first steps, and measure speed only
    settings           headwater's, as section.setting=value
    code               digest of the contender's own code, so that a kept result is of this code
    """

    contender: str
    folder: str | None
    texts: str
    shape: Shape
    seed: int
    lr: float
    dtype: str
    num_steps: int
    max_seconds: float
    compiled: bool
    probe_seconds: float | None = None
    settings: tuple[str, ...] = ()
    code: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Job:
        return cls(**{**value, "shape": Shape(**value["shape"]), "settings": tuple(value["settings"])})

    @property
    def digest(self) -> str:
        return digest_json(self.as_json())
