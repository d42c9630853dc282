"""The options of a search over a budget, as they were typed, and the text that they name. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from headwater.config import RawSettings, apply_override
from headwater.errors import ConfigError
from headwater.forecast.budget import parse_amount
from headwater.forecast.layout import Precision
from headwater.model.settings import Family
from headwater.runs.costs import Costs
from headwater.runs.paths import split_tokens
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import source_bytes
from headwater.tokenizer.settings import MIN_VOCAB_SIZE

PRECISIONS: dict[str, Precision] = {"auto": "bf16", "bfloat16": "bf16", "float8": "fp8"}
"By machine.dtype, what devices of the table multiply in."
WITHOUT_RUN = {
    "model.family": "family",
    "tokenizer.vocab_size": "vocab_size",
    "model.seq_len": "seq_len",
    "machine.dtype": "dtype",
}
"The settings that a search reads where no run is named."


@dataclass(frozen=True)
class SearchOptions:
    """What was given, as text where it has a unit; None or "" where it wasn't."""

    budget: str
    run: str | None = None
    overrides: tuple[str, ...] = ()
    hardware: str = ""
    text_bytes: str = ""
    serve_tokens: str = ""
    runs: Path | None = None
    costs: Costs = field(default_factory=Costs)

    def sizes(self) -> dict[str, Any]:
        """Return family, vocab_size, seq_len and dtype as far as settings without a run name them.

        Raise ConfigError for other settings, and for values that can't be.
        """
        return {} if self.run is not None else _sizes(self.overrides)


def _sizes(overrides: Sequence[str]) -> dict[str, Any]:
    raw = RawSettings({}, {})
    for override in overrides:
        apply_override(raw, override)
        name = override.partition("=")[0].strip()
        if name not in WITHOUT_RUN:
            raise ConfigError(f"{name}: without a RUN a search reads only {', '.join(WITHOUT_RUN)}")
    found = {short: raw.get(name) for name, short in WITHOUT_RUN.items() if raw.has(name)}
    if found.get("family", "qwen3") not in get_args(Family):
        raise ConfigError(f"model.family={found['family']} is none of {', '.join(get_args(Family))}")
    if found.get("dtype", "auto") not in PRECISIONS:
        raise ConfigError(f"machine.dtype={found['dtype']} is none of {', '.join(PRECISIONS)}")
    for name, least in (("vocab_size", MIN_VOCAB_SIZE), ("seq_len", 16)):
        value = found.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 1 << 20:
            raise ConfigError(f"{name}={value} must be a whole number from {least} to {1 << 20:,}")
    return found


@dataclass(frozen=True)
class Text:
    """Bytes or tokens of it, whichever is known, and whether tokens are built already."""

    num_bytes: float | None
    num_tokens: float | None
    how: str

    @property
    def is_built(self) -> bool:
        return self.num_tokens is not None


def text_of(options: SearchOptions, config: RunConfig | None) -> Text:
    """Return how much text there is: as said, else the run's built tokens, else its files; raise for none."""
    if options.text_bytes:
        given = parse_amount("--text-bytes", options.text_bytes, "bytes")
        return Text(given, None, f"--text-bytes {options.text_bytes}")
    if config is None:
        return Text(None, None, "not given")
    share = config.mixture.share_of_text
    of_it = "" if share == 1 else f", of which {share:.0%} are read (mixture.share_of_text)"
    tokens = split_tokens(config.run_dir, "train")
    if tokens is not None:
        built = sum(tokens.values())
        return Text(None, share * built, f"{built:,} tokens built for {config.name}{of_it}")
    found = {name: source_bytes(source) for name, source in config.corpus.sources.items()}
    known = [size for size in found.values() if size is not None]
    if not known:
        raise ConfigError(
            f"how much text {config.name} has isn't known: none of its sources {', '.join(found)} is found here; give "
            "--text-bytes, or mend the paths"
        )
    missing = [name for name, size in found.items() if size is None]
    rest = f"; nothing counted for {', '.join(missing)}" if missing else ""
    how = f"{sum(known) / 1e6:.3g} MB in the sources of {config.name}{rest}{of_it}"
    return Text(share * sum(known), None, how)
