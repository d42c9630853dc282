"""JSON files: an object with text, or a list of such objects; JSON lines under the name .json are read as such.

Of JSON lines each is a document, and a bad line costs that line only. Among code, what holds no text is code: the
settings of a program's tools (package.json, tsconfig.json). Of a Jupyter notebook the cells are read in order, as
Markdown with fenced code; what the code printed isn't.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import IO, Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import Damage, decoded, encoding_of, replaced
from headwater.corpus.read.input import InputFile, Stream
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.plain import read_text
from headwater.corpus.read.record import record_document, text_field
from headwater.corpus.sources.formats import programming_language


def read_jsonl(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every line that isn't blank.

    Lines longer than that of the limits are skipped without being held in memory. Raises Unusable: not_utf8.
    """
    if limits.encoding.startswith(("utf-16", "utf-32")):  # in which a byte of a letter may be that of a line's end
        advice = f"convert the file: `iconv -f {limits.encoding.upper()} -t UTF-8 FILE > NEW`"
        raise Unusable("not_utf8", f"JSON lines aren't read in {limits.encoding}; {advice}")
    first, end, num_before = file.within or (0, None, 0)
    numbers, start = count(num_before + 1), 0

    def read(stream: Stream) -> Iterator[Document | Drop]:
        nonlocal start
        if first:
            stream.seek(first - 1)  # a line that begins at the first byte is this slice's
            start = first - 1 + next((size for _, size in capped_lines(stream, limits.max_line_bytes)), 0)
        for line, num_bytes in capped_lines(stream, limits.max_line_bytes):
            if end is not None and start >= end:
                return
            number = next(numbers)
            part = f"#{number}"
            if line is None:
                yield file.drop("line_too_long", num_bytes, part)
            elif line.strip():
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                yield from _read_line(file, text, part, limits, start + len(line) - len(text))
            start += num_bytes

    return file.read_on(read)


def capped_lines(stream: IO[bytes], max_line_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line with its bytes; None in place of a line longer than `max_line_bytes`."""
    while line := stream.readline(max_line_bytes + 1):
        if len(line) <= max_line_bytes or line.endswith(b"\n"):
            yield line, len(line)
            continue
        num_bytes = len(line)
        while more := stream.readline(1 << 20):
            num_bytes += len(more)
            if more.endswith(b"\n"):
                break
        yield None, num_bytes


def _read_line(file: InputFile, line: bytes, part: str, limits: ReadLimits, start: int) -> Iterator[Document | Drop]:
    text = ""
    try:
        text, damage = decoded(line, limits.encoding, limits.errors, start)
        piece = record_document(file, json.loads(text), part, len(line), limits.text_column)
        yield piece
        if isinstance(piece, Document):
            yield from replaced(file, damage, part)
    except Unusable as error:
        yield file.drop_for(error, len(line), part)
    except (ValueError, RecursionError) as error:
        yield file.drop("malformed_json", len(line), part, text[:200], str(error))


def read_json(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the documents of a file.

    Raises Unusable: malformed_json, not_utf8, file_too_large, and of kind code what `read_text` does.
    """
    if _starts_with_complete_object(file, limits.max_line_bytes):
        yield from read_jsonl(file, limits)
        return
    data = file.read_whole(limits.max_file_bytes)
    is_code = file.kind == "code" and limits.text_column is None
    try:
        value, damage = parsed(data, limits)
    except Unusable:
        if not is_code:
            raise
        value, damage = None, None  # tools let comments stand in their settings
    if is_code and not _has_text(value):
        yield from read_text(file, limits)
        return
    try:
        if isinstance(value, list):
            for number, record in enumerate(value):
                yield _piece(file, record, f"#{number}", limits.text_column)
        else:
            yield record_document(file, value, "", len(data), limits.text_column)
        yield from replaced(file, damage)
    except (ValueError, RecursionError) as error:
        raise Unusable("malformed_json", str(error)) from None


def parsed(data: bytes, limits: ReadLimits) -> tuple[Any, Damage | None]:
    """Return the value of a file of JSON, and what of it is damaged. Raises Unusable: malformed_json, not_utf8."""
    text, damage = decoded(data, encoding_of(data, limits.encoding), limits.errors)
    try:
        return json.loads(text), damage
    except (ValueError, RecursionError) as error:
        raise Unusable("malformed_json", str(error)) from None


def _has_text(value: Any) -> bool:
    records = value if isinstance(value, list) else [value]
    return any(isinstance(each, dict) and text_field(each, None) for each in records)


def _piece(file: InputFile, record: Any, part: str, text_column: str | None) -> Document | Drop:
    piece = record_document(file, record, part, 0, text_column)
    return replace(piece, num_bytes=_encoded_bytes(record)) if isinstance(piece, Drop) else piece


def _encoded_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _starts_with_complete_object(file: InputFile, max_line_bytes: int) -> bool:
    with file.open() as stream:
        first = stream.readline(max_line_bytes)
        if not stream.read(1):
            return False  # a file of one line is read as JSON either way
    try:
        return isinstance(json.loads(first.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


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
