"""The items of evaluation sets, as texts to look for: read from JSONL, JSON, Parquet and text files.

A question is looked for together with what stands beside it in its record: options, answers. These are never looked
for by themselves: names and sentences of any encyclopaedia are among them.

These files were chosen by whoever trains, so they are parsed in this process, not as foreign bytes are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from headwater.core.errors import DataError
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.walk import find_files
from headwater.corpus.sources.formats import format_of
from headwater.corpus.sources.settings import DecontaminateSettings, FieldSettings

_MAX_DEPTH = 30
_LONG_CHARACTERS = 100  # of a passage: no title or name is as long
_MAX_ANSWERS = 20

# what the usual sets call what they ask, and what is about an item and not of it
_QUESTION = re.compile(
    r"question(?!_(?:id|type|number)).*|prompt|query|stem|ctx|context|sentence|goal|problem|premise|hypothesis|input|startphrase"
)
_ABOUT = re.compile(
    r"(?:.*_)?(?:u?id|url|type|number)|subject|category|topic|task|dataset|lang(?:uage)?|level|difficulty|source|split|name|label"
)
_ASKS = re.compile(r"[?？؟][\W_]*$")
_ANSWER = re.compile("answer|target|gold|key|correct|solution|output|completion")
_OPTION = re.compile(
    r"choice|option|ending|candidate|alternative|distractor|incorrect|targets|scores|^(?:op|sol)?_?[\da-j]$"
)
_GAP = re.compile(r"(?<!\w)_+(?!\w)|_{3,}", re.ASCII)  # what an answer is to fill
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
            texts = (tuple(_texts(record, settings.fields.get(name))) for record in records)
            items += [Item(f"{origin}#{number}", found) for number, found in enumerate(texts, 1) if found]
    if not items:
        named = f" or corpus.decontaminate.fields.{name}.question" if name in settings.fields else ""
        raise DataError(f"corpus.decontaminate.sets.{name} has no text; correct its paths{named}")
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


def _texts(record: Any, fields: FieldSettings | None) -> Iterator[Text]:
    """Yield what a record is looked for by: each question with what stands beside it, and long texts by themselves.

    Where no field is named as questions are, what ends with a question mark is one, else the longest text.
    """
    if not isinstance(record, dict):
        found = " ".join(text for _, text in _strings(record))
        yield from (Text(found),) if found.strip() else ()
        return
    questions, others, keys, options = list[str](), list[str](), list[str](), set[str]()
    for path, text in _strings(record):
        is_question = _is_question(path, fields)
        if is_question is None or not text.strip():
            continue
        first, *listed = _parts_of_list(text)
        if is_question:
            questions.append(first)
            others += listed
        elif len(text.strip()) == 1 and _ANSWER.search(path[-1]):  # the letter of an option, where there are any
            keys.append(text)
        else:
            label = _LABEL.match(text)
            each_option = listed or [text[label.end() :] if label else text]
            others += each_option
            options |= set(each_option if any(map(_OPTION.search, path)) or listed else ())
    if fields is None and not questions:
        questions = list(filter(_ASKS.search, others)) or sorted(others, key=len)[-1:]
    others = [each for each in others if each.strip() and each not in questions]
    yield from (Text(each) for each in others if len(each) >= _LONG_CHARACTERS and each not in options)
    beside = list(dict.fromkeys([*(others or keys), *questions]))
    for question in dict.fromkeys(questions):
        longest = max(_GAP.split(_HEADING.sub("", question)), key=len)
        if longest.strip():
            yield Text(longest, tuple(islice((each for each in beside if each != question), _MAX_ANSWERS)))


def _is_question(path: tuple[str, ...], fields: FieldSettings | None) -> bool | None:
    """Return whether a field of a record is asked; None where it is not of the item, or not to be looked for."""
    if fields is None:
        return None if any(map(_ABOUT.fullmatch, path)) else _QUESTION.fullmatch(path[-1]) is not None
    names = {".".join(path[:length]) for length in range(1, len(path) + 1)}
    if not names.isdisjoint(fields.question):
        return True
    return False if fields.beside is None or not names.isdisjoint(fields.beside) else None


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


def _strings(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the strings in a record with the names of their fields, in order; of names with scores the names."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict) and len(path) < _MAX_DEPTH:
        has_scores = path and all(isinstance(each, int | float) for each in value.values())
        for name, inner in value.items():
            own = name.lower().replace(" ", "_")
            yield from ((path, name),) if has_scores else _strings(inner, (*path, own))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, path)
