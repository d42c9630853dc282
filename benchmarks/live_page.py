"""The live page under many long runs: from a record to its pixel, the server's memory, the first paint.

The server is a process of its own, as `headwater serve` starts it; the browser is Debian's Chromium. Run in an
environment with the extra `dev`: python benchmarks/live_page.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOURCES = ("books", "speeches", "articles", "code", "documentation", "almanac")
WATCH = """() => {
    window.seen = [];
    const look = () => {
        const place = document.querySelector('#run [data-chart="loss"] .plot');
        const xs = (place?.data ?? []).find((each) => each.name === 'each step')?.x ?? [];
        const last = xs[xs.length - 1];
        if (last > (window.seen.at(-1)?.[0] ?? 0)) window.seen.push([last, Date.now() / 1000]);
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""


def step_record(step: int) -> dict[str, Any]:
    loss = 2.5 + 6.2 * (step + 3) ** -0.4 + (step * 7919 % 97) / 900
    return {
        "event": "step",
        "attempt": 1,
        "step": step,
        "tokens_seen": 4096 * step,
        "loss": loss,
        "lr": 0.016,
        "grad_norm": 0.3 + (step * 104729 % 89) / 900,
        "tokens_per_second": 5785.4,
        "mfu": 0.41,
        "seconds": 0.708,
        "data_wait_fraction": 5e-05,
        "time": 1795960190.51 + step,
    }


def long_run(num_steps: int) -> Iterator[dict[str, Any]]:
    """Yield the records of a run with 400 validations, 60 probes and samples, 1,000 saves."""
    yield {"event": "start", "attempt": 1, "step": 0, "num_steps": num_steps, "num_tokens": 4096 * num_steps}
    for step in range(1, num_steps + 1):
        yield step_record(step)
        at = {"attempt": 1, "step": step, "tokens_seen": 4096 * step, "time": 1795960190.51 + step}
        if step % max(1, num_steps // 400) == 0:
            scores = dict.fromkeys(("all", *SOURCES), 1 + 3 * step ** (-0.3))
            yield {"event": "validation", **at, "bits_per_byte": scores, "loss": scores}
        if step % max(1, num_steps // 60) == 0:
            probes = {name: {"right": step / num_steps, "chance": 0.1} for name in ("capitals", "agreement", "sums")}
            samples = [{"prompt": name, "text": "of the capital " * 8} for name in SOURCES]
            yield {"event": "probes", **at, "probes": probes}
            yield {"event": "samples", **at, "samples": samples}
        if step % max(1, num_steps // 1000) == 0:
            yield {"event": "checkpoint", **at, "bytes": 42550333, "peak_memory_bytes": 793415680, "seconds": 0.005}


def write_runs(runs: Path, num_runs: int, num_steps: int) -> None:
    """Write one long run and give its records to all: what is on the disk once is read as often as there are runs."""
    first = runs / "run-00" / "records.jsonl"
    for number in range(num_runs):
        path = runs / f"run-{number:02d}" / "records.jsonl"
        path.parent.mkdir(parents=True)
        if path == first:
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in long_run(num_steps))
        else:
            os.link(first, path)


@contextmanager
def serving(runs: Path) -> Iterator[tuple[str, int]]:
    """Start `headwater serve` on a free port; yield its address and its process's number."""
    command = [sys.executable, "-m", "headwater", "serve", str(runs), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "headwater serve said no address"
        yield found[0], process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def memory_of(pid: int, field: str) -> float:
    """Return a process's memory in MB: VmRSS now, VmHWM at its most."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


def measure_memory(address: str, pid: int, num_runs: int) -> dict[str, float]:
    """Ask for every run once, as somebody does who looks at them all."""
    before, seconds = memory_of(pid, "VmRSS"), []
    for number in range(num_runs):
        began = time.perf_counter()
        query = urllib.parse.urlencode({"run": f"run-{number:02d}"})
        with urllib.request.urlopen(f"{address}api/run?{query}") as answer:  # noqa: S310
            answer.read()
        seconds.append(time.perf_counter() - began)
    return {
        "before_mb": before,
        "after_mb": memory_of(pid, "VmRSS"),
        "peak_mb": memory_of(pid, "VmHWM"),
        "median_seconds_to_read_a_run": statistics.median(seconds),
    }


def measure_page(browser: Any, address: str, path: Path, num_points: int, times: int = 5) -> dict[str, float]:
    """Return the first paint, the first chart and the latency of points, in seconds: medians, and the worst latency."""
    paints, charts = [], []
    for _ in range(times):
        context = browser.new_context()
        tab = context.new_page()
        tab.goto(f"{address}#run={path.parent.name}")
        tab.wait_for_selector("html[data-drawn]", timeout=60_000)
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
        paints.append(tab.evaluate(paint))
        charts.append(tab.evaluate("performance.now() / 1000"))
        if len(paints) < times:
            context.close()
    tab.wait_for_timeout(2000)
    tab.evaluate(WATCH)
    last = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["step"]
    written_at = {}
    for step in range(last + 1, last + num_points + 1):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(step_record(step)) + "\n")
        written_at[4096 * step] = time.time()
        tab.wait_for_timeout(330)
    tab.wait_for_timeout(10_000)
    seen = tab.evaluate("window.seen")  # a record is there once the curve ends at it, or after it
    latencies = [next(at for last, at in seen if last >= tokens) - written for tokens, written in written_at.items()]
    context.close()
    return {
        "first_paint_seconds": statistics.median(paints),
        "first_chart_seconds": statistics.median(charts),
        "latency_median_seconds": statistics.median(latencies),
        "latency_worst_seconds": max(latencies),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--shown", type=int, default=1000, help="steps of the run on the page")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = Path(folder) / "runs"
        write_runs(runs, given.runs, given.steps)
        path = runs / "mine" / "records.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps(record) + "\n" for record in long_run(given.shown)), encoding="utf-8")
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        with serving(runs) as (address, pid):
            page = measure_page(browser, address, path, given.points)
            browser.close()
            print(json.dumps({"runs": given.runs, "steps": given.steps, "shown": given.shown, **page}), flush=True)
            print(json.dumps(measure_memory(address, pid, given.runs)))


if __name__ == "__main__":
    main()
