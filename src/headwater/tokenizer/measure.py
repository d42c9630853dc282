"""How well a tokenizer fits each source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headwater.tokenizer.tokenizer import Tokenizer


def bytes_per_token(
    tokenizer: Tokenizer, texts: Mapping[str, Iterable[str]], max_bytes: int = 1_000_000
) -> dict[str, float]:
    """Return UTF-8 bytes per token by source, over the first `max_bytes` of each; empty sources are skipped."""
    result = {}
    for source in sorted(texts):
        num_bytes = num_tokens = 0
        for text in texts[source]:
            num_bytes += len(text.encode())
            num_tokens += len(tokenizer.encode(text))
            if num_bytes >= max_bytes:
                break
        if num_tokens:
            result[source] = round(num_bytes / num_tokens, 4)
    return result
