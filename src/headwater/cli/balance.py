"""corpus show: the balance sheet by source, stage and reason, what training sees of it, and what was dropped."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.terminal import print_json, safe, say, say_beside, table
from headwater.core.numbers import count, plural

if TYPE_CHECKING:
    from headwater.corpus.decide.tune import Tuned

EXCERPT_LINES, EXCERPT_WIDTH = 6, 110
UNITS = ("documents", "bytes")

Amount = dict[str, int]


def print_balance(balance: dict[str, Any]) -> None:
    """Print what was read, dropped by stage and reason, kept, and held out; of several sources the sums at last.

    To the byte, and every byte in it: read less what was dropped is kept, and that less cleaning the text. Then what
    was found in it.
    """
    sources, held_out = balance["sources"], balance["splits"]["validation"]
    rows = [["source", "", "documents", "bytes"]]
    for source, sheet in sources.items():
        dropped = [
            (f"- {stage}: {reason}", amount)
            for stage, found in sheet["stages"].items()
            for reason, amount in found["reasons"].items()
        ]
        rows += _sheet(source, sheet, dropped, held_out[source])
    if len(sources) > 1:
        sheets = list(sources.values())
        total: dict[str, Any] = {name: _sum([sheet[name] for sheet in sheets]) for name in ("read", "kept", "text")}
        total["cleaned_bytes"] = sum(sheet["cleaned_bytes"] for sheet in sheets)
        dropped = [("- dropped", _sum([stage for sheet in sheets for stage in sheet["stages"].values()]))]
        rows += _sheet("all", total, dropped if any(dropped[0][1].values()) else [], _sum(list(held_out.values())))
    table(rows, "<<")
    print_findings(balance)


def _sheet(source: str, sheet: dict[str, Any], dropped: list[tuple[str, Amount]], held_out: Amount) -> list[list[str]]:
    cleaned = sheet["cleaned_bytes"]
    what = "- taken away by cleaning" if cleaned >= 0 else "+ added by cleaning"
    amounts = [("read", sheet["read"]), *dropped, ("kept, as read", sheet["kept"]), (what, {"bytes": abs(cleaned)})]
    amounts += [("text, as trained on", sheet["text"]), ("of it held out", held_out)]
    return [
        [source if name == "read" else "", name, *(f"{amount[unit]:,}" if unit in amount else "" for unit in UNITS)]
        for name, amount in amounts
    ]


def _sum(amounts: list[Amount]) -> Amount:
    return {unit: sum(amount[unit] for amount in amounts) for unit in UNITS}


def print_findings(balance: dict[str, Any]) -> None:
    """Print what of evaluation sets was found, what was redacted, and the licences of what is kept."""
    for name, found in balance.get("decontamination", {}).items():
        few = found["too_short"]
        short = f"; {few:,} have fewer words than corpus.decontaminate.min_words and were not searched" if few else ""
        items = f"{found['found']:,} of {found['items']:,} items found, in {plural(found['documents'], 'document')}"
        say(f"evaluation set {name}: {items}; {count(found['bytes'])} bytes removed{short}")
    redacted = {kind: found["replaced"] for kind, found in balance.get("redaction", {}).items() if found["replaced"]}
    if redacted:
        print("redacted: " + ", ".join(f"{kind} {times:,}" for kind, times in redacted.items()))
    licences: dict[str, int] = {}
    for counts in balance.get("kept_by", {}).get("licence", {}).values():
        for licence, amount in counts.items():
            licences[licence] = licences.get(licence, 0) + amount["bytes"]
    if set(licences) - {"unknown"}:
        largest = sorted(licences.items(), key=lambda item: (-item[1], item[0]))
        say("text by licence: " + ", ".join(f"{licence} {count(size)}" for licence, size in largest))


def print_training(training: dict[str, dict[str, float]] | None) -> None:
    """Print what a run sees of each source."""
    if training is None:
        return
    rows = [["training", "tokens", "lost", "padding", "weight", "epochs"]]
    for source, seen in training.items():
        tokens = [count(seen["tokens"]), f"{seen['tokens_lost']:,}", f"{seen['padding']:.2%}"]
        rows.append([source, *tokens, f"{seen['weight']:.1%}", f"{seen['epochs']:.2f}"])
    table(rows)
    part = min(seen["rows_read"] / max(1, seen["rows"]) for seen in training.values())
    if part < 1:
        print(f"{part:.0%} of each source's sequences are used (mixture.share_of_text)")


def print_tuned(found: Tuned, column: str | None) -> None:
    """Print what limits would keep by source and language, by reason; a column's histogram; examples."""
    rows = [["documents that limits keep", "language", "read", "now", "then", "bytes now", "bytes then"]]
    for each in found.changes:
        numbers = [f"{amount['documents']:,}" for amount in (each.read, each.kept, each.would_keep)]
        sizes = [count(amount["bytes"]) for amount in (each.kept, each.would_keep)]
        rows.append([each.source, each.language or "-", *numbers, *sizes])
    table(rows)
    if {each.language for each in found.changes} & {"default", "unspaced"}:
        print("default, unspaced: of a language that isn't known or has no limits of its own, with and without spaces")
    print("of these a build drops copies, and cuts the lines that a site's pages share")
    if found.reasons:
        rows = [["dropped for", "now", "then"]]
        rows += [[reason, f"{n['before']:,}", f"{n['after']:,}"] for reason, n in sorted(found.reasons.items())]
        table(rows)
    if column is not None and found.histogram:
        rows = [[column, "documents", "kept now", "kept then"]]
        for bin_ in found.histogram:
            numbers = [f"{bin_[name]:,}" for name in ("documents", "kept", "would_keep")]
            rows.append([f"{bin_['from']:.4g} to {bin_['to']:.4g}", *numbers])
        table(rows)
        print("quantiles: " + ", ".join(f"{name} {value:.4g}" for name, value in found.quantiles.items()))
    for note in found.notes:
        say(note)
    for name, examples in found.samples.items():
        for example in examples:
            reason = example["after"] or example["before"]
            say(f"{name}: {example['source']} {example['id']}" + (f" ({reason})" if reason else ""))
            for line in _excerpt({"excerpt": example["text"]}):
                print(f"    {line}")


