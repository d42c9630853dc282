"""The visible words of a Markdown source, as Node's documentation is written in it."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"<!--(.*?)-->", re.S)
_DEFINITION = re.compile(r"^\[[^\]\n]+\]:\s*\S+.*$", re.M)
_FENCE = re.compile(r"^ *(```|~~~).*$", re.M)
_INLINE = re.compile(
    r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\([^()\s]*(?:\([^()]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)|\[[^\]]*\])"
)
_YAML_KEYS = re.compile(
    r"^ *(?:- )?(?:pr-url:.*|(?:changes|description|added|deprecated|removed|napiVersion|version):)", re.M
)


def visible_words(source: str) -> str:
    """Return the text that a page made from `source` shows; of a comment that holds the history, its values."""
    text = _COMMENT.sub(_history, source)
    text = _DEFINITION.sub("", text)
    text = _FENCE.sub("", text)
    for _ in range(2):  # an image in a link
        text = _INLINE.sub(r"\1", text)
    return re.sub(r"</?[a-z][^<>\n]*>", "", text)


def _history(comment: re.Match[str]) -> str:
    body = comment[1].strip()
    return _YAML_KEYS.sub("", body.removeprefix("YAML")) if body.startswith("YAML") else ""
