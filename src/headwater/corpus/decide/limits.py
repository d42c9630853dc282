"""Limits of columns: a document is dropped for the first in this order that it breaks. Each is an expression of SQL.

A limit of a rule is a figure of English; which it is for a text depends on its family of kinds and on the row of its
language (measures.by_language): the table `limits` has one row for each of both, with a column for each setting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa

from headwater.core.errors import ConfigError
from headwater.corpus.decide.columns import quoted_text
from headwater.corpus.licences.step import REASON as NOT_ALLOWED
from headwater.corpus.licences.step import allowed_licences
from headwater.corpus.measures.by_language import Limits, read_limits
from headwater.corpus.measures.statistics import family_of
from headwater.corpus.sources.rules import CodeRules, ProseRules
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.step import too_little, too_much
from headwater.corpus.toml_tables import toml_table

PROSE = ("prose", "web", "reference", "text")
_UNITS = ("top_2gram", "top_3gram", "top_4gram", "repeated_10gram")


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: the reason, the column, the column of table `limits` that it is compared with, and which side is wrong.

    `what` says what is measured, for a person; `unless` is a condition under which it doesn't hold. A `test` in place
    of a limit is the whole condition, and `because` what it says.
    """

    reason: str
    column: str = ""
    setting: str = ""
    is_least: bool = True
    what: str = ""
    unless: str = ""
    plus: str = ""
    test: str = ""
    because: str = ""

    @property
    def limit(self) -> str:
        return f"(l.{quoted(self.setting)}{self.plus})"

    @property
    def condition(self) -> str:
        """The condition under which it is broken; one with a column or a limit that is None is not."""
        if self.test:
            return self.test
        sign = "<" if self.is_least else ">"
        unless = f" and not coalesce({self.unless}, false)" if self.unless else ""
        return f"{quoted(self.column)} {sign} {self.limit}{unless}"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def limit_column(setting: str) -> str:
    """Return what the limit of a setting is called beside the columns of measures, one of which may have its name."""
    return quoted(f"limit {setting}")


def _listed(family: str) -> list[Limit]:
    """Return the limits of the rules that limits.toml lists."""
    found = []
    for row in toml_table("headwater.corpus.decide", "limits")[family]:
        setting = row.get("least") or row.get("most") or row["setting"]
        rest = {name: value for name, value in row.items() if name not in ("least", "most", "setting")}
        found.append(Limit(**rest, setting=setting, is_least="most" not in row))
    return found


def limits_of(settings: CorpusSettings, after_reading: bool = True) -> list[Limit]:
    """Return the limits of a corpus in their order.

    Those of the rules alone where not `after_reading`: a page that was shortened is held to them again.
    """
    code = [replace(limit, test=f"family = 'code' and {limit.condition}") for limit in _listed("code")]
    prose = [replace(limit, test=f"family <> 'code' and {limit.condition}") for limit in _listed("prose")]
    rules = [Limit("empty", test="characters = 0"), *code, *prose]
    if not after_reading:
        return rules
    before, behind = list[Limit](), list[Limit]()
    if settings.licences is not None and settings.licences.allow is not None:
        before.append(Limit(NOT_ALLOWED, test="licence not in (select licence from allowed_licences)"))
    if settings.languages is not None:
        wanted = ", ".join(map(quoted_text, settings.languages))
        other = "{language_or_none} with probability {language_confidence:.2f}, not " + " or ".join(settings.languages)
        before.append(Limit("other_language", test=f"language not in ({wanted})", because=other))
        sure = "language_confidence", "min_language_confidence"
        before.append(Limit("unsure_language", *sure, what="{language} with probability"))
    for kind, columns in settings.limits.items():
        for name, limit in columns.items():
            for setting, is_least in (("min", True), ("max", False)):
                value = getattr(limit, setting)
                if value is not None:
                    reason = f"{name}_too_{'low' if is_least else 'high'}"
                    sign, number = "<" if is_least else ">", repr(float(value))
                    test = f"kind = '{kind}' and m.{quoted(name)}::double {sign} {number}"
                    behind.append(Limit(reason, name, "", is_least, name, test=test, plus=number))
    return [*before, *rules, *behind]


def table_of_limits(settings: CorpusSettings) -> pa.Table:
    """Return the table `limits`: for each family of kinds and row of by_language.toml every limit, None where off."""
    of_all = {"min_language_confidence": settings.min_language_confidence}
    rows: list[dict[str, Any]] = [{"of_family": None, "of_usual": None, **of_all}]
    rows.append({"of_family": "code", "of_usual": None, **_of_code(settings.rules.code), **of_all})
    for family in PROSE:
        for usual in read_limits().values():
            of_family = _of_row(getattr(settings.rules, family), usual)
            rows.append({"of_family": family, "of_usual": usual.name, **of_family, **of_all})
    names = {name: None for row in rows for name in row}
    types = {name: pa.string() if name in ("of_family", "of_usual") else pa.float64() for name in names}
    columns = {name: pa.array([_as_number(row.get(name)) for row in rows], types[name]) for name in names}
    return pa.table(columns)


