"""What a run on a processor holds in memory beside its training: its text, and what probes need. No torch."""

from __future__ import annotations

from headwater.forecast.processor_memory import Around, around_run
from headwater.machine.memory import memory_bytes
from headwater.runs.paths import Folders
from headwater.runs.planned_text import has_almanac, source_bytes
from headwater.runs.run_config import RunConfig
from headwater.runs.search_options import Text
from headwater.train.settings import TrainSettings

TOKEN_BYTES_OF_A_BYTE = 0.62
"The token store over the text read, first-light's (docs/log.md): what isn't prepared yet is taken to be like it."
MOST_OF_MEMORY = 0.5
"Mapped pages of a text larger than memory come and go."


def around_of_run(config: RunConfig) -> Around:
    """Return the bytes that the whole run holds beside its loop: libraries, mapped text, and what probes bring in."""
    return _around(_token_bytes(config), config)


def around_of_search(config: RunConfig | None, text: Text) -> Around:
    """Return the same for a search over a budget and its text; probes are the usual without a run."""
    if text.num_bytes is not None:
        return _around(TOKEN_BYTES_OF_A_BYTE * text.num_bytes, config)
    return _around(0.0 if config is None else _token_bytes(config), config)


def _around(token_bytes: float, config: RunConfig | None) -> Around:
    usual = TrainSettings.model_fields["num_probes"].default
    num_probes = usual if config is None else config.train.num_probes
    mapped = min(token_bytes, MOST_OF_MEMORY * memory_bytes())
    return around_run(mapped, num_probes, config is not None and has_almanac(config))


def _token_bytes(config: RunConfig) -> float:
    """Return the bytes of the run's token store; of one that isn't made yet an estimate, 0 for text of unknown size."""
    tokens = Folders(config.run_dir).tokens
    if (tokens / "manifest.json").is_file():
        return float(sum(path.stat().st_size for path in tokens.rglob("*") if path.is_file()))
    sizes = [source_bytes(source) or 0.0 for source in config.corpus.sources.values()]
    return TOKEN_BYTES_OF_A_BYTE * sum(sizes)
