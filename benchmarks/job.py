"""The shape of a model and of a step, and the job of a worker."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class ContenderMissing(Exception):
    """A contender can't run here because something of it isn't installed; the text says what."""


@dataclass(frozen=True)
class Shape:
    """A decoder and its step: `num_microbatches` times forward and backward of `rows` rows of `seq_len`, one update."""

    num_layers: int
    num_heads: int
    d_model: int
    seq_len: int
    vocab_size: int
    rows: int
    num_microbatches: int = 1

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read "L,H,D,T,V,B"; raise ValueError that says what is wrong with it."""
        parts = text.split(",")
        if len(parts) != 6 or not all(part.strip().isdigit() and int(part) for part in parts):
            raise ValueError(f"a shape is six positive integers L,H,D,T,V,B; found {text!r}")
        shape = cls(*map(int, parts))
        if shape.d_model % (2 * shape.num_heads):
            raise ValueError(f"the width {shape.d_model} must be a multiple of twice the heads, 2 × {shape.num_heads}")
        return shape

    def __str__(self) -> str:
        *six, num_microbatches = asdict(self).values()
        return ",".join(map(str, six)) + (f" × {num_microbatches} microbatches" if num_microbatches > 1 else "")

    @property
    def head_dim(self) -> int:
        return self.d_model // self.num_heads

    @property
    def d_ff(self) -> int:
        """Width of a gated MLP, by headwater's rule: 8/3 of the width, to a multiple of 64."""
        return max(32, round(8 * self.d_model / 3 / 64) * 64)

    @property
    def microbatch_tokens(self) -> int:
        return self.rows * self.seq_len

    @property
    def batch_tokens(self) -> int:
        return self.num_microbatches * self.microbatch_tokens

    @property
    def attention_flops_per_token(self) -> float:
        """Forward and backward of causal attention: a token sees (seq_len + 1) / 2 tokens on average."""
        return 12 * self.num_layers * self.d_model * (self.seq_len + 1) / 2


# the shapes at which headwater's speed is promised
SHAPES = (
    Shape(6, 6, 384, 512, 8192, 8),
    Shape(4, 4, 192, 256, 8192, 16),
    Shape(12, 12, 768, 1024, 32768, 2),
)


@dataclass(frozen=True)
class Job:
    """One contender in one mode at one shape, on the tokens in `tokens_dir` (see token_stream).

    `module` is a module of `contenders`; `folder` is the public repository's, where there is one; `scratch_dir` is
    for what a trainer leaves behind.
    """

    module: str
    mode: str
    shape: Shape
    tokens_dir: Path
    scratch_dir: Path
    folder: Path | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Job:
        raw: dict[str, Any] = json.loads(text)
        return cls(
            module=raw["module"],
            mode=raw["mode"],
            shape=Shape(**raw["shape"]),
            tokens_dir=Path(raw["tokens_dir"]),
            scratch_dir=Path(raw["scratch_dir"]),
            folder=Path(raw["folder"]) if raw["folder"] else None,
        )
