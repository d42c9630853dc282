"""The file report.html: nothing in it can load or run anything but its own, whatever text the run holds."""

from __future__ import annotations

import base64
import gzip
import json
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_run import write_run
from hostile_run import HOSTILE, hostile_run
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.printable import printable
from headwater.page.picture.blocks import as_json
from headwater.page.report.page import render_report


class Elements(HTMLParser):
    """The elements of a page with their attributes, what stands in scripts, and the visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.text, self.is_inside = "", False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside.append("")
        self.is_inside = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.is_inside = False

    def handle_data(self, data):
        if self.is_inside:
            self.inside[-1] += data
        else:
            self.text += data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, inside) for (name, attributes), inside in zip(self.found, self.inside) if name == tag]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs"), num_steps=300)


@pytest.fixture(scope="module")
def page(run_dir) -> Elements:
    return Elements(render_report(run_dir))


def require_harmless(page: Elements) -> None:
    for tag, attributes in page.found:
        for name in attributes:
            assert name not in ("src", "srcset", "action", "data", "href", "style") and not name.startswith("on"), tag
    forbidden = {"img", "iframe", "object", "embed", "link", "base", "form", "audio", "video", "a", "svg"}
    assert not forbidden & {tag for tag, _ in page.found}
    assert [attributes.get("type") for attributes, _ in page.of("script")] == [
        "application/json",
        "application/gzip",
        None,
    ]
    ((_, style),) = page.of("style")
    assert style and "url(" not in style and "@import" not in style


def test_a_report_is_the_same_each_time_small_and_harmless(run_dir, page):
    first = render_report(run_dir).read_bytes()
    assert render_report(run_dir).read_bytes() == first and len(first) < 2_600_000
    require_harmless(page)


def test_the_policy_lets_only_the_pages_own_scripts_run(page):
    (policy,) = [
        str(each["content"]) for each, _ in page.of("meta") if each.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ") and "http" not in policy and "eval" not in policy
    assert "script-src 'sha256-" in policy and "'unsafe-inline'" not in policy.split("style-src")[0]
    _, (_, packed), (_, own) = page.of("script")
    for script in (own, gzip.decompress(base64.b64decode(packed)).decode()):
        assert base64.b64encode(sha256(script.encode()).digest()).decode() in policy
    assert policy.split("style-src")[0].count("sha256-") == 2


@pytest.mark.parametrize("text", ["".join(HOSTILE), "<!--", "\u202etxt.exe\x1b[31m\x00"], ids=range(3))
def test_hostile_text_anywhere_makes_no_element_and_stays_readable(tmp_path, text, page):
    hostile = Elements(render_report(hostile_run(tmp_path, text)))
    require_harmless(hostile)
    assert {tag for tag, _ in hostile.found} <= {tag for tag, _ in page.found}
    readable = printable(text, keep="\n\t")
    assert hostile.text.count(readable) > 20
    picture = json.loads(hostile.of("script")[0][1])
    assert printable(text[:4]) in picture["name"]
    labels = [trace["name"] for chart in charts_in(picture) for trace in chart["data"]]
    assert labels and not [label for label in labels if "<" in label]


def charts_in(value: dict) -> list[dict]:
    inner = value.get("sections", []) + value.get("body", [])
    return [value] if "layout" in value else [chart for block in inner for chart in charts_in(block)]


@given(
    st.recursive(
        st.text() | st.floats(allow_nan=False, allow_infinity=False), lambda inner: st.dictionaries(st.text(), inner)
    )
)
def test_no_text_ends_the_element_that_holds_the_json_which_comes_back(value):
    written = as_json(value)
    assert written.isascii() and "<" not in written and "&" not in written and json.loads(written) == value
