"""What changes of headwater's settings are worth, at a fixed number of steps.

    python benchmarks/ablate.py --train FILE --held-out FILE --steps 200 --variant NAME=a.b=c,d.e=f --variant …

Trains headwater with its rules as they are (`rules`) and with each variant's settings, from several seeds, and judges
the held-out text. The table gives each variant's bits per byte, its difference from `rules`
seed by seed with a 95 % interval (Student's t over the paired differences), and the time of a step. --json adds one
line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from scipy.stats import t as students_t

from headwater.errors import ConfigError, HeadwaterError
from job import Shape
from quality.headwater import resolve
from quality.job import Job
from quality.texts import prepare_texts
from quality.workers import Workers, code_digest

RULES = "rules"

Result = dict[str, Any]


def parse_arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, metavar="FILE")
    parser.add_argument("--held-out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--variant", action="append", default=[], type=variant, metavar="NAME=A.B=C,…")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting of every run")
    parser.add_argument("--shape", default="4,4,192,256,8192,16", metavar="L,H,D,T,V,B")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep texts and results here, and use what it has")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    return parser.parse_args(given)


def variant(text: str) -> tuple[str, list[str]]:
    """Return ("NAME", ["a.b=c", …]); the values have no commas."""
    name, equals, settings = text.partition("=")
    if not equals or not all("=" in setting for setting in settings.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=section.setting=value,…")
    return name, settings.split(",")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, list[Result]]:
    """Return each variant's results, one a seed; the variants alternate within a seed."""
    try:
        shape = Shape.parse(arguments.shape)
    except ValueError as error:
        raise ConfigError(f"--shape: {error}") from None
    names = [RULES, *(name for name, _ in arguments.variant)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--variant {', '.join(twice)}: give each variant a name of its own, and none {RULES!r}")
    variants = {RULES: [], **dict(arguments.variant)}
    for settings in variants.values():
        resolve(shape, 1, arguments.steps, (*arguments.set, *settings))
    texts = prepare_texts(arguments.train, arguments.held_out, shape, work, say)
    workers, code = Workers(work, say), code_digest()
    results: dict[str, list[Result]] = {name: [] for name in variants}
    for seed in range(1, arguments.seeds + 1):
        for name, settings in variants.items():
            own = (*arguments.set, *settings)
            result = workers.run(Job(str(texts.folder), shape, seed, arguments.steps, own, code))
            results[name].append(result)
            milliseconds = 1000 * result["seconds_per_step"]
            say(f"  {name}: {result['bits_per_byte'] or math.nan:.4f}, {milliseconds:.0f} ms a step")
    return results


def difference(results: list[Result], base: list[Result]) -> tuple[float, float]:
    """Return the mean difference in bits per byte and half of its 95 % interval (nan for one seed)."""
    pairs = [
        (mine["bits_per_byte"] or math.inf) - (theirs["bits_per_byte"] or math.inf)
        for mine, theirs in zip(results, base, strict=True)
    ]
    if len(pairs) < 2:
        return pairs[0], math.nan
    return fmean(pairs), float(students_t.ppf(0.975, len(pairs) - 1)) * stdev(pairs) / math.sqrt(len(pairs))


def table(results: dict[str, list[Result]]) -> list[dict[str, Any]]:
    base = results[RULES]
    rows = []
    for name, own in results.items():
        mean, half = difference(own, base)
        rows.append(
            {
                "variant": name,
                "bits_per_byte": fmean(run["bits_per_byte"] or math.inf for run in own),
                "difference": mean,
                "half_interval_95": half,
                "ms_per_step": 1000 * median(run["seconds_per_step"] for run in own),
                "seeds": len(own),
            }
        )
    return rows


def _known(value: Any) -> Any:
    """Return None for a number that isn't finite: a run that diverged, the interval of a single seed."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(given: list[str] | None = None) -> int:
    arguments = parse_arguments(given)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = table(measure(arguments, (arguments.work or Path(folder)).resolve()))
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{'variant':32}  bits per byte  difference            ms a step")
    for row in rows:
        half = "" if math.isnan(row["half_interval_95"]) else f"± {row['half_interval_95']:.4f}"
        worth = f"{row['bits_per_byte']:13.4f}  {row['difference']:+.4f} {half:10}"
        print(f"{row['variant']:32}  {worth}  {row['ms_per_step']:9.0f}")
    if arguments.json:
        known = [{name: _known(value) for name, value in row.items()} for row in rows]
        found = {"benchmark": "ablate", "num_steps": arguments.steps, "variants": known}
        print(json.dumps(found, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
