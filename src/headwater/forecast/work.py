"""What a rank has to do in a step: what a simulation takes, and a forecast of its memory and exchanges. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import Mesh


@dataclass(frozen=True)
class Work:
    """A model, its optimizer, and so many microbatches of so many rows on each rank of a mesh.

    `recompute` are blocks, or "selective"; `dtype` is that of a run (machine.dtype).
    """

    model: ModelSettings
    optim: OptimSettings
    mesh: Mesh = field(default_factory=Mesh)
    num_rows: int = 1
    num_microbatches: int = 1
    recompute: int | Literal["selective"] = 0
    dtype: str = "bfloat16"

    @property
    def microbatch_tokens(self) -> int:
        return self.num_rows * self.model.seq_len

    @property
    def layer_tokens(self) -> int:
        """Tokens that a rank's layers compute with; between layers it has a part of these along `tensor`."""
        return self.microbatch_tokens // self.mesh.context

    @property
    def value_bytes(self) -> int:
        """Bytes of an activation: int8 and float8 are formats of products alone."""
        return 4 if self.dtype == "float32" else 2

    @property
    def sent_bytes(self) -> int:
        """Bytes of a weight that is gathered: int8 and float8 find their scales in float32."""
        return 2 if self.dtype == "bfloat16" else 4
