"""What a run on a processor holds in memory beside its training: its text, and what looks need. No torch."""

from __future__ import annotations

from headwater.machine.memory import memory_bytes
from headwater.plan.processor_memory import Around, around_run
from headwater.recipes.planned_text import has_almanac, source_bytes
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import Folders

TOKEN_BYTES_OF_A_BYTE = 0.62
"The token store over the text read, first-light's (docs/log.md): what isn't prepared yet is taken to be like it."
MOST_OF_MEMORY = 0.5
"Mapped pages of a text larger than memory come and go."


def around_of_run(config: RunConfig) -> Around:
    """Return the bytes that the whole run holds beside its loop: libraries, mapped text, and what looks bring in."""
    token_bytes = min(_token_bytes(config), MOST_OF_MEMORY * memory_bytes())
    return around_run(token_bytes, config.train.num_looks, has_almanac(config))


def _token_bytes(config: RunConfig) -> float:
    """Return the bytes of the run's token store; of one that isn't made yet an estimate, 0 for text of unknown size."""
    tokens = Folders(config.run_dir).tokens
    if (tokens / "manifest.json").is_file():
        return float(sum(path.stat().st_size for path in tokens.rglob("*") if path.is_file()))
    sizes = [source_bytes(source) or 0.0 for source in config.corpus.sources.values()]
    return TOKEN_BYTES_OF_A_BYTE * sum(sizes)
