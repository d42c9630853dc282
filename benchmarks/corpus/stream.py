"""Text of any amount: documents made of real sentences, changed by rule so that most are new, written as they are made.

The document of a number is the same on every machine. Of ten documents eight are new (sentences drawn from all real
texts, a word of each exchanged), one is a copy of an earlier one, and one a copy with every fiftieth word exchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_MASK = (1 << 64) - 1
SENTENCES_A_PARAGRAPH, PARAGRAPHS = 5, 6
COPY, NEAR_COPY = 8, 9  # the last digit of their numbers
COPIED_FROM = 1000  # this many documents earlier, or the first
CHANGED_WORD = 50


class Stream:
    """Documents by their numbers, from the sentences of some real texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        sentences = [" ".join(part.split()) for text in texts for part in _SENTENCE.split(text)]
        halves = [sentence.split(" ") for sentence in sentences if 40 <= len(sentence) <= 400]
        self._halves = [
            (" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 + 1 :])) for words in halves
        ]
        self._words = sorted({word for words in halves for word in words if word.isalpha()})
        if len(self._words) < 100:
            raise ValueError("too little text to make more of: no hundred words in sentences of usual length")

    def document(self, number: int) -> str:
        """Return the text of a document."""
        kind = number % 10
        if kind < COPY or number < 10:
            return self._new(number)
        text = self._new(self._original(number))
        return text if kind == COPY else self._exchanged(text, number)

    def _original(self, number: int) -> int:
        """Return the new document that a copy is made from."""
        earlier = max(number - COPIED_FROM, 0)
        return earlier - earlier % 10 + _hash(number) % COPY

    def _new(self, number: int) -> str:
        state, paragraphs = _hash(number), []
        for _ in range(PARAGRAPHS):
            sentences = []
            for _ in range(SENTENCES_A_PARAGRAPH):
                state = (state * 6364136223846793005 + 1442695040888963407) & _MASK
                head, tail = self._halves[(state >> 33) % len(self._halves)]
                sentences.append(f"{head} {self._words[(state >> 20) % len(self._words)]} {tail}")
            paragraphs.append(" ".join(sentences))
        return "\n\n".join(paragraphs)

    def _exchanged(self, text: str, number: int) -> str:
        words = text.split(" ")
        for at in range(_hash(number) % CHANGED_WORD, len(words), CHANGED_WORD):
            words[at] = self._words[_hash(number + at) % len(self._words)]
        return " ".join(words)


def _hash(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


def write_stream(stream: Stream, folder: Path, num_bytes: int, file_bytes: int) -> int:
    """Write documents to FOLDER/NNNNN.jsonl.zst, each of about `file_bytes` of text; return how many in all."""
    folder.mkdir(parents=True)
    number = file_number = 0
    while num_bytes > 0:
        wanted = min(file_bytes, num_bytes)
        with pa.CompressedOutputStream(str(folder / f"{file_number:05d}.jsonl.zst"), "zstd") as file:
            for text in _up_to(stream, number, wanted):
                line = {"id": str(number), "text": text}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                number += 1
        num_bytes, file_number = num_bytes - wanted, file_number + 1
    return number


def _up_to(stream: Stream, number: int, num_bytes: int) -> Iterator[str]:
    while num_bytes > 0:
        text = stream.document(number)
        yield text
        num_bytes, number = num_bytes - len(text.encode()), number + 1
