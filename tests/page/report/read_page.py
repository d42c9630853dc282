"""Read a page back: its elements, its visible text, and the specifications of its charts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Page:
    elements: list[Element]
    text: str
    source: str
    charts: dict[str, Any] = field(default_factory=dict)

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def trace(self, summary_start: str, name: str) -> tuple[list[float], list[float]]:
        """Return x and y of the named trace of the chart whose summary begins so."""
        spec = next(spec for summary, spec in self.charts.items() if summary.startswith(summary_start))
        trace = next(trace for trace in spec["data"] if trace["name"] == name)
        return trace["x"], trace["y"]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.visible: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""
        if tag in ("p", "td", "th", "li", "h1", "h2", "h3", "dd", "dt", "text", "summary"):
            self.visible.append("\n")

    def handle_data(self, data):
        if self._inside in ("script", "style"):
            self.elements[-1].text += data
        else:
            self.visible.append(data)


def read_page(path: Path) -> Page:
    source = path.read_text(encoding="utf-8")
    reader = _Reader()
    reader.feed(source)
    text = "".join(reader.visible).replace("\u00a0", " ")
    page = Page(reader.elements, text, source)
    plots = [element for element in reader.elements if "plot" in (element.attributes.get("class") or "").split()]
    blocks = [
        json.loads(element.text)
        for element in page.all("script")
        if element.attributes.get("type") == "application/json"
    ]
    assert len(plots) == len(blocks)
    page.charts = {plot.attributes["aria-label"]: block for plot, block in zip(plots, blocks)}
    return page
