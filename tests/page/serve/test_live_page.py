"""The live page in a real browser: a run watched while it trains, is killed and resumes; many eyes on hostile text."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from fake_run import START, STEP_TOKENS, add, lines, resume, step, steps, validation
from live_server import Opened, serving
from small_run import call, start, write_run_file, write_texts

from headwater.core.printable import printable
from headwater.core.records import read_all, read_records
from headwater.page.serve.serving import make_app
from headwater.train.checkpoint.layout import list_checkpoints

pytestmark = [pytest.mark.timeout(900)]
SECONDS_TO_WAIT = 240
HOSTILE = (
    "</textarea></title><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>\u202etxt.exe{{7*7}}"
)


def write_made_up_run(run_dir: Path, text: str = "a word", num_steps: int = 40) -> Path:
    """Write what a run leaves of which every text is `text`."""
    at = {"attempt": 1, "time": 1e9}
    start = {"num_steps": 80, "num_tokens": 80 * STEP_TOKENS, "parameters": {"total": 31_000}}
    probes = {text: {"right": 0.4, "chance": 0.1}, "capitals": {"right": 0.2, "chance": 0.01}}
    samples = [{"prompt": text, "text": f"so {text}"}]
    documents = {"count": 3, "listed": [[text, text]]}
    saved = {"bytes": 4e6, "seconds": 0.1, "peak_memory_bytes": 8e8}
    add(
        run_dir / "records.jsonl",
        START | start | {"device": {"name": text, "dtype": "float32"}},
        *steps(1, num_steps),
        *[validation(step) for step in (5, 10, 20, 40) if step <= num_steps],
        {"event": "probes", "step": 20, "tokens_seen": 20 * STEP_TOKENS, "probes": probes} | at,
        {"event": "samples", "step": 20, "samples": samples} | at,
        {"event": "skipped", "step": 21, "reason": text, "documents": documents} | at,
        {"event": "checkpoint", "step": 30} | at | saved,
    )
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
    with serving(make_app(runs)) as address:
        yield address


# ---- a real run


def steps_in(run_dir: Path) -> int:
    return max((record["step"] for record in read_all(run_dir / "records.jsonl")), default=0)


def test_a_run_is_watched_from_its_first_step_through_a_kill_and_a_resume_to_its_end(open_page, tmp_path):
    """Eight seconds: two processes that train, each of which imports torch."""
    num_steps, folder = 60, tmp_path / "here"
    write_texts(folder / "texts")
    settings = {"train__num_steps": num_steps, "train__save_every": 20, "train__validate_every": 30}
    write_run_file(folder / "mine.toml", **settings)
    run_dir = folder / "runs" / "mine"
    with serving(make_app(folder / "runs")) as address:
        page = open_page(address)  # before there is a folder of runs
        process = start("train", "mine.toml", cwd=folder)
        try:
            hold_between_saves(process, run_dir)
            page.wait_for(lambda: bool(page.points()))
            seen_early = page.points()
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed_at = steps_in(run_dir)
            page.until("document.querySelector('#runs .state')?.textContent === 'killed'")
            require_points(page, run_dir)
            assert call("train", "mine.toml", cwd=folder).status == 0
        finally:
            process.kill()
            process.communicate()
        page.until("document.querySelector('#runs .state')?.textContent === 'finished'")
        require_points(page, run_dir)
        held_out = [[r["tokens_seen"], r["loss"]["all"]] for r in read_records(run_dir / "records.jsonl", "validation")]
        page.wait_for(lambda: page.points("loss", "validation") == held_out)
        assert 0 < len(seen_early) < num_steps
        resumed_at = read_records(run_dir / "records.jsonl", "resume")[-1]["step"]
        assert resumed_at < killed_at, "nothing was taken back"
        assert [x for x, _ in page.points("loss", "resumed")] == [resumed_at * STEP_TOKENS]
        assert page.errors == [] and page.foreign_requests == []


def hold_between_saves(process: Popen, run_dir: Path) -> None:
    """Stop a process in training where it has taken steps since its last save, however fast it is."""
    ends_at = time.monotonic() + SECONDS_TO_WAIT
    while process.poll() is None and time.monotonic() < ends_at:
        if steps_in(run_dir) > 25:
            process.send_signal(signal.SIGSTOP)
            if 0 < steps_in(run_dir) % 20 < 16 and list_checkpoints(run_dir):
                return
            process.send_signal(signal.SIGCONT)
        time.sleep(0.002)


def require_points(page: Opened, run_dir: Path) -> None:
    """Check that the page's loss curve comes to have exactly the points that count, in their order."""
    wanted = [[record["tokens_seen"], record["loss"]] for record in read_records(run_dir / "records.jsonl", "step")]
    page.wait_for(lambda: page.points() == wanted)


