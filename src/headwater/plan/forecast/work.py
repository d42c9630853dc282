"""What a rank has to do in a step, and the parts of the most that it holds. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headwater.core.numbers import size
from headwater.machine.ranks.mesh import Mesh
from headwater.model.count import count_parameters
from headwater.model.optim.settings import OptimSettings
from headwater.model.settings import ModelSettings

BYTES_PER_VALUE = 4  # weights, gradients and optimizer state are fp32


@dataclass(frozen=True)
class StepWork:
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


def checkpoint_bytes(model: ModelSettings, optim: OptimSettings) -> int:
    """Return the bytes of weights and optimizer state, of which Muon keeps one value a weight, AdamW two."""
    parameters = count_parameters(model)
    matrices = parameters.matmul - model.vocab_size * model.d_model
    values_kept = (1 if optim.name == "muon" else 2) * matrices + 2 * (parameters.total - matrices)
    return BYTES_PER_VALUE * (parameters.total + values_kept)


@dataclass(frozen=True)
class PeakBytes:
    """The most that a process holds, by what takes it.

    `exchanged` are copies of what passes between ranks, `slack` is what an allocator holds besides.
    """

    process: float
    state: float
    exchanged: float
    activations: float
    slack: float = 0.0

    @property
    def total(self) -> float:
        return self.process + self.tensors + self.slack

    @property
    def tensors(self) -> float:
        return self.state + self.exchanged + self.activations

    def __str__(self) -> str:
        parts = {
            "libraries and text": self.process,
            "weights, gradients and optimizer state": self.state,
            "on its way between ranks": self.exchanged,
            "activations": self.activations,
            "of the allocator's": self.slack,
        }
        return " + ".join(f"{size(value)} {name}" for name, value in parts.items() if value)
