"""What programs that print a section of a page have in common: their options, tables, figures as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - a file system in memory, where it exists: a kill loses nothing of it
MIN_FREE_BYTES = 1 << 30
FILES = ("--json", "--markdown", "--work", "--prepared", "--reference")  # options whose values say nothing elsewhere


def add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the section of the page there, too")


def options(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_options(parser)
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where the runs lie while they are tried")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the trials (1)")
    return parser


@contextmanager
def work_folder(chosen: Path | None) -> Iterator[Path]:
    """Yield a fresh folder, in memory where there is room, which is removed at the end."""
    roomy = MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > MIN_FREE_BYTES
    parent = chosen or (MEMORY_DISK if roomy and os.access(MEMORY_DISK, os.W_OK) else None)
    with tempfile.TemporaryDirectory(prefix="headwater-trials-", dir=parent) as folder:
        yield Path(folder)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table: names to the left, numbers to the right."""
    kinds = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]
    marks = ["---:" if is_number else "---" for is_number in kinds]
    lines = [header, marks, *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def facts() -> dict[str, Any]:
    """Return where and when figures were made."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "command": _command(sys.argv),
    }


def _command(arguments: list[str]) -> str:
    """Return the command without the names of files, which say nothing elsewhere."""
    program, arguments = Path(arguments[0]).resolve(), list(arguments[1:])
    folder = "benchmarks" if program.parent.name == "benchmarks" else f"benchmarks/{program.parent.name}"
    kept = [f"python {folder}/{program.name}"]
    while arguments:
        argument = arguments.pop(0)
        if argument in FILES:
            arguments = arguments[1:]
        elif argument.split("=")[0] not in FILES:
            kept.append(argument)
    return " ".join(kept)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def made(where: dict[str, Any]) -> str:
    """Return the sentence that says where a section's figures come from."""
    return f"`{where['command']}`, {where['date']}, {where['machine']}."


def publish(figures: dict[str, Any], section: str, json_path: Path | None, markdown_path: Path | None) -> None:
    """Print a section, and write it and its figures where that was asked for."""
    print(section)
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if markdown_path is not None:
        markdown_path.write_text(section + "\n", encoding="utf-8")
