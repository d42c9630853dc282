"""What the corpus was: where the text came from, what was kept of it, and how often training went through it."""

from __future__ import annotations

from headwater.report.chart import series
from headwater.report.markup import Child, Html, tag
from headwater.report.mixture import Share, read_shares
from headwater.report.numbers import count, decimal, number, percent, plural, size, whole
from headwater.report.run_data import ALMANAC, Object, RunData, amount, table

MAX_ALMANAC = 0.20


def corpus(run: RunData) -> Html:
    sources = table(run.corpus, "sources")
    if not sources:
        body: Child = tag("p", "Not measured yet: the corpus has not been built.", class_="missing card")
    else:
        body = [tag("p", _lead(sources), class_="lead"), _composition(run), _by_source(run), _balance(run, sources)]
    return tag("section", tag("h2", "What it read"), body, id="corpus")


def _lead(sources: dict[str, Object]) -> str:
    read, kept = _sum(sources, "read"), _sum(sources, "kept")
    share = f" ({percent(kept['bytes'] / read['bytes'])})" if read["bytes"] else ""
    return (
        f"{plural(read['documents'], 'document')} from {plural(len(sources), 'source')} were read, {size(read['bytes'])} of text; "
        f"{size(kept['bytes'])}{share} was kept. Every document is kept or dropped for a reason, and the books balance."
    )


def _sum(sources: dict[str, Object], what: str) -> dict[str, float]:
    return {unit: sum(amount(source, what, unit) or 0 for source in sources.values()) for unit in ("documents", "bytes")}


def _composition(run: RunData) -> Html:
    """Draw two bars of the same sources: the text that was kept, and the tokens that training took from it."""
    kept = {name: amount(table(run.corpus, "sources"), name, "kept", "bytes") or 0 for name in run.sources}
    trained = {name: share.tokens or 0 for name, share in read_shares(run).items()}
    bars = [_bar(run, "Kept text", kept, size)]
    if any(trained.values()):
        bars.append(_bar(run, "Training tokens", trained, count))
    legend = [
        tag("li", tag("span", class_=f"chip {series(index)}"), name) for index, name in enumerate(run.sources)
    ]
    return tag(
        "figure",
        tag("figcaption", tag("h3", "Where the text came from"), _almanac_note(run)),
        bars,
        tag("ul", legend, class_="legend"),
        class_="card wide",
    )


def _bar(run: RunData, name: str, amounts: dict[str, float], show: object) -> Html:
    assert callable(show)
    total = sum(amounts.values()) or 1
    left, pieces = 0.0, []
    for index, source in enumerate(run.sources):
        width = 100 * amounts.get(source, 0) / total
        if width > 0:
            words = f"{source}: {show(amounts[source])}, {percent(width / 100)}"
            pieces.append(_piece(left, width, series(index), words))
            left += width
    picture = tag("svg", pieces, class_="bar", role="img", aria_label=f"{name} by source")
    return tag("div", tag("div", tag("span", name), tag("strong", show(total)), class_="bar-head"), picture, class_="bar-row")


def _piece(left: float, width: float, color: str, words: str) -> Html:
    text = tag("text", f"{width:.0f} %", x=f"{left + width / 2:.3f}%", y="50%") if width >= 7 else None
    box = tag("rect", tag("title", words), x=f"{left:.3f}%", y="0", width=f"{width:.3f}%", height="100%", class_=color)
    return Html(box + (text or ""))


def _almanac_note(run: RunData) -> Child:
    share = read_shares(run).get(ALMANAC, Share(None, None, None)).fraction
    if share is None:
        return None
    held = "and is held to at most 20 %" if share <= MAX_ALMANAC else "which is more than the 20 % it is meant to be held to"
    return tag(
        "p",
        f"The almanac, text written by a program from the World Factbook, is {percent(share)} of the training tokens, {held}; "
        "quality is measured on the other sources, on real text.",
    )


def _by_source(run: RunData) -> Html:
    shares = read_shares(run)
    rows = [_source_row(run, index, name, shares.get(name, Share(None, None, None))) for index, name in enumerate(run.sources)]
    heads = ["source", "documents kept", "text kept", "bytes per token", "training tokens", "share", "epochs"]
    return _table_card("Source by source", None, heads, rows)


