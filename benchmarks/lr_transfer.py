"""Whether the best learning rate stays where the rules put it as the model grows wider.

    python benchmarks/lr_transfer.py --train FILE --held-out FILE [--widths 128,256,512] [--factors 0.5,1,2] [--seeds 2]

At each width every learning rate of the rules is multiplied by each factor; a run has a fixed number of steps. The best
factor of a seed is the vertex of the parabola through the lowest point and its neighbours, in the log of the factor. If
the rules transfer, the best factor is the same at every width. --json adds one line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from headwater.errors import ConfigError, HeadwaterError
from quality.headwater import resolve
from quality.job import Job, Shape
from quality.texts import prepare_texts
from quality.workers import Workers, code_digest

RATES = ("matrix_lr", "embedding_lr", "head_lr", "vector_lr")
MAX_SECONDS = 3600.0


def numbers(text: str) -> list[float]:
    found = sorted(float(part) for part in text.split(","))
    if found[0] <= 0:
        raise ValueError
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, metavar="FILE")
    parser.add_argument("--held-out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--shape", default="2,4,128,256,2048,8", metavar="L,H,D,T,V,B", help="its width is replaced")
    parser.add_argument("--widths", type=numbers, default=[128, 256, 512])
    parser.add_argument("--factors", type=numbers, default=[0.35, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rates", default=",".join(RATES), help="the rates that are multiplied (all)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting of every run")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep texts and results here, and use what it has")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="lock this file while a run lasts, to take turns")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    return parser.parse_args()


def best_factor(factors: list[float], losses: list[float]) -> float:
    """Return the factor at the vertex of the parabola through the lowest loss and its neighbours, in log factor.

    An end of the range when the lowest loss is there.
    """
    lowest = min(range(len(losses)), key=losses.__getitem__)
    if lowest in (0, len(losses) - 1):
        return factors[lowest]
    x0, x1, x2 = (math.log(factors[lowest + i]) for i in (-1, 0, 1))
    y0, y1, y2 = (losses[lowest + i] for i in (-1, 0, 1))
    left, right = (x1 - x0) * (y1 - y2), (x1 - x2) * (y1 - y0)
    return math.exp(x1 - 0.5 * ((x1 - x0) * left - (x1 - x2) * right) / (left - right))


def measure(arguments: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Return for each width the mean bits per byte of every factor and the best factor of each seed."""
    base = Shape.parse(arguments.shape)
    rates = arguments.rates.split(",")
    if unknown := set(rates) - set(RATES):
        raise ConfigError(f"--rates: {', '.join(sorted(unknown))} is not one of {', '.join(RATES)}")
    texts = prepare_texts(arguments.train, arguments.held_out, base, work, False, say)
    workers = Workers(work, say, arguments.lock, compiled=work / "compiled")
    rows = []
    for width in arguments.widths:
        shape = replace(base, d_model=int(width))
        batch = f"train.batch_tokens={shape.batch_tokens}"
        rules = resolve(shape, 1, arguments.steps, (batch, *arguments.set)).optim
        losses: list[list[float]] = []
        for seed in range(1, arguments.seeds + 1):
            losses.append([])
            for factor in arguments.factors:
                scaled = [f"optim.{rate}={getattr(rules, rate) * factor:.6g}" for rate in rates]
                job = Job(
                    "headwater", None, str(texts.folder), shape, seed=seed, lr=1.0, dtype="auto",
                    num_steps=arguments.steps, max_seconds=MAX_SECONDS, compiled=True,
                    settings=(batch, *arguments.set, *scaled), code=code_digest("headwater"),
                )  # fmt: skip
                losses[-1].append(workers.run(job)["bits_per_byte"] or math.inf)
        best = [best_factor(arguments.factors, own) for own in losses]
        say(f"  width {width:g}: best factors {', '.join(f'{factor:.2f}' for factor in best)}")
        means = [fmean(own) for own in zip(*losses, strict=True)]
        rows.append({"width": int(width), "bits_per_byte": means, "best_factors": best})
    return rows


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def geometric_mean(values: list[float]) -> float:
    return math.exp(fmean(map(math.log, values)))


def main() -> int:
    arguments = parse_arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(arguments, (arguments.work or Path(folder)).resolve())
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{'width':>6} " + "".join(f"{f'× {factor:g}':>9}" for factor in arguments.factors) + "   best factor")
    for row in rows:
        shown = "".join(f"{value:9.4f}" for value in row["bits_per_byte"])
        print(f"{row['width']:6} {shown}   {geometric_mean(row['best_factors']):.2f}")
    centres = [geometric_mean(row["best_factors"]) for row in rows]
    print(f"the best factor moves by a factor of {max(centres) / min(centres):.2f} over these widths")
    if arguments.json:
        spread = max(centres) / min(centres)
        for row in rows:  # null for a run that diverged
            row["bits_per_byte"] = [value if math.isfinite(value) else None for value in row["bits_per_byte"]]
        found = {"benchmark": "lr_transfer", "factors": arguments.factors, "widths": rows, "spread": spread}
        print(json.dumps(found, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
