"""The live page in a real browser: a run watched while it trains, is killed and resumes; many eyes on hostile text."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from live_server import CHROMIUM, QUIET, Opened, serving
from small_run import finish, start, write_run_file, write_texts

from headwater.records import read_all, read_records

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

BATCH_TOKENS = 512
SECONDS_TO_WAIT = 240
HOSTILE = (
    "</textarea></title><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>\u202etxt.exe{{7*7}}"
)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def opened(address: str, **settings) -> Opened:
        contexts.append(browser.new_context(**settings))
        return Opened(contexts[-1], address)

    yield opened
    for context in contexts:
        context.close()


def step_record(step: int, attempt: int = 1, loss: float | None = None) -> dict:
    return {
        "event": "step", "attempt": attempt, "step": step, "tokens_seen": step * BATCH_TOKENS, "loss": loss or 2 + 6 / step,
        "lr": 0.01, "grad_norm": 0.4 + 1 / step, "tokens_per_second": 9000.0 + step, "seconds": 0.05, "time": 1e9 + step,
    }  # fmt: skip


def validation_record(step: int) -> dict:
    scores = {"all": 1 + 3 / step, "mine": 1.1 + 3 / step}
    return {"event": "validation", "attempt": 1, "step": step, "tokens_seen": step * BATCH_TOKENS, "loss": scores,
            "bits_per_byte": scores, "time": 1e9 + step}  # fmt: skip


def write_made_up_run(run_dir: Path, text: str = "a word", num_steps: int = 40, more: tuple[dict, ...] = ()) -> Path:
    """Write what a run leaves of which every text is `text`."""
    run_dir.mkdir(parents=True)
    probes = {text: {"right": 0.4, "chance": 0.1}, "capitals": {"right": 0.2, "chance": 0.01}}
    documents = {"count": 3, "listed": [[text, text]]}
    device = {"name": text, "dtype": "float32"}
    start = {"event": "start", "attempt": 1, "step": 0, "num_steps": 80, "num_tokens": 80 * BATCH_TOKENS}
    records = [
        start | {"device": device, "parameters": {"total": 31_000}, "time": 1e9},
        *[step_record(step) for step in range(1, num_steps + 1)],
        *[validation_record(step) for step in (5, 10, 20, 40) if step <= num_steps],
        {"event": "probes", "attempt": 1, "step": 20, "tokens_seen": 20 * BATCH_TOKENS, "probes": probes, "time": 1e9},
        {
            "event": "samples",
            "attempt": 1,
            "step": 20,
            "samples": [{"prompt": text, "text": f"so {text}"}],
            "time": 1e9,
        },
        {"event": "skipped", "attempt": 1, "step": 21, "reason": text, "documents": documents, "time": 1e9},
        {"event": "checkpoint", "attempt": 1, "step": 30, "bytes": 4e6, "seconds": 0.1, "peak_memory_bytes": 8e8},
        *more,
    ]
    (run_dir / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    reasons = [{"setting": text, "value": text, "origin": "user"}]
    settings = {"train": {"num_steps": 80}}
    (run_dir / "config.json").write_text(json.dumps({"settings": settings, "reasons": reasons}), "utf-8")
    forecast = {"loss_unit": "bits_per_byte", "loss": {"p10": 1.1, "p50": 1.2, "p90": 1.3}}
    (run_dir / "forecast.json").write_text(json.dumps(forecast), "utf-8")
    return run_dir


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> Iterator[str]:
    """Serve two made-up runs."""
    runs = tmp_path_factory.mktemp("made") / "runs"
    write_made_up_run(runs / "first")
    write_made_up_run(runs / "second", num_steps=60)
    with serving(runs) as address:
        yield address


# ---- a real run


def steps_in(run_dir: Path) -> int:
    return max((record["step"] for record in read_all(run_dir / "records.jsonl")), default=0)


def test_a_run_is_watched_from_its_first_step_through_a_kill_and_a_resume_to_its_end(open_page, tmp_path):
    num_steps, folder = 600, tmp_path / "here"
    write_texts(folder / "texts")
    settings = {"train__num_steps": num_steps, "train__save_every": 40, "train__validate_every": 60}
    write_run_file(folder / "mine.toml", **settings)
    run_dir = folder / "runs" / "mine"
    with serving(folder / "runs") as address:
        page = open_page(address)  # before there is a folder of runs
        process = start("train", "mine.toml", cwd=folder)
        try:
            hold_between_saves(process, run_dir)
            wait_for(page, lambda: bool(page.points()), SECONDS_TO_WAIT)
            seen_early = page.points()
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed_at = steps_in(run_dir)
            page.until("document.querySelector('#runs .state')?.textContent === 'killed'", SECONDS_TO_WAIT)
            require_points(page, run_dir)
            assert finish(start("train", "mine.toml", cwd=folder)).status == 0
        finally:
            process.kill()
            process.communicate()
        page.until("document.querySelector('#runs .state')?.textContent === 'finished'", SECONDS_TO_WAIT)
        require_points(page, run_dir)
        held_out = [[r["tokens_seen"], r["loss"]["all"]] for r in read_records(run_dir / "records.jsonl", "validation")]
        wait_for(page, lambda: page.points("loss", "held-out text") == held_out)
        assert 0 < len(seen_early) < num_steps
        resumed_at = read_records(run_dir / "records.jsonl", "resume")[-1]["step"]
        assert resumed_at < killed_at, "nothing was taken back"
        assert [x for x, _ in page.points("loss", "resumed")] == [resumed_at * BATCH_TOKENS]
        assert page.errors == [] and page.foreign_requests == []


def hold_between_saves(process: Popen, run_dir: Path) -> None:
    """Stop a process in training where it has taken steps since its last save, however fast it is."""
    ends_at = time.monotonic() + SECONDS_TO_WAIT
    while process.poll() is None and time.monotonic() < ends_at:
        if steps_in(run_dir) > 55:
            process.send_signal(signal.SIGSTOP)
            if 0 < steps_in(run_dir) % 40 < 35:
                return
            process.send_signal(signal.SIGCONT)
        time.sleep(0.002)


def require_points(page: Opened, run_dir: Path) -> None:
    """Check that the page's loss curve comes to have exactly the points that count, in their order."""
    wanted = [[record["tokens_seen"], record["loss"]] for record in read_records(run_dir / "records.jsonl", "step")]
    wait_for(page, lambda: page.points() == wanted)


