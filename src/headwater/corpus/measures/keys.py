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
from headwater.corpus.sources.settings import CONVERSATIONS, KINDS, CorpusSettings
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
        documents, rule = [candidate.document for candidate in candidates], self._boilerplate
        exempt = set(KINDS) if not self._dedup.near else {*self._dedup.near_exempt_kinds, CONVERSATIONS}
        minima = [([], None) if c.document.kind in exempt else self.minhash_of(c.hashes) for c in candidates]
        digests = [xxhash.xxh3_128_digest(" ".join(candidate.words).encode()) for candidate in candidates]
        halves = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)
        lines = [rule.keys(document) if rule else [] for document in documents]
        return {
            "digest_high": pa.array(halves[:, 0]),
            "digest_low": pa.array(halves[:, 1]),
            "bands": [bands for bands, _ in minima],
            "signature": [signature for _, signature in minima],
            "lines": lines,
            "site": [rule.site_key(each) if rule and keys else 0 for each, keys in zip(documents, lines)],
            "passages": [sorted(passage_keys(document)) for document in documents],
            "split_hash": [split_hash(each.meta.get("group", each.text), self._seed) for each in documents],
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
