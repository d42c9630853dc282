"""report.html: the picture of a run, the script and the style that draw it, and the policy that forbids every request.

One file and no network: plotly's JavaScript, which ships inside the plotly package, stands in the page compressed. The
content security policy lets exactly the page's own two scripts run, by their digests, so a script that got into
the text by a fault of the escaping would not. The words and tables stand there as HTML besides, for a reader without
scripts; the script draws the picture in their place.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from headwater.core.errors import DataError
from headwater.core.files import no_check, write_text
from headwater.page.picture.blocks import as_json
from headwater.page.picture.picture import picture_of
from headwater.runs.run_data import RunData, read_run

FOOTER = "Made by headwater from the records of this run. This file makes no request to any server."


def render_report(run_dir: Path, before_commit: Callable[[], None] = no_check) -> Path:
    """Write `run_dir`/report.html from whatever the run has left behind so far, and return its path.

    Raises DataError when `run_dir` is no folder. Parts that aren't there yet say so on the page.
    `before_commit` may still raise before the page takes the place of an earlier one.
    """
    if not run_dir.is_dir():
        raise DataError(f"there is no run folder {run_dir}; `headwater run RUN.toml` makes one")
    path = run_dir / "report.html"
    write_text(path, page(read_run(run_dir.resolve())), before_commit)
    return path


def page(run: RunData) -> str:
    picture = picture_of(run)
    script, style = (_asset("picture.js") + _asset("report.js"), _asset("style.css") + _asset("report.css"))
    assert "</script" not in script.lower() and "<!--" not in script, "a script must not end its own element"
    name = escape(picture["name"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(_policy([get_plotlyjs(), script]))}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{name} · headwater</title>
<style>{style}</style>
</head>
<body>
<main id="page">{_plain(picture)}</main>
<footer>{FOOTER}</footer>
<script type="application/json" id="picture">{as_json(picture)}</script>
<script type="application/gzip" id="plotly">{_packed_plotly()}</script>
<script>{script}</script>
</body>
</html>
"""


def _policy(scripts: list[str]) -> str:
    digests = [f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    return (
        f"default-src 'none'; script-src {' '.join(digests)}; "
        # plotly sets style attributes; no text of the run's ever reaches a style
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _packed_plotly() -> str:
    """Return the text that report.js unpacks and runs: 1.9 MB where the script itself has 4.8."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _asset(name: str) -> str:
    """Return the text of a style sheet or a script."""
    return (resources.files("headwater.page.picture") / "assets" / name).read_text(encoding="utf-8")


def _plain(picture: dict[str, Any]) -> str:
    """Return the words and tables of a picture as HTML."""
    figures = [{"cells": [each["name"], each["value"], each["note"]]} for each in picture["figures"]]
    head = [
        f"<h1>{escape(picture['name'])}</h1>",
        *(f"<p>{escape(picture[name])}</p>" for name in ("result", "status")),
    ]
    return "".join([*head, _plain_table({"heads": [], "rows": figures}), *map(_plain_block, picture["sections"])])


def _plain_block(block: dict[str, Any]) -> str:
    """Return a block of any kind: its title, its words, its table or list, and the blocks in it."""
    found = [_element("h2" if block["kind"] == "section" else "h3", block.get("title"))]
    found += [_element("p", block.get(name)) for name in ("note", "text", "summary")]
    found += [_plain_table(block)] if "rows" in block else []
    found += [_element("p", item) for item in block.get("items", [])]
    return "".join([*found, *map(_plain_block, block.get("body", []))])


def _plain_table(block: dict[str, Any]) -> str:
    rows = [block["heads"], *(row["cells"] for row in block["rows"])]
    lines = ["".join(f"<td>{_plain_words(cell)}</td>" for cell in row) for row in rows if row]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _element(tag: str, words: Any) -> str:
    found = _plain_words(words)
    return f"<{tag}>{found}</{tag}>" if found else ""


def _plain_words(words: Any) -> str:
    if isinstance(words, list):
        return "".join(map(_plain_words, words))
    if isinstance(words, dict):  # a mark stands apart
        return _plain_words(words["text"]) + " "
    return "" if words is None else escape(str(words))
