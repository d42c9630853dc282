"""corpus show: the balance sheet as a table, by source, stage and reason, and what training will see of it."""

from __future__ import annotations

from typing import Any

from headwater.cli.terminal import safe
from headwater.report.numbers import count


def print_balance(sources: dict[str, Any], held_out: dict[str, dict[str, int]]) -> None:
    """Print what was read, dropped by stage and reason, kept, and held out; of several sources the sums at last."""
    print(f"{'source':<16} {'':<34} {'documents':>10} {'bytes':>9}")
    for source, sheet in sources.items():
        _print_source(source, sheet, held_out[source])
    if len(sources) > 1:
        for name in ("read", "kept"):
            documents = sum(sheet[name]["documents"] for sheet in sources.values())
            num_bytes = sum(sheet[name]["bytes"] for sheet in sources.values())
            _print_row("all" if name == "read" else "", name, {"documents": documents, "bytes": num_bytes})


def _print_source(source: str, sheet: dict[str, Any], held_out: dict[str, int]) -> None:
    _print_row(source, "read", sheet["read"])
    for stage, dropped in sheet["stages"].items():
        for reason, amount in dropped["reasons"].items():
            _print_row("", f"- {stage}: {reason}", amount)
    _print_row("", "kept", sheet["kept"])
    _print_row("", "of it held out", held_out)


def _print_row(source: str, name: str, amount: dict[str, int]) -> None:
    print(safe(f"{source:<16} {name:<34} {amount['documents']:>10,} {count(amount['bytes']):>9}"))


def print_findings(balance: dict[str, Any]) -> None:
    """Print what of evaluation sets was found, what was redacted, and the licences of what is kept."""
    for name, found in balance.get("decontamination", {}).items():
        few = found["too_short"]
        short = f"; {few:,} have fewer words than corpus.decontaminate.min_words: not looked for" if few else ""
        print(
            safe(
                f"evaluation set {name}: {found['found']:,} of {found['items']:,} items found, in "
                f"{found['documents']:,} documents; {count(found['bytes'])} bytes taken out{short}"
            )
        )
    redacted = {kind: found["replaced"] for kind, found in balance.get("redaction", {}).items() if found["replaced"]}
    if redacted:
        print("redacted: " + ", ".join(f"{kind} {times:,}" for kind, times in redacted.items()))
    licences: dict[str, int] = {}
    for counts in balance.get("kept_by", {}).get("licence", {}).values():
        for licence, amount in counts.items():
            licences[licence] = licences.get(licence, 0) + amount["bytes"]
    if set(licences) - {"unknown"}:
        largest = sorted(licences.items(), key=lambda item: (-item[1], item[0]))
        print(safe("kept by licence: " + ", ".join(f"{licence} {count(size)}" for licence, size in largest)))


def print_training(training: dict[str, dict[str, float]] | None) -> None:
    """Print what a run sees of each source."""
    if training is None:
        return
    print(f"{'training':<16} {'tokens':>9} {'lost':>6} {'padding':>8} {'weight':>7} {'epochs':>7}")
    for source, seen in training.items():
        print(
            safe(
                f"{source:<16} {count(seen['tokens']):>9} {seen['tokens_lost']:>6,} {seen['padding']:>8.2%} "
                f"{seen['weight']:>7.1%} {seen['epochs']:>7.2f}"
            )
        )
