"""Thresholds of the rules of quality, a set for each family of texts; None is off. Rules of settings: `runfile.rules`.

Sources: Gopher (Rae et al. 2021, arXiv 2112.11446, table A1 and section A.1.1), C4 (Raffel et al. 2020,
arXiv 1910.10683, section 2.2), FineWeb (Penedo et al. 2024, arXiv 2406.17557, section 3.6), The Stack (Kocetkov et
al. 2022, arXiv 2211.15533) and StarCoder (Li et al. 2023, arXiv 2305.06161). Ours aren't FineWeb's numbers, by which
half of the good pages of documentation fall: hard wraps are undone first, shares are of characters, code needn't end
with full stops. They were set on five sites and measured on four others (docs/corpus.md). Without gain, and
not here: Gopher's 5- to 10-gram rule (precision 0.74 for 0.97), C4's brace rule. Change lists pass; they are the
classifier's work.
"""

from __future__ import annotations

from pydantic import Field

from headwater.core.config import Settings

NOTICES = [
    "enable javascript",
    "javascript is disabled",
    "javascript is required",
    "javascript must be enabled",
    "requires javascript",
    "uses cookies",
    "use of cookies",
    "use cookies to",
    "accept all cookies",
    "cookie policy",
    "all rights reserved",
]


class ProseRules(Settings):
    """When a text in sentences is dropped.

    Words are what white space separates; in scripts that don't separate words (Chinese, Japanese, Thai and others)
    their characters or syllables, to which rules about a word's length and letters don't apply. All lengths are
    those of English: a text in another language is held to what says as much (corpus.measures.by_language). A line is
    what its writer meant as one: one that a hard wrap broke counts once. Edited books and speeches repeat
    themselves on purpose (litanies, genealogies) and stand in lines of any shape (verse, plays), so their
    repetition limits are wider than those for the web and rules about lines are off.
    """

    min_characters: int = Field(default=100, ge=0)
    """Shorter texts are dropped as too_short."""
    min_words: int | None = Field(default=None, ge=0)
    """Words at least, or few_words (Gopher: 50)."""
    min_alpha_fraction: float | None = Field(default=0.65, ge=0, le=1)
    """Letters among the characters that are not white space, or low_alpha_fraction."""
    min_alpha_word_fraction: float | None = Field(default=None, ge=0, le=1)
    """Words with a letter in them, or low_alpha_fraction (Gopher: 0.8)."""
    min_mean_word_length: float | None = Field(default=3.0, ge=0)
    """Characters of a word, on average, at least, or short_words (Gopher: 3)."""
    max_mean_word_length: float | None = Field(default=10.0, ge=0)
    """Characters of a word, on average, at most, or long_words (Gopher: 10)."""
    max_replacement_fraction: float | None = Field(default=0.001, ge=0, le=1)
    """Characters U+FFFD, which a wrong decoding left behind, or wrongly_decoded."""
    max_mojibake_fraction: float | None = Field(default=None, ge=0, le=1)
    """Words with a pair of characters that UTF-8 read as Latin-1 leaves behind (Ã©, â€™), or wrongly_decoded."""
    max_repeated_line_fraction: float | None = Field(default=0.3, ge=0, le=1)
    """Characters in lines that occurred before in the same document, or repeated_lines (Gopher: 0.2).

    Gopher's rule about paragraphs is implied: a paragraph that comes again is lines that come again.
    """
    max_top_ngram_fractions: list[float] | None = Field(default=[0.30, 0.27, 0.24], min_length=3, max_length=3)
    """Words covered by the most frequent 2-, 3- and 4-gram, or repeated_ngrams (Gopher: 0.20, 0.18, 0.16)."""
    max_repeated_10gram_fraction: float | None = Field(default=0.5, ge=0, le=1)
    """10-grams that occurred before in the same document, or repeated_passages."""
    max_symbol_fraction: float | None = Field(default=None, ge=0)
    """Hash signs for each word, and ellipses for each word, at most, or many_symbols (Gopher: 0.1)."""
    max_bullet_line_fraction: float | None = Field(default=None, ge=0, le=1)
    """Lines that begin with a bullet, or bullet_list (Gopher: 0.9)."""
    max_ellipsis_line_fraction: float | None = Field(default=None, ge=0, le=1)
    """Lines that end in an ellipsis, or cut_off_lines (Gopher: 0.3)."""
    min_stop_words: int | None = Field(default=None, ge=0)
    """Different stop words of its language at least, or few_stop_words (Gopher: 2).

    Asked where the language is known, by its text and not by what a page says, and has a list of them.
    """
    min_sentence_fraction: float | None = Field(default=None, ge=0, le=1)
    """Characters in lines that end as a sentence does, or unfinished_lines.

    FineWeb asks for 0.12 of the lines; by characters, a page keeps its code, its headings and its tables.
    """
    min_sentence_characters: int | None = Field(default=None, ge=0)
    """Characters in lines that end as a sentence does, or few_sentences: a page may be all form and no content."""
    max_short_line_fraction: float | None = Field(default=None, ge=0, le=1)
    """Characters in lines of short_line_characters or fewer, or short_lines (FineWeb: 0.67 of the lines)."""
    short_line_characters: int = Field(default=30, ge=1)
    """What counts as a short line (FineWeb: 30)."""
    max_lines_per_word: float | None = Field(default=None, ge=0)
    """Lines for each word, or short_lines (FineWeb: 0.3 line ends)."""
    min_sentences: int | None = Field(default=None, ge=0)
    """Sentences at least, or few_sentences (C4: 5).

    This and the other rules about the ends of sentences spare a text in long lines with the stop words of its language.
    """
    drop_placeholder: bool = False
    """Drop a page with "lorem ipsum" in it, as placeholder_text (C4)."""
    cut_notices: list[str] | None = None
    """Short lines with one of these phrases are cut out, as site_notice (C4 cut lines about Javascript, cookies)."""


