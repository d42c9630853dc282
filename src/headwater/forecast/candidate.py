"""Shapes of models by rules, and a size as it would be trained on a machine: time, memory, settings. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from headwater.config import RawSettings
from headwater.forecast.result import Spread
from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.optim.rules import apply_rules_
from headwater.ranks.mesh import DATA_AXES, SAME_ROWS_AXES, Mesh

DIAL = (*range(2, 17), *range(18, 33, 2), *range(36, 65, 4), 72, 80, 88, 96)
"Numbers of layers to choose among: up to 44 billion parameters, more than any one device of the table holds."
SIZE_SETTINGS = ("family", "num_layers", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim", "seq_len")


@dataclass(frozen=True)
class Candidate:
    """One size and how it would be trained: `recompute` is the part of the blocks that is computed again.

    `seconds_per_token` is of all ranks, which lie as `mesh` says, `around_seconds` come once. Memory is in bytes of one
    device; `hours_deviation` is of the logarithm.
    """

    model: ModelSettings
    where: str
    seconds_per_token: float
    batch_rows: int
    microbatch_rows: int
    recompute: float
    memory: Spread
    hours_deviation: float
    around_seconds: float = 0.0
    mesh: Mesh = field(default_factory=Mesh)

    @cached_property
    def params(self) -> int:
        return count_parameters(self.model).total

    @property
    def batch_tokens(self) -> int:
        return self.batch_rows * self.model.seq_len

    @property
    def num_microbatches(self) -> int:
        """Microbatches of a rank and step."""
        return self.batch_rows // (self.mesh.size(*DATA_AXES) * self.microbatch_rows)

    @property
    def busy_and_waiting(self) -> float:
        """Seconds a token with those in which ranks of a pipeline wait, by which layouts are compared."""
        return self.seconds_per_token * (1 + self.mesh.waiting(self.num_microbatches))

    @property
    def layout(self) -> str:
        return self.where + (f", {self.recompute:.0%} of the blocks recomputed" if self.recompute else "")

    def seconds(self, tokens: Any) -> Any:
        """Return the time of runs of `tokens`."""
        return self.around_seconds + self.seconds_per_token * tokens

    def tokens(self, seconds: float) -> float:
        """Return how many tokens a time allows, zero where it is over before the first."""
        return max(0.0, (seconds - self.around_seconds) / self.seconds_per_token)

    def settings(self, tokens: float) -> dict[str, Any]:
        """Return what a run file, or overrides on the command line, say of its training on `tokens`."""
        sizes = self.model.model_dump(mode="json", include=set(SIZE_SETTINGS))
        axes = [axis for axis in ("shard", *SAME_ROWS_AXES) if self.mesh.world_size > 1]
        return {
            **{f"model.{name}": value for name, value in sizes.items()},
            "tokenizer.vocab_size": self.model.vocab_size,
            "train.batch_tokens": self.batch_tokens,
            "train.num_steps": round(tokens / self.batch_tokens),
            "train.microbatch_tokens": self.microbatch_rows * self.model.seq_len,
            "train.recompute": self.recompute,
            **{f"parallel.{axis}": self.mesh.size(axis) for axis in axes},
        }


def model_of(num_layers: int, family: Family, vocab_size: int, seq_len: int) -> ModelSettings:
    """Return the shape that the rules give where nothing but its number of layers is set."""
    given = {"num_layers": num_layers, "family": family, "vocab_size": vocab_size, "seq_len": seq_len}
    raw = RawSettings({"model": dict(given)}, {})
    apply_rules_(raw)
    return ModelSettings.model_validate(raw.get("model"))


def sizes(family: Family, vocab_size: int, seq_len: int) -> Iterator[ModelSettings]:
    """Yield every size, smallest first."""
    for num_layers in DIAL:
        yield model_of(num_layers, family, vocab_size, seq_len)
