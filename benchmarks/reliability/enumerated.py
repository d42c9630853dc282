"""A fault at every operation of a target, one after the other: what `faults.py` and `refusals.py` have in common."""

from __future__ import annotations

import argparse
import functools
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
from targets import Target, fresh_place, make_template, recover, wrong_after_fault
from trials import Outcome, required, sample, say, spread, trial
from two_ranks import EVERY_TARGET


@dataclass(frozen=True)
class Reference:
    """What a target does without a fault: the kinds of its operations, and what it leaves."""

    operations: list[str]
    facts: Any


@dataclass(frozen=True)
class Aftermath:
    """What came of a fault: how the work ended, what it left that is wrong, and the same of the same work once more."""

    end: Outcome
    half_made: list[str]
    wrong_again: list[str]
    is_recovered: bool
    is_equal: bool

    @property
    def problems(self) -> list[str]:
        unequal = [] if self.is_equal else ["what the second call left isn't what an unfailed run leaves"]
        return self.half_made + self.wrong_again + unequal


Plans = Callable[[Sequence[str]], list[str]]
"Given the kinds of a target's operations, in order, returns every plan of faults to try."
Judge = Callable[[str, Aftermath], dict[str, Any]]
"Returns what counts of a plan's aftermath, by name, and under `says` what is wrong with it, empty where nothing is."


def options(description: str | None, what: str) -> argparse.ArgumentParser:
    parser = figures.options(description)
    parser.add_argument("--sample", type=int, metavar="N", help=f"N {what} of each target, evenly spread, not all")
    parser.add_argument("--target", type=lambda text: text.split(";"), metavar="NAME;…", help="these targets alone")
    return parser


def try_targets(chosen: argparse.Namespace, work_dir: Path, plans_of: Plans, judge: Judge) -> list[dict[str, Any]]:
    """Return, for each chosen target, how many plans there are and were tried, what counts of them, and failures."""
    targets = [target for target in EVERY_TARGET if chosen.target is None or target.name in chosen.target]
    return [_try_target(target, work_dir, chosen, plans_of, judge) for target in targets]


def _try_target(
    target: Target, work_dir: Path, chosen: argparse.Namespace, plans_of: Plans, judge: Judge
) -> dict[str, Any]:
    started_at = time.perf_counter()
    expected = reference(target, work_dir)
    every = plans_of(expected.operations)
    plans = sample(every, chosen.sample)
    found = spread(plans, lambda plan: judge(plan, aftermath(target, work_dir, plan, expected)), chosen.jobs)
    counted = {name: sum(one[name] for one in found) for name in found[0] if name != "says"}
    result = {
        "target": target.name,
        "operations": len(expected.operations),
        "of": len(every),
        "tried": len(plans),
        **counted,
        "seconds": round(time.perf_counter() - started_at, 1),
        "failures": [one["says"] for one in found if one["says"]],
    }
    shown = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counted.items())
    say(f"{target.name}: {len(plans)} of {len(every)}, {shown}")
    return result


@functools.cache
def reference(target: Target, work_dir: Path) -> Reference:
    """Make a target's template, and do its work once without a fault."""
    required(trial(lambda: make_template(target, work_dir), timeout_seconds=600), f"what comes before {target.name}")
    place = fresh_place(target, work_dir, "reference")
    done = required(trial(lambda: target.work(place), plan=""), target.name)
    again = required(trial(lambda: recover(target, place)), f"{target.name} once more")
    shutil.rmtree(place.runs_dir)
    if again.value["wrong"]:
        raise SystemExit(f"{target.name} without a fault leaves {again.value['wrong']}")
    return Reference(done.operations, again.value["facts"])


def aftermath(target: Target, work_dir: Path, plan: str, expected: Reference) -> Aftermath:
    """Do the work under a plan, check what is left, and do it again."""
    place = fresh_place(target, work_dir, plan)
    end = trial(lambda: target.work(place), plan)
    left = trial(lambda: wrong_after_fault(target, place))
    again = trial(lambda: recover(target, place))
    shutil.rmtree(place.runs_dir)
    return Aftermath(
        end,
        half_made=left.value if left.is_done else [left.says()],
        wrong_again=again.value["wrong"] if again.is_done else [again.says()],
        is_recovered=again.is_done,
        is_equal=again.is_done and again.value["facts"] == expected.facts,
    )


def say_failures(results: Sequence[dict[str, Any]]) -> bool:
    """Say what went wrong, and return whether anything did."""
    for result in results:
        for failure in result["failures"]:
            say(f"{result['target']}, {failure}")
    return any(result["failures"] for result in results)
