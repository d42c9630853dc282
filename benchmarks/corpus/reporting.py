"""What the programs of this folder have in common: tables, where figures come from, and where they are written."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the section of the page there, too")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table: names to the left, numbers to the right."""
    kinds = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]
    lines = [header, ["---:" if is_number else "---" for is_number in kinds], *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def facts() -> dict[str, Any]:
    """Return where and when figures were made; file names, which say nothing elsewhere, are left out of the command."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "command": " ".join([f"python benchmarks/corpus/{Path(sys.argv[0]).name}", *_plain_options(sys.argv[1:])]),
    }


def _plain_options(arguments: Sequence[str]) -> list[str]:
    return [word for word in arguments if "/" not in word and word not in ("--json", "--markdown", "--work")]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def made(where: dict[str, Any]) -> str:
    """Return the sentence that says where a section's figures come from."""
    return f"`{where['command']}`, {where['date']}, {where['machine']}."


def publish(figures: dict[str, Any], section: str, arguments: argparse.Namespace) -> None:
    """Print a section, and write it and its figures where that was asked for."""
    print(section)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if arguments.markdown is not None:
        arguments.markdown.write_text(section + "\n", encoding="utf-8")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
