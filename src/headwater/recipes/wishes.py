"""What a person asks of a budget, as it was typed. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from headwater.errors import ConfigError
from headwater.model.settings import Family
from headwater.plan.forecast_run import check_positive
from headwater.tokenizer.settings import MIN_VOCAB_SIZE

PRECISIONS = ("auto", "bf16", "fp8")


@dataclass(frozen=True)
class Wishes:
    """What a person gave, as text where it has a unit; None or "" where nothing was said."""

    budget: str
    run: str | None = None
    overrides: tuple[str, ...] = ()
    hardware: str = ""
    text_bytes: str = ""
    bytes_per_token: float | None = None
    serve_tokens: str = ""
    runs: Path | None = None
    final_share: float | None = None
    family: str = ""
    vocab_size: int | None = None
    seq_len: int | None = None
    max_memory: str = ""
    precision: str = "auto"
    price: str = ""
    price_per_hour: float | None = None
    site: str = ""
    sites: Path | None = None
    hardware_table: Path | None = None
    prices: Path | None = None

    def check(self) -> None:
        """Raise ConfigError for what can't be, as far as that shows without a table or a machine."""
        if self.family and self.family not in get_args(Family):
            raise ConfigError(f"--family {self.family} is none of {', '.join(get_args(Family))}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"--precision {self.precision} is none of {', '.join(PRECISIONS)}")
        if self.vocab_size is not None and not MIN_VOCAB_SIZE <= self.vocab_size <= 1 << 20:
            raise ConfigError(f"--vocab-size {self.vocab_size} must be from {MIN_VOCAB_SIZE} to {1 << 20:,}")
        if self.seq_len is not None and not 16 <= self.seq_len <= 1 << 20:
            raise ConfigError(f"--seq-len {self.seq_len} must be from 16 to {1 << 20:,}")
        for name in ("bytes_per_token", "price_per_hour"):
            check_positive(f"--{name.replace('_', '-')}", getattr(self, name))
