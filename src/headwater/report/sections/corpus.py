"""What the corpus was: where the text came from, what was kept of it, and how often training went through it."""

from __future__ import annotations

from collections.abc import Callable

from headwater.report.chart import series
from headwater.report.markup import Child, Html, render, tag
from headwater.report.mixture import Share, read_shares
from headwater.report.numbers import count, decimal, number, percent, plural, size, whole
from headwater.report.run_data import ALMANAC, Object, RunData, amount, table

MAX_ALMANAC = 0.20  # to the tenth of a percent that is shown: a plan deals in whole rows
_UNITS = ("documents", "bytes")


def corpus(run: RunData) -> Html:
    sources = table(run.corpus, "sources")
    if not sources:
        body: Child = tag(
            "p",
            "Not measured yet: the corpus has not been built; `headwater corpus build` or `run` fills it.",
            class_="missing card",
        )
    else:
        composition = _composition(run) if len(run.sources) > 1 else None
        body = [tag("p", _lead(sources), class_="lead"), composition, _by_source(run), _balance(run, sources)]
    return tag("section", tag("h2", "What it read"), body, id="corpus")


def _lead(sources: dict[str, Object]) -> str:
    read, kept = _sum(sources, "read"), _sum(sources, "kept")
    share = f" ({percent(kept['bytes'] / read['bytes'])})" if read["bytes"] else ""
    return (
        f"{plural(read['documents'], 'document')} from {plural(len(sources), 'source')} were read, "
        f"{size(read['bytes'])} of text; {size(kept['bytes'])}{share} was kept. "
        "Every document is kept, or dropped for a reason."
    )


def _sum(sources: dict[str, Object], what: str) -> dict[str, float]:
    return {unit: sum(amount(source, what, unit) or 0 for source in sources.values()) for unit in _UNITS}


def _composition(run: RunData) -> Html:
    """Draw two bars of the same sources: the text that was kept, and the tokens that training took from it."""
    kept = {name: amount(_text_of(run, name), "bytes") or 0 for name in run.sources}
    trained = {name: share.tokens or 0 for name, share in read_shares(run).items()}
    bars = [_bar(run, "Kept text", kept, size)]
    if any(trained.values()):
        bars.append(_bar(run, "Training tokens", trained, count))
    legend = [tag("li", tag("span", class_=f"chip {series(index)}"), name) for index, name in enumerate(run.sources)]
    return tag(
        "figure",
        tag("figcaption", tag("h3", "Where the text came from"), _almanac_note(run)),
        bars,
        tag("ul", legend, class_="legend"),
        class_="card",
    )


def _bar(run: RunData, name: str, amounts: dict[str, float], show: Callable[[float], str]) -> Html:
    total = sum(amounts.values()) or 1
    left, pieces = 0.0, []
    for index, source in enumerate(run.sources):
        width = 100 * amounts.get(source, 0) / total
        if width > 0:
            words = f"{source}: {show(amounts[source])}, {percent(width / 100)}"
            pieces.append(_piece(left, width, series(index), words))
            left += width
    picture = tag("svg", pieces, class_="bar", role="img", aria_label=f"{name} by source")
    head = tag("div", tag("span", name), tag("strong", show(total)), class_="bar-head")
    return tag("div", head, picture, class_="bar-row")


def _piece(left: float, width: float, color: str, words: str) -> Html:
    place = {"x": f"{left + width / 2:.3f}%", "y": "50%", "class_": "narrow" if width < 13 else None}
    text = tag("text", f"{width:.0f} %", **place) if width >= 5 else None
    box = tag("rect", tag("title", words), x=f"{left:.3f}%", y="0", width=f"{width:.3f}%", height="100%", class_=color)
    return render([box, text])


def _almanac_note(run: RunData) -> Child:
    share = read_shares(run).get(ALMANAC, Share()).fraction
    if share is None:
        return None
    limit = (
        "at most 20\u00a0%, as it must be"
        if round(share, 3) <= MAX_ALMANAC
        else "MORE than the 20\u00a0% that it may be"
    )
    return tag(
        "p",
        f"The almanac, prose that a program writes from the World Factbook, is {percent(share)} of the training "
        f"tokens: {limit}. Quality is measured on real text, without it.",
    )


def _by_source(run: RunData) -> Html:
    shares = read_shares(run)
    rows = [_source_row(run, name, shares.get(name, Share())) for name in run.sources]
    heads = ["source", "documents kept", "text kept", "bytes per token", "training tokens", "share", "epochs"]
    note = "Tokens and epochs over the whole run. Below one epoch, some of a source's training text is never seen."
    caption = tag("figcaption", tag("h3", "Source by source"), tag("p", note))
    return tag("figure", caption, _table(heads, rows), class_="card")


def _source_row(run: RunData, name: str, share: Share) -> Html:
    text = _text_of(run, name)
    cells = [
        whole(amount(text, "documents")),
        size(amount(text, "bytes")),
        decimal(bytes_per_token(run, name), 2),
        count(share.tokens),
        percent(share.fraction),
        decimal(share.epochs, 2),
    ]
    return tag("tr", _source_head(run, name), [tag("td", cell) for cell in cells])


