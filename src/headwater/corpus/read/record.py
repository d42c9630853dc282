"""A row of a table, or an object of JSON, as a document: which column is its text, and what the others say of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from headwater.core.conversations import Message, Refused, as_text, read_messages, require_learnable
from headwater.corpus.clean import clean
from headwater.corpus.document import EXCERPT_CHARACTERS, Document, Drop
from headwater.corpus.licences.names import all_of, handed_on
from headwater.corpus.read.html_metadata import iso_date, language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable, in_unicode, limited_meta
from headwater.corpus.sources.formats import programming_language
from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.corpus.sources.spdx import UNKNOWN
from headwater.corpus.toml_tables import keys_by_word

# of an object that describes a licence: the first of these that has something in it decides
_KEYS = ("spdx_id", "spdx", "id", "identifier", "type", "key", "name", "title", "url")
_MAX_LICENCES = 50


def licence_of_value(value: Any) -> str:
    """Return what a value names as a licence, as it is written there; of several the expression of them all.

    "" only where nothing is named. A value that isn't understood whole is handed on where it is a short text, and
    "unknown" else, so that no document of it passes for one that names none.
    """
    if _is_empty(value):
        return ""
    if isinstance(value, list):
        named = [] if len(value) > _MAX_LICENCES else [_name(each) for each in value if not _is_empty(each)]
        return all_of(named) or UNKNOWN
    return handed_on(_name(value))


def _name(value: Any) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in _KEYS if not _is_empty(value.get(key))), None)
    return value.strip() if isinstance(value, str) else UNKNOWN


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(_is_empty(each) for each in (value.values() if isinstance(value, dict) else value))
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str | bytes) and not value.strip())


_TEXT_COLUMNS = ("text", "content")
_CHATS = ("messages", "conversations", "conversation")
_KINDS = {list: "a list", dict: "an object", bool: "a truth value"}
_INNER = ("meta", "metadata")  # objects of an object whose fields count as its own
# what a record says of its text, by the names that data sets use, and the name under which it is kept; the first counts
_OURS = keys_by_word("headwater.corpus.read", "metadata_names", "record")
_RANK = {name: rank for rank, name in enumerate(_OURS)}
_MAX_NAME_CHARACTERS, _MAX_IN_LIST = 60, 50
_SHOWN_NAMES = 20


def text_column(names: Iterable[str], wanted: str | None) -> str | None:
    """Return which of the columns that hold text is the document's: the wanted one, else "text" or "content".

    As it is spelt, or else in other letters, large for small.
    """
    found = list(names)
    lower = {name.lower(): name for name in reversed(found)}
    for name in (wanted,) if wanted is not None else _TEXT_COLUMNS:
        if name in found or name.lower() in lower:
            return name if name in found else lower[name.lower()]
    return None


def without_text(source: str, wanted: str | None, columns: Sequence[str]) -> Unusable:
    """Return what a table without its column of text is: the excerpt, which is redacted, names those that are there."""
    return Unusable("no_text", _why_without_text(source, wanted, dict.fromkeys(columns)), shown_columns(columns))


def _why_without_text(source: str, wanted: str | None, fields: dict[str, Any]) -> str:
    """Return what was found in place of a text, and what to do; `fields` without values are those of a table."""
    names = _TEXT_COLUMNS if wanted is None else (wanted,)
    for name in names:
        if fields.get(name) is not None:
            return f"{name} holds {_KINDS.get(type(fields[name]), 'a number')}, no string; write it as one string"
    for name in _CHATS:
        if name in fields:
            return f'chat data: {name} holds a conversation; kind = "conversations" reads it (docs/conversations.md)'
    return f"no text in a column {' or '.join(names)}; corpus.sources.{source}.text_column names another"


def shown_columns(names: Sequence[str]) -> str:
    """Return the names of columns, of each and of all no more than a line or two."""
    shown = [" ".join(name[:_MAX_NAME_CHARACTERS].split()) for name in names[:_SHOWN_NAMES]]
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return f"columns: {', '.join(shown)}{more}"


def metadata_columns(names: Iterable[str], text: str) -> list[str]:
    """Return the columns that say something of a table's texts, in the order in which they count."""
    known = (name for name in names if name != text and name.lower() in _OURS)
    return sorted(known, key=lambda name: _RANK[name.lower()])


def names_licence(name: str) -> bool:
    """Return whether a column names a licence."""
    return _OURS.get(name.lower()) == "licence"


def record_document(
    file: InputFile, record: Any, part: str, num_bytes: int, wanted: str | None = None
) -> Document | Drop:
    """Return the document in a JSON object, or a drop of `num_bytes` when it has no text.

    The text is the string under `wanted`, else under "text" or "content"; the rest is `record_meta`'s, what is in its
    "metadata" as if it stood beside the text. Of a source of conversations it is the messages.
    """
    if file.kind == CONVERSATIONS:
        return _conversation(file, record, part, num_bytes, wanted)
    match record:
        case {"headwater": 1, "id": str(name), "text": str(text), "metadata": {"origin": str(origin), **more}}:
            # of samples: they were named where they were written
            meta = {str(key): str(value) for key, value in more.items()}
            return Document(text, file.source, name, origin, file.kind, limited_meta(meta))
    fields = record if isinstance(record, dict) else {}
    column = text_field(fields, wanted)
    if column is None:
        why = "not an object, with its text in a field named text"
        if isinstance(record, dict):
            why = _why_without_text(file.source, wanted, fields)
        return file.drop("no_text", num_bytes, part, str(record)[:200], why)
    inner = [fields[name] for name in _INNER if isinstance(fields.get(name), dict)]
    together: dict[str, Any] = {}
    for each in (*inner, fields):  # what is empty takes nothing back
        together |= {name: value for name, value in each.items() if name not in together or value not in (None, "", [])}
    return file.document(fields[column], part, **record_meta(together, column))


def _conversation(file: InputFile, record: Any, part: str, num_bytes: int, field: str | None) -> Document | Drop:
    """Return the messages in a JSON object as a document, each cleaned as code is: its words and lines stay."""
    try:
        messages = [Message(role, clean(in_unicode(text), "code")) for role, text in read_messages(record, field)]
        require_learnable(messages)
    except Refused as refused:
        shown = json.dumps(record, ensure_ascii=False)[:EXCERPT_CHARACTERS]
        return file.drop(refused.reason, num_bytes, part, shown, refused.because)
    return file.document(as_text(messages), part, **record_meta(record))


def text_field(fields: dict[str, Any], wanted: str | None) -> str | None:
    """Return the name of the field that is the text of a record, None where there is none."""
    return text_column((name for name, value in fields.items() if isinstance(value, str)), wanted)


def record_meta(fields: dict[str, Any], text: str = "") -> dict[str, str]:
    """Return what the fields of a record but for its `text` say of it: title, language, licence and the like.

    Each under our name for it. Others are not kept: nobody here reads them, and what they hold nobody knows.
    """
    meta: dict[str, str] = {}
    for name in metadata_columns(fields, text):
        ours = _OURS[name.lower()]
        if ours not in meta and (value := _our_value(fields[name], ours)):
            meta[ours] = value
    return meta


def _our_value(value: Any, ours: str) -> str:
    if ours == "licence":
        return licence_of_value(value)
    if ours == "author" and isinstance(value, list):
        return ", ".join(each.strip() for each in value[:_MAX_IN_LIST] if isinstance(each, str) and each.strip())
    text = value.isoformat() if isinstance(value, date) else value.strip() if isinstance(value, str) else ""
    if ours == "date":
        return iso_date(text)
    if ours == "language":
        return programming_language(text) or language_of(text) or text
    return text
