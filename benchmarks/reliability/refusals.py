"""A disk that refuses, at every operation: is anything half-made committed, and does the message help?

    python benchmarks/reliability/refusals.py [--sample N] [--target save;training] [--json FILE] [--markdown FILE]

Every operation of every target fails with each of four errors, once and from there on. The command must end in a
StorageError that names a path of the run and the free space, or continue where only tidying up was refused. Nothing
half-made may have a final name, what was there before must still be there, and once the disk accepts writes again the
same command must leave what an unfailed run leaves. Exit status 1 otherwise.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

import enumerated
import figures
from enumerated import Aftermath
from targets import NAME, templates
from trials import Outcome

ERRORS = {"ENOSPC": "no space", "EDQUOT": "quota", "EIO": "I/O error", "EROFS": "read-only"}
HOW_LONG = ("", "+")
HELPFUL = re.compile(rf"can't write \S*/{NAME}\b.*: .*\d+ MB free.*; ", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = enumerated.options(__doc__, "refusals").parse_args(arguments)
    with templates(chosen.work) as work_dir:
        results = enumerated.try_targets(chosen, work_dir, refusals, judge)
    found = {"what": "refusals", **figures.facts(), "sample": chosen.sample, "targets": results}
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    return int(enumerated.say_failures(results))


def refusals(operations: Sequence[str]) -> list[str]:
    """Return a plan for each error at each operation, once and from there on."""
    numbers = range(1, len(operations) + 1)
    return [f"errno={error}@{number}{lasting}" for number, error, lasting in product(numbers, ERRORS, HOW_LONG)]


def judge(plan: str, after: Aftermath) -> dict[str, Any]:
    """Return what came of one refusal."""
    unhelpful = unhelpful_end(after.end)
    problems = unhelpful + after.problems
    return {
        "reported": after.end.error == "StorageError" and not unhelpful,
        "continued": after.end.is_done,
        "half_made": bool(after.half_made),
        "equal": after.is_equal,
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
    names = ("operations", "tried", "reported", "continued", "half_made", "equal", "seconds")
    rows = [[r["target"], *(r[name] for name in names)] for r in found["targets"]]
    rows.append(["**all**", *(sum(r[name] for r in found["targets"]) for name in names)])
    header = [
        "refused",
        "operations",
        "refusals",
        "reported",
        "continued",
        "half-made",
        "bitwise equal after",
        "seconds",
    ]
    return "\n\n".join(
        [
            "## A disk that refuses at every point",
            "No space, quota, I/O error and read-only at operation K, for every K, once and from there on. *Reported*: "
            "a StorageError that names the path, the free space and a remedy. *Continued*: only tidying up failed, or "
            "something a run can do without. *Half-made*: an incomplete result has its final name, or something that "
            "was there before is lost. *Bitwise equal after*: once there is room, the same command leaves what an "
            "unfailed run leaves.",
            figures.markdown_table(header, rows),
            figures.made(found),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
