"""How much text a budget has: as said, or the run's own. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.errors import ConfigError
from headwater.plan.budget import parse_amount
from headwater.recipes.planned_text import source_bytes
from headwater.recipes.run_config import RunConfig
from headwater.recipes.search_options import SearchOptions
from headwater.recipes.stages import split_tokens


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
    tokens = split_tokens(config, "train")
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