def wait_for(page: Opened, holds: Callable[[], bool], seconds: float = 60) -> None:
    ends_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_at, f"the page has {len(page.points())} points"
        page.tab.wait_for_timeout(50)


# ---- made-up runs


def test_the_list_says_of_each_run_where_it_is(open_page, made_up):
    page = open_page(made_up)
    rows = page.tab.locator("#runs tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        ["second", "killed", "60", "of", "80", "2.120", "1.075", "9.06k"],
        ["first", "killed", "40", "of", "80", "2.204", "1.075", "9.04k"],
    ]


def test_what_comes_is_added_and_what_a_resume_takes_back_goes(open_page, tmp_path):
    path = write_made_up_run(tmp_path / "runs" / "mine") / "records.jsonl"
    with serving(tmp_path / "runs") as address:
        page = open_page(address)
        require_points(page, path.parent)
        with open(path, "a") as file:  # a line that is torn while it is written
            file.write("".join(json.dumps(step_record(step)) + "\n" for step in range(41, 51)))
            file.write(json.dumps(step_record(51))[:40])
        require_points(page, path.parent)
        with open(path, "a") as file:
            file.write(json.dumps(step_record(51))[40:] + "\n")
        require_points(page, path.parent)
        with open(path, "a") as file:
            file.write(json.dumps({"event": "resume", "attempt": 2, "step": 30, "from": "step-30"}) + "\n")
            file.write("".join(json.dumps(step_record(step, 2, 9.0 + step)) + "\n" for step in range(31, 36)))
        require_points(page, path.parent)
        assert len(page.points()) == 35
        path.write_text(json.dumps(step_record(1)) + "\n")  # copied from elsewhere over it
        require_points(page, path.parent)
        assert page.errors == []


def test_the_forecast_is_a_band_and_what_happened_is_marked(open_page, made_up):
    page = open_page(f"{made_up}#run=first")
    wait_for(page, lambda: bool(page.points("held_out", "P10")))
    assert {y for _, y in page.points("held_out", "P10")} == {1.1} and {
        y for _, y in page.points("held_out", "P90")
    } == {1.3}
    assert [x for x, _ in page.points("loss", "step skipped")] == [21 * BATCH_TOKENS]
    assert [x for x, _ in page.points("loss", "saved")] == [30 * BATCH_TOKENS]
    charts = page.tab.locator("#run figure").evaluate_all("all => all.map(each => each.dataset.chart)")
    assert charts == [
        "loss",
        "held_out",
        "tokens_per_second",
        "grad_norm",
        "lr",
        "memory",
        "probe a word",
        "probe capitals",
    ]


def test_two_runs_are_laid_over_each_other(open_page, made_up):
    page = open_page(made_up)
    for box in page.tab.locator("#runs input").all():
        box.check()
    wait_for(page, lambda: bool(page.points("loss", "second", "#compare")))
    first, second = (page.points("held_out", name, "#compare") for name in ("first", "second"))
    assert [y for _, y in first] == [1 + 3 / step for step in (5, 10, 20, 40)] == [y for _, y in second]
    page.tab.keyboard.press("Escape")
    page.until("document.querySelector('#compare').hidden")
    assert page.errors == []


def test_the_keyboard_chooses_and_compares(open_page, made_up):
    page = open_page(made_up)
    heading = page.tab.locator("#run > h2")
    page.until("document.querySelector('#run > h2').textContent === 'second'")
    page.tab.keyboard.press("x")
    page.tab.keyboard.press("j")
    page.until("document.querySelector('#run > h2').textContent === 'first'")
    page.tab.keyboard.press("x")
    page.until("!document.querySelector('#compare').hidden")
    page.tab.keyboard.press("k")
    page.until("document.querySelector('#run > h2').textContent === 'second'")
    page.tab.go_back()
    page.until("document.querySelector('#run > h2').textContent === 'first'")
    assert heading.is_visible() and page.errors == []


