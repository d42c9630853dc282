"""Builds a corpus folder from settings: every document read, sieved, split, written and accounted for.

manifest.json                          settings, digests of the inputs and of every shard, the balance sheet
train/SOURCE/00000.jsonl.zst           documents to train on, in the order in which they were read
validation/SOURCE/00000.jsonl.zst
dropped/SOURCE/00000.jsonl.zst         an excerpt of everything dropped, with the reason
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.corpus.account import Balance
from headwater.corpus.clean import clean
from headwater.corpus.document import EXCERPT_CHARACTERS, Document, Drop, drop_document, num_bytes
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.read.sections import cut_point
from headwater.corpus.read.source import read_source
from headwater.corpus.settings import CorpusSettings, SourceSettings
from headwater.corpus.shards import FORMAT, FORMAT_VERSION, ShardWriter, document_line, drop_line
from headwater.corpus.sieve import Sieve
from headwater.corpus.split import Split, split, split_hash
from headwater.corpus.spool import Spool
from headwater.errors import DataError
from headwater.files import digest_json, new_folder, stage_key, write_json

CODE_VERSION = 1  # raise it when the same settings and inputs give other documents: old corpora are then built again
BYTES_A_PROGRESS_LINE = 100_000_000

Say = Callable[[str], None]


def corpus_key(settings: CorpusSettings, inputs: dict[str, str]) -> str:
    """Return the key under which a corpus made from these settings and inputs is up to date."""
    table = settings.model_dump(mode="json")
    table["order"] = list(settings.sources)  # which copy of a duplicate is kept depends on it; digests sort keys
    return stage_key("corpus", CODE_VERSION, table, inputs)


def measure_paths(paths: list[str]) -> tuple[int, int]:
    """Return how many files `paths` name, those in folders too, and the UTF-8 bytes of the text read from them.

    Everything is read, by the same readers as for a corpus. Raises DataError for a path that names nothing.
    """
    settings = CorpusSettings(sources={"text": SourceSettings(paths=paths)})
    origins, total = set(), 0
    for piece in read_source("text", settings):
        origins.add(piece.origin)
        total += 0 if isinstance(piece, Drop) else num_bytes(piece.text)
    return len(origins), total


def build_corpus(settings: CorpusSettings, out_dir: Path, say: Say) -> dict[str, Any]:
    """Build the corpus in `out_dir`, replacing what is there once all is done, and return its manifest.

    The same settings and inputs give the same bytes. Raises DataError when nothing is left to train on, or nothing
    to validate on, with the reasons; StorageError when the disk refuses.
    """
    inputs = corpus_inputs(settings)
    with new_folder(out_dir, replace=True) as folder:
        balance, digests = _fill(folder, settings, say)
        shards = {path.relative_to(folder).as_posix(): digests[path] for path in sorted(digests)}
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "key": corpus_key(settings, inputs),
            "digest": digest_json({name: shards[name] for name in shards if not name.startswith("dropped/")}),
            **balance.as_dict(),
            "shards": shards,
            "inputs": inputs,
            "settings": settings.model_dump(mode="json"),
        }
        write_json(folder / "manifest.json", manifest)
    return manifest


def _fill(folder: Path, settings: CorpusSettings, say: Say) -> tuple[Balance, dict[Path, str]]:
    """Write all shards; return the balance sheet and the digest of each."""
    balance, digests = Balance(list(settings.sources)), dict[Path, str]()
    with Spool(folder / "spool.jsonl") as spool:
        sieve = Sieve(settings, _held_out_patterns(settings), spool)
        for name in settings.sources:
            first = len(spool)
            digests |= _read_source(folder, name, settings, sieve, balance, say)
            digests |= _write_source(folder, name, settings, spool, range(first, len(spool)), balance)
            say(_summary(name, balance))
    balance.check()
    _require_text(settings, balance)
    return balance, digests


def _held_out_patterns(settings: CorpusSettings) -> Sequence[re.Pattern[str]]:
    """Return the patterns of the probes where the almanac is a source: without it a run has no probes to keep out."""
    if not any(source.builtin == "almanac" for source in settings.sources.values()):
        return []
    from headwater.corpus.almanac.holdout import held_out_patterns

    return held_out_patterns()


def _read_source(
    folder: Path, name: str, settings: CorpusSettings, sieve: Sieve, balance: Balance, say: Say
) -> dict[Path, str]:
    """Sift a source; return the digests of the shards of what was dropped."""
    told_bytes = 0
    with ShardWriter(folder / "dropped" / name, settings.shard_bytes) as dropped:
        for piece in read_source(name, settings):
            drop = piece if isinstance(piece, Drop) else _sift(piece, sieve, balance)
            if isinstance(piece, Drop):
                balance.read_(name, piece.num_documents, piece.num_bytes)
            if drop is not None:
                balance.drop_(name, drop.reason, drop.num_documents, drop.num_bytes)
                dropped.write(drop_line(drop))
            if balance.sources[name].read.bytes - told_bytes >= BYTES_A_PROGRESS_LINE:
                told_bytes = balance.sources[name].read.bytes
                say(f"{name}: {told_bytes / 1e6:,.0f} MB read so far")
    return dropped.digests


def _sift(document: Document, sieve: Sieve, balance: Balance) -> Drop | None:
    """Put one document through the sieve and on the balance sheet; return what of it was dropped."""
    raw_bytes = num_bytes(document.text)
    balance.read_(document.source, 1, raw_bytes)
    verdict = sieve.examine_(document)
    if verdict.reason is not None:
        return drop_document(verdict.document, verdict.reason, raw_bytes)
    cut_bytes = min(num_bytes(verdict.withheld), raw_bytes)
    balance.keep_(document.source, 1, raw_bytes - cut_bytes)
    if not verdict.withheld:
        return None
    excerpt = verdict.withheld[:EXCERPT_CHARACTERS]
    return Drop("held_out_probe", document.source, document.id, document.origin, cut_bytes, excerpt, num_documents=0)


def _write_source(
    folder: Path, name: str, settings: CorpusSettings, spool: Spool, numbers: range, balance: Balance
) -> dict[Path, str]:
    """Split the documents `numbers` of the spool and write them, in order, under train/ and validation/.

    Return the digests of the shards.
    """
    chosen, sizes = _choose(settings, spool, numbers)
    with (
        ShardWriter(folder / "train" / name, settings.shard_bytes) as train,
        ShardWriter(folder / "validation" / name, settings.shard_bytes) as validation,
    ):
        writers = {"train": train, "validation": validation}
        for index, number in enumerate(numbers):
            if index != chosen.tail_of:
                side = "validation" if index in chosen.validation else "train"
                writers[side].write(spool.line(number))
                balance.place_(name, side, sizes[index])
                continue
            balance.cut_(name)
            for side, part in _cut_tail(spool.document(number), chosen.tail_bytes):
                writers[side].write(document_line(part))
                balance.place_(name, side, num_bytes(part.text))
    return train.digests | validation.digests


def _choose(settings: CorpusSettings, spool: Spool, numbers: range) -> tuple[Split, list[int]]:
    """Return the split of the documents `numbers` and their sizes in bytes."""
    hashes, sizes = [], []
    for number in numbers:
        document = spool.document(number)
        hashes.append(split_hash(document.meta.get("group", document.text), settings.seed))
        sizes.append(num_bytes(document.text))
    return split(hashes, sizes, settings.validation_fraction), sizes


def _cut_tail(document: Document, tail_bytes: int) -> list[tuple[str, Document]]:
    text = document.text
    # the cut lies in the second half of the span it is looked for in: between 1 and 1.5 tails from the end
    tail = len(text) * tail_bytes // num_bytes(text)
    end = cut_point(text, len(text) - 2 * tail, len(text) - tail)
    start = replace(document, id=f"{document.id}/start", text=clean(text[:end], document.kind))
    rest = replace(document, id=f"{document.id}/end", text=clean(text[end:], document.kind))
    return [("train", start), ("validation", rest)]


def _summary(name: str, balance: Balance) -> str:
    source = balance.sources[name]
    reasons = ", ".join(
        f"{reason} {count.documents:,}" if count.documents else f"{reason} {count.bytes:,} bytes"
        for reason, count in sorted(source.dropped.items())
    )
    return (
        f"{name}: kept {source.kept.documents:,} of {source.read.documents:,} documents, "
        f"{source.kept.bytes / 1e6:.1f} of {source.read.bytes / 1e6:.1f} MB"
        + (f"; dropped: {reasons}" if reasons else "")
        + ("" if balance.splits["validation"][name].documents else "; too little text for a validation part")
    )


def _require_text(settings: CorpusSettings, balance: Balance) -> None:
    if sum(count.documents for count in balance.splits["train"].values()) == 0:
        found = "\n".join(f"  {_where(settings, name)}: {_summary(name, balance)}" for name in settings.sources)
        raise DataError(f"the corpus is empty: no document was kept\n{found}\nadd text, or loosen corpus.rules")
    if sum(count.documents for count in balance.splits["validation"].values()) == 0:
        total = sum(count.bytes for count in balance.splits["train"].values())
        raise DataError(
            f"the corpus is too small: {total:,} bytes, in one document a source, leave nothing to validate on; "
            "add a second document or at least 1,000 bytes"
        )


def _where(settings: CorpusSettings, name: str) -> str:
    source = settings.sources[name]
    return ", ".join(source.paths or source.fetched or [str(source.package or source.builtin)])
