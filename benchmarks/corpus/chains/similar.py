"""Which documents a library calls duplicates of earlier ones: `python similar.py LIBRARY TEXTS.jsonl OUT.json`.

The same shingles, 112 hashes in 14 bands of 8 rows, one document after another: it is a duplicate when a band is that
of an earlier one; writes {"dropped": [numbers], "seconds"}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

NUM_BANDS, ROWS, SHINGLE_WORDS = 14, 8, 5


def shingles(text: str) -> list[str]:
    words = text.lower().split()
    return [" ".join(words[at : at + SHINGLE_WORDS]) for at in range(max(1, len(words) - SHINGLE_WORDS + 1))]


def with_datasketch(texts: list[str]) -> Iterator[int]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=NUM_BANDS * ROWS, params=(NUM_BANDS, ROWS))
    for number, text in enumerate(texts):
        signature = MinHash(num_perm=NUM_BANDS * ROWS)
        signature.update_batch([shingle.encode() for shingle in shingles(text)])
        if index.query(signature):
            yield number
        else:
            index.insert(number, signature)


def with_rensa(texts: list[str]) -> Iterator[int]:
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=0.8, num_perm=NUM_BANDS * ROWS, num_bands=NUM_BANDS)
    for number, text in enumerate(texts):
        signature = RMinHash(num_perm=NUM_BANDS * ROWS, seed=1)
        signature.update(shingles(text))
        if index.query(signature):
            yield number
        else:
            index.insert(number, signature)


def main() -> None:
    library, path, out = sys.argv[1:4]
    with open(path, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    started_at = time.process_time()
    dropped = list({"datasketch": with_datasketch, "rensa": with_rensa}[library](texts))
    seconds = time.process_time() - started_at
    Path(out).write_text(json.dumps({"dropped": dropped, "seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    main()
