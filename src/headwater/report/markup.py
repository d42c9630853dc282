"""HTML built so that nothing reaches the page unescaped.

A run's name, a document's title, a setting and above all what a model wrote are hostile text: a `str` is always
escaped, and only `Html`, which this module alone makes, is taken as markup.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

_VOID = {"meta", "br", "hr"}
# C0 and C1 controls but for tab and newline, lone surrogates, and the marks that reorder the text around them
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufeff]")
_FORBIDDEN_ATTRIBUTE = re.compile(r"on|style$|srcdoc$", re.IGNORECASE)


class Html(str):
    """Text that is markup already. Joining it with + gives a plain str, which is escaped again: use a list."""

    __slots__ = ()


Child = Any  # Html, str, a number, None or a list of these


def printable(text: str) -> str:
    """Return `text` with every character that is invisible, unwritable or reorders its surroundings as U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def escape(text: Any) -> Html:
    return Html(html.escape(printable(str(text)), quote=True))


def render(child: Child) -> Html:
    """Return the markup of a child: None is nothing, a list its members in turn, other things escaped text."""
    if child is None:
        return Html("")
    if isinstance(child, Html):
        return child
    if isinstance(child, list | tuple):
        return Html("".join(render(member) for member in child))
    return escape(child)


def tag(name: str, /, *children: Child, **attributes: Any) -> Html:
    """Return one element. `class_` is class, `data_x` is data-x, True a bare attribute, None no attribute.

    Event handlers and style attributes are refused: what looks different gets a class, what acts gets the script.
    """
    parts = [name]
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        assert not _FORBIDDEN_ATTRIBUTE.match(attribute), attribute
        if value is True:
            parts.append(attribute)
        elif value is not None:
            parts.append(f'{attribute}="{escape(value)}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening) if name in _VOID else Html(f"{opening}{render(children)}</{name}>")


def data_block(value: Any) -> Html:
    """Return JSON that a script can read, in which no text can end the block it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json">{text}</script>')


def chart_text(text: str) -> str:
    """Return `text` safe as a label of a chart: plotly reads tags and entities in its labels as markup."""
    return html.escape(printable(text), quote=False)
