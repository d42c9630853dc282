"""What an element's name, class, id and role say of its content: that it is the page's main part, or none of it."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from headwater.corpus.toml_tables import toml_table

MAIN, ARTICLE, BODY, NOISE, FOOT, COMMENTS = 1, 2, 4, 8, 16, 64

_NAMED = re.compile(r' (class|id|role|itemprop)="([^"]*)"')
_HIDDEN = re.compile(r' (?:hidden=""|aria-hidden="true"|style="[^"]*display: ?none)')
_SPLIT = re.compile(r"[\s_-]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


_MAX_CACHED_CHARACTERS = 500  # what is cached stays in memory behind the page


def marks_of(name: str, attributes: str) -> int:
    """Return the marks of an element with these attributes, as they are serialised."""
    return (_marks_of if len(attributes) <= _MAX_CACHED_CHARACTERS else _marks_of.__wrapped__)(name, attributes)


@lru_cache(maxsize=1000)  # pages use the same few attributes over and over
def _marks_of(name: str, attributes: str) -> int:
    marks = {"main": MAIN, "article": ARTICLE, "footer": FOOT, "aside": FOOT}.get(name, 0)
    if _HIDDEN.search(attributes):
        marks |= NOISE
    for key, value in _NAMED.findall(attributes) if attributes else ():
        if key == "role":
            marks |= MAIN if value == "main" else ARTICLE if value == "article" else 0
            marks |= NOISE if value in ("navigation", "search", "banner", "contentinfo", "complementary") else 0
        elif key == "itemprop":
            marks |= BODY if value in ("articleBody", "text") else 0
        elif key == "id" and name == "section":  # made of its heading, which may be of cookies or of menus
            marks |= _word_marks(value) & COMMENTS
        else:
            marks |= _word_marks(value)
    return marks & ~(NOISE | FOOT | COMMENTS) if marks & _KEPT else marks


_KEPT = 32


@cache
def _words() -> dict[str, frozenset[str]]:
    return {name: frozenset(words.split()) for name, words in toml_table("headwater.corpus.read", "html_marks").items()}


def _word_marks(value: str) -> int:
    whole, listed = value.lower().split(), _words()
    words = {word.lower() for word in _SPLIT.split(_CAMEL.sub(" ", value))} | set(whole)
    marks = NOISE if words & listed["noise"] else 0
    marks |= FOOT if "footer" in words else 0
    marks |= COMMENTS if words & listed["comments"] else 0
    marks |= BODY if not listed["body"].isdisjoint(whole) else 0
    return marks | (_KEPT if words & listed["content"] else 0)