def test_zooming_asks_for_the_steps_that_were_thinned_out(open_page, tmp_path):
    run_dir = write_made_up_run(tmp_path / "runs" / "long", num_steps=9000)
    with serving(tmp_path / "runs") as address:
        page = open_page(address)
        wait_for(page, lambda: 1000 < len(page.points()) <= 2000)
        page.tab.evaluate(
            "Plotly.relayout(document.querySelector('#run [data-chart=loss] .plot'), {'xaxis.range[0]': 512e3, 'xaxis.range[1]': 1024e3})"
        )
        wanted = [[r["tokens_seen"], r["loss"]] for r in read_records(run_dir / "records.jsonl", "step")][998:2001]
        wait_for(page, lambda: page.points() == wanted)


def test_a_step_without_a_store_says_so(open_page, tmp_path):
    write_made_up_run(tmp_path / "runs" / "copied")
    with serving(tmp_path / "runs") as address:
        page = open_page(address)
        page.until("document.querySelector('#run [data-chart=loss] .plot')?.data?.length > 0")
        page.tab.fill("#documents [type=number]", "3")
        page.tab.click("#documents button")
        page.until("document.querySelector('#documents .missing')")
        assert page.errors == []


def test_documents_are_asked_for_one_step_at_a_time_and_of_the_newest_once(open_page, tmp_path):
    path = write_made_up_run(tmp_path / "runs" / "mine") / "records.jsonl"
    with serving(tmp_path / "runs") as address:
        page, held = open_page(address), []
        page.tab.route("**/api/documents*", lambda route: held.append(route))
        for step in ("3", "4", "5"):
            page.tab.fill("#documents [type=number]", step)
            page.tab.click("#documents button")
        wait_for(page, lambda: len(held) == 1)
        page.tab.check("#documents [type=checkbox]")
        held[0].fulfill(json={"problem": "none"})
        wait_for(page, lambda: len(held) == 2)
        held[1].fulfill(json={"problem": "none"})
        with open(path, "a") as file:
            file.write(json.dumps(step_record(41)) + "\n")
        wait_for(page, lambda: len(held) == 3)
        held[2].fulfill(json={"problem": "none"})
        with open(path, "a") as file:  # nothing of this changes the step
            file.write(json.dumps(validation_record(41)) + "\n")
        page.until("document.querySelector('#run > .lead').textContent.includes(' 1.073')")
        steps = [url.rpartition("=")[2] for url in page.requests if "api/documents" in url]
        assert steps == ["3", "40", "41"]


@pytest.mark.parametrize(
    "text", [HOSTILE, "x" * 1_000_000 + "<b>", "‮" + "\u2066" * 50 + "a\x00b\x1b[31m"], ids=["markup", "long", "bidi"]
)
def test_hostile_text_stays_text(open_page, tmp_path, text):
    name = text.replace("/", "∕").replace("\x00", "")[:60]
    write_made_up_run(tmp_path / "runs" / name, text)
    write_made_up_run(tmp_path / "runs" / "other")
    with serving(tmp_path / "runs") as address:
        page = open_page(address)
        page.tab.locator("#runs a", has_text=name[:20]).first.click()
        for box in page.tab.locator("#runs input").all():
            box.check()
        page.until("document.querySelectorAll('#run .plot .main-svg').length > 7")
        page.until("document.querySelectorAll('#compare .plot .main-svg').length > 1")
        page.tab.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        page.tab.locator("#run .plot").first.hover()
        assert page.tab.evaluate("window.hacked") is None
        assert page.tab.locator("main img, main iframe, #run script, .plot a").count() == 0
        shown = page.tab.locator("#samples .text").first.evaluate("each => each.textContent")
        assert f"so {text[:20]}" in shown
        assert len(page.tab.content()) < 3_000_000 and page.tab.evaluate("document.documentElement.scrollWidth") <= 1280
        assert page.errors == [] and page.foreign_requests == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1280])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_screen(open_page, made_up, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = open_page(f"{made_up}#run=first", viewport={"width": width, "height": 900}, color_scheme=scheme)
    for box in page.tab.locator("#runs input").all():
        box.check()
    page.until("document.querySelectorAll('#run .plot .main-svg, #compare .plot .main-svg').length > 9")
    page.tab.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    found = axe.run(page.tab).response["violations"]
    assert not found, [(each["id"], each["help"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found]
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    assert page.errors == []


def test_an_address_with_a_run_that_is_not_there_says_so(open_page, made_up):
    page = open_page(f"{made_up}#run=nope")
    assert page.tab.locator("#missing").inner_text() == "There is no run nope here."
    page.tab.locator("#runs th a", has_text="first").click()
    page.until("document.querySelector('#missing').hidden && !document.querySelector('#run').hidden")
    assert not page.errors


def test_a_name_from_outside_is_no_path(made_up):
    import urllib.error
    import urllib.request

    for path in ("api/run?run=..%2F..", "api/stream?run=%2Fetc", "static/..%2Fapp.py", "static/live.py"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(made_up + path)
        with refused.value as answer:
            assert answer.code == 404, path
