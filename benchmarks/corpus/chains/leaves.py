"""One part of the chain by one library: `python leaves.py LEAF INPUT`; prints {"bytes", "seconds"} of processor time.

LEAF is PART:LIBRARY. INPUT is a file of JSON lines (html: {"html"}, others: {"text"}); signatures are of 112 hashes
over shingles of 5 words, as FineWeb's. What a library imports and its first call aren't timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUM_HASHES, SHINGLE_WORDS = 112, 5
TOKENIZER = Path("tokenizer")  # beside the input: what headwater trained

Work = Callable[[str], Any]


def html_headwater(folder: Path) -> Work:
    from headwater.corpus.read.input import InputFile, parse
    from headwater.corpus.read.limits import ReadLimits

    file, limits = InputFile(folder / "page.html", "page", "pages", "web"), ReadLimits(100_000, 1 << 24, 1 << 26)

    def extract(page: str) -> Any:
        file.path.write_text(page, encoding="utf-8")
        return list(parse(file, "html", limits))

    return extract


def html_trafilatura(folder: Path) -> Work:
    from trafilatura import extract

    return lambda page: extract(page)


def html_trafilatura_fast(folder: Path) -> Work:
    from trafilatura import extract

    return lambda page: extract(page, fast=True)


def html_resiliparse(folder: Path) -> Work:
    from resiliparse.extract.html2text import extract_plain_text

    return lambda page: extract_plain_text(page, main_content=True)


def minhash_headwater(folder: Path) -> Work:
    from headwater.corpus.scripts import words_of
    from headwater.corpus.sources.settings import DedupSettings
    from headwater.corpus.words import MinHash, WordHasher, ngrams

    settings, hasher = DedupSettings(), WordHasher()
    minhash = MinHash(settings)

    def keys(text: str) -> list[int]:
        shingles = ngrams(hasher.hash(words_of(text)), settings.shingle_words)
        return minhash.keys_of(minhash.signature(shingles))

    return keys


def shingles(text: str) -> list[str]:
    words = text.lower().split()
    return [" ".join(words[at : at + SHINGLE_WORDS]) for at in range(max(1, len(words) - SHINGLE_WORDS + 1))]


def minhash_datasketch(folder: Path) -> Work:
    from datasketch import MinHash

    def sign(text: str) -> Any:
        signature = MinHash(num_perm=NUM_HASHES)
        signature.update_batch([shingle.encode() for shingle in shingles(text)])
        return signature.digest()

    return sign


def minhash_rensa(folder: Path) -> Work:
    from rensa import RMinHash

    def sign(text: str) -> Any:
        signature = RMinHash(num_perm=NUM_HASHES, seed=1)
        signature.update(shingles(text))
        return signature.digest()

    return sign


def tokens_headwater(folder: Path) -> Work:
    from headwater.tokens.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder / TOKENIZER)
    return lambda text: tokenizer.encode_arrays([text])


def tokens_tokenizers(folder: Path) -> Work:
    import tokenizers

    model = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER / "tokenizer.json"))
    return lambda text: model.encode(text, add_special_tokens=False).ids


LEAVES: dict[str, Callable[[Path], Work]] = {
    "html:headwater": html_headwater,
    "html:trafilatura": html_trafilatura,
    "html:trafilatura-fast": html_trafilatura_fast,
    "html:resiliparse": html_resiliparse,
    "minhash:headwater": minhash_headwater,
    "minhash:datasketch": minhash_datasketch,
    "minhash:rensa": minhash_rensa,
    "tokens:headwater": tokens_headwater,
    "tokens:tokenizers": tokens_tokenizers,
}


def main() -> None:
    leaf, path = sys.argv[1], Path(sys.argv[2])
    field = "html" if leaf.startswith("html") else "text"
    with open(path, encoding="utf-8") as lines:
        inputs = [json.loads(line)[field] for line in lines]
    work = LEAVES[leaf](path.parent)
    work(inputs[0])
    started_at = time.process_time()
    for each in inputs:
        work(each)
    seconds = time.process_time() - started_at
    print(json.dumps({"bytes": sum(len(each.encode()) for each in inputs), "seconds": seconds}))


if __name__ == "__main__":
    main()
