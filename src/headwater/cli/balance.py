"""corpus show: the balance sheet as a table, by source, stage and reason, and what training will see of it."""

from __future__ import annotations

from typing import Any

from headwater.cli.terminal import safe
from headwater.report.numbers import count


def print_balance(sources: dict[str, Any], held_out: dict[str, dict[str, int]]) -> None:
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
        _print_sheet("all", *_sums(list(sources.values()), list(held_out.values())))


Amount = dict[str, int]


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


def _sums(
    sheets: list[dict[str, Any]], held_out: list[Amount]
) -> tuple[dict[str, Any], list[tuple[str, Amount]], Amount]:
    total: dict[str, Any] = {name: _sum([sheet[name] for sheet in sheets]) for name in ("read", "kept", "text")}
    total["cleaned_bytes"] = sum(sheet["cleaned_bytes"] for sheet in sheets)
    dropped = _sum([stage for sheet in sheets for stage in sheet["stages"].values()])
    return total, [("- dropped", dropped)] if any(dropped.values()) else [], _sum(held_out)


def _sum(amounts: list[Amount]) -> Amount:
    return {unit: sum(amount[unit] for amount in amounts) for unit in ("documents", "bytes")}


def _print_row(source: str, name: str, amount: Amount) -> None:
    print(safe(f"{source:<16} {name:<34} {amount['documents']:>10,} {amount['bytes']:>17,}"))


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
        print(safe("text by licence: " + ", ".join(f"{licence} {count(size)}" for licence, size in largest)))


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
    parts = {seen["rows_read"] / max(1, seen["rows"]) for seen in training.values()}
    if min(parts) < 1:
        print(f"of each source's rows {min(parts):.0%} are read, so often (mixture.share_of_text)")
