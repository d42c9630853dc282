"""What duplicates, common lines and the split are found by, without a text: keys and hashes of each document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from headwater.corpus.document import Document
from headwater.corpus.measures.boilerplate import boilerplate_rule
from headwater.corpus.measures.measure import Column, Measure
from headwater.corpus.read.sections import sections
from headwater.corpus.sources.settings import CONVERSATIONS, CorpusSettings
from headwater.corpus.split import split_hash
from headwater.corpus.step import Candidate
from headwater.corpus.words import MinHash, ngrams

PASSAGE_CHARACTERS = 2000  # at most, and a quarter at least
_KEYS = pa.list_(pa.uint64())


class Keys(Measure):
    """The keys of documents. A signature is the lowest byte of every permutation's minimum."""

    columns = {
        "digest_high": Column(pa.uint64(), "digest of the words"),
        "digest_low": Column(pa.uint64(), "digest of the words, its other half"),
        "bands": Column(_KEYS, "keys of the bands of its shingles' minima; none where it is not compared"),
        "signature": Column(pa.binary(), "lowest byte of each minimum"),
        "lines": Column(_KEYS, "keys of the lines of a page of the web"),
        "site": Column(pa.uint64(), "key of the page's site, 0 where there is none"),
        "passages": Column(_KEYS, "hashes of the passages of a long document"),
        "split_hash": Column(pa.uint64(), "hash that the split goes by"),
    }

    def __init__(self, settings: CorpusSettings) -> None:
        self._dedup, self._seed = settings.dedup, settings.seed
        self._boilerplate = boilerplate_rule(settings)
        self.minhash = MinHash(settings.dedup)

    def measure_candidates(self, candidates: Sequence[Candidate]) -> Mapping[str, Sequence[Any]]:
        rows = [self._of(candidate) for candidate in candidates]
        return {name: [row[name] for row in rows] for name in self.columns}

    def _of(self, candidate: Candidate) -> dict[str, Any]:
        document, rule = candidate.document, self._boilerplate
        digest = xxhash.xxh3_128_digest(" ".join(candidate.words).encode())
        is_compared = self._dedup.near and document.kind not in (*self._dedup.near_exempt_kinds, CONVERSATIONS)
        bands, signature = self.minhash_of(candidate.hashes) if is_compared else ([], None)
        lines = rule.keys(document) if rule else []
        return {
            "digest_high": int.from_bytes(digest[:8]),
            "digest_low": int.from_bytes(digest[8:]),
            "bands": bands,
            "signature": signature,
            "lines": lines,
            "site": rule.site_key(document) if rule and lines else 0,
            "passages": sorted(passage_keys(document)),
            "split_hash": split_hash(document.meta.get("group", document.text), self._seed),
        }

    def minhash_of(self, hashes: np.ndarray) -> tuple[list[int], bytes]:
        """Return the keys of the bands, and the signature, of a text of these words."""
        lowest = self.minhash.signature(ngrams(hashes, self._dedup.shingle_words))
        return self.minhash.keys_of(lowest), lowest.astype(np.uint8).tobytes()


def passage_keys(document: Document) -> set[int]:
    """Return a hash of each passage of a long document; none of a conversation."""
    if len(document.text) <= PASSAGE_CHARACTERS or document.kind == CONVERSATIONS:
        return set()
    return {xxhash.xxh3_64_intdigest(each.strip().encode()) for each in sections([document.text], PASSAGE_CHARACTERS)}