def show_dropped(corpus: Path, reason: str | None, source: str | None, num_examples: int, as_json: bool) -> None:
    """Print examples of what a corpus dropped, by reason."""
    from headwater.corpus.load import dropped_sample, failed_build_folder, has_failed

    if has_failed(corpus):
        say_beside(as_json)("the last build kept too little text for a corpus; this is what it dropped")
        corpus = failed_build_folder(corpus)
    found = dropped_sample(corpus, reason, source, num_examples)
    if as_json:
        return print_json({"dropped": found})
    if not found:
        print("nothing was dropped")
    for name, entry in found.items():
        say(f"{name}: {plural(entry['documents'], 'document')}, {count(entry['bytes'])} bytes")
        for example in entry["examples"]:
            say(f"  {example['source']} {example['id']}, {count(example['bytes'])} bytes")
            if "because" in example:
                say(f"    because: {example['because']}")
            if "duplicate_of" in example:
                say(f"    a duplicate of {example['duplicate_of']}")
            for line in _excerpt(example):
                print(f"    {line}")


def _excerpt(example: dict[str, Any]) -> list[str]:
    """Return the first lines of a text, wrapped and made safe: what was dropped may be hostile to a terminal."""
    lines = [line for line in safe(example["excerpt"]).split("\n") if line.strip()]
    wrapped = [part for line in lines[:EXCERPT_LINES] for part in textwrap.wrap(line[:2000], EXCERPT_WIDTH)]
    is_more = len(wrapped) > EXCERPT_LINES or len(lines) > EXCERPT_LINES
    return wrapped[:EXCERPT_LINES] + (["…"] if is_more else [])
