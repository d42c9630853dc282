"""Filter rules by kind of source: drops a document with the reason, and cuts site notices out of pages."""

from __future__ import annotations

import re
import string

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, num_bytes
from headwater.corpus.quality.lines import cut_lines, has_sentences, line_shapes
from headwater.corpus.quality.repetition import (
    has_frequent_ngram,
    has_repeated_passages,
    repeated_line_fraction,
    repeated_ngram_fraction,
)
from headwater.corpus.quality.rules import CodeRules, ProseRules, RuleSettings
from headwater.corpus.step import Candidate, Cut, Step, Verdict
from headwater.corpus.words import is_unspaced

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
        return Verdict(candidate, drop_reason(candidate, rules), cuts)

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


def drop_reason(candidate: Candidate, rules: RuleSettings) -> str | None:
    """Return why a cleaned document is dropped, or None to keep it."""
    document = candidate.document
    if not document.text:
        return "empty"
    if document.kind == "code":
        return _code_reason(document, rules.code)
    prose = rules_for(document.kind, rules)
    return None if prose is None else _prose_reason(candidate, prose)


def _prose_reason(candidate: Candidate, rules: ProseRules) -> str | None:
    text = candidate.document.text
    if len(text) < rules.min_characters:
        return "too_short"
    if _below(alpha_fraction(text), rules.min_alpha_fraction):
        return "low_alpha_fraction"
    if _above(text.count("\ufffd") / len(text), rules.max_replacement_fraction):
        return "wrongly_decoded"
    if _above(repeated_line_fraction(text), rules.max_repeated_line_fraction):
        return "repeated_lines"
    if rules.drop_placeholder and "lorem ipsum" in text.lower():
        return "placeholder_text"
    if _above((text.count("{") + text.count("}")) / len(text), rules.max_brace_fraction):
        return "code_in_text"
    if is_unspaced(text):
        return _line_reason(text, rules, None)
    return _word_reason(candidate, rules) or _line_reason(text, rules, len(candidate.words))


def _word_reason(candidate: Candidate, rules: ProseRules) -> str | None:
    text, words = candidate.document.text, candidate.words
    num_words = max(len(words), 1)
    mean_word_length = sum(map(len, words)) / num_words
    if _below(len(words), rules.min_words):
        return "few_words"
    if _below(mean_word_length, rules.min_mean_word_length):
        return "short_words"
    if _above(mean_word_length, rules.max_mean_word_length):
        return "long_words"
    # what costs a pass over the text is counted only where a rule asks for it
    if rules.min_alpha_word_fraction and num_words_with_letters(text) / num_words < rules.min_alpha_word_fraction:
        return "low_alpha_fraction"
    if _above(num_mojibake(text) / num_words, rules.max_mojibake_fraction):
        return "wrongly_decoded"
    if _above(max(text.count("#"), text.count("...") + text.count("…")) / num_words, rules.max_symbol_fraction):
        return "many_symbols"
    is_english = candidate.document.meta.get("language", "")[:2].lower() == "en"  # pages say en-US
    if is_english and _below(sum(word in words for word in rules.stop_words), rules.min_stop_words):
        return "few_stop_words"
    return _repetition_reason(candidate, rules)


def _repetition_reason(candidate: Candidate, rules: ProseRules) -> str | None:
    hashes = candidate.hashes
    if has_frequent_ngram(hashes, rules.max_top_ngram_fractions or ()):
        return "repeated_ngrams"
    if len(hashes) < 50:
        return None
    if has_repeated_passages(hashes, rules.max_repeated_ngram_fractions or ()):
        return "repeated_passages"
    limit = rules.max_repeated_10gram_fraction
    return "repeated_passages" if limit is not None and repeated_ngram_fraction(hashes, 10) > limit else None


def _line_reason(text: str, rules: ProseRules, num_words: int | None) -> str | None:
    """Return which rule about lines a text breaks, without `num_words`, in an unspaced script, those that fit it."""
    if rules.min_sentences is not None and not has_sentences(text, rules.min_sentences):
        return "few_sentences"
    limits = (
        *(rules.max_bullet_line_fraction, rules.max_ellipsis_line_fraction, rules.min_sentence_fraction),
        *(rules.min_sentence_characters, rules.max_short_line_fraction, rules.max_lines_per_word),
    )
    if all(limit is None for limit in limits):
        return None
    shapes = line_shapes(text, rules.short_line_characters)
    if _above(shapes.bullets / shapes.lines, rules.max_bullet_line_fraction):
        return "bullet_list"
    if _above(shapes.ellipses / shapes.lines, rules.max_ellipsis_line_fraction):
        return "cut_off_lines"
    if _below(shapes.sentence_characters / shapes.characters, rules.min_sentence_fraction):
        return "unfinished_lines"
    if num_words is not None and _below(shapes.sentence_characters, rules.min_sentence_characters):
        return "few_sentences"
    if _above(shapes.short_characters / shapes.characters, rules.max_short_line_fraction):
        return "short_lines"
    if num_words is not None and _above(shapes.lines / max(num_words, 1), rules.max_lines_per_word):
        return "short_lines"
    return None


def _code_reason(document: Document, rules: CodeRules) -> str | None:
    text = document.text
    if len(text) < rules.min_characters:
        return "too_short"
    if rules.drop_generated and _GENERATED.search("\n".join(text[:2000].split("\n")[:8])):
        return "generated"
    if rules.drop_xml and "<?xml version=" in text[:_XML_START_CHARACTERS]:
        return "data_file"
    if document.origin.endswith((".json", ".yaml", ".yml")) and _above(len(text), rules.max_data_characters):
        return "data_file"
    if _below(alpha_fraction(text), rules.min_alpha_fraction):
        return "low_alpha_fraction"
    if _above(max(map(len, text.split("\n"))), rules.max_line_characters):
        return "long_lines"
    if _above(len(text) / (text.count("\n") + 1), rules.max_mean_line_characters):
        return "long_lines"
    if _above(encoded_fraction(text), rules.max_encoded_fraction):
        return "encoded_data"
    return None


def _below(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


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
