"""What a file's name promises: its compression, its format, by which it is read, and of source code the language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import NamedTuple

from headwater.corpus.toml_tables import toml_table

# of prose 3 to 5 bytes come out of one compressed, of the dullest logs some 100: beyond it lies what was made to fill
# a disk (gzip reaches 1,030, zstd and parquet many thousands)
MAX_EXPANSION = 200
FREE_EXPANSION_BYTES = 10_000_000  # a small file may expand as it likes

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}
_TWO_IN_ONE = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".tbz": ".tar.bz2", ".txz": ".tar.xz", ".tzst": ".tar.zst"}


class Format(NamedTuple):
    """A registration: all that is known of a format. One of a user's own says the same of itself (read.own).

    suffixes       endings of its files' names
    reader         what reads it: a module of corpus.read and a function there, of a user's own the class; "": none does
    isolated       parsed in a process of its own, which foreign bytes may crash
    records        read record by record there, so that a crash costs one
    in_archives    also read out of an archive
    on_disk        read where it is on the disk: neither compressed nor out of an archive
    conversations  may hold some
    needs          a package without which it can't be read, imported before the memory of its process is counted
    """

    suffixes: str
    reader: str = ""
    isolated: bool = True
    records: bool = False
    in_archives: bool = True
    on_disk: bool = False
    conversations: bool = False
    needs: str = ""
    is_own: bool = False


FORMATS = {
    "text": Format("txt text rst adoc asciidoc org tex textile", "plain.read_prose", isolated=False),
    "code": Format("", "plain.read_text", isolated=False),
    "unknown": Format("", "plain.read_text", isolated=False),
    "markdown": Format("md markdown mdx", "plain.read_markdown", isolated=False),
    "jsonl": Format("jsonl ndjson", "json.read_jsonl", isolated=False, conversations=True),
    "json": Format("json", "json.read_json", conversations=True),
    "html": Format("html htm xhtml", "html.read_html"),
    "xml": Format("xml nxml", "xml.read_xml", records=True),
    "csv": Format("csv tsv", "tables.read_csv", records=True),
    "notebook": Format("ipynb", "json.read_notebook"),
    "parquet": Format("parquet pq", "tables.read_parquet", records=True, on_disk=True),
    "arrow": Format("arrow feather", "tables.read_arrow", records=True, on_disk=True),
    "epub": Format("epub", "epub.read_epub"),
    "docx": Format("docx docm", "office.read_docx"),
    "pptx": Format("pptx pptm", "office.read_pptx"),
    "odt": Format("odt ott", "office.read_odt"),
    "pdf": Format("pdf", "pdf.read_pdf", needs="pypdfium2"),
    "warc": Format("warc wet", "warc.read_warc", records=True, in_archives=False, needs="pyarrow"),  # zstd, brotli
    "archive": Format("zip whl tar", "archive.read_archive", records=True, in_archives=False, conversations=True),
    "to_convert": Format("doc rtf ppt xls xlsx mobi azw azw3 djvu ps eml mbox msg srt vtt db sqlite sqlite3"),
    "unsupported": Format(
        "7z rar jar png jpg jpeg gif webp bmp ico tif tiff svg mp3 mp4 ogg wav flac avi mkv mov webm woff woff2 ttf "
        "otf so dll dylib exe a o obj class pyc pyd pkl pickle npy npz pt pth bin safetensors gguf"
    ),
}
Formats = Mapping[str, Format]

_TABLES = (".xls", ".xlsx", ".db", ".sqlite", ".sqlite3")
_TOOL_FOLDERS = ("__pycache__", "node_modules")
_LANGUAGES = toml_table("headwater.corpus.sources", "data/languages")
_LANGUAGE_BY_SUFFIX = {f".{each}": name for name, listed in _LANGUAGES["suffixes"].items() for each in listed.split()}
_CODE_NAMES = {each: name for name, listed in _LANGUAGES["names"].items() for each in listed.split()}
_OTHER_NAMES = {each: name for name, listed in _LANGUAGES["spellings"].items() for each in listed}


def skip_reason(name: str) -> str:
    """Return why a file or folder of this name is skipped below a folder that is read: hidden or tool_folder; or ""."""
    return "hidden" if name.startswith(".") else "tool_folder" if name in _TOOL_FOLDERS else ""


def conversion_hint(file_format: str, name: str) -> str:
    """Return what to do with a file whose text is there and isn't read, or ""."""
    suffix = PurePath(without_compression(name)).suffix.lower()
    wanted = ".csv or .jsonl" if suffix in _TABLES else ".txt or .html"
    return f"{suffix} files are not read; convert them to {wanted}" if file_format == "to_convert" else ""


def compression_of(name: str) -> str | None:
    """Return the name of the compression that a file's name ends with, or None."""
    return COMPRESSIONS.get(PurePath(_spelt_out(name)).suffix.lower())


def format_of(name: str, own: Formats | None = None) -> str:
    """Return the name of a file's format, in `own` or FORMATS: "unknown" for a suffix that isn't known; no suffix at
    all is "text". One of `own` counts before ours.
    """
    suffix = PurePath(without_compression(name)).suffix.lower()
    if own and (found := _by_suffix(own).get(suffix)):
        return found
    if language_of(name):
        return "code"
    return _FORMAT_BY_SUFFIX.get(suffix, "unknown" if suffix else "text")


def _by_suffix(formats: Formats) -> dict[str, str]:
    return {"." + suffix: name for name, each in formats.items() for suffix in each.suffixes.split()}


_FORMAT_BY_SUFFIX = _by_suffix(FORMATS)


def language_of(name: str) -> str | None:
    """Return the programming language that a file name stands for, or None."""
    plain = without_compression(name)
    return _CODE_NAMES.get(plain.lower()) or _LANGUAGE_BY_SUFFIX.get(PurePath(plain).suffix.lower())


def programming_language(name: str) -> str | None:
    """Return our name of a programming language that somebody else's spelling, such as "C++" or "cpp", stands for."""
    plain = name.strip().lower()
    return _OTHER_NAMES.get(plain, plain if plain in _LANGUAGES["suffixes"] or plain in _CODE_NAMES.values() else None)


def without_compression(name: str) -> str:
    """Return a file's name without the suffix of its compression."""
    path = PurePath(_spelt_out(name))
    return path.stem if compression_of(name) else path.name


def _spelt_out(name: str) -> str:
    suffix = PurePath(name).suffix
    return name.removesuffix(suffix) + _TWO_IN_ONE.get(suffix.lower(), suffix) if suffix else name


def kind_of(file_format: str, source_kind: str) -> str:
    """Return the kind of a document from a file of `file_format` in a source of `source_kind`.

    The kind decides cleaning and filter rules: indentation in a .py file matters whatever the source is called, and
    a README in a code tree is not code.
    """
    if source_kind == "conversations":
        return source_kind
    if file_format in ("code", "notebook"):
        return "code"
    if source_kind == "code" and file_format in ("text", "markdown", "html", "unknown"):
        return "text"
    return source_kind


def expands_too_far(bytes_out: int, bytes_in: int) -> bool:
    """Return whether more comes out of a compressed file than text can."""
    return bytes_out > FREE_EXPANSION_BYTES and bytes_out > MAX_EXPANSION * bytes_in