def _source_row(run: RunData, index: int, name: str, share: Share) -> Html:
    kept = table(run.corpus, "sources", name, "kept")
    cells = [
        whole(number(kept.get("documents"))),
        size(number(kept.get("bytes"))),
        decimal(bytes_per_token(run, name), 2),
        count(share.tokens),
        percent(share.fraction),
        decimal(share.epochs, 2),
    ]
    return tag("tr", _source_head(index, name), [tag("td", cell) for cell in cells])


def bytes_per_token(run: RunData, source: str) -> float | None:
    """Return the tokenizer's own measurement, or the token store's bytes divided by its tokens."""
    measured = amount(run.tokenizer, "bytes_per_token", source)
    store = run.stores.get(source, {})
    num_tokens, num_bytes = amount(store, "num_tokens"), amount(store, "num_bytes")
    if measured is None and num_tokens and num_bytes:
        return num_bytes / num_tokens
    return measured


def _balance(run: RunData, sources: dict[str, Object]) -> Html:
    rows = []
    for index, name in enumerate(run.sources):
        if name in sources:
            rows.extend(_balance_rows(index, name, sources[name]))
    total = {"read": _sum(sources, "read"), "kept": _sum(sources, "kept"), "dropped": {"all": _dropped(sources)}}
    rows.append(_totals_row(total, len(sources)))
    heads = ["source", "", "documents", "bytes", "of what was read"]
    balanced = all(_is_balanced(source) for source in sources.values())
    note = "read = kept + dropped, in documents and in bytes" + (": it balances." if balanced else ": IT DOES NOT BALANCE.")
    return _table_card("Balance sheet", note, heads, rows, class_="balance")


def _dropped(sources: dict[str, Object]) -> dict[str, float]:
    reasons = [reason for source in sources.values() for reason in table(source, "dropped").values()]
    return {unit: sum(amount(reason, unit) or 0 for reason in reasons) for unit in ("documents", "bytes")}


def _is_balanced(source: Object) -> bool:
    dropped = _dropped({"": source})
    return all(
        (amount(source, "read", unit) or 0) == (amount(source, "kept", unit) or 0) + dropped[unit] for unit in dropped
    )


def _balance_rows(index: int, name: str, source: Object) -> list[Html]:
    read_bytes = amount(source, "read", "bytes") or 0
    lines = [("read", table(source, "read"), "read"), ("kept", table(source, "kept"), "kept")]
    drops = sorted(table(source, "dropped").items(), key=lambda item: -(amount(item[1], "bytes") or 0))
    lines += [(reason.replace("_", " "), table(loss), "dropped") for reason, loss in drops]
    head = _source_head(index, name, rowspan=len(lines))
    return [
        tag("tr", head if number_of == 0 else None, _balance_cells(words, amounts, read_bytes), class_=kind)
        for number_of, (words, amounts, kind) in enumerate(lines)
    ]


def _totals_row(total: Object, num_sources: int) -> Html:
    read_bytes = total["read"]["bytes"]
    lines = [("read", total["read"], "read"), ("kept", total["kept"], "kept"), ("dropped", total["dropped"]["all"], "dropped")]
    head = tag("th", f"all {num_sources}", scope="rowgroup", rowspan=len(lines))
    return Html(
        "".join(
            tag("tr", head if index == 0 else None, _balance_cells(words, amounts, read_bytes), class_=f"total {kind}")
            for index, (words, amounts, kind) in enumerate(lines)
        )
    )


def _balance_cells(words: str, amounts: Object, read_bytes: float) -> list[Html]:
    num_bytes = number(amounts.get("bytes"))
    share = percent(num_bytes / read_bytes) if num_bytes is not None and read_bytes else "–"
    return [
        tag("td", words, class_="reason"),
        tag("td", whole(number(amounts.get("documents")))),
        tag("td", whole(num_bytes)),
        tag("td", share),
    ]


def _source_head(index: int, name: str, rowspan: int | None = None) -> Html:
    return tag("th", tag("span", class_=f"chip {series(index)}"), name, scope="row", rowspan=rowspan)


def _table_card(title: str, note: str | None, heads: list[str], rows: list[Html], class_: str = "") -> Html:
    head = tag("tr", [tag("th", name, scope="col") for name in heads])
    body = tag("table", tag("thead", head), tag("tbody", rows), class_=f"numbers {class_}".strip())
    caption = tag("figcaption", tag("h3", title), tag("p", note) if note else None)
    return tag("figure", caption, tag("div", body, class_="scroll"), class_="card wide")
