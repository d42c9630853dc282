"""The items of evaluation sets, as texts to look for: read from JSONL, JSON, Parquet and text files.

A question is looked for together with what answers it. The options of a question are never looked for by themselves:
names and sentences of any encyclopaedia are among them.

These files were chosen by whoever trains, so they are parsed in this process, not as foreign bytes are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from headwater.core.errors import DataError
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.walk import find_files
from headwater.corpus.sources.formats import format_of
from headwater.corpus.sources.settings import DecontaminateSettings
from headwater.corpus.toml_tables import toml_table

_MAX_DEPTH = 30
_LONG_CHARACTERS = 100  # of a passage: no title or name is as long

_MAX_ANSWERS = 20
_GAP = re.compile(r"(?<!\w)_+(?!\w)|_{3,}", re.ASCII)  # what an answer is to fill
_ASKS = re.compile(r"[?？؟][\W_]*$")
_HEADING = re.compile(
    r"^\s*[^\W\d][\w ]{0,24}[:：]\s|(?<=[\s?.!。？！])[^\W\d][\w ]{0,24}[:：]\s*$"
)  # "Question:", "Options:"
_LABEL = re.compile(
    r"(?:^|(?<=[\s,;]))[(（\[]?([A-Ja-j1-9])\s?[.):：、．）\]](?!\d)\s?"
)  # before each of several options


class Text(NamedTuple):
    """A text to look for. One with answers, a question and its options among them, counts only with some beside it."""

    question: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a set: its texts, and where it stands."""

    label: str
    texts: tuple[Text, ...]

    @property
    def name(self) -> str:
        """The label without the folders of its file: short, and the same wherever a corpus is built."""
        origin, hash_sign, number = self.label.rpartition("#")
        return f"{origin.rpartition('/')[2]}#{number}" if hash_sign else self.label


def read_set(name: str, settings: DecontaminateSettings) -> list[Item]:
    """Return the items of a set, in the order of its files.

    Raises DataError for a path that names nothing, a file that can't be read, and a set without an item.
    """
    items: list[Item] = []
    for given in settings.sets[name]:
        for path, origin in find_files([given], f"corpus.decontaminate.sets.{name}"):
            records = _records(InputFile(path, origin, name, "text"), name)
            texts = (tuple(_texts(record)) for record in records)
            items += [Item(f"{origin}#{number}", found) for number, found in enumerate(texts, 1) if found]
    if not items:
        raise DataError(f"corpus.decontaminate.sets.{name} has no text; correct its paths")
    return items


def _records(file: InputFile, name: str) -> Iterator[Any]:
    """Yield the records of a file; a paragraph of a text file is one."""
    file_format = format_of(file.path.name)
    try:
        if file_format == "parquet":
            yield from _parquet_records(file.path)
            return
        with file.open() as stream:
            text = stream.read().decode("utf-8-sig")
        if file_format == "jsonl":
            yield from _line_records(text)
        elif file_format == "json":
            yield from _listed(json.loads(text))
        elif file_format in ("text", "unknown"):
            yield from (paragraph for paragraph in text.split("\n\n") if paragraph.strip())
        else:
            raise ValueError(f"its format is {file_format}, and sets are JSONL, JSON, Parquet or text")
    except (OSError, ValueError, RecursionError, Unusable) as error:
        raise DataError(f"corpus.decontaminate.sets.{name}: {file.origin} can't be read ({error})") from error


