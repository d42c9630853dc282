"""Texts, JSON and tables: lines without end, characters that tools stumble over, deep, endless, lying about their sizes."""

from __future__ import annotations

import json

import pyarrow as pa
from made_files import arrow, parquet

from hostility.case import JUNK, KEPT, PROSE, SLOW, TEXT, Case, Files, Repeated, changed, prose

COPY = f"{KEPT} exact_duplicate"
DAMAGED_TABLE = (
    f"{COPY} near_duplicate {JUNK} not_utf8 no_text parser_died parser_failed wrongly_decoded damaged_parquet"
)


def laughs(root: str) -> str:
    """Return a document whose entities, expanded, are 3 GB."""
    entities = [f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10)]
    lines = ['<?xml version="1.0"?>', f"<!DOCTYPE {root} [", '<!ENTITY l0 "lol">', *entities, "]>"]
    lines += ['<!ENTITY file SYSTEM "file:///etc/hostname">', f"<{root}><p>{PROSE}&l9;&file;</p></{root}>"]
    return "\n".join(lines)


def about_as_deep(size: int) -> Files:
    files = {f"{depth}.json": '[{"a": ' + "[" * depth + "]" * depth + "}]" for depth in range(900, 1010, 3)}
    return files | {"depths.jsonl": "\n".join("[" * depth + "]" * depth for depth in range(900, 1010))}


