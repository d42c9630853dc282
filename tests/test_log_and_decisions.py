"""The log has an index that links every entry; every decision has a number, a status and a line in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
LOG = (DOCS / "log.md").read_text(encoding="utf-8")
RECORDS = sorted((DOCS / "decisions").glob("[0-9]*.md"))


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_logs_index_names_every_entry_in_order():
    entries = re.findall(r"^## (\d{4}-\d\d-\d\d · .+)$", LOG, re.MULTILINE)
    linked = re.findall(r"^\| \d\d-\d\d \| \[(.+?)\]\(#(.+?)\) \| .+ \|$", LOG, re.MULTILINE)
    assert [(entry.split(" · ", 1)[1], anchor(entry)) for entry in entries] == linked


def test_the_newest_entry_of_the_log_comes_first():
    dates = re.findall(r"^## (\d{4}-\d\d-\d\d) ·", LOG, re.MULTILINE)
    assert dates == sorted(dates, reverse=True)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name[:4])
def test_a_decision_has_its_number_a_status_and_a_line_in_the_index(path):
    title, blank, status, *_ = path.read_text(encoding="utf-8").splitlines()
    assert title.startswith(f"# {path.name[:4]} ") and not blank
    assert re.match(r"Status: accepted, 20\d\d-\d\d-\d\d", status), status
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    assert f"| [{path.name[:4]}]({path.name}) | {title[7:]} |" in index


def test_no_file_holds_marks_of_a_merge():
    root = DOCS.parent
    files = [path for path in root.iterdir() if path.is_file()]
    files += [path for name in ("docs", "src", "tests", "benchmarks", ".ci") for path in (root / name).rglob("*")]
    marked = [
        path.relative_to(root)
        for path in files
        if path.is_file() and re.search(rb"^(<{7}|>{7}) ", path.read_bytes(), re.MULTILINE)
    ]
    assert not marked