def _line_records(text: str) -> Iterator[Any]:
    """Yield the record of every line that isn't blank. Raises ValueError that says which line is none."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number:,}, column {error.colno:,}: {error.msg}") from None
            except (ValueError, RecursionError) as error:  # a number of many digits; brackets in brackets
                raise ValueError(f"line {number:,}: {error}") from None


def _parquet_records(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(1000, use_threads=False):
            yield from batch.to_pylist()


def _listed(value: Any) -> list[Any]:
    """Return the records in a JSON file: the list that it is, or the longest list of the object that it is."""
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        return max(lists, key=len, default=[value])
    return value if isinstance(value, list) else [value]


def _texts(record: Any) -> Iterator[Text]:
    """Yield what a record is looked for by."""
    if not isinstance(record, dict):
        found = " ".join(_strings(record))
        yield from (Text(found),) if found.strip() else ()
        return
    parts = _Parts()
    parts.take_(record)
    answers = parts.answers
    if parts.options:
        answers = [each for each in answers if len(each.strip()) > 1 and not each.isdigit()]
    else:
        parts.passages += [each for each in answers if len(each) >= _LONG_CHARACTERS]
    yield from map(Text, parts.passages)
    questions = parts.questions or list(filter(_ASKS.search, parts.others)) or sorted(parts.others, key=len)[-1:]
    beside = [each for each in (*answers, *parts.options, *parts.others, *questions) if each.strip()]
    for question in dict.fromkeys(questions):
        longest = max(_GAP.split(_HEADING.sub("", question)), key=len)
        if longest.strip():
            others = (each for each in dict.fromkeys(beside) if each != question)
            yield Text(longest, tuple(islice(others, _MAX_ANSWERS)))


@cache
def _field_names() -> dict[str, re.Pattern[str]]:
    """Return what matches the name of a field, by what that holds."""
    patterns = toml_table("headwater.corpus.protect", "field_names")
    return {name: re.compile(pattern) for name, pattern in patterns.items()}


@dataclass
class _Parts:
    """The strings of a record by what they are, as the names of their fields say."""

    questions: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # of fields that no name tells of
    options: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    passages: list[str] = field(default_factory=list)

    def take_(self, fields: dict[str, Any], is_answer: bool = False, depth: int = 0) -> None:
        """Add the strings of a record, or of an object in it; in one that is an answer are options and answers."""
        known = _field_names()
        for name, value in fields.items():
            name = name.lower().replace(" ", "_")
            if known["options"].fullmatch(name):
                self.options += [option for each in _option_texts(value) for option in _without_labels(each)]
            elif known["about"].fullmatch(name):
                continue
            elif isinstance(value, dict) and depth < _MAX_DEPTH:
                self.take_(value, is_answer or known["answers"].fullmatch(name) is not None, depth + 1)
            elif is_answer or known["answers"].fullmatch(name):
                self.answers += _option_texts(value)
            else:
                for each in _strings(value):
                    self._take_question_(name, each)

    def _take_question_(self, name: str, text: str) -> None:
        is_question = _field_names()["question"].fullmatch(name) is not None
        if len(text) >= _LONG_CHARACTERS and not is_question:  # a passage, an explanation: by itself
            self.passages.append(text)
        elif text.strip() and not _field_names()["sorts"].fullmatch(text.lower()):
            question, *listed = _parts_of_list(text)
            (self.questions if is_question else self.others).append(question)
            self.options += listed


def _parts_of_list(text: str) -> list[str]:
    """Return what stands before the labels of a list, which count up (A. or (1)), and behind each of them."""
    ends, labels = [0], ""
    for match in _LABEL.finditer(text):
        label = match[1].lower()
        if label in (("a", "1") if not labels else (chr(ord(labels[-1]) + 1),)):
            ends += match.span()
            labels += label
    if len(labels) < 2:
        return [text]
    return [text[start:end].strip(" \n,;") for start, end in zip(ends[::2], [*ends[1::2], len(text)], strict=True)]


def _without_labels(text: str) -> list[str]:
    """Return the options in a string: one, without its label, or the parts of a list of them."""
    listed, label = _parts_of_list(text)[1:], _LABEL.match(text)
    return listed or [text[label.end() :] if label else text]


def _option_texts(value: Any) -> list[str]:
    """Return the options in a field: strings, {text, label} and lists of such, or names with their scores."""
    if isinstance(value, dict):
        inner = value.get("text", value.get("choices"))
        if inner is not None:
            return _option_texts(inner)
        has_scores = all(isinstance(each, int | float) for each in value.values())
        return list(value) if has_scores else list(_strings(value))
    if isinstance(value, list):
        return [text for each in value for text in _option_texts(each)]
    return [value] if isinstance(value, str) and value.strip() else []


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the strings in a record, in order."""
    if isinstance(value, str):
        yield value
    elif depth < _MAX_DEPTH and isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part, depth + 1)
