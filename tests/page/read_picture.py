"""Read a picture: its text, cell by cell and line by line, and its charts by key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater.page.picture.picture import picture_of
from headwater.runs.run_data import read_run


class Picture:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.text = "\n".join(lines_of(values)).replace("\u00a0", " ")
        self.charts = {chart["key"]: chart for chart in charts_in(values)}

    def trace(self, key: str, name: str) -> tuple[list[float], list[float]]:
        """Return x and y of the named trace of a chart."""
        trace = next(trace for trace in self.charts[key]["data"] if trace["name"] == name)
        return trace["x"], trace["y"]


def picture(run_dir: Path) -> Picture:
    return Picture(picture_of(read_run(run_dir)))


def words(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(words, value))
    return words(value["text"]) if isinstance(value, dict) else "" if value is None else str(value)


def lines_of(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from lines_of(each)
    elif isinstance(value, dict) and "mark" not in value:
        for name in ("name", "value", "title", "result", "status", "note", "text", "summary", "heads"):
            if value.get(name) is not None:
                yield from value[name] if name == "heads" else [words(value[name])]
        for name in ("figures", "rows", "items", "cells", "parts", "sections", "body"):
            inner = value.get(name) or []
            yield from map(words, inner) if name in ("cells", "items") else lines_of(inner)


def charts_in(value: Any) -> Iterator[dict[str, Any]]:
    for block in value.get("sections", []) + value.get("body", []):
        yield from [block] if block["kind"] == "chart" else charts_in(block)