def title(size: int) -> Files:
    record = {"title": "t" * (size // 2), "text": prose("delta") + "w " * (size // 4)}
    return {"title.jsonl": json.dumps(record)}


def cut_tables(size: int) -> Files:
    data = parquet(pa.table({"text": ["words"] * 1000}))
    return {f"{length}.parquet": data[:length] for length in (4, 5, 12, len(data) // 2, len(data) - 4, len(data) - 1)}


def flipped_tables(size: int) -> Files:
    data = parquet(pa.table({"text": [f"{PROSE} row {number}" for number in range(200)]}), compression="snappy")
    places = range(0, len(data), max(1, len(data) // 40))
    return {f"{at}.parquet": data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in places}


def dictionary_bomb(size: int) -> Files:
    indices = pa.array([0]).take(pa.array([0] * min(1_000_000, max(2000, size // 500))))
    column = pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), pa.array(["one text " * 2000]))
    return {"bomb.parquet": parquet(pa.table({"text": column}), compression="zstd")}


def many_columns(size: int) -> Files:
    columns = {f"c{number}": [1] for number in range(min(100_000, size // 1000))}
    return {"wide.parquet": parquet(pa.table({**columns, "text": [prose("wide river")]}))}


def no_text(size: int) -> Files:
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe" * 50]).buffers())
    return {"bad.parquet": parquet(pa.table({"text": bad}))}


def wide_csv(size: int) -> Files:
    header = ",".join(f"c{number}" for number in range(min(100_000, size // 8)))
    return {"wide.csv": header + "\n" + "," * min(size, 200_000) + "\n"}


def changed_arrow(size: int) -> Files:
    table = pa.table({"text": [prose(str(number)) for number in range(40)]})
    return {
        f"{opener.__name__}{number}.arrow": data
        for opener in (pa.ipc.new_file, pa.ipc.new_stream)
        for number, data in enumerate(changed(arrow(table, opener, 40), 8, 12, 4, most=1200))
    }


def never_ending_fields(size: int) -> Files:
    return {
        "quote.csv": Repeated(b"words ", start=b'text\n"'),
        "quotes.csv": Repeated(b'"\n"', start=b"text,b\n"),
        "columns.csv": b"text," * (min(size, 200_000) // 5) + b"\nwords\n",
        "rows.csv": Repeated(b",\n", start=b"text,b\n"),
    }


LINE_ENDS = {"cr.txt": "\r", "crlf.txt": "\r\n", "u2028.txt": "\u2028\x85\x0b"}
BEFORE = {"esc.txt": "\x1b]0;x\x07\x1b[2J", "bidi.txt": "\u202e\u2066", "tokens.txt": "<|end_of_text|>"}

CASES = [
    Case("line ends of every kind", KEPT, {name: prose(name).replace("\n", end) for name, end in LINE_ENDS.items()}),
    Case("commands of terminals and models", KEPT, {name: start + prose(name) for name, start in BEFORE.items()}),
    Case("only a byte order mark", "empty", {"mark.txt": b"\xef\xbb\xbf"}),
    Case("two byte order marks", COPY, {"marks.txt": b"\xef\xbb\xbf" * 2 + PROSE.encode()}),
    Case("one line of words", f"{COPY} near_duplicate repeated_ngrams repeated_passages",
         {"line.txt": Repeated(b"words without an end follow each other here ")}),
    Case("one character over and over", JUNK, {"x.txt": Repeated(b"x")}, 10_000_000),
    Case("one line of one character", JUNK, {"endless.txt": Repeated(b"y")}),
    Case("nothing but spaces", "empty", {"spaces.txt": Repeated(b" ")}),
    Case("nothing but line ends", "empty", {"lines.txt": Repeated(b"\n")}),
    # unicodedata.normalize sorts them in a time with the square of their number
    Case("accents in a row, out of order", f"{KEPT} {JUNK}", {"zalgo.txt": Repeated("\u0315\u0300".encode())}, 10_000_000),
    Case("a word of marks between others", f"{KEPT} {JUNK}",
         {"marks.txt": Repeated(("a" + "\u0315\u0300" * 400 + " ").encode())}, 10_000_000),
    Case("numbers as code writes them", "long_lines encoded_data low_alpha_fraction exact_duplicate",
         {"data.py": Repeated(b"0x1f,  \\x00" + b" " * 50)}),
    Case("entities that grow, in XML", "declares_entities not_xml", {"laughs.xml": laughs("lolz")}),
    Case("entities that grow, in XHTML", f"{KEPT} {JUNK} too_short damaged_html", {"laughs.xhtml": laughs("html")}),
    Case("half a pair, in JSON", "empty", {"half.jsonl": '{"text": "\\ud800"}\n' * 3}),
    Case("JSON in UTF-16", "too_short", {"utf16.json": '{"text": "words"}'.encode("utf-16")}),
    Case("the same key twice", f"{KEPT} repeated_ngrams",
         {"twice.jsonl": '{"text": 1, "text": "%s"}' % ("two keys of one name " * 9)}),
    Case("brackets about as deep as Python goes", "malformed_json no_text", about_as_deep),
    Case("a line without an end, of JSON", "line_too_long malformed_json",
         {"endless.jsonl": Repeated(b"a", start=b'{"text": "')}),
    Case("a record of three bytes, over and over", "no_text", {"small.jsonl": Repeated(b"{}\n", share=1 / 40)}),
    Case("blank lines", "empty", {"blank.jsonl": Repeated(b"\n", share=0.1)}),
    Case("millions of lists in a line", "no_text line_too_long", {"lists.jsonl": Repeated(b"[],", b"[", b"0]")}, 15_000_000),
    Case("millions of objects in a file", "no_text parser_took_too_much_memory",
         {"objects.json": Repeated(b"{},", b"[", b"0]")}, 60_000_000),
    Case("a JSON file too large to be read", "file_too_large no_text", {"large.json": Repeated(b"[1],", b"[", b"0]")}),
    Case("a title longer than its text", f"{KEPT} {JUNK} short_words", title, 10_000_000),
    Case("a table of 100,000 columns", "no_text", wide_csv, 20_000_000),
    Case("tables of documents that never end a field", f"{TEXT} malformed_csv no_text not_utf8 {SLOW}", never_ending_fields),
    Case("tables cut short", "damaged_parquet not_parquet", cut_tables),
    Case("a table whose footer is as long as it likes", "damaged_parquet",
         {"footer.parquet": b"PAR1" + bytes(99) + b"\xff\xff\xff\x7f" + b"PAR1"}),
    Case("tables with flipped bytes", f"{DAMAGED_TABLE} not_parquet parser_took_too_much_memory", flipped_tables),
    Case("a table of one text, a million times", f"expands_too_far {KEPT} {JUNK}", dictionary_bomb),
    Case("a table of rows without text", "no_text expands_too_far",
         lambda size: {"nulls.parquet": parquet(pa.table({"text": pa.nulls(min(50_000_000, size), pa.string())}))}),
    Case("a table of 100,000 columns, in parquet", COPY, many_columns, 10_000_000),
    Case("a table of text that is none", "not_utf8", no_text),
    Case("a table of one row as large as a book shelf", f"{KEPT} {JUNK} parser_took_too_much_memory",
         lambda size: {"row.parquet": parquet(pa.table({"text": ["shelf " * (size // 6)]}), compression="none")},
         400_000_000),
    Case("Arrow files with bytes changed", f"{TEXT} damaged_arrow no_text not_utf8 expands_too_far {SLOW}", changed_arrow),
]  # fmt: skip
