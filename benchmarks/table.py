"""The table that a reader sees."""

from __future__ import annotations

from typing import Any

HEADINGS = (
    "contender",
    "mode",
    "tokens/s",
    "ms/step",
    "headwater is × (95 %)",
    "mfu",
    "data wait",
    "peak MiB",
    "parameters",
    "MFLOP/token",
    "loss",
)


def shape_lines(result: dict[str, Any]) -> list[str]:
    """Return the lines of one shape's table, columns aligned."""
    rows = [list(HEADINGS)]
    notes = []
    for name, contender in result["contenders"].items():
        if contender["status"] != "ok":
            notes.append(f"{name}: {contender['status']}")
            continue
        rows.append(_row(name, contender, result["ratios"].get(name)))
        if not contender["learns"]:
            notes.append(
                f"{name} doesn't learn: its loss went from {contender['first_loss']} to {contender['last_loss']}"
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "  ".join(cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    heading = f"layers,heads,width,sequence,vocabulary,rows = {result['shape_text']}"
    where = roofline_lines(result["roofline"]) if "roofline" in result else []
    return [heading, *lines, *notes, *where, ""]


def roofline_lines(found: dict[str, Any]) -> list[str]:
    """Return where the time of headwater's step goes, one part a line."""
    if "error" in found:
        return [f"no roofline: {found['error']}"]
    lines = [f"where headwater's step goes: {found['ms_per_step']} ms, {found['profiled_ms_per_step']} ms profiled"]
    return lines + [f"  {part:10}{one['share']:7.1%}{one['ms']:10.1f} ms" for part, one in found["parts"].items()]


def _row(name: str, contender: dict[str, Any], ratio: dict[str, float] | None) -> list[str]:
    return [
        name,
        contender["mode"],
        f"{contender['tokens_per_second']:,.0f}",
        f"{contender['ms_per_step']:.1f}",
        f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" if ratio else "",
        f"{contender['mfu']:.3f}" if "mfu" in contender else "",
        f"{contender['data_wait_fraction']:.2%}" if "data_wait_fraction" in contender else "",
        f"{contender['peak_rss_bytes'] / 2**20:,.0f}",
        f"{contender['parameters']:,}",
        f"{contender['flops_per_token'] / 1e6:.1f}",
        f"{contender['first_loss']:.2f} to {contender['last_loss']:.2f}",
    ]
