"""JSON lines: one document a line; a bad line costs that line only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import not_utf8
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.record import record_document


def read_jsonl(file: InputFile, max_line_bytes: int, text_column: str | None = None) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every line that isn't blank.

    Lines longer than `max_line_bytes` are skipped without being held in memory. Raises Unusable for what is wrong with
    a compressed file, behind the lines before the damage.
    """
    with file.open() as stream:
        start = 0
        for number, (line, num_bytes) in enumerate(capped_lines(stream, max_line_bytes), start=1):
            part = f"#{number}"
            if line is None:
                yield file.drop("line_too_long", num_bytes, part)
            elif line.strip():
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                yield _parse(file, text, part, text_column, start + len(line) - len(text))
            start += num_bytes


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


def _parse(file: InputFile, line: bytes, part: str, text_column: str | None, start: int) -> Document | Drop:
    try:
        return record_document(file, json.loads(line.decode()), part, len(line), text_column)
    except UnicodeDecodeError as error:
        return file.drop_for(not_utf8(error, start), len(line), part)
    except (ValueError, RecursionError) as error:
        return file.drop("malformed_json", len(line), part, line.decode()[:200], str(error))
