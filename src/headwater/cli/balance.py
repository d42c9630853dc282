"""corpus show: the balance sheet by source, stage and reason, what training sees of it, and what was dropped."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from headwater.cli.terminal import print_json, safe, say_beside
from headwater.numbers import count, plural

EXCERPT_LINES, EXCERPT_WIDTH = 6, 110

Amount = dict[str, int]


def print_balance(sources: dict[str, Any], held_out: dict[str, Amount]) -> None:
    """Print what was read, dropped by stage and reason, kept, and held out; of several sources the sums at last.

    To the byte, and every byte in it: read less what was dropped is kept, and that less cleaning the text.
    """
    print(f"{'source':<16} {'':<34} {'documents':>10} {'bytes':>17}")
    for source, sheet in sources.items():
        dropped = [
            (f"- {stage}: {reason}", amount)
            for stage, found in sheet["stages"].items()
            for reason, amount in found["reasons"].items()
        ]
        _print_sheet(source, sheet, dropped, held_out[source])
    if len(sources) > 1:
        sheets = list(sources.values())
        total: dict[str, Any] = {name: _sum([sheet[name] for sheet in sheets]) for name in ("read", "kept", "text")}
        total["cleaned_bytes"] = sum(sheet["cleaned_bytes"] for sheet in sheets)
        dropped = [("- dropped", _sum([stage for sheet in sheets for stage in sheet["stages"].values()]))]
        _print_sheet("all", total, dropped if any(dropped[0][1].values()) else [], _sum(list(held_out.values())))


def _print_sheet(source: str, sheet: dict[str, Any], dropped: list[tuple[str, Amount]], held_out: Amount) -> None:
    _print_row(source, "read", sheet["read"])
    for name, amount in dropped:
        _print_row("", name, amount)
    _print_row("", "kept, as read", sheet["kept"])
    cleaned = sheet["cleaned_bytes"]
    what = "- taken away by cleaning" if cleaned >= 0 else "+ added by cleaning"
    print(f"{'':<16} {what:<34} {'':>10} {abs(cleaned):>17,}")
    _print_row("", "text, as trained on", sheet["text"])
    _print_row("", "of it held out", held_out)


def _sum(amounts: list[Amount]) -> Amount:
    return {unit: sum(amount[unit] for amount in amounts) for unit in ("documents", "bytes")}


def _print_row(source: str, name: str, amount: Amount) -> None:
    print(safe(f"{source:<16} {name:<34} {amount['documents']:>10,} {amount['bytes']:>17,}"))


def print_findings(balance: dict[str, Any]) -> None:
    """Print what of evaluation sets was found, what was redacted, and the licences of what is kept."""
    for name, found in balance.get("decontamination", {}).items():
        few = found["too_short"]
        short = f"; {few:,} have fewer words than corpus.decontaminate.min_words and were not searched" if few else ""
        items = f"{found['found']:,} of {found['items']:,} items found, in {plural(found['documents'], 'document')}"
        print(safe(f"evaluation set {name}: {items}; {count(found['bytes'])} bytes removed{short}"))
    redacted = {kind: found["replaced"] for kind, found in balance.get("redaction", {}).items() if found["replaced"]}
    if redacted:
        print("redacted: " + ", ".join(f"{kind} {times:,}" for kind, times in redacted.items()))
    licences: dict[str, int] = {}
    for counts in balance.get("kept_by", {}).get("licence", {}).values():
        for licence, amount in counts.items():
            licences[licence] = licences.get(licence, 0) + amount["bytes"]
    if set(licences) - {"unknown"}:
        largest = sorted(licences.items(), key=lambda item: (-item[1], item[0]))
        print(safe("text by licence: " + ", ".join(f"{licence} {count(size)}" for licence, size in largest)))


def print_training(training: dict[str, dict[str, float]] | None) -> None:
    """Print what a run sees of each source."""
    if training is None:
        return
    print(f"{'training':<16} {'tokens':>9} {'lost':>6} {'padding':>8} {'weight':>7} {'epochs':>7}")
    for source, seen in training.items():
        of_tokens = f"{count(seen['tokens']):>9} {seen['tokens_lost']:>6,} {seen['padding']:>8.2%}"
        print(safe(f"{source:<16} {of_tokens} {seen['weight']:>7.1%} {seen['epochs']:>7.2f}"))
    part = min(seen["rows_read"] / max(1, seen["rows"]) for seen in training.values())
    if part < 1:
        print(f"{part:.0%} of each source's sequences are used (mixture.share_of_text)")


def show_dropped(corpus: Path, reason: str | None, source: str | None, num_examples: int, as_json: bool) -> None:
    """Print examples of what a corpus dropped, by reason."""
    from headwater.corpus.dropped import dropped_sample
    from headwater.corpus.load import failed_build_folder, has_failed

    if has_failed(corpus):
        say_beside(as_json)("the last build kept too little text for a corpus; this is what it dropped")
        corpus = failed_build_folder(corpus)
    found = dropped_sample(corpus, reason, source, num_examples)
    if as_json:
        print_json({"dropped": found})
        return
    if not found:
        print("nothing was dropped")
    for name, entry in found.items():
        documents = f"{entry['documents']:,} document" + "s" * (entry["documents"] != 1)
        print(safe(f"{name}: {documents}, {count(entry['bytes'])} bytes"))
        for example in entry["examples"]:
            print(safe(f"  {example['source']} {example['id']}, {count(example['bytes'])} bytes"))
            if "because" in example:
                print(safe(f"    because: {example['because']}"))
            if "duplicate_of" in example:
                print(safe(f"    a duplicate of {example['duplicate_of']}"))
            for line in _excerpt(example):
                print(f"    {line}")


def _excerpt(example: dict[str, Any]) -> list[str]:
    """Return the first lines of a text, wrapped and made safe: what was dropped may be hostile to a terminal."""
    lines = [line for line in safe(example["excerpt"]).split("\n") if line.strip()]
    wrapped = [part for line in lines[:EXCERPT_LINES] for part in textwrap.wrap(line[:2000], EXCERPT_WIDTH)]
    is_more = len(wrapped) > EXCERPT_LINES or len(lines) > EXCERPT_LINES
    return wrapped[:EXCERPT_LINES] + (["…"] if is_more else [])
