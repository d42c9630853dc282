"""Filter rules by kind of source. Each returns the reason why a text is dropped, or None."""

from __future__ import annotations

import re
import string

import numpy as np

from headwater.corpus.settings import CodeRules, ProseRules, RuleSettings
from headwater.corpus.words import is_unspaced, ngrams

# every byte of a character beyond ASCII counts as a letter: nearly all such characters in running text are
_LETTERS = string.ascii_letters.encode() + bytes(range(128, 256))
_SPACES = string.whitespace.encode()
_GENERATED = re.compile(
    r"auto-?\s?generated|(file|module|code) (is|was) generated|generated (by|from|automatically)|do not (edit|modify)",
    re.IGNORECASE,
)
_ENCODED = re.compile(r"[A-Za-z0-9+/=]{60,}|(?:\\x[0-9a-fA-F]{2}|0x[0-9a-fA-F]{1,8},\s*){15,}")


def drop_reason(text: str, kind: str, rules: RuleSettings, words: list[str], hashes: np.ndarray) -> str | None:
    """Return why a cleaned text of `kind` is dropped, or None to keep it.

    `words` and `hashes` are the text's words and their hashes (corpus.words), computed once by the caller.
    """
    if not text:
        return "empty"
    if kind == "almanac":
        return None
    if kind == "code":
        return _code_reason(text, rules.code)
    if kind == "text":
        return _prose_reason(text, rules.text, words, hashes)
    reference, web = kind in ("articles", "documentation"), kind == "web"
    chosen = rules.reference if reference else rules.web if web else rules.prose
    return _prose_reason(text, chosen, words, hashes)


def _prose_reason(text: str, rules: ProseRules, words: list[str], hashes: np.ndarray) -> str | None:
    if len(text) < rules.min_characters:
        return "too_short"
    if _below(alpha_fraction(text), rules.min_alpha_fraction):
        return "low_alpha_fraction"
    if _above(text.count("\ufffd") / len(text), rules.max_replacement_fraction):
        return "wrongly_decoded"
    if _above(repeated_line_fraction(text), rules.max_repeated_line_fraction):
        return "repeated_lines"
    return None if is_unspaced(text) else _word_reason(rules, words, hashes)


def _word_reason(rules: ProseRules, words: list[str], hashes: np.ndarray) -> str | None:
    mean_word_length = sum(map(len, words)) / max(len(words), 1)
    if _below(mean_word_length, rules.min_mean_word_length):
        return "short_words"
    if _above(mean_word_length, rules.max_mean_word_length):
        return "long_words"
    for n, limit in zip((2, 3, 4), rules.max_top_ngram_fractions or ()):
        if len(words) >= 10 * n and top_ngram_fraction(hashes, n) > limit:
            return "repeated_ngrams"
    if rules.max_repeated_10gram_fraction is not None and len(words) >= 50:
        runs = ngrams(hashes, 10)
        if 1 - len(np.unique(runs)) / len(runs) > rules.max_repeated_10gram_fraction:
            return "repeated_passages"
    return None


def _code_reason(text: str, rules: CodeRules) -> str | None:
    if len(text) < rules.min_characters:
        return "too_short"
    if rules.drop_generated and _GENERATED.search("\n".join(text[:2000].split("\n")[:8])):
        return "generated"
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


def repeated_line_fraction(text: str) -> float:
    """Return the share of characters that stand in lines seen before in the same text; blank lines don't count."""
    lines = [line.strip() for line in text.split("\n")]
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / max(total, 1)


def top_ngram_fraction(hashes: np.ndarray, n: int) -> float:
    """Return the share of words covered by the most frequent n-gram, 0 where none occurs twice."""
    _, counts = np.unique(ngrams(hashes, n), return_counts=True)
    most = int(counts.max(initial=0))
    return most * n / max(len(hashes), 1) if most > 1 else 0.0


def encoded_fraction(text: str) -> float:
    """Return the share of characters in long runs of base64 or hexadecimal data."""
    return sum(len(match.group()) for match in _ENCODED.finditer(text)) / max(len(text), 1)
