"""A disk that refuses, at every operation: is anything half-made committed, and does the message help?

    python benchmarks/reliability/refusals.py [--sample N] [--target save;training] [--json FILE] [--markdown FILE]

Every operation of every target fails with each of four errors, once and from there on. It must end in a StorageError
that names a path of the run and the free space, or, where only tidying up was refused, go on; nothing half-made may
lie under a final name, what was there before must still be there, and once the disk takes writes again the same command
must leave what an unfailed run leaves. Exit status 1 otherwise.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import figures
from faults import Reference, reference
from targets import NAME, TARGETS, Target, be_ready, fresh_place, make_templates, recover, wrong_after_fault
from trials import Outcome, required, sample, say, spread, trial

ERRORS = {"ENOSPC": "no space", "EDQUOT": "quota", "EIO": "I/O error", "EROFS": "read-only"}
HOW_LONG = ("", "+")
HELPFUL = re.compile(rf"can't write \S*/{NAME}\b.*: .*\d+ MB free.*; ", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="N refusals of each target, evenly spread, not all")
    parser.add_argument("--target", type=lambda text: text.split(";"), metavar="NAME;…", help="these targets alone")
    chosen = parser.parse_args(arguments)
    be_ready()
    with figures.work_folder(chosen.work) as work_dir:
        required(trial(lambda: make_templates(work_dir), timeout_seconds=600), "a whole tiny run")
        results = [
            enumerate_refusals(target, work_dir, chosen.sample, chosen.jobs)
            for target in TARGETS
            if chosen.target is None or target.name in chosen.target
        ]
    found = {"what": "refusals", **figures.facts(), "sample": chosen.sample, "targets": results}
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    for result in results:
        for failure in result["failures"]:
            say(f"{result['target']}, {failure}")
    return int(any(result["failures"] for result in results))


def enumerate_refusals(target: Target, work_dir: Path, num_wanted: int | None, num_jobs: int) -> dict[str, Any]:
    started_at = time.perf_counter()
    expected = reference(target, work_dir)
    numbers = range(1, len(expected.operations) + 1)
    every = [f"errno={error}@{number}{lasting}" for number, error, lasting in product(numbers, ERRORS, HOW_LONG)]
    plans = sample(every, num_wanted)
    found = spread(plans, lambda plan: refuse_and_recover(target, work_dir, plan, expected), num_jobs)
    result = {
        "target": target.name,
        "operations": len(expected.operations),
        "refusals": len(every),
        "tried": len(plans),
        "told": sum(one["told"] for one in found),
        "went_on": sum(one["went_on"] for one in found),
        "half_made": sum(one["half_made"] for one in found),
        "equal": sum(one["equal"] for one in found),
        "seconds": round(time.perf_counter() - started_at, 1),
        "failures": [one["says"] for one in found if one["says"]],
    }
    say(
        "{target}: {tried} refusals, {told} told, {went_on} went on, {half_made} half-made, {equal} equal".format(
            **result
        )
    )
    return result


def refuse_and_recover(target: Target, work_dir: Path, plan: str, expected: Reference) -> dict[str, Any]:
    """Try one refusal; `says` is what went wrong, empty when nothing did."""
    place = fresh_place(target, work_dir, plan)
    refused = trial(lambda: target.work(place), plan)
    left = trial(lambda: wrong_after_fault(target, place))
    again = trial(lambda: recover(target, place))
    shutil.rmtree(place.runs_dir)
    unhelpful = unhelpful_end(refused)
    half_made = left.value if left.is_done else [left.says()]
    wrong = again.value["wrong"] if again.is_done else [again.says()]
    is_equal = again.is_done and again.value["facts"] == expected.facts
    problems = unhelpful + half_made + wrong + ([] if is_equal else ["what the second call left is something else"])
    return {
        "told": refused.error == "StorageError" and not unhelpful,
        "went_on": refused.is_done,
        "half_made": bool(half_made),
        "equal": is_equal,
        "says": f"{plan}: {'; '.join(problems)}" if problems else "",
    }


def unhelpful_end(refused: Outcome) -> list[str]:
    """Return what is wrong with how a refused work ended."""
    if refused.is_done:
        return []
    if refused.error != "StorageError":
        return [f"it ended with {refused.says()}"]
    return [] if HELPFUL.search(refused.message) else [f"unhelpful: {refused.message}"]


def section(found: dict[str, Any]) -> str:
    """Return the page's section."""
    names = ("operations", "tried", "told", "went_on", "half_made", "equal", "seconds")
    rows = [[r["target"], *(r[name] for name in names)] for r in found["targets"]]
    rows.append(["**all**", *(sum(r[name] for r in found["targets"]) for name in names)])
    header = ["refused", "operations", "refusals", "told", "went on", "half-made", "bitwise equal after", "seconds"]
    return "\n\n".join(
        [
            "## A disk that refuses at every point",
            "No space, quota, I/O error and read-only at operation K, for every K, once and from there on. Told: a "
            "StorageError that names the path, the free space and a remedy. Went on: only tidying up was refused, or "
            "it concerned what a run can do without. Half-made: an incomplete result under its final name, or "
            "something lost that was there before. Bitwise equal after: the same command, once there is room, leaves "
            "what an unfailed run leaves.",
            figures.markdown_table(header, rows),
            figures.made(found),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
