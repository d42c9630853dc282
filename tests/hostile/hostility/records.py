"""JSON and parquet: deep, endless, lying about their sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hostility.case import KEPT, Cases, write_repeated
from hostility.texts import JUNK, PROSE, prose

cases = Cases()
DEEP = 1_000_000

cases.file("a million brackets deep.jsonl", "malformed_json", content=b"[" * DEEP)
cases.file("a million objects deep.json", "malformed_json", content=b'{"a":' * DEEP)
cases.file("closed brackets closed.json", "malformed_json", content=b"[" * DEEP + b"]" * DEEP)
cases.file("a number of a million digits number.jsonl", "malformed_json", content=b'{"text": ' + b"9" * DEEP + b"}")
cases.file("a string without an end string.json", "malformed_json", content=b'["' + b"a" * 9999)
cases.file("JSON that is none none.json", "malformed_json", content=b"\n".join([b"plain words"] * 9))
cases.file("JSON in UTF-16 utf16.json", "too_short", content='{"text": "words"}'.encode("utf-16"))
cases.file("numbers that are none nan.jsonl", "no_text", content=b'{"text": NaN}\n{"text": -Infinity}\n{"text": 1e999}')
cases.file(
    "the same key twice twice.jsonl",
    KEPT,
    "repeated_ngrams",
    content=b'{"text": 1, "text": "%s"}' % (b"two keys of one name " * 9),
)


@cases("brackets about as deep as Python goes", "malformed_json", "no_text")
def _about_as_deep(folder: Path, size: int) -> None:
    for depth in range(900, 1010, 3):
        (folder / f"{depth}.json").write_bytes(b'[{"a": ' + b"[" * depth + b"]" * depth + b"}]")
    lines = [b"[" * depth + b"]" * depth for depth in range(900, 1010)]
    (folder / "depths.jsonl").write_bytes(b"\n".join(lines))


@cases("a line without an end, of JSON", "line_too_long", "malformed_json")
def _endless_line(folder: Path, size: int) -> None:
    write_repeated(folder / "endless.jsonl", b"a", size, start=b'{"text": "')


@cases("a record of three bytes, over and over", "no_text")
def _small_records(folder: Path, size: int) -> None:
    write_repeated(folder / "small.jsonl", b"{}\n", size // 40)


@cases("blank lines", "empty")
def _blank_lines(folder: Path, size: int) -> None:
    write_repeated(folder / "blank.jsonl", b"\n", size // 10)


@cases("millions of lists in a line", "no_text", "line_too_long", largest=15_000_000)
def _lists_in_a_line(folder: Path, size: int) -> None:
    write_repeated(folder / "lists.jsonl", b"[],", size, start=b"[", end=b"0]")


@cases("millions of objects in a file", "no_text", "parser_took_too_much_memory", largest=60_000_000)
def _objects_in_a_file(folder: Path, size: int) -> None:
    write_repeated(folder / "objects.json", b"{},", size // 3 * 3, start=b"[", end=b"0]")


@cases("a JSON file too large to be read", "file_too_large", "no_text")
def _large_json(folder: Path, size: int) -> None:
    write_repeated(folder / "large.json", b"[1],", size // 4 * 4, start=b"[", end=b"0]")


@cases("a title longer than its text", KEPT, *JUNK, "short_words", largest=10_000_000)
def _title(folder: Path, size: int) -> None:
    record = {"title": "t" * (size // 2), "text": prose("delta") + "w " * (size // 4)}
    (folder / "title.jsonl").write_text(json.dumps(record), encoding="utf-8")


def write_table(path: Path, columns: dict[str, pa.Array], **options: object) -> bytes:
    pq.write_table(pa.table(columns), path, **options)
    return path.read_bytes()


@cases("text under the name of a table", "not_parquet")
def _no_table(folder: Path, size: int) -> None:
    (folder / "words.parquet").write_text(PROSE, encoding="utf-8")


@cases("tables cut short", "damaged_parquet", "not_parquet")
def _cut_tables(folder: Path, size: int) -> None:
    data = write_table(folder / "whole.parquet", {"text": pa.array(["words"] * 1000)})
    (folder / "whole.parquet").unlink()
    for length in (4, 5, 12, len(data) // 2, len(data) - 4, len(data) - 1):
        (folder / f"{length}.parquet").write_bytes(data[:length])


@cases("a table whose footer is as long as it likes", "damaged_parquet")
def _long_footer(folder: Path, size: int) -> None:
    (folder / "footer.parquet").write_bytes(b"PAR1" + b"\0" * 99 + b"\xff\xff\xff\x7f" + b"PAR1")


DAMAGE = (KEPT, "exact_duplicate", "near_duplicate", *JUNK, "not_utf8", "no_text", "parser_died", "parser_failed")


@cases(
    "tables with flipped bytes",
    *DAMAGE,
    "wrongly_decoded",
    "damaged_parquet",
    "not_parquet",
    "parser_took_too_much_memory",
)
def _flipped_tables(folder: Path, size: int) -> None:
    rows = pa.array([f"{PROSE} row {number}" for number in range(200)])
    data = write_table(folder / "flipped.parquet", {"text": rows}, compression="snappy")
    (folder / "flipped.parquet").unlink()
    for number, at in enumerate(range(0, len(data), max(1, len(data) // 40))):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        (folder / f"{number}.parquet").write_bytes(changed)


@cases("a table of one text, a million times", "expands_too_far", KEPT, *JUNK)
def _dictionary_bomb(folder: Path, size: int) -> None:
    text = pa.array(["one text " * 2000])
    indices = pa.array([0]).take(pa.array([0] * min(1_000_000, max(2000, size // 500))))
    column = pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), text)
    write_table(folder / "bomb.parquet", {"text": column}, compression="zstd")


@cases("a table of rows without text", "no_text", "expands_too_far")
def _null_rows(folder: Path, size: int) -> None:
    write_table(folder / "nulls.parquet", {"text": pa.nulls(min(50_000_000, size), pa.string())})


@cases("a table of 100,000 columns, in parquet", KEPT, "exact_duplicate", largest=10_000_000)
def _table_of_many_columns(folder: Path, size: int) -> None:
    columns = {f"c{number}": pa.array([1]) for number in range(min(100_000, size // 1000))}
    write_table(folder / "wide.parquet", {**columns, "text": pa.array([prose("wide river")])})


@cases("a table of text that is none", "not_utf8")
def _no_text(folder: Path, size: int) -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe" * 50]).buffers())
    write_table(folder / "bad.parquet", {"text": bad})


@cases("a table of one row as large as a book shelf", KEPT, *JUNK, "parser_took_too_much_memory", largest=400_000_000)
def _large_row(folder: Path, size: int) -> None:
    write_table(folder / "row.parquet", {"text": pa.array(["shelf " * (size // 6)])}, compression="none")
