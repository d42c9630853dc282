"""What passages that documents share word for word are found by: the keys of some of a text's runs of words.

Winnowing (Schleimer, Wilkerson and Aiken 2003): of every W runs of K words in a row the lowest key is noted, so that
two texts with K + W - 1 words in common have a key in common, wherever these words stand in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.corpus.document import Document
from headwater.corpus.measures.measure import Column, Measure
from headwater.corpus.scripts import word_spans
from headwater.corpus.sources.settings import CONVERSATIONS, DedupSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher, runs_of


class Passages(Measure):
    """Keys of runs; none of code, conversations and kinds that aren't compared, from which nothing is cut."""

    columns = {"fingerprints": Column(pa.list_(pa.uint64()), "keys of some of its runs of words")}

    def __init__(self, settings: DedupSettings) -> None:
        self._least, self._exempt = settings.passage_words or 0, ("code", CONVERSATIONS, *settings.near_exempt_kinds)
        self._hasher = WordHasher()

    def measure_candidates(self, candidates: Sequence[Candidate]) -> Mapping[str, Sequence[Any]]:
        return {"fingerprints": [self._fingerprints(each.document) for each in candidates]}

    def _fingerprints(self, document: Document) -> np.ndarray:
        text = document.text if document.kind not in self._exempt else ""
        return noted_keys(hashes_of_words(text, self._hasher), self._least)[0]


def hashes_of_words(text: str, hasher: WordHasher) -> np.ndarray:
    """Return the hashes of a text's words as they are written."""
    return hasher.hash([text[start:end] for start, end in word_spans(text)])


def noted_keys(hashes: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys that are noted of a text, and by which of them each passage of `least` words is found."""
    if len(hashes) < least:
        return hashes[:0], hashes[:0]
    window, have = least // 2, 1
    keys = lowest = runs_of(hashes, least - window + 1)
    while have < window:
        step = min(have, window - have)
        lowest, have = np.minimum(lowest[:-step], lowest[step:]), have + step
    return keys[np.isin(keys, lowest)], lowest
