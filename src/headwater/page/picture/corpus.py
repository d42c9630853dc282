"""What the corpus was: where the text came from, what was kept of it, and how often training read it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from headwater.core.errors import HeadwaterError
from headwater.core.numbers import count, decimal, percent, plural, size, whole
from headwater.core.records import Object, amount, table
from headwater.corpus.shards import parse_document, read_lines
from headwater.page.picture.blocks import (
    Block,
    Words,
    card,
    data_table,
    fold,
    items,
    legend,
    mark,
    missing,
    section,
    series,
    stacked_bar,
    text,
    written,
)
from headwater.runs.measures import Share, read_shares
from headwater.runs.run_data import ALMANAC, RunData

MAX_ALMANAC = 0.20  # to the tenth of a percent that is shown: a plan deals in whole rows
NUM_EXCERPTS, EXCERPT_CHARACTERS = 2, 400  # of each source
_UNITS = ("documents", "bytes")


def corpus(run: RunData) -> Block:
    sources, title = table(run.corpus, "sources"), "What it read"
    if not sources:
        return section("corpus", title, missing("Not measured yet: `headwater corpus build` or `run` fills it."))
    composition = _composition(run) if len(run.sources) > 1 else None
    parts = [text("lead", _lead(sources)), composition, _by_source(run), _balance(run, sources), _excerpts(run)]
    return section("corpus", title, parts)


def _lead(sources: dict[str, Object]) -> str:
    read, kept = (_sum(table(source, what) for source in sources.values()) for what in ("read", "kept"))
    share = f" ({percent(kept['bytes'] / read['bytes'])})" if read["bytes"] else ""
    return (
        f"{plural(read['documents'], 'document')} from {plural(len(sources), 'source')} were read, "
        f"{size(read['bytes'])} of text; {size(kept['bytes'])}{share} was kept. "
        "Every document is kept, or dropped for a reason."
    )


def _sum(amounts: Iterable[Object]) -> dict[str, float]:
    amounts = list(amounts)
    return {unit: sum(amount(each, unit) or 0 for each in amounts) for unit in _UNITS}


def _composition(run: RunData) -> Block:
    """Draw two bars of the same sources: the text that was kept, and the tokens that training took from it."""
    kept = {name: amount(_text_of(run, name), "bytes") or 0 for name in run.sources}
    trained = {name: share.tokens or 0 for name, share in read_shares(run).items()}
    bars = []
    for name, amounts, show in (("Kept text", kept, size), ("Training tokens", trained, count)):
        if amounts is kept or any(amounts.values()):
            parts = [(at, source, amounts[source]) for at, source in enumerate(run.sources) if amounts.get(source)]
            bars.append(stacked_bar(parts, show, f"{name} by source", name))
    return card("Where the text came from", _almanac_note(run), bars, legend(run.sources))


def _almanac_note(run: RunData) -> str | None:
    share = read_shares(run).get(ALMANAC, Share()).fraction
    if share is None:
        return None
    is_allowed = round(share, 3) <= MAX_ALMANAC
    limit = "At most 20\u00a0% is allowed" if is_allowed else "This is MORE than the 20\u00a0% that are allowed"
    return (
        "The almanac is prose that a program writes from the World Factbook. It is "
        f"{percent(share)} of the training tokens. {limit}. Quality is measured on real text, without it."
    )


def _by_source(run: RunData) -> Block:
    shares, rows = read_shares(run), list[list[Words]]()
    for name in run.sources:
        found, share = _text_of(run, name), shares.get(name, Share())
        # of the whole training text, or the tokenizer's own of a sample where that isn't there yet
        per_token = amount(run.tokens, "splits", "train", name, "bytes_per_token")
        if per_token is None:
            per_token = amount(run.tokenizer, "bytes_per_token", name)
        text_kept = [whole(amount(found, "documents")), size(amount(found, "bytes")), decimal(per_token, 2)]
        trained = [count(share.tokens), percent(share.fraction), decimal(share.epochs, 2)]
        rows.append([_source_head(run, name), *text_kept, *trained])
    heads = ["source", "documents kept", "text kept", "bytes per token", "training tokens", "share", "epochs"]
    note = "Tokens and epochs over the whole run. Below one epoch, part of a source's training text is never read."
    return card("Source by source", note, data_table(heads, rows))


def _text_of(run: RunData, source: str) -> Object:
    """Return {documents, bytes} of a source as it lies in the corpus, cleaned: the balance counts bytes as read.

    Of a document whose end is held out both splits have a part.
    """
    splits = table(run.corpus, "splits")
    parts = [part for split in splits if (part := table(splits, split, source))]
    found = {"documents": amount(run.corpus, "sources", source, "kept", "documents")}
    return found | {"bytes": sum(amount(part, "bytes") or 0 for part in parts)} if parts else {}


def _balance(run: RunData, sources: dict[str, Object]) -> Block:
    names = [name for name in run.sources if name in sources]
    rows: list = [_summary_row(_source_head(run, name), sources[name]) for name in names]
    if len(names) > 1:
        total: Object = {what: _sum(table(each, what) for each in sources.values()) for what in ("read", "kept")}
        reasons = dict.fromkeys(reason for source in sources.values() for reason in table(source, "dropped"))
        lost = {reason: _sum(table(source, "dropped", reason) for source in sources.values()) for reason in reasons}
        rows.append(("total", _summary_row("all", total | {"dropped": lost})))
    details = [row for name in names for row in _reason_rows(run, name, sources[name])]
    balanced = all(
        _sum([table(source, "read")]) == _sum([table(source, "kept"), _dropped(source)]) for source in sources.values()
    )
    note = (
        "read = kept + dropped, in documents and in bytes as read: "
        + ("it balances." if balanced else "IT DOES NOT BALANCE.")
        + " Kept text is cleaned afterwards; the tables above show it cleaned. docs/corpus.md explains every reason."
    )
    full = data_table(["source", "what", "documents", "bytes", "of what was read"], details, words=["what"])
    every = fold("Every reason, to the byte", "", full, kind="")
    summary = data_table(["source", "read", "kept", "dropped", "reasons"], rows, words=["reasons"])
    return card("Balance sheet", note, summary, every)


def _dropped(source: Object) -> dict[str, float]:
    return _sum(table(source, "dropped").values())


def _reasons(source: Object) -> list[tuple[str, Object]]:
    """Return what was dropped by reason in words: the most documents first, then the most bytes."""
    losses = [(reason.replace("_", " "), table(loss)) for reason, loss in table(source, "dropped").items()]
    return sorted(losses, key=lambda item: [-(amount(item[1], unit) or 0) for unit in _UNITS])


def _summary_row(head: Words, source: Object) -> list[Words]:
    amounts = [table(source, "read"), table(source, "kept"), _dropped(source)]
    cells = [
        [mark("", whole(amount(each, "documents"))), mark("under", size(amount(each, "bytes")))] for each in amounts
    ]
    # in bytes where only parts of documents were lost
    reasons = [
        f"{reason} {whole(amount(loss, 'documents')) if loss.get('documents') else size(amount(loss, 'bytes'))}"
        for reason, loss in _reasons(source)
    ]
    return [head, *cells, " · ".join(reasons) or "–"]


def _reason_rows(run: RunData, name: str, source: Object) -> list[tuple[str, list[Words]]]:
    read, kept = table(source, "read"), table(source, "kept")
    lines = [("read", "read", read), ("kept", "kept", kept), ("kept", "kept, after cleaning", _text_of(run, name))]
    rows = list[tuple[str, list[Words]]]()
    for kind, words, found in [*lines, *(("dropped", reason, loss) for reason, loss in _reasons(source))]:
        num_bytes, of = amount(found, "bytes"), amount(read, "bytes")
        share = percent(num_bytes / of) if num_bytes is not None and of else "–"
        cells = [whole(amount(found, "documents")), whole(num_bytes), share]
        rows.append((kind, [_source_head(run, name), words, *cells]))
    return rows


def _source_head(run: RunData, name: str) -> Words:
    return [mark(f"chip {series(run.sources.index(name))}"), name]


def _excerpts(run: RunData) -> Block | None:
    """Return how the first training documents of each source begin; nothing where the corpus can't be read."""
    found = [
        written(f"{name} · {origin}", "", begins)
        for name in run.sources
        for origin, begins in _first_documents(run.folder / "data" / "corpus" / "train" / Path(name).name)
    ]
    if not found:
        return None
    return fold("Text that was kept", "the first documents of each source", items("samples", found))


def _first_documents(folder: Path) -> list[tuple[str, str]]:
    try:
        documents = [parse_document(line) for line in islice(read_lines(folder), NUM_EXCERPTS)]
        return [
            (str(document.origin), document.text[:EXCERPT_CHARACTERS] + "…" * (len(document.text) > EXCERPT_CHARACTERS))
            for document in documents
        ]
    except (HeadwaterError, OSError, ValueError, LookupError, TypeError):  # a damaged corpus
        return []
