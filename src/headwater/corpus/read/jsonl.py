"""JSON lines: one document a line, in the field "text" or "content"; a bad line costs that line only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable

TEXT_FIELDS = ("text", "content")
# what a record says of its text, by the names that data sets use, and the name under which it is kept
META_FIELDS = {
    **{name: name for name in ("title", "language", "licence", "date", "url", "author", "site")},
    **{"license": "licence", "lang": "language", "timestamp": "date", "published": "date"},
}
_MAX_META_CHARACTERS = 300


def read_jsonl(file: InputFile, max_line_bytes: int) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every line that isn't blank.

    Lines longer than `max_line_bytes` are skipped without being held in memory. In a damaged compressed
    file the lines count that can be read before the damage; the rest is one drop.
    """
    try:
        with file.open() as stream:
            for number, (line, num_bytes) in enumerate(capped_lines(stream, max_line_bytes), start=1):
                part = f"#{number}"
                if line is None:
                    yield file.drop("line_too_long", num_bytes, part)
                elif line.strip():
                    yield _parse(file, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, part)
    except Unusable as error:
        if not error.reason.startswith("damaged"):
            raise
        yield file.drop(error.reason, 0, "#rest")


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


def _parse(file: InputFile, line: bytes, part: str) -> Document | Drop:
    try:
        return record_document(file, json.loads(line.decode()), part, len(line))
    except UnicodeDecodeError:
        return file.drop("not_utf8", len(line), part)
    except (ValueError, RecursionError):
        return file.drop("malformed_json", len(line), part, line.decode()[:200])


def record_document(file: InputFile, record: Any, part: str, num_bytes: int) -> Document | Drop:
    """Return the document in a JSON object, or a drop of `num_bytes` when it has no text.

    The text is in the first of "text" and "content" that is a string. What else of META_FIELDS is a string, in the
    record or in its "metadata", is kept beside it.
    """
    fields = record if isinstance(record, dict) else {}
    text = next((fields[name] for name in TEXT_FIELDS if isinstance(fields.get(name), str)), None)
    if text is None:
        return file.drop("no_text", num_bytes, part, str(record)[:200])
    inner = fields.get("metadata")
    return file.document(text, part, **record_meta({**(inner if isinstance(inner, dict) else {}), **fields}))


def record_meta(fields: dict[str, Any]) -> dict[str, str]:
    """Return the metadata among the fields of a record; a field under the name we use goes before its synonyms."""
    meta: dict[str, str] = {}
    for name, ours in META_FIELDS.items():
        value = _one_name(fields.get(name)) if ours == "licence" else fields.get(name)
        if isinstance(value, str) and value.strip():
            meta.setdefault(ours, value.strip()[:_MAX_META_CHARACTERS])
    if "title" in meta:
        meta["title"] = fields["title"]
    return meta


def _one_name(value: Any) -> Any:
    """Return the licences of a list as one expression, that of {"name": …} and the like by its name."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("id", "name", "type") if isinstance(value.get(key), str)), None)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return " AND ".join(dict.fromkeys(value))
    return value
