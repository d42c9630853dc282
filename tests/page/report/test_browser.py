"""The page in a real browser: what a parser can't see."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_run import json_file, run_records, write_records, write_run
from test_render import HOSTILE, hostile_run

from headwater.page.report.page import render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Opened:
    """A page opened from its file, with what it asked of the network and what went wrong in it."""

    def __init__(self, context, path: Path) -> None:
        # five megabytes of script take seconds on a machine that is busy with other tests
        context.set_default_timeout(120_000)
        self.tab = context.new_page()
        self.requests, self.errors = [], []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None,
        )
        self.tab.goto(path.as_uri())
        self.tab.wait_for_selector("html[data-drawn]")

    def count(self, selector: str) -> int:
        return self.tab.locator(selector).count()


@pytest.fixture
def open_page(browser):
    """Return a function that opens a file in a tab of its own, closed when the test ends."""
    contexts = []

    def open_path(path: Path, **settings) -> Opened:
        contexts.append(browser.new_context(**settings))
        return Opened(contexts[-1], path)

    yield open_path
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs"), num_steps=200)


@pytest.fixture(scope="module")
def path(run_dir) -> Path:
    return render_report(run_dir)


def test_every_chart_is_drawn_without_a_request_or_an_error(open_page, path):
    page = open_page(path)
    assert page.count(".plot") == 12
    assert page.count(".plot .main-svg .scatterlayer .trace") >= 20
    assert all(
        page.tab.locator(".plot").nth(index).locator("path.js-line").count() for index in range(page.count(".plot"))
    )
    assert page.requests == [path.as_uri()]
    assert page.errors == []


@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_is_never_wider_than_the_screen(open_page, path, width):
    page = open_page(path, viewport={"width": width, "height": 800})
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1300])
def test_every_figure_and_every_table_of_words_fits_its_place(open_page, tmp_path, width):
    run_dir = write_run(tmp_path, num_steps=40)
    records = run_records(40)
    records[-1] |= {"seconds": 47.9 * 3600, "energy_wh": 12345.6}
    write_records(run_dir, records)
    page = open_page(render_report(run_dir), viewport={"width": width, "height": 800})
    page.tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    wider = "found => found.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"
    assert page.tab.locator(".tile, .tile dd").evaluate_all(wider) == []
    assert page.tab.locator(".scroll:has(> .stacked)").evaluate_all(wider) == []
    broken = "all => all.filter(one => one.offsetWidth < 90 && one.offsetHeight > 60).map(one => one.textContent)"
    assert page.tab.locator(".stacked td.words").evaluate_all(broken) == [], "words broken into a few letters a line"


def wait_until(tab, expression):
    """Wait for an expression to hold; the page's own policy forbids the evaluation that wait_for_function needs."""
    for _ in range(100):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(100)
    raise AssertionError(f"not within 10 s: {expression}")


def test_charts_follow_light_dark_and_print(open_page, path):
    page = open_page(path, color_scheme="light")
    # a chart that is being drawn again has neither tick nor line for a moment
    colours = """(() => {
        const tick = document.querySelector('.plot .xtick text'), curve = document.querySelector('.plot .js-line');
        return tick && curve ? getComputedStyle(tick).fill + ' ' + getComputedStyle(curve).stroke : '';
    })()"""
    light = page.tab.evaluate(colours)
    page.tab.emulate_media(color_scheme="dark")
    wait_until(page.tab, f"!['', '{light}'].includes({colours})")
    dark = page.tab.evaluate(colours)
    assert not set(light.split(") ")) & set(dark.split(") ")), "ink and curve both change"
    page.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.tab.evaluate(colours) == light, "print is always light, and drawn before the event returns"
    page.tab.evaluate("dispatchEvent(new Event('afterprint'))")
    wait_until(page.tab, f"{colours} === '{dark}'")
    assert page.errors == []


def test_a_billion_tokens_are_a_b_on_both_scales(open_page, tmp_path):
    run_dir, records = write_run(tmp_path, num_steps=40), run_records(40)
    scale = 3e9 / max(record.get("tokens_seen", 0) for record in records)
    write_records(
        run_dir,
        [each | ({"tokens_seen": scale * each["tokens_seen"]} if "tokens_seen" in each else {}) for each in records],
    )
    page = open_page(render_report(run_dir))
    linear, log = ("figure:has(h3:text-is('Loss'))", "figure:has(h3:text-is('Bits per byte by source'))")
    assert "1B" in page.tab.locator(f"{linear} .xtick text").all_text_contents()
    on_log = page.tab.locator(f"{log} .xtick text").all_text_contents()
    assert {"100M", "1B"} <= set(on_log)
    assert all(label[-1] in "kMB" for label in on_log), on_log


def test_nothing_hostile_runs_or_becomes_an_element(open_page, tmp_path):
    page = open_page(render_report(hostile_run(tmp_path, "".join(HOSTILE))))
    page.tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    page.tab.locator(".plot").first.hover()
    assert page.tab.evaluate("window.hacked") is None
    assert page.count("img") == page.count("body a[href^=http]") == page.count(".plot a") == 0
    assert page.count("script:not([type])") == 2
    assert page.requests == [page.tab.url] and page.errors == []


def test_the_policy_stops_a_script_that_got_into_the_page(open_page, path, tmp_path):
    spoilt = path.read_text().replace(
        "<nav", "<script>window.hacked=1</script><b onclick='window.hacked=1'>x</b><nav", 1
    )
    target = tmp_path / "spoilt.html"
    target.write_text(spoilt)
    page = open_page(target)
    page.tab.locator("b", has_text="x").first.click()
    assert page.tab.evaluate("window.hacked") is None
    assert page.count(".plot .main-svg") > 0


@pytest.mark.parametrize("num_records", [1, 40])
def test_a_run_in_progress_draws_what_there_is(open_page, tmp_path, num_records):
    run_dir = write_run(tmp_path, num_steps=200)
    (run_dir / "evaluation.json").unlink()
    write_records(run_dir, run_records(200)[:num_records])
    page = open_page(render_report(run_dir))
    assert page.count(".plot .main-svg .scatterlayer") == page.count(".plot")
    assert page.errors == []


def test_a_folder_with_nothing_in_it_opens(open_page, tmp_path):
    json_file(tmp_path / "config.json", {})
    page = open_page(render_report(tmp_path))
    assert page.count(".plot") == 0 and page.count("h2") == 8
    assert page.errors == []