# ---- made-up runs


def test_what_comes_is_added_and_what_a_resume_takes_back_goes(open_page, tmp_path):
    path = write_made_up_run(tmp_path / "runs" / "mine") / "records.jsonl"
    with serving(make_app(tmp_path / "runs")) as address:
        page = open_page(address)
        require_points(page, path.parent)
        torn = lines(step(51))
        with open(path, "ab") as file:
            file.write(lines(*steps(41, 50)) + torn[:40])
        require_points(page, path.parent)
        with open(path, "ab") as file:
            file.write(torn[40:])
        require_points(page, path.parent)
        add(path, resume(30), *(step(number, 2, loss=9.0 + number) for number in range(31, 36)))
        require_points(page, path.parent)
        assert len(page.points()) == 35
        path.write_bytes(lines(step(1)))  # copied from elsewhere over it
        require_points(page, path.parent)
        assert page.errors == []


def test_the_forecast_is_a_band_and_what_happened_is_marked(open_page, made_up):
    page = open_page(f"{made_up}#run=first")
    page.wait_for(lambda: bool(page.points("held_out", "P10")))
    assert {y for _, y in page.points("held_out", "P10")} == {1.1} and {
        y for _, y in page.points("held_out", "P90")
    } == {1.3}
    assert [x for x, _ in page.points("loss", "step skipped")] == [21 * STEP_TOKENS]
    assert [x for x, _ in page.points("loss", "saved")] == [30 * STEP_TOKENS]
    charts = page.tab.locator("#run [data-chart]").evaluate_all("all => all.map(each => each.dataset.chart)")
    assert charts[0] == "loss" and set(charts) == {
        *("loss", "quality", "held_out", "tokens_per_second", "grad_norm", "lr", "memory"),
        *("probe a word", "probe capitals"),
    }


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


@pytest.mark.parametrize(
    "text", [HOSTILE, "x" * 1_000_000 + "<b>", "‮" + "\u2066" * 50 + "a\x00b\x1b[31m"], ids=["markup", "long", "bidi"]
)
def test_hostile_text_stays_text(open_page, tmp_path, text):
    name = text.replace("/", "∕").replace("\x00", "")[:60]
    write_made_up_run(tmp_path / "runs" / name, text)
    write_made_up_run(tmp_path / "runs" / "other")
    with serving(make_app(tmp_path / "runs")) as address:
        page = open_page(address)
        page.tab.locator("#runs a", has_text=name[:20]).first.click()
        for box in page.tab.locator("#runs input").all():
            box.check()
        page.until("document.querySelectorAll('#run .plot .main-svg').length > 9")
        page.until("document.querySelectorAll('#compare .plot .main-svg').length > 1")
        page.tab.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        page.tab.locator("#run .plot").first.hover()
        assert page.tab.evaluate("window.hacked") is None
        assert page.tab.locator("main img, main iframe, #run script, .plot a").count() == 0
        shown = page.tab.locator("#samples .text").first.evaluate("each => each.textContent")
        assert printable(f"so {text[:20]}") in shown
        assert len(page.tab.content()) < 3_000_000 and page.tab.evaluate("document.documentElement.scrollWidth") <= 1280
        assert page.errors == [] and page.foreign_requests == []


@pytest.mark.parametrize(("width", "scheme"), [(420, "dark"), (1280, "light")])
def test_everybody_can_use_the_page_and_nothing_is_wider_than_the_screen(open_page, made_up, width, scheme):
    """Five seconds: axe reads every element of the charts of two runs."""
    page = open_page(f"{made_up}#run=first", viewport={"width": width, "height": 900}, color_scheme=scheme)
    for box in page.tab.locator("#runs input").all():
        box.check()
    page.until("document.querySelectorAll('#run .plot .main-svg, #compare .plot .main-svg').length > 9")
    page.tab.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    page.require_usable(width)