def _text_of(run: RunData, source: str) -> Object:
    """Return {documents, bytes} of a source as it lies in the corpus, cleaned: the balance counts bytes as read."""
    splits = table(run.corpus, "splits")
    parts = [part for split in splits if (part := table(splits, split, source))]
    return {unit: sum(amount(part, unit) or 0 for part in parts) for unit in _UNITS} if parts else {}


def bytes_per_token(run: RunData, source: str) -> float | None:
    """Return the figure of the whole training text, or the tokenizer's own of a sample where that isn't there yet."""
    whole_text = amount(run.tokens, "splits", "train", source, "bytes_per_token")
    return whole_text if whole_text is not None else amount(run.tokenizer, "bytes_per_token", source)


def _balance(run: RunData, sources: dict[str, Object]) -> Html:
    names = [name for name in run.sources if name in sources]
    lines = [_summary_row(_source_head(run, name), sources[name]) for name in names]
    total = {what: _sum(sources, what) for what in ("read", "kept")} | {"dropped": _all_reasons(sources)}
    lines.append(_summary_row(tag("th", "all", scope="row"), total, class_="total"))
    details = [row for name in names for row in _reason_rows(run, name, sources[name])]
    balanced = all(_is_balanced(source) for source in sources.values())
    verdict = "it balances." if balanced else "IT DOES NOT BALANCE."
    note = (
        f"read = kept + dropped, in documents and in bytes of the text as read: {verdict} Cleaning what was kept gives "
        "the text of the tables above."
    )
    heads = ["source", "read", "kept", "dropped", "why"]
    full = _table(["source", "", "documents", "bytes", "of what was read"], details, class_="reasons")
    return tag(
        "figure",
        tag("figcaption", tag("h3", "Balance sheet"), tag("p", note)),
        _table(heads, lines, class_="balance"),
        tag("details", tag("summary", "Every reason, to the byte"), full),
        class_="card",
    )


def _all_reasons(sources: dict[str, Object]) -> dict[str, dict[str, float]]:
    reasons: dict[str, dict[str, float]] = {}
    for source in sources.values():
        for reason, loss in table(source, "dropped").items():
            sums = reasons.setdefault(reason, {"documents": 0, "bytes": 0})
            for unit in sums:
                sums[unit] += amount(loss, unit) or 0
    return reasons


def _dropped(source: Object) -> dict[str, float]:
    losses = table(source, "dropped").values()
    return {unit: sum(amount(loss, unit) or 0 for loss in losses) for unit in _UNITS}


def _is_balanced(source: Object) -> bool:
    dropped = _dropped(source)
    return all(
        (amount(source, "read", unit) or 0) == (amount(source, "kept", unit) or 0) + dropped[unit] for unit in dropped
    )


def _by_bytes(source: Object) -> list[tuple[str, Object]]:
    """Return what was dropped by reason in words, the most bytes first."""
    losses = sorted(table(source, "dropped").items(), key=lambda item: -(amount(item[1], "bytes") or 0))
    return [(reason.replace("_", " "), table(loss)) for reason, loss in losses]


def _summary_row(head: Html, source: Object, class_: str | None = None) -> Html:
    cells = [tag("td", _documents_and_bytes(table(source, what))) for what in ("read", "kept")]
    reasons = [f"{reason} {_extent(loss)}" for reason, loss in _by_bytes(source)]
    why = tag("td", " · ".join(reasons) or "–", class_="words")
    return tag("tr", head, cells, tag("td", _documents_and_bytes(_dropped(source))), why, class_=class_)


def _extent(loss: Object) -> str:
    """Return what was lost in documents, or in bytes where only parts of documents were."""
    return whole(number(loss.get("documents"))) if loss.get("documents") else size(number(loss.get("bytes")))


def _documents_and_bytes(amounts: Object) -> list[Html]:
    documents, num_bytes = number(amounts.get("documents")), number(amounts.get("bytes"))
    return [tag("span", whole(documents)), tag("span", size(num_bytes), class_="under")]


def _reason_rows(run: RunData, name: str, source: Object) -> list[Html]:
    head, text = _source_head(run, name), _text_of(run, name)
    read_bytes = amount(source, "read", "bytes") or 0
    lines = [("read", table(source, "read"), "read"), ("kept", table(source, "kept"), "kept")]
    lines += [("of it, cleaned: text", text, "kept")]
    lines += [(reason, loss, "dropped") for reason, loss in _by_bytes(source)]
    return [
        tag("tr", head if index == 0 else tag("th", ""), _reason_cells(words, amounts, read_bytes), class_=kind)
        for index, (words, amounts, kind) in enumerate(lines)
    ]


def _reason_cells(words: str, amounts: Object, read_bytes: float) -> list[Html]:
    num_bytes = number(amounts.get("bytes"))
    share = percent(num_bytes / read_bytes) if num_bytes is not None and read_bytes else "–"
    documents = whole(number(amounts.get("documents")))
    return [tag("td", words, class_="words"), *[tag("td", cell) for cell in (documents, whole(num_bytes), share)]]


def _source_head(run: RunData, name: str) -> Html:
    return tag("th", tag("span", class_=f"chip {series(run.sources.index(name))}"), name, scope="row")


def _table(heads: list[str], rows: list[Html], class_: str = "") -> Html:
    head = tag("tr", [tag("th", name, scope="col") for name in heads])
    body = tag("table", tag("thead", head), tag("tbody", rows), class_=f"numbers {class_}".strip())
    return tag("div", body, class_="scroll")
