"""Holds the cost model against published runs that its constants were not fitted on.

    python benchmarks/cost_backtest.py [--json] [--by group|source] [--rows]

Every row of benchmarks/data/cost is estimated with constants fitted without its group (its source, model and device;
with --by source without everything that source measured on that device). Printed are median and 90th percentile of
|estimate / published - 1| for time and memory of the model of a cluster, which lies in `costing` until headwater trains
over a mesh; for hours of whole runs, energy (of the estimated hours) and power (energy of the reported hours) by the
rules that `headwater plan` takes for GPUs; for steps of pipelines by those with the waiting of 1F1B; beside each the
same of a simple rule (`costing.score`). "held out" are more rows of those publications, that no constant is fitted on
and that were first scored when the effects had been chosen.
With --json the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from costing.fit import fit
from costing.observed import observe, observe_held_out, observe_runs
from costing.score import (
    Score,
    blind_times,
    flops_score,
    lines_by_kind,
    memory_scores,
    run_scores,
    spreads,
    summary,
    waiting_scores,
)


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    started_at = time.process_time()
    rows, refused = observe()
    timed = [row for row in rows if row.seconds is not None]
    constants = fit(timed)
    scores = [*blind_times(timed, options.by, constants), *memory_scores(rows), *run_scores(observe_runs())]
    held_out = observe_held_out()
    scores += waiting_scores([*rows, *held_out])
    unseen = [*blind_times(timed, options.by, constants, held_out), *memory_scores(held_out)]
    report = {
        "lines": [*summary(scores), *lines_by_kind(unseen)],
        "flops_mfu_median_off": flops_score(),
        "refused": [vars(row) for row in refused],
        "constants": constants,
        "spreads": spreads(scores),
        "left_out_by": options.by,
        "seconds": time.process_time() - started_at,
    }
    show(report, [*scores, *unseen] if options.rows else [])
    if options.json:
        print(json.dumps(report))
    return 0


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--by", choices=("group", "source"), default="group", help="what is held out together")
    parser.add_argument("--rows", action="store_true", help="print every row")
    return parser.parse_args(arguments)


def show(report: dict, rows: list[Score]) -> None:
    out = sys.stderr
    for row in rows:
        offs = f"{100 * row.off:+7.1f} %  baseline {100 * row.baseline_off:+7.1f} %"
        print(f"{row.quantity:<7} {row.kind:<30} {row.name:<26} {offs}", file=out)
    heads = f"{'rows':>5} {'median':>8} {'p90':>8} {'worst under':>12} {'baseline: median':>17} {'p90':>8}"
    print(f"{'':<7} {'':<30} {heads}", file=out)
    for line in report["lines"]:
        figures = f"{line['rows']:>5} {line['median']:>8.1%} {line['p90']:>8.1%} {line['worst_under']:>12.1%}"
        figures += f" {line['baseline_median']:>17.1%} {line['baseline_p90']:>8.1%}"
        print(f"{line['quantity']:<7} {line['kind']:<30} {figures}", file=out)
    print(f"deviations of the logarithm: {report['spreads']}", file=out)
    print(f"MFU from FLOPs, llm-foundry: median {report['flops_mfu_median_off']:.3%} off", file=out)
    for row in report["refused"]:
        print(f"not estimated: {row['name']}: {row['reason']}", file=out)
    print(f"{report['seconds']:.1f} s of processor; held out by {report['left_out_by']}", file=out)


if __name__ == "__main__":
    sys.exit(main())
