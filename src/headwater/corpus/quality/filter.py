"""Filter rules by kind of source: drops a document with the reason, and cuts site notices out of pages."""

from __future__ import annotations

import re
import string

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, num_bytes
from headwater.corpus.quality.broken import Broken, above, below
from headwater.corpus.quality.lines import cut_lines, line_shapes, num_sentences
from headwater.corpus.quality.repetition import (
    frequent_ngram,
    repeated_line_fraction,
    repeated_ngram_fraction,
    repeated_passages,
)
from headwater.corpus.step import Candidate, Cut, Step, Verdict
from headwater.corpus.words import is_unspaced
from headwater.sources.rules import CodeRules, ProseRules, RuleSettings

# every byte of a character beyond ASCII counts as a letter: nearly all such characters in running text are
_LETTERS = string.ascii_letters.encode() + bytes(range(128, 256))
_SPACES = string.whitespace.encode()
_NEITHER = bytes(set(range(256)) - set(_LETTERS) - set(_SPACES))
_MOJIBAKE = re.compile("[ÂÃ][\u00a0-\u00bf\u2018-\u2122]|â€|[ÐÑ][\u00a0-\u00bf]")
_GENERATED = re.compile(
    r"auto-?\s?generated|(file|module|code) (is|was) generated|generated (by|from|automatically)|do not (edit|modify)",
    re.IGNORECASE,
)
_ENCODED = re.compile(r"[A-Za-z0-9+/=]{60,}|(?:\\x[0-9a-fA-F]{2}|0x[0-9a-fA-F]{1,8},\s*){15,}")
_XML_START_CHARACTERS = 100


def rules_step(rules: RuleSettings) -> Step:
    """Return the step that applies the rules for a document's kind."""

    def step(candidate: Candidate) -> Verdict:
        prose = rules_for(candidate.document.kind, rules)
        candidate, cuts = _without_notices(candidate, prose.cut_notices if prose else None)
        broken = broken_rule(candidate, rules)
        if broken is None:
            return Verdict(candidate, None, cuts)
        return Verdict(candidate, broken.reason, cuts, because=broken.because)

    return step


def rules_for(kind: str, rules: RuleSettings) -> ProseRules | None:
    """Return the rules for prose of a kind; None for code and for the almanac, which is made, not found."""
    if kind in ("code", "almanac"):
        return None
    if kind in ("articles", "documentation"):
        return rules.reference
    return rules.text if kind == "text" else rules.web if kind == "web" else rules.prose


def _without_notices(candidate: Candidate, phrases: list[str] | None) -> tuple[Candidate, tuple[Cut, ...]]:
    document = candidate.document
    text, cut = cut_lines(document.text, phrases) if phrases else (document.text, "")
    if not cut:
        return candidate, ()
    return candidate.with_text(clean(text, document.kind)), (Cut("site_notice", num_bytes(cut), cut),)


def broken_rule(candidate: Candidate, rules: RuleSettings) -> Broken | None:
    """Return why a cleaned document is dropped, or None to keep it."""
    document = candidate.document
    if not document.text:
        return Broken("empty")
    if document.kind == "code":
        return _code_rule(document, rules.code)
    prose = rules_for(document.kind, rules)
    return None if prose is None else _prose_rule(candidate, prose)


def _prose_rule(candidate: Candidate, rules: ProseRules) -> Broken | None:
    text = candidate.document.text
    broken = (
        below("too_short", len(text), rules.min_characters, "characters")
        or below("low_alpha_fraction", alpha_fraction(text), rules.min_alpha_fraction, "share of letters")
        or above(
            "wrongly_decoded",
            text.count("\ufffd") / len(text),
            rules.max_replacement_fraction,
            "share of characters that a wrong decoding left behind",
        )
        or above(
            "repeated_lines",
            repeated_line_fraction(text),
            rules.max_repeated_line_fraction,
            "share of characters in lines that came before",
        )
    )
    if broken is not None:
        return broken
    if rules.drop_placeholder and "lorem ipsum" in text.lower():
        return Broken("placeholder_text")
    braces = (text.count("{") + text.count("}")) / len(text)
    if (broken := above("code_in_text", braces, rules.max_brace_fraction, "share of curly brackets")) is not None:
        return broken
    if is_unspaced(text):
        return _line_rule(text, rules, None)
    return _word_rule(candidate, rules) or _line_rule(text, rules, len(candidate.words))


def _word_rule(candidate: Candidate, rules: ProseRules) -> Broken | None:
    text, words = candidate.document.text, candidate.words
    num_words = max(len(words), 1)
    mean_word_length = sum(map(len, words)) / num_words
    broken = (
        below("few_words", len(words), rules.min_words, "words")
        or below("short_words", mean_word_length, rules.min_mean_word_length, "characters of a word, on average")
        or above("long_words", mean_word_length, rules.max_mean_word_length, "characters of a word, on average")
    )
    # what costs a pass over the text is counted only where a rule asks for it
    if broken is None and rules.min_alpha_word_fraction:
        share = num_words_with_letters(text) / num_words
        broken = below("low_alpha_fraction", share, rules.min_alpha_word_fraction, "share of words with a letter")
    if broken is not None:
        return broken
    symbols = max(text.count("#"), text.count("...") + text.count("…"))
    is_english = candidate.document.meta.get("language", "")[:2].lower() == "en"  # pages say en-US
    return (
        above(
            "wrongly_decoded",
            num_mojibake(text) / num_words,
            rules.max_mojibake_fraction,
            "pairs of characters for each word that a wrong decoding left behind",
        )
        or above(
            "many_symbols",
            symbols / num_words,
            rules.max_symbol_fraction,
            "hash signs, or ellipses, for each word",
        )
        or (_stop_word_rule(words, rules) if is_english else None)
        or _repetition_rule(candidate, rules)
    )


