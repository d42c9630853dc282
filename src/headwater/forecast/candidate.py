"""The sizes that may be chosen, and one as it would be trained on a machine: time, memory, checkpoints. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from headwater.config import RawSettings
from headwater.forecast.failures import Checkpoints
from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.optim.rules import AT_RUN_TOKENS, BATCH_EXPONENT, BATCH_TOKENS, RULES, apply_rules_


@dataclass(frozen=True)
class Placement:
    """How a size is trained on a machine: what `headwater train` does there. `recompute` is the part of the blocks."""

    num_devices: int
    precision: str
    batch_rows: int
    microbatch_rows: int
    recompute: float = 0.0

    @property
    def num_microbatches(self) -> int:
        return self.batch_rows // (self.num_devices * self.microbatch_rows)

    @property
    def in_words(self) -> str:
        where = "one device" if self.num_devices == 1 else f"{self.num_devices} ranks, optimizer's state divided"
        again = f", {self.recompute:.0%} of the blocks recomputed" if self.recompute else ""
        return f"{where}, {self.precision}{again}"


@dataclass(frozen=True)
class Candidate:
    """One size and how it would be trained.

    `seconds_per_token` is of the whole machine and holds pauses, failures and saves; `start_seconds` comes once,
    `prepare_seconds` for each token of text that is read. `log_penalty` is what its batch and precision cost in log
    loss. Deviations are of logarithms. `extra_settings` are those of its training besides sizes, batch and steps.
    """

    model: ModelSettings
    flops_per_token: float
    seconds_per_token: float
    placement: Placement
    memory_bytes: float
    memory_limit: float
    checkpoints: Checkpoints
    hours_deviation: float
    memory_deviation: float
    log_penalty: float = 0.0
    start_seconds: float = 0.0
    prepare_seconds: float = 0.0
    mfu: float | None = None
    extra_settings: dict[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> int:
        return count_parameters(self.model).total

    @property
    def batch_tokens(self) -> int:
        return self.placement.batch_rows * self.model.seq_len

    def seconds(self, tokens: float, unique: float) -> float:
        """Return the time of a run of `tokens`, of which `unique` are different ones."""
        return self.start_seconds + self.seconds_per_token * tokens + self.prepare_seconds * min(tokens, unique)

    def seconds_by_part(self, tokens: float, unique: float) -> dict[str, float]:
        """Return what the same time goes into: the parts sum to `seconds`."""
        running = self.seconds_per_token * tokens
        parts = {name: share * running for name, share in asdict(self.checkpoints.shares).items()}
        return parts | {"start_and_end": self.start_seconds, "text": self.prepare_seconds * min(tokens, unique)}

    def tokens(self, seconds: float, unique: float) -> float:
        """Return how many tokens a time allows, zero where it is over before the first."""
        left = seconds - self.start_seconds
        fresh = max(0.0, left / (self.seconds_per_token + self.prepare_seconds))
        return fresh if fresh <= unique else (left - self.prepare_seconds * unique) / self.seconds_per_token


DIAL = (*range(2, 17), *range(18, 33, 2), *range(36, 65, 4), *range(72, 129, 8), 144, 160, 176, 192, 224, 256)
"Numbers of layers to choose among: up to 800 billion parameters."


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


def wanted_rows(num_tokens: float, seq_len: int) -> int:
    """Return the rows of a batch by the rule of `optim.rules`, for a run of `num_tokens`.

    A power of two, at least 8, near what Power Lines gives (arXiv:2505.13738).
    """
    batch_tokens = BATCH_TOKENS * (num_tokens / AT_RUN_TOKENS) ** BATCH_EXPONENT
    return int(max(8, 2 ** round(math.log2(batch_tokens / seq_len))))


def halved_fraction(seq_len: int, wanted: float | None = None) -> float:
    """Return the fraction of a run in which rows are cut in two: the wanted one, else the rule's; 0 for odd rows."""
    by_rule = RULES["train.half_length_fraction"](RawSettings({"model": {"seq_len": seq_len}}, {}))[0]
    return float(by_rule if wanted is None or seq_len % 2 else wanted)
