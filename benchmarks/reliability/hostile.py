"""Hostile files: each kind in a corpus of its own, large, in a process that is watched.

    python benchmarks/reliability/hostile.py [--size 1e9] [--only WORDS] [--first WORDS] [--json] [--work FOLDER]

A line for every kind: what was kept and dropped and why, seconds, CPU seconds, and the peak memory of headwater and its
parser process together (an upper bound: both peaks are added). Then counts: crashes, hangs, over 1 GiB, inexact
accounts, wrong outcomes. The exit status is 1 unless all are 0.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2] / "tests" / "hostile"  # whose files these are, there small
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from hostility.all import CASES  # noqa: E402
from hostility.case import Case  # noqa: E402

LIMIT_BYTES = 1 << 30
HANG_SECONDS = 3000


def main() -> int:
    options = read_options()
    first = next((number for number, case in enumerate(CASES) if options.first in case.name), len(CASES))
    chosen = [case for case in CASES[first:] if options.only in case.name]
    print(f"{'kind':44} {'outcome':52} {'seconds':>8} {'CPU s':>7} {'peak MiB':>9}")
    results = []
    for case in chosen:
        result = measure(case, int(min(options.size, case.largest)), options.work)
        results.append(result)
        print(line(result), flush=True)
    totals = total(results)
    print(f"\n{len(results)} kinds: " + ", ".join(f"{name} {count}" for name, count in totals.items()))
    if options.json:
        facts = {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "size": options.size}
        print(json.dumps(facts | {"totals": totals, "cases": results}))
    return 1 if any(totals.values()) or not results else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1e9, help="bytes of what grows; some kinds stop earlier")
    parser.add_argument("--only", default="", metavar="WORDS", help="kinds whose name holds these words")
    parser.add_argument("--first", default="", metavar="WORDS", help="begin with the first kind of such a name")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--work", type=Path, help="make the files below this folder; they are removed")
    return parser.parse_args()


def measure(case: Case, size: int, work: Path | None) -> dict[str, Any]:
    with made(case, size, work) as folder:
        started_at = time.perf_counter()
        try:
            done = run("hostility.build", str(folder / "in"), str(folder / "out"))
        except subprocess.TimeoutExpired:
            return {"name": case.name, "problem": "hung", "seconds": time.perf_counter() - started_at}
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:]
            return {"name": case.name, "problem": f"crashed ({done.returncode}): {''.join(said)[:200]}"}
    facts = json.loads(done.stdout.splitlines()[-1])
    wrong = sorted(set(facts["outcomes"]) - case.outcomes)
    problem = f"wrong: {', '.join(wrong)}" if wrong else "" if facts["outcomes"] else "wrong: nothing was read"
    return {"name": case.name, "problem": problem, **facts}


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env=os.environ | {"PYTHONPATH": path},
    )


@contextmanager
def made(case: Case, size: int, work: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hostile-", dir=work))
    try:
        (folder / "in").mkdir()
        run("hostility.all", case.name, str(folder / "in"), str(size)).check_returncode()
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    # shutil's calls itself for every level of a deep tree
    subprocess.run(["rm", "-rf", "--", str(folder)], check=False)


def line(result: dict[str, Any]) -> str:
    outcomes = result.get("outcomes", {})
    shown = ", ".join(f"{name} {count:,}" for name, count in outcomes.items())
    problem = f"{result['problem']} " if result["problem"] else ""
    peak = result.get("peak_bytes", 0) / (1 << 20)
    times = f"{result.get('seconds', 0):8.1f} {result.get('cpu_seconds', 0):7.1f}"
    return f"{result['name']:44} {problem + shown:52} {times} {peak:9,.0f}"


def total(results: list[dict[str, Any]]) -> dict[str, int]:
    problems = [result["problem"] for result in results]
    return {
        "crashes": sum(problem.startswith("crashed") for problem in problems),
        "hangs": problems.count("hung"),
        "over 1 GiB": sum(result.get("peak_bytes", 0) > LIMIT_BYTES for result in results),
        "accounts off": sum(not result.get("balanced", True) for result in results),
        "other outcomes": sum(problem.startswith("wrong") for problem in problems),
    }


if __name__ == "__main__":
    sys.exit(main())
