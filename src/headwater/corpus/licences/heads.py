"""Which licence the head of a source file states: by the notice in its first comment, which describes code too."""

from __future__ import annotations

import re

from headwater.corpus.licences.names import word_lists, words_at
from headwater.corpus.licences.texts import NAME, SENTENCE, num_others, read_text
from headwater.corpus.sources.spdx import UNKNOWN

_HEAD_CHARACTERS = 6000
_LONG_SENTENCE = 4  # words: a title has hardly one that tells its language
_PATH = re.compile(r"\S*\w[./_\\:-]+\w\S*")  # of a file, an address or a name of code
_SPEAKS = re.compile(
    r"licen[cs]|gpl|permi|distribut|public|copyright|proprietary|commercial|confidential|unauthori[sz]ed|reserved", re.I
)
_OPENS = re.compile(r"(/\*|<!--|[rRuU]?(?:\"{3}|'{3})|--\[\[|#\[\[|#\||#=(?=\s|$)|<#|\{-|\(\*|=(?:begin|pod|head1)\b)")
_CLOSES = {
    **{"/*": "*/", "<!--": "-->", "--[[": "]]", "#[[": "]]", "<#": "#>", "{-": "-}", "(*": "*)", "#|": "|#"},
    **{"#=": "=#", "=begin": "=end", "=pod": "=cut", "=head1": "=cut"},
}
_NESTING = ("{-", "(*", "#|", "#=")  # whose ends aren't counted: the rest is a comment where one holds another
_LINE = re.compile(
    r"//|#(?!(?:include|define|if|ifn?def|else|endif|error|pragma|undef)\b)|\*|;|--|%|<\?php|\.\.(?:\s|$)|rem\b", re.I
)


def licence_of_head(text: str) -> str | None:
    """Return the licence that the comment at the head of a source file states, None where none is spoken of.

    Paragraphs that describe code in plain English may stand beside it. What speaks of rights and isn't understood is
    "unknown", further down as well.
    """
    head = text[:_HEAD_CHARACTERS]
    if not _SPEAKS.search(head):
        return None
    comment, code = _comment_of(head)
    found = read_text(comment)
    later = "\n".join(line for line in code.splitlines() if _LINE.match(line.removeprefix(" ")))
    if not found.licences:
        return UNKNOWN if word_lists()["grants"].search(found.rest) or word_lists()["grants"].search(later) else None
    sentences = SENTENCE.split(found.rest)
    says_more = any(num_others(each) and (NAME in each or not _is_description(each)) for each in sentences)
    return UNKNOWN if says_more or found.is_doubtful or word_lists()["grants"].search(later) else found.licences


def _comment_of(head: str) -> tuple[str, str]:
    """Return the comments before the first line of code without their signs, and what is behind them."""
    lines, kept, opened, closing = head.splitlines(), list[str](), "", ""
    for at, line in enumerate(lines):
        text = line.strip()
        opening = None if closing else _OPENS.match(text)
        if not (closing or opening or not text or _LINE.match(text)):
            return "\n".join(kept), "\n".join(lines[at:])
        if opening:
            opened, text = opening[1], text[opening.end() :]
            closing = _CLOSES.get(opened, opened[-3:])
        if opened in _NESTING and opened in text:
            closing = "\0"
        if closing and closing in text:
            text, closing = text.replace(closing, ""), ""
        kept.append(re.sub(r"^[^\w(©<@]+", "", text))
    return "\n".join(kept), ""


def _is_description(sentence: str) -> bool:
    """Return whether a sentence is English that speaks of no right: other languages are not told apart from limits."""
    words = [each for each in words_at(_PATH.sub(" ", sentence))[0] if len(each) > 1 and each.isalpha()]
    is_english = len(words) < _LONG_SENTENCE or sum(word in word_lists()["english"] for word in words) * 8 >= len(words)
    return is_english and sentence.isascii() and not word_lists()["limits"].search(sentence)
