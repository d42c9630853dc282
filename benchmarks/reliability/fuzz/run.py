"""Fuzz every parser of foreign bytes, and print what was tried and found.

    python benchmarks/reliability/fuzz/run.py [--executions N] [--only NAME,…] [--keep FOLDER] [--append FILE]

libFuzzer, through atheris (`pip install headwater[fuzz]`), makes bytes that reach code not reached before, and calls
each parser with them. Anything but an error of headwater's own is a crash; so are 30 seconds or 2 GiB for one input.
The exit status is 1 when anything crashed. The input is kept, and belongs into a test.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fuzz.targets import TARGETS  # noqa: E402

INPUT_SECONDS, INPUT_MIB = 30, 2048
_PROGRESS = re.compile(r"#(\d+)\s+(?:NEW|REDUCE|pulse|INITED|DONE|RELOAD)\s+cov: (\d+) ft: (\d+)")
_DONE = re.compile(r"Done (\d+) runs in (?:(\d+) MiB)?")


def main() -> int:
    options = read_options()
    chosen = [target.name for target in TARGETS if not options.only or target.name in options.only.split(",")]
    print(
        f"{'parser':20} {'executions':>11} {'seconds':>8} {'a second':>9} {'edges':>6} {'features':>9} {'crashes':>8}"
    )
    results = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        for name in chosen:
            result = fuzz(name, (options.keep or Path(temporary)) / name, options)
            results.append(result)
            rate = result["executions"] / max(result["seconds"], 1e-9)
            numbers = f"{result['executions']:>11,} {result['seconds']:8.1f} {rate:9,.0f} {result['edges']:6,}"
            print(f"{name:20} {numbers} {result['features']:9,} {result['crashes']:8}", flush=True)
            if result["said"]:
                print("    " + result["said"].replace("\n", "\n    "), flush=True)
            if options.append:
                with open(options.append, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"date": time.strftime("%Y-%m-%d"), **result}) + "\n")
    return 1 if any(result["crashes"] for result in results) else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000, help="of each parser")
    parser.add_argument("--seconds", type=int, default=0, help="for each parser at most; 0: no limit")
    parser.add_argument("--only", default="", metavar="NAME,…", help=", ".join(target.name for target in TARGETS))
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep inputs here, and begin with those kept before"
    )
    parser.add_argument("--append", type=Path, metavar="FILE", help="add a JSON line there after each parser")
    return parser.parse_args()


def fuzz(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    limits = [f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={INPUT_MIB}", "-close_fd_mask=0"]
    limits += [f"-max_total_time={options.seconds}"] if options.seconds else []
    command = [sys.executable, "-m", "fuzz.harness", name, str(folder), str(options.executions), *limits]
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    before = set(folder.glob("crash-*"))
    started_at, processor_before = time.perf_counter(), _processor_seconds()
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=os.environ | {"PYTHONPATH": path}
    )
    seconds = time.perf_counter() - started_at
    progress = _PROGRESS.findall(done.stderr)
    ends = _DONE.findall(done.stderr)
    executions = [int(number) for number, _ in ends] or [int(each[0]) for each in progress]
    crashed = sorted(set(folder.glob("crash-*")) - before)
    # every crash leaves its input; a process that tried all and then ends badly is said, and is none
    failed = bool(crashed) or not ends
    return {
        "name": name,
        "executions": max(executions, default=0),
        "seconds": seconds,
        "processor_seconds": _processor_seconds() - processor_before,
        "status": done.returncode,
        "peak_mib": int(ends[0][1] or 0) if ends else 0,
        "edges": max((int(each[1]) for each in progress), default=0),
        "features": max((int(each[2]) for each in progress), default=0),
        "crashes": len(crashed) or int(failed),
        "said": _last_words(done.stdout, done.stderr) if failed else _odd_end(done.returncode),
    }


def _processor_seconds() -> float:
    """Return what the fuzzers so far have taken of the processor."""
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken.ru_utime + taken.ru_stime


def _odd_end(status: int) -> str:
    return f"all were tried; then the process ended with status {status}" if status else ""


def _last_words(python: str, libfuzzer: str) -> str:
    """Return what was said of a crash: the exception's traceback as atheris prints it, or else libFuzzer's end."""
    start = python.find("Uncaught Python exception")
    lines = python[start:].splitlines() if start >= 0 else libfuzzer.splitlines()[-15:]
    return "\n".join(lines[:40])


if __name__ == "__main__":
    sys.exit(main())
