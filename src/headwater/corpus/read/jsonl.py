"""JSON lines: one document a line; a bad line costs that line only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import IO

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import decoded, replaced
from headwater.corpus.read.input import InputFile, Stream
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.record import record_document


def read_jsonl(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every line that isn't blank.

    Lines longer than that of the limits are skipped without being held in memory. Raises Unusable: not_utf8.
    """
    if limits.encoding.startswith(("utf-16", "utf-32")):  # in which a byte of a letter may be that of a line's end
        advice = f"convert the file: `iconv -f {limits.encoding.upper()} -t UTF-8 FILE > NEW`"
        raise Unusable("not_utf8", f"JSON lines aren't read in {limits.encoding}; {advice}")
    numbers, start = count(1), 0

    def read(stream: Stream) -> Iterator[Document | Drop]:
        nonlocal start
        for line, num_bytes in capped_lines(stream, limits.max_line_bytes):
            number = next(numbers)
            part = f"#{number}"
            if line is None:
                yield file.drop("line_too_long", num_bytes, part)
            elif line.strip():
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                yield from _parse(file, text, part, limits, start + len(line) - len(text))
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


def _parse(file: InputFile, line: bytes, part: str, limits: ReadLimits, start: int) -> Iterator[Document | Drop]:
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
