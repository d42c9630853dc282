"""The report in a real browser: what a parser can't see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_run import run_records, write_records, write_run
from hostile_run import HOSTILE, hostile_run
from live_server import Opened

from headwater.page.report.page import render_report


class Report(Opened):
    """A report opened from its file, all charts drawn."""

    ready = "html[data-complete]"

    def count(self, selector: str) -> int:
        return self.tab.locator(selector).count()

    def open_all(self) -> None:
        self.tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")


@pytest.fixture
def open_report(open_page) -> Callable[..., Report]:
    return lambda path, **settings: open_page(path.as_uri(), Report, **settings)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return render_report(write_run(tmp_path_factory.mktemp("runs"), num_steps=200))


def test_every_chart_is_drawn_without_a_request_or_an_error(open_report, path):
    page = open_report(path)
    assert page.count(".plot") == page.count(".plot:has(path.js-line)") == 12
    assert page.count(".plot .main-svg .scatterlayer .trace") >= 20
    assert page.requests == [path.as_uri()] and page.errors == []


def test_without_scripts_the_words_and_the_tables_are_there(browser, path):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(path.as_uri())
    text = tab.locator("main").inner_text().replace("\u00a0", " ")
    context.close()
    for fact in ("first-light", "5.31 million parameters", "optim.matrix_lr", "it balances.", "headwater generate"):
        assert fact in text, fact
    assert "Training loss over tokens, from " in text, "a chart in words"


@pytest.mark.parametrize("width", [360, 1300])
def test_the_page_is_never_wider_than_the_screen_and_every_figure_fits_its_place(open_report, tmp_path, width):
    run_dir, records = write_run(tmp_path, num_steps=40), run_records(40)
    records[-1] |= {"seconds": 47.9 * 3600, "energy_wh": 12345.6}
    write_records(run_dir, records)
    page = open_report(render_report(run_dir), viewport={"width": width, "height": 800})
    page.open_all()
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    wider = "found => found.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"
    assert page.tab.locator(".tile, .tile dd, .scroll:has(> .stacked)").evaluate_all(wider) == []
    broken = "all => all.filter(one => one.offsetWidth < 90 && one.offsetHeight > 60).map(one => one.textContent)"
    assert page.tab.locator(".stacked td.words").evaluate_all(broken) == [], "words broken into a few letters a line"


def test_charts_follow_light_dark_and_print(open_report, path):
    page = open_report(path, color_scheme="light")
    # a chart that is being drawn again has neither tick nor line for a moment
    colours = """(() => {
        const tick = document.querySelector('.plot .xtick text'), curve = document.querySelector('.plot .js-line');
        return tick && curve ? getComputedStyle(tick).fill + ' ' + getComputedStyle(curve).stroke : '';
    })()"""
    light = page.tab.evaluate(colours)
    page.tab.emulate_media(color_scheme="dark")
    page.until(f"!['', '{light}'].includes({colours})")
    dark = page.tab.evaluate(colours)
    assert not set(light.split(") ")) & set(dark.split(") ")), "ink and curve both change"
    page.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.tab.evaluate(colours) == light, "print is always light, and drawn before the event returns"
    page.tab.evaluate("dispatchEvent(new Event('afterprint'))")
    page.until(f"{colours} === '{dark}'")
    assert page.errors == []


def test_nothing_hostile_runs_or_becomes_an_element(open_report, tmp_path):
    page = open_report(render_report(hostile_run(tmp_path, "".join(HOSTILE))))
    page.open_all()
    page.tab.locator(".plot").first.hover()
    assert page.tab.evaluate("window.hacked") is None
    assert page.count("img") == page.count("body a[href^=http]") == page.count(".plot a") == 0
    assert page.count("script:not([type])") == 2 and page.count("main code") > 10
    shown = page.tab.locator("main").inner_text()
    assert "<script>window.hacked=1</script>" in shown and "\u202e" not in shown
    assert page.requests == [page.tab.url] and page.errors == []


def test_the_policy_stops_a_script_that_got_into_the_page(open_report, path, tmp_path):
    wrong = "<script>window.hacked=1</script><b onclick='window.hacked=1'>x</b>"
    target = tmp_path / "spoilt.html"
    target.write_text(path.read_text().replace("<main", f"{wrong}<main", 1))
    page = open_report(target)
    page.tab.locator("b", has_text="x").first.click()
    assert page.tab.evaluate("window.hacked") is None and page.count(".plot .main-svg") > 0
