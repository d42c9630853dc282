"""Train byte-level BPE on a sample of each source: the same texts give the same file, to the byte."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import tokenizers
import xxhash
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from headwater.core.errors import TokenizerError
from headwater.core.files import digest_bytes, new_folder, stage_key, write_bytes, write_json
from headwater.core.numbers import size
from headwater.tokens.tokenizer.pattern import QWEN2_PATTERN, cut
from headwater.tokens.tokenizer.settings import MIN_VOCAB_SIZE, SPECIAL_IDS, SPECIAL_TOKENS, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import FORMAT, FORMAT_VERSION, Tokenizer

STAGE_VERSION = 1
_SAMPLED_PART_CHARS = 8192
NO_LIMIT = 1 << 64  # of 64 bits


def tokenizer_key(settings: TokenizerSettings, corpus_digest: str) -> str:
    """Return the key of the tokenizer that these settings give on the corpus of this digest."""
    return stage_key("tokenizer", STAGE_VERSION, settings.model_dump(mode="json"), {"corpus": corpus_digest})


def train_tokenizer(
    texts: Mapping[str, Iterable[str]],
    settings: TokenizerSettings,
    out_dir: Path,
    key: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train on `texts` (by source), write the tokenizer folder and return its manifest.

    The result depends on the set of texts, not on their order. Bytes per token in the manifest are measured on the
    sample trained on; the token store gives them for all text, held-out text included.
    Raises TokenizerError when there is no text, or too little to fill the vocabulary.
    """
    samples = {source: sample_parts(texts[source], settings.max_bytes) for source in sorted(texts)}
    num_bytes = {source: sum(len(part.encode()) for part in parts) for source, parts in samples.items()}
    total_bytes = sum(num_bytes.values())
    if not total_bytes:
        raise TokenizerError("there is no text to train a tokenizer on; the corpus kept no training document")
    sources = "1 source" if len(samples) == 1 else f"{len(samples)} sources"
    say(f"training a vocabulary of {settings.vocab_size:,} on {size(total_bytes)} from {sources}")
    model = _train(samples, settings)
    _require_full(model.get_vocab_size(), settings.vocab_size, total_bytes)
    data = model.to_str(pretty=True).encode()
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": key,
        "digest": digest_bytes(data),
        "vocab_size": settings.vocab_size,
        "special": SPECIAL_IDS,
        "trained_on_bytes": num_bytes,
    }
    manifest["bytes_per_token"] = bytes_per_token(Tokenizer(model, manifest), samples)
    with new_folder(out_dir, replace=True) as folder:
        write_bytes(folder / "tokenizer.json", data)
        write_json(folder / "manifest.json", manifest)
    return manifest


def sample_parts(texts: Iterable[str], max_bytes: int) -> list[str]:
    """Return parts of the texts, at most `max_bytes` in all: those with the smallest hashes, in order of hash.

    A sample by hash needs one pass, no size known beforehand and no random state, and doesn't depend on the order.
    """
    sample = PartSample(max_bytes)
    for text in texts:
        sample.add(text)
    return sample.parts()


class PartSample:
    """A sample as `sample_parts` returns it, of hashes below `limit`; that of samples is that of their texts.

    What may be missing from a sample of some texts has hashes from its `limit` on: a sample over it takes the lowest.
    """

    def __init__(self, max_bytes: int, limit: int = NO_LIMIT) -> None:
        self.limit = limit
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._kept: list[tuple[int, str]] = []  # a heap with the largest hash on top

    def add(self, text: str) -> None:
        for part in cut(text, _SAMPLED_PART_CHARS):
            data = part.encode()
            rank = xxhash.xxh3_64_intdigest(data)
            if rank >= self.limit:
                continue
            heapq.heappush(self._kept, (-rank, part))
            self._num_bytes += len(data)
            while self._num_bytes > self._max_bytes:
                negative_rank, dropped = heapq.heappop(self._kept)
                self._num_bytes -= len(dropped.encode())
                # nothing above what was dropped may come in later, or the order would matter
                self.limit = min(self.limit, -negative_rank)

    def parts(self) -> list[str]:
        return [part for negative_rank, part in sorted(self._kept, reverse=True) if -negative_rank < self.limit]


def try_vocabulary(parts: list[str], vocab_size: int) -> tuple[int, float]:
    """Return how many tokens of `vocab_size` parts of a text fill, and how many UTF-8 bytes each stands for.

    It is trained on the first parts, 2 MB, and measured on the last 0.5 MB: of a longer text, on others than those.
    """
    ends = list(accumulate(len(part.encode()) for part in parts))
    model = _train({"": parts[: bisect_right(ends, 2_000_000)]}, TokenizerSettings(vocab_size=vocab_size))
    measured = parts[bisect_right(ends, ends[-1] - 500_000) :]
    num_tokens = sum(len(encoding.ids) for encoding in model.encode_batch(measured, add_special_tokens=False))
    return model.get_vocab_size(), sum(len(part.encode()) for part in measured) / num_tokens


def _train(samples: dict[str, list[str]], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator((part for parts in samples.values() for part in parts), trainer)
    return model


def _require_full(found: int, wanted: int, total_bytes: int) -> None:
    if found >= wanted:
        return
    fits = max(found // 64 * 64, MIN_VOCAB_SIZE)
    raise TokenizerError(
        f"tokenizer.vocab_size={wanted} is more than this corpus can fill: {total_bytes / 1000:,.0f} kB of text gave "
        f"{found} tokens; set tokenizer.vocab_size={fits} or give more text"
    )


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
