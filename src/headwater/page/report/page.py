"""report.html: the picture of a run, the script and the style that draw it, and the policy that forbids every request.

One file and no network: plotly's JavaScript, which ships inside the plotly package, stands in the page compressed. The
content security policy lets exactly the page's own two scripts run, by their digests, so a script that got into
the text by a fault of the escaping would not. The words and tables stand there as HTML besides, for a reader without
scripts; the script draws the picture in their place.
"""

from __future__ import annotations

import base64
import gzip
from functools import cache
from hashlib import sha256
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.core.files import stage_key, write_text
from headwater.page.picture.blocks import as_json
from headwater.runfile.paths import RunFolder, Say, ignore
from headwater.runfile.run_config import RunConfig
from headwater.runs.run_data import RunData, read_run
from headwater.runs.stages import is_made, making

PLAIN = {
    "name": "h2",
    "result": "p",
    "status": "p",
    "title": "h3",
    "value": "p",
    "note": "p",
    "text": "p",
    "summary": "p",
}
"How what a picture says stands on the page where no script draws it."
FOOTER = "Made by headwater from the records of this run. This file makes no request to any server."


def render_report(run_dir: Path) -> Path:
    """Write `run_dir`/report.html from whatever the run has left behind so far, and return its path.

    Raises DataError when `run_dir` is no folder. Parts that aren't there yet say so on the page.
    """
    if not run_dir.is_dir():
        raise DataError(f"there is no run folder {run_dir}; `headwater run RUN.toml` makes one")
    path = run_dir / "report.html"
    write_text(path, page(read_run(run_dir.resolve())))
    return path


def page(run: RunData) -> str:
    from plotly.offline import get_plotlyjs  # a run whose report is up to date loads no charts

    from headwater.page.picture.picture import picture_of

    picture = picture_of(run)
    script = _asset("picture.js") + _asset("report.js")
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
<style>{_asset("style.css")}</style>
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
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _asset(name: str) -> str:
    """Return the text of a style sheet or a script."""
    return (resources.files("headwater.page.picture") / "assets" / name).read_text(encoding="utf-8")


def _plain(value: Any) -> str:
    """Return a picture, its blocks and their words as HTML without a style."""
    if isinstance(value, list):
        return "".join(map(_plain, value))
    if not isinstance(value, dict):
        return "" if value is None else escape(str(value))
    if "kind" not in value and "text" in value:  # a mark stands apart
        return _plain(value["text"]) + " "
    found = [f"<{tag}>{words}</{tag}>" for name, tag in PLAIN.items() if (words := _plain(value.get(name)))]
    inner = [_plain(value[name]) for name in ("figures", "sections", "body") if name in value]
    rows = "".join(f"<tr>{''.join(f'<td>{_plain(cell)}</td>' for cell in row)}</tr>" for row in _rows(value))
    return "".join([*found, f"<table>{rows}</table>" if rows else "", *inner])


def _rows(block: dict[str, Any]) -> list[list[Any]]:
    """Return the rows of a table or a list."""
    rows = [block.get("heads") or [], *(row["cells"] for row in block.get("rows", []))]
    return [row for row in rows if row] + [[item] for item in block.get("items", [])]


REPORT_VERSION = 7


def report_stage(config: RunConfig, say: Say, here: RunFolder | None = None) -> Path:
    """Write report.html, unless it already shows all that the run's folder holds; return its path."""
    report, here = config.run_dir / "report.html", here or RunFolder(config.run_dir)
    if not is_shown(here):
        with making("report", config.run_dir, _key(here)):
            render_report(config.run_dir)
        say(f"wrote {report}")
    return report


def is_shown(here: RunFolder) -> bool:
    """Return whether report.html shows all that a run's folder holds."""
    return (here.run / "report.html").exists() and is_made("report", here, _key(here))


def _key(here: RunFolder) -> str:
    return stage_key("report", REPORT_VERSION, {}, {"shown": read_run(here.run, here).digest})


def refresh_report(config: RunConfig) -> None:
    """Write the report of a run that has one again, if the run's folder holds something new."""
    if (config.run_dir / "report.html").exists():
        report_stage(config, ignore)