class WebRules(ProseRules):
    """For pages that nobody edited."""

    min_characters: int = Field(default=200, ge=0)
    min_words: int | None = Field(default=50, ge=0)
    min_alpha_word_fraction: float | None = Field(default=0.7, ge=0, le=1)
    max_mojibake_fraction: float | None = Field(default=0.01, ge=0, le=1)
    max_top_ngram_fractions: list[float] | None = Field(default=[0.20, 0.18, 0.16], min_length=3, max_length=3)
    max_repeated_10gram_fraction: float | None = Field(default=0.25, ge=0, le=1)
    max_symbol_fraction: float | None = Field(default=0.1, ge=0)
    max_bullet_line_fraction: float | None = Field(default=0.9, ge=0, le=1)
    max_ellipsis_line_fraction: float | None = Field(default=0.3, ge=0, le=1)
    min_stop_words: int | None = Field(default=2, ge=0)
    min_sentence_fraction: float | None = Field(default=0.18, ge=0, le=1)
    min_sentence_characters: int | None = Field(default=250, ge=0)
    max_short_line_fraction: float | None = Field(default=0.35, ge=0, le=1)
    max_lines_per_word: float | None = Field(default=0.3, ge=0)
    min_sentences: int | None = Field(default=3, ge=0)
    drop_placeholder: bool = True
    cut_notices: list[str] | None = NOTICES


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
    """When source code is dropped; the line rules follow The Stack."""

    min_characters: int = Field(default=100, ge=0)
    """Shorter files are dropped as too_short."""
    min_alpha_fraction: float | None = Field(default=0.25, ge=0, le=1)
    """Letters among the characters that are not white space, or low_alpha_fraction."""
    max_line_characters: int | None = Field(default=1000, ge=1)
    """Characters in the longest line, or long_lines (minified code, data)."""
    max_mean_line_characters: float | None = Field(default=100, ge=1)
    """Characters in a line, on average, or long_lines."""
    max_encoded_fraction: float | None = Field(default=0.3, ge=0, le=1)
    """Characters in runs of 60 or more that look like base64 or hexadecimal data, or encoded_data."""
    drop_generated: bool = True
    """Files whose first lines say that a program wrote them are dropped, as generated."""
    drop_xml: bool = True
    """Files of other languages that begin as XML does are dropped, as data_file (StarCoder)."""
    max_data_characters: int | None = Field(default=5000, ge=1)
    """Characters of a file that is named .json, .yaml or .yml at most, or data_file (StarCoder: 5000)."""


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


class BoilerplateSettings(Settings):
    """Which lines of a site's pages are boilerplate (corpus.boilerplate): cut out, as boilerplate_lines."""

    min_pages: int = Field(default=10, ge=2)
    """Pages of a site, at least, that a line stands on."""
    min_share: float = Field(default=0.3, gt=0, le=1)
    """Share of the site's pages that it stands on."""
    edge_lines: int = Field(default=10, ge=0)
    """Lines at the beginning and at the end of a page of which any may be cut, up to a quarter of the page each."""
    min_inside_characters: int = Field(default=40, ge=1)
    """Between the edges only lines of this many characters are cut: shorter ones are headings."""