def _as_number(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else float(value)


def _of_code(rules: CodeRules) -> dict[str, Any]:
    return rules.model_dump()


def _of_row(rules: ProseRules, usual: Limits) -> dict[str, Any]:
    """Return the limits of a family for texts in a language: lengths are those of what says as much in English."""
    table = rules.model_dump(exclude={"cut_notices", "max_top_ngram_fractions", "short_line_characters"})
    shortest, longest = usual.word_lengths
    tops = rules.max_top_ngram_fractions or (None, None, None)
    for name, factor in (
        ("min_characters", usual.characters),
        ("min_words", usual.words),
        ("min_sentence_characters", usual.characters),
    ):
        table[name] = None if table[name] is None else round(table[name] * factor)
    for name, factor in (("min_mean_word_length", shortest), ("max_mean_word_length", longest)):
        table[name] = round(table[name] * factor, 2) if table[name] else table[name]
    asks_for_stop_words = bool(rules.min_stop_words)
    return {
        **table,
        "min_stop_words": rules.min_stop_words if asks_for_stop_words else None,
        "min_stop_word_share": usual.stop_word_share if asks_for_stop_words and usual.stop_word_share else None,
        **{f"max_top_{n}gram_fraction": limit for n, limit in zip((2, 3, 4), tops)},
    }


def broken_limit(limits: list[Limit], off: Collection[str] = ()) -> str:
    """Return the expression for the number of the first limit that is broken, null where none is.

    Columns of limits whose settings are `off` are not read.
    """
    wanted = ((number, limit) for number, limit in enumerate(limits) if limit.setting not in off)
    return f"case {' '.join(f'when {limit.condition} then {number}' for number, limit in wanted)} end"


def settings_that_are_off(settings: CorpusSettings, families: Collection[str | None]) -> list[str]:
    """Return the columns of the table `limits` that hold no limit for any text of some families of kinds."""
    table = table_of_limits(settings)
    table = table.filter(pa.array([family in families for family in table.column("of_family").to_pylist()]))
    return [name for name in table.column_names if table.column(name).null_count == len(table)]


def value_and_limit(limits: list[Limit]) -> str:
    """Return two expressions: the value of the limit that is broken, and what it was held to; of column `broken`."""
    numbered = [(number, limit) for number, limit in enumerate(limits) if limit.column]
    if not numbered:
        return "null::double as value, null::double as held_to"
    values = " ".join(f"when {number} then {quoted(limit.column)}::double" for number, limit in numbered)
    held_to = " ".join(
        f"when {number} then ({limit_column(limit.setting) if limit.setting else ''}{limit.plus})"
        for number, limit in numbered
    )
    return f"case broken {values} end as value, case broken {held_to} end as held_to"


def register_limits(connection: duckdb.DuckDBPyConnection, settings: CorpusSettings, licences: Iterable[str]) -> None:
    """Make what conditions of limits look up: `limits`, and which of some licences are allowed."""
    connection.register("limits", table_of_limits(settings))
    allow = settings.licences.allow if settings.licences is not None else None
    allowed = allowed_licences(set(licences), allow) if allow is not None else []
    connection.register("allowed_licences", pa.table({"licence": pa.array(allowed, pa.string())}))


def because_of(limit: Limit, row: Mapping[str, Any], settings: CorpusSettings, licence_named: str = "") -> str:
    """Return what decided, in a few words, for a person: "words: 2, 5 at least (corpus.rules.web.min_words)"."""
    if limit.reason == NOT_ALLOWED:
        return f"licence not understood: {licence_named}" if licence_named else f"licence {row['licence']}"
    if not limit.column:
        found = limit.because.format(**{**row, "language_or_none": row.get("language") or "no language"})
    else:
        found = _compared(limit, row, settings)
    setting = _setting_of(limit, row["kind"])
    return f"{found} ({setting})" if found and setting else found


def _compared(limit: Limit, row: Mapping[str, Any], settings: CorpusSettings) -> str:
    value, held_to = row["value"], row["held_to"]
    if limit.column in _WHOLE:
        value, held_to = int(value), int(held_to)
    what = limit.what
    if "{" in what:
        what = what.format(**_names_of(limit, row, settings))
    colon = "" if limit.reason == "unsure_language" else ":"
    return f"{what}{colon} {(too_little if limit.is_least else too_much)(value, held_to)}"


_WHOLE = {
    "characters", "words", "stop_words", "sentences", "sentence_characters", "data_characters", "longest_line",
}  # fmt: skip


def _names_of(limit: Limit, row: Mapping[str, Any], settings: CorpusSettings) -> dict[str, Any]:
    """Return what the words for a limit leave open: units of an unspaced script, lengths of this language."""
    usual = read_limits().get(row["usual"] or "")
    per_word = usual.words if usual is not None and row["is_unspaced"] else 1.0
    names: dict[str, Any] = {"language": row.get("language"), "unit": "words" if per_word == 1 else "units"}
    if limit.column.startswith(_UNITS):
        names["n"] = round(int("".join(filter(str.isdigit, limit.column))) * per_word)
    if usual is not None and row["family"] in PROSE:
        short = getattr(settings.rules, row["family"]).short_line_characters
        names["short"] = round(short * usual.characters)
    return names


def _setting_of(limit: Limit, kind: str) -> str:
    """Return the setting that decides, as it is written; empty where the reason or what decided says it."""
    if limit.reason in (NOT_ALLOWED, "other_language", "unsure_language"):
        return ""
    if not limit.setting:
        return f"corpus.limits.{kind}.{limit.column}" if limit.column else ""
    return f"{rules_name(kind)}.{_WRITTEN.get(limit.setting, limit.setting)}"


_WRITTEN = {"min_stop_word_share": "min_stop_words"}
_WRITTEN |= {f"max_top_{n}gram_fraction": "max_top_ngram_fractions" for n in (2, 3, 4)}


def rules_name(kind: str) -> str:
    """Return the settings that hold for a kind."""
    return f"corpus.rules.{family_of(kind) or 'prose'}"


def require_columns(settings: CorpusSettings, known: list[str]) -> None:
    """Raise ConfigError for a limit of a column that no measure of the corpus has as a number; `known` are those."""
    for kind, columns in settings.limits.items():
        for name in columns:
            if name not in known:
                raise ConfigError(
                    f"corpus.limits.{kind}.{name}: no measure has that column; known here: "
                    f"{', '.join(sorted(known))} (columns of numbers)"
                )