def _stop_word_rule(words: list[str], rules: ProseRules) -> Broken | None:
    found = sum(word in words for word in rules.stop_words)
    return below("few_stop_words", found, rules.min_stop_words, "different stop words")


def _repetition_rule(candidate: Candidate, rules: ProseRules) -> Broken | None:
    hashes = candidate.hashes
    if top := frequent_ngram(hashes, rules.max_top_ngram_fractions or ()):
        what = f"share of the words that the most frequent run of {top.n} words covers"
        return above("repeated_ngrams", top.fraction, top.limit, what)
    if len(hashes) < 50:
        return None
    if again := repeated_passages(hashes, rules.max_repeated_ngram_fractions or ()):
        what = f"share of words in runs of {again.n} words that came before"
        return above("repeated_passages", again.fraction, again.limit, what)
    limit = rules.max_repeated_10gram_fraction
    if limit is None:
        return None
    what = "share of runs of 10 words that came before"
    return above("repeated_passages", repeated_ngram_fraction(hashes, 10), limit, what)


def _line_rule(text: str, rules: ProseRules, num_words: int | None) -> Broken | None:
    """Return which rule about lines a text breaks, without `num_words`, in an unspaced script, those that fit it."""
    least = rules.min_sentences
    if least is not None and (found := num_sentences(text, least)) < least:
        return below("few_sentences", found, least, "sentences")
    limits = (
        *(rules.max_bullet_line_fraction, rules.max_ellipsis_line_fraction, rules.min_sentence_fraction),
        *(rules.min_sentence_characters, rules.max_short_line_fraction, rules.max_lines_per_word),
    )
    if all(limit is None for limit in limits):
        return None
    shapes = line_shapes(text, rules.short_line_characters)
    lines, characters, in_sentences = shapes.lines, shapes.characters, shapes.sentence_characters
    ends = "characters in lines that end as a sentence does"
    short = f"share of characters in lines of {rules.short_line_characters} or fewer"
    return (
        above("bullet_list", shapes.bullets / lines, rules.max_bullet_line_fraction, "share of lines with a bullet")
        or above(
            "cut_off_lines",
            shapes.ellipses / lines,
            rules.max_ellipsis_line_fraction,
            "share of lines that end in an ellipsis",
        )
        or below("unfinished_lines", in_sentences / characters, rules.min_sentence_fraction, f"share of {ends}")
        or (
            below("few_sentences", in_sentences, rules.min_sentence_characters, ends) if num_words is not None else None
        )
        or above("short_lines", shapes.short_characters / characters, rules.max_short_line_fraction, short)
        or (
            above("short_lines", lines / max(num_words, 1), rules.max_lines_per_word, "lines for each word")
            if num_words is not None
            else None
        )
    )


def _code_rule(document: Document, rules: CodeRules) -> Broken | None:
    text = document.text
    if broken := below("too_short", len(text), rules.min_characters, "characters"):
        return broken
    if rules.drop_generated and (found := _GENERATED.search("\n".join(text[:2000].split("\n")[:8]))):
        return Broken("generated", f"its first lines say “{found.group()}”")
    if rules.drop_xml and "<?xml version=" in text[:_XML_START_CHARACTERS]:
        return Broken("data_file", "begins as XML does")
    if document.origin.endswith((".json", ".yaml", ".yml")):
        broken = above("data_file", len(text), rules.max_data_characters, "characters of data")
    return (
        broken
        or below("low_alpha_fraction", alpha_fraction(text), rules.min_alpha_fraction, "share of letters")
        or above(
            "long_lines",
            max(map(len, text.split("\n"))),
            rules.max_line_characters,
            "characters of the longest line",
        )
        or above(
            "long_lines",
            len(text) / (text.count("\n") + 1),
            rules.max_mean_line_characters,
            "characters of a line, on average",
        )
        or above(
            "encoded_data",
            encoded_fraction(text),
            rules.max_encoded_fraction,
            "share of characters in long runs of base64 or hexadecimal data",
        )
    )


def alpha_fraction(text: str) -> float:
    """Return the share of letters among the bytes that are not white space."""
    visible = text.encode().translate(None, _SPACES)
    return 1 - len(visible.translate(None, _LETTERS)) / max(len(visible), 1)


def num_words_with_letters(text: str) -> int:
    """Return how many words have a letter in them."""
    return len(text.encode().translate(None, _NEITHER).split())


def num_mojibake(text: str) -> int:
    """Return how many pairs of characters stand in a text that only UTF-8 read as Latin-1 leaves behind."""
    may_have = not text.isascii() and any(first in text for first in "ÂÃâÐÑ")
    return len(_MOJIBAKE.findall(text)) if may_have else 0


def encoded_fraction(text: str) -> float:
    """Return the share of characters in long runs of base64 or hexadecimal data."""
    return sum(len(match.group()) for match in _ENCODED.finditer(text)) / max(len(text), 1)
