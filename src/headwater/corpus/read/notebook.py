"""Jupyter notebooks: the cells in order, as Markdown with fenced code; what the code printed isn't read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import replaced
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.json import parsed
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.sources.formats import programming_language

_FENCES = re.compile(r"^[ ]{0,3}(`{3,})", re.MULTILINE)
_HEADING = re.compile(r"^#[ \t]+(\S.{0,400}?)[ \t#]*$", re.MULTILINE)
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9+#._-]{0,30}")


def read_notebook(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a notebook as one document: cells of Markdown and of code, without outputs, attachments and raw cells.

    Raises Unusable: malformed_json, not_utf8, not_notebook, no_text, file_too_large.
    """
    notebook, damage = parsed(file.read_whole(limits.max_file_bytes), limits)
    cells = _cells(notebook)
    language = _language(notebook)
    texts = [text for cell in cells if (text := _text(cell, language))]
    if not texts:
        raise Unusable("no_text")
    prose = (_source(cell) for cell in cells if cell.get("cell_type") == "markdown")
    title = next((found[1] for text in prose if (found := _HEADING.search(text[:2000]))), "")
    yield file.document("\n\n".join(texts) + "\n", language=language, title=title)
    yield from replaced(file, damage)


def _cells(notebook: Any) -> list[dict[str, Any]]:
    """Return the cells; before the fourth version of the format, of 2015, they stood elsewhere."""
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise Unusable("not_notebook")
    return [cell for cell in cells if isinstance(cell, dict)]


def _language(notebook: dict[str, Any]) -> str:
    """Return the language of the kernel, in our spelling where we know it; "" where none is told."""
    metadata = notebook.get("metadata")
    tables = metadata if isinstance(metadata, dict) else {}
    for table, key in ((tables.get("kernelspec"), "language"), (tables.get("language_info"), "name")):
        name = table.get(key) if isinstance(table, dict) else None
        if isinstance(name, str) and _PLAIN_NAME.fullmatch(name.strip().lower()):
            return programming_language(name) or name.strip().lower()
    return ""


def _text(cell: dict[str, Any], language: str) -> str:
    source = _source(cell).strip("\n")
    if not source.strip():
        return ""
    match cell.get("cell_type"):
        case "markdown":
            return source
        case "code":
            fence = "`" * max(3, 1 + max((len(found) for found in _FENCES.findall(source)), default=0))
            return f"{fence}{language}\n{source}\n{fence}"
    return ""


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    lines = source if isinstance(source, list) else [source]
    return "".join(line for line in lines if isinstance(line, str))
