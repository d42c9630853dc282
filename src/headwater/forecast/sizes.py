"""Which sizes of model to choose among: the shapes that the rules of optim give along their one dial. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from headwater.config import RawSettings
from headwater.model.settings import Family, ModelSettings
from headwater.optim.rules import AT_RUN_TOKENS, BATCH_EXPONENT, BATCH_TOKENS, RULES, apply_rules_

DIAL = (*range(2, 17), *range(18, 33, 2), *range(36, 65, 4), *range(72, 129, 8), 144, 160, 176, 192, 224, 256)
"Numbers of layers, whose steps divide well over pipelines and tensor-parallel heads: up to 800 billion parameters."


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
