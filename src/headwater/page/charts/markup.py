"""HTML built so that nothing reaches the page unescaped.

A run's name, a document's title, a setting and above all what a model wrote are hostile text: a `str` is always
escaped, and only `Html`, which this module alone makes, is taken as markup.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from headwater.core.printable import printable

_VOID = {"meta", "br", "hr"}
_FORBIDDEN_ATTRIBUTE = re.compile(r"on|style$|srcdoc$", re.IGNORECASE)


class Html(str):
    """Text that is markup already. Joining it with + gives a plain str, which is escaped again: use a list."""

    __slots__ = ()


Child = Any  # Html, str, a number, None or a list of these


def escape(text: Any) -> Html:
    return Html(html.escape(printable(str(text), keep="\n\t"), quote=True))


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

    Event handlers and style attributes are refused: a class changes the appearance, the script acts.
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


def section(title: str, place: str, *body: Child) -> Html:
    """Return a part of the page; `place` is what the links at its top point to."""
    return tag("section", tag("h2", title), body, id=place)


def missing(why: str) -> Html:
    """Return the card in the place of something that isn't there; `why` says what fills it."""
    return tag("p", why, class_="missing card")


def data_table(
    heads: Sequence[str], rows: Iterable[Sequence[Child] | tuple[str, Sequence[Child]]], words: Sequence[str] = ()
) -> Html:
    """Return a table of numbers; on a narrow screen each row becomes a block with the head beside each cell.

    A row is its cells, or (class of the row, its cells); the columns named in `words` hold text.
    """
    body = []
    for row in rows:
        kind, (first, *others) = row if isinstance(row, tuple) else (None, row)
        cells = [
            tag("td", cell, data_head=head, class_="words" if head in words else None)
            for head, cell in zip(heads[1:], others, strict=True)
        ]
        body.append(tag("tr", tag("th", first, scope="row"), cells, class_=kind))
    head = tag("tr", [tag("th", name, scope="col", class_="words" if name in words else None) for name in heads])
    return scrolled(tag("table", tag("thead", head), tag("tbody", body), class_="numbers stacked"))


def scrolled(body: Html) -> Html:
    """Return a table that may be scrolled sideways by itself."""
    return tag("div", body, class_="scroll")


def card(title: Child, note: Child, *body: Child, kind: str = "card") -> Html:
    """Return a figure with its heading and a note under it; `kind` is its class."""
    caption = [tag("h3", title) if title else None, tag("p", note) if note else None]
    return tag("figure", tag("figcaption", caption) if title or note else None, body, class_=kind)


def fold(title: Child, note: str, *body: Child) -> Html:
    """Return a card that shows its heading until it is opened."""
    head = [tag("b", title), tag("span", note, class_="when") if note else None]
    return tag("details", tag("summary", head), body, class_="card")


def written(*parts: Child) -> Html:
    """Return text that keeps its lines, in a face of one width where they are indented."""
    lines = "".join(str(part) for part in parts if part is not None)
    return tag("p", parts, class_="text indented" if "\n " in lines or "\n\t" in lines else "text")


def data_block(value: Any) -> Html:
    """Return JSON that a script can read, in which no text can end the block it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json">{text}</script>')


def chart_text(text: str) -> str:
    """Return `text` safe as a label of a chart: plotly reads tags and entities in its labels as markup."""
    return html.escape(printable(text, keep="\n\t"), quote=False)


def asset(package: str, name: str) -> str:
    """Return the text of a style sheet or a script that lies in a package's folder `assets`."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")
