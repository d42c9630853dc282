"""Training throughput of headwater and other trainers: same shape, same tokens a step, each in its best mode.

    python benchmarks/throughput.py --json --peer nanoGPT=FOLDER --peer nanochat=FOLDER

Each contender's modes are tried for a few steps. The best ones then run in rounds, one after the other, each in a
process of its own that is stopped while another runs. Peers from PyPI come with `pip install 'headwater[bench]'`; the
table names those that are missing. With --json the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import contenders
from job import SHAPES, Job, Shape
from measure import Effort, Finding, choose_mode, compare, run_rounds, summarise
from table import shape_lines
from token_stream import read_text, write_tokens
from workers import Workers


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    # an end by a signal still ends the workers, some of which are stopped
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="throughput-") as temporary:
        work_dir = (options.work or Path(temporary)).resolve()
        work_dir.mkdir(parents=True, exist_ok=True)
        texts = read_text(options.text)
        results = [measure_shape(shape, texts, options, work_dir) for shape in with_microbatches(options)]
    for result in results:
        print("\n".join(shape_lines(result)))
    if options.json:
        print(json.dumps({"machine": machine(), "shapes": results}))
    return 0


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--peer", action="append", default=[], type=_peer, metavar="NAME=FOLDER")
    parser.add_argument("--shape", action="append", type=_shape, metavar="L,H,D,T,V,B")
    parser.add_argument("--microbatches", type=int, default=1, metavar="N", help="forwards and backwards a step (1)")
    parser.add_argument("--text", type=Path, help="any text file; default: the running Python's library sources")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,…", help="these contenders alone")
    parser.add_argument(
        "--mode", action="append", default=[], type=_pair, metavar="NAME=MODE", help="don't screen NAME"
    )
    parser.add_argument("--rounds", type=int, default=Effort.num_rounds)
    parser.add_argument("--round-steps", type=int, default=Effort.round_steps, help="at least, for each contender")
    parser.add_argument(
        "--round-seconds", type=float, default=Effort.round_seconds, help="at least, for each contender"
    )
    parser.add_argument(
        "--no-roofline", action="store_true", help="skip the table of where the time of headwater's step goes"
    )
    parser.add_argument("--work", type=Path, help="keep tokens and logs in this folder")
    options = parser.parse_args(arguments)
    modules = contenders.INSTALLED | contenders.REPOSITORIES
    for name, mode in options.mode:
        known = contenders.modes(modules[name]) if name in modules else ()
        if mode not in known:
            parser.error(
                f"--mode {name}={mode}: {name} runs in {', '.join(known)}" if known else f"no contender {name}"
            )
    if unknown := sorted(set(options.only or []) - set(modules)):
        parser.error(f"--only: no contender {', '.join(unknown)}; there are {', '.join(modules)}")
    return options


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise argparse.ArgumentTypeError(f"{text!r} has no '='")
    return name, value


def _peer(text: str) -> tuple[str, Path]:
    name, folder = _pair(text)
    known = {known.lower(): known for known in contenders.REPOSITORIES}
    if name.lower() not in known:
        raise argparse.ArgumentTypeError(f"no repository {name!r} is known here; known: {', '.join(known.values())}")
    return known[name.lower()], Path(folder).resolve()


def _shape(text: str) -> Shape:
    try:
        return Shape.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def with_microbatches(options: argparse.Namespace) -> list[Shape]:
    return [replace(shape, num_microbatches=options.microbatches) for shape in options.shape or SHAPES]


def measure_shape(shape: Shape, texts: list[str], options: argparse.Namespace, work_dir: Path) -> dict[str, Any]:
    tokens_dir = work_dir / f"tokens-{shape.vocab_size}"
    tokens = write_tokens(texts, shape.vocab_size, tokens_dir)
    say(f"shape {shape}: {tokens['num_tokens']:,} tokens of text, {tokens['vocab_size']:,} different ones at most")
    logs_dir = work_dir / "logs"
    logs_dir.mkdir(exist_ok=True)
    workers = Workers(logs_dir)
    fixed = dict(options.mode)
    findings: list[Finding] = []
    try:
        for name, module, folder in chosen(options):
            job = Job(module, "", shape, tokens_dir, work_dir / "scratch", folder)
            modes = tuple(mode for mode in contenders.modes(module) if mode == fixed.get(name, mode))
            findings.append(choose_mode(name, job, modes, workers, say))
        run_rounds(findings, Effort(options.rounds, options.round_steps, options.round_seconds), workers, say)
        roofline = {} if options.no_roofline else profile_headwater(findings, workers)
    finally:
        workers.end_all()
    return roofline | {
        "shape": asdict(shape),
        "shape_text": str(shape),
        "tokens": tokens,
        "contenders": {finding.name: summarise(finding) for finding in findings},
        "ratios": compare(findings),
    }


def profile_headwater(findings: list[Finding], workers: Workers) -> dict[str, Any]:
    for finding in findings:
        if finding.name == "headwater" and finding.status == "ok" and finding.job is not None:
            return {"roofline": workers.profile(finding.job)}
    return {}


def chosen(options: argparse.Namespace) -> list[tuple[str, str, Path | None]]:
    """Return (name, module, folder) of each contender chosen."""
    found: list[tuple[str, str, Path | None]] = [(name, module, None) for name, module in contenders.INSTALLED.items()]
    found += [(name, contenders.REPOSITORIES[name], folder) for name, folder in options.peer]
    return [one for one in found if options.only is None or one[0] in options.only]


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def say(line: str) -> None:
    """Print progress to standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
