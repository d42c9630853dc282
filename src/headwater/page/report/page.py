"""The page around the parts: its style, its script, and the policy that forbids it every request.

One file and no network: plotly's JavaScript, which ships inside the plotly package, stands in the page compressed. The
content security policy lets exactly the page's own two scripts run, by their digests, so a script that got into
the text by a fault of the escaping would not.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

from plotly.offline import get_plotlyjs

from headwater.core.errors import DataError
from headwater.core.files import no_check, write_text
from headwater.page.charts.markup import Html, asset, tag
from headwater.page.charts.of_run import run_charts
from headwater.page.report.sections.corpus import corpus
from headwater.page.report.sections.forecast import forecast
from headwater.page.report.sections.knowledge import knowledge
from headwater.page.report.sections.learning import learning
from headwater.page.report.sections.probes import probes, samples
from headwater.page.report.sections.running import running
from headwater.page.report.sections.settings import next_steps, settings
from headwater.page.report.sections.title import title
from headwater.runs.curves import points
from headwater.runs.run_data import RunData, read_run

_SECTIONS = {
    "corpus": "What it read",
    "learning": "How it learned",
    "probes": "What it can do",
    "samples": "What it writes",
    "knowledge": "What each stage changed",
    "running": "How it ran",
    "forecast": "Forecast",
    "settings": "Settings",
    "next": "Try it",
}


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
    steps = run.events("step")
    charts = run_charts(run.by_event, lambda name: points(steps, "tokens_seen", name), run.forecast)
    parts = [corpus(run), learning(run, charts), probes(run), samples(run), knowledge(run)]
    parts += [running(run, charts), forecast(run, charts), settings(run), next_steps(run)]
    places = [place for place in _SECTIONS if place != "knowledge" or run.knowledge]
    links = [tag("a", _SECTIONS[place], href=f"#{place}") for place in places]
    body = tag(
        "body",
        title(run),
        tag("nav", links, aria_label="parts of the report"),
        tag("main", parts),
        tag("footer", "Made by headwater from the records of this run. This file makes no request to any server."),
        _packed_plotly(),
        _script(_own("draw.js", "report.js")),
    )
    return f"<!doctype html>\n{tag('html', _head(run.name), body, lang='en')}\n"


def _head(name: str) -> Html:
    policy = _policy([get_plotlyjs(), _own("draw.js", "report.js")])
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content=policy,
        ),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{name} · headwater"),
        Html(f"<style>{_own('style.css', 'report.css')}</style>"),
    )


def _policy(scripts: list[str]) -> str:
    digests = [f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    return (
        f"default-src 'none'; script-src {' '.join(digests)}; "
        # plotly sets style attributes; no text of the run's ever reaches a style
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _packed_plotly() -> Html:
    """Return the element that report.js unpacks and runs: 1.9 MB where the script itself has 4.8."""
    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    return tag("script", Html(packed), type="application/gzip", id="plotly")


def _script(code: str) -> Html:
    assert "</script" not in code.lower() and "<!--" not in code, "a script must not end its own element"
    return Html(f"<script>{code}</script>")


def _own(shared: str, name: str) -> str:
    """Return a style sheet or script of every page with charts, and what the report adds to it."""
    return asset("headwater.page.charts", shared) + asset("headwater.page.report", name)
