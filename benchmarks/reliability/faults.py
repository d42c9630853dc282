"""Every point at which a process can die while it writes, tried: does the same command make good what it left?

    python benchmarks/reliability/faults.py [--sample N] [--target "save;training"] [--json FILE] [--markdown FILE]

A crash point is a moment before an operation that changes the disk, or the middle of a write. For each target and each
point: a copy of the target's folder, the work in a child that dies there, a check of what is left, the work again. A
point is recovered when nothing half-made lay under a final name, nothing that was there before was gone, and the second
call succeeds; it is bitwise equal when what that leaves has the bytes of a run that never died. Then many saves in one
folder, killed at chance operations: never fewer than two whole checkpoints. Exit status 1 otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import enumerated
import figures
from enumerated import Aftermath
from headwater.core.files import remove_leftovers
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.save import retain_newest
from headwater.train.checkpoint.verify import is_whole
from targets import NAME, Place, save, templates
from trials import required, trial

NUM_KEPT, MIN_WHOLE = 3, 2
OPERATIONS_OF_A_SAVE = 60  # and of the removal after it, about
SUMMED = ("operations", "tried", "of", "recovered", "equal", "seconds")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = enumerated.options(__doc__, "crash points")
    parser.add_argument("--saves", type=int, default=1000, metavar="N", help="saves in a row that are killed (1000)")
    chosen = parser.parse_args(arguments)
    with templates(chosen.work) as work_dir:
        results = enumerated.try_targets(chosen, work_dir, crash_points, judge)
        saves = many_saves(work_dir, chosen.saves)
    found = {"what": "crash points", **figures.facts(), "sample": chosen.sample, "targets": results, "saves": saves}
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    return int(enumerated.say_failures(results) or saves["fewest_whole"] < MIN_WHOLE)


def crash_points(operations: Sequence[str]) -> list[str]:
    """Return a plan for each moment before an operation, and one for the middle of each write."""
    plans = []
    for number, kind in enumerate(operations, start=1):
        plans += [f"crash@{number}"] + [f"torn@{number}"] * (kind == "write")
    return plans


def judge(plan: str, after: Aftermath) -> dict[str, Any]:
    """Return what came of one crash point."""
    alive = [] if after.end.is_killed else [f"it didn't die: {after.end.says()}"]
    problems = alive + after.problems
    return {
        "recovered": after.is_recovered and not alive + after.half_made + after.wrong_again,
        "equal": after.is_equal,
        "says": f"{plan}: {'; '.join(problems)}" if problems else "",
    }


def many_saves(work_dir: Path, count: int) -> dict[str, Any]:
    """Save and retain `count` times in one folder, each time killed at a chance operation or not at all."""
    place = Place(work_dir / f"{NAME}.toml", work_dir / "trials" / "many")
    chance, num_died = Random(0), 0
    whole_left: list[int] = []

    def save_and_retain(step: int) -> None:
        remove_leftovers(place.run_dir / "checkpoints")
        save(place, step)
        retain_newest(place.run_dir, NUM_KEPT)

    for step in range(1, count + 1):
        fault = f"{chance.choice(('crash', 'torn'))}@{chance.randint(1, OPERATIONS_OF_A_SAVE)}"
        plan = fault if step > NUM_KEPT else ""
        num_died += trial(partial(save_and_retain, step), plan).is_killed
        if step >= NUM_KEPT:
            left = required(
                trial(lambda: [is_whole(path) for _, path in list_checkpoints(place.run_dir)]),
                "a check of the checkpoints",
            )
            whole_left.append(sum(left.value))
    required(trial(lambda: save_and_retain(count + 1)), "a save after many that were killed")
    kept = sum(path.stat().st_size for path in place.run_dir.rglob("*") if path.is_file())
    needed = sum(
        path.stat().st_size for _, folder in list_checkpoints(place.run_dir)[:NUM_KEPT] for path in folder.iterdir()
    )
    return {
        "saves": count,
        "died": num_died,
        "fewest_whole": min(whole_left, default=NUM_KEPT),
        "bytes_left_over": kept - needed,
    }


def section(found: dict[str, Any]) -> str:
    """Return the page's section."""
    rows = [
        [r["target"], r["operations"], f"{r['tried']:,} of {r['of']:,}", r["recovered"], r["equal"], r["seconds"]]
        for r in found["targets"]
    ]
    sums = {name: sum(r[name] for r in found["targets"]) for name in SUMMED}
    tried = f"{sums['tried']:,} of {sums['of']:,}"
    rows.append(["**all**", sums["operations"], tried, sums["recovered"], sums["equal"], sums["seconds"]])
    header = ["interrupted", "operations", "crash points tried", "recovered", "bitwise equal", "seconds"]
    saves = found["saves"]
    return "\n\n".join(
        [
            "## A crash at every point",
            "The process dies before operation K on the disk, for every K, and half-way through every write. Then the "
            "same command runs again. *Recovered*: nothing half-made has a final name, nothing that was there before "
            "is lost, and the second call succeeds. *Bitwise equal*: it leaves the bytes of a run that never died "
            "(files; for training losses, measurements, weights and optimizer state).",
            figures.markdown_table(header, rows),
            f"{saves['saves']:,} saves in one folder, the newest {NUM_KEPT} kept, {saves['died']:,} of them killed at "
            f"a random operation of the save or of the removal: never fewer than {saves['fewest_whole']} whole "
            f"checkpoints, {saves['bytes_left_over']} bytes left over at the end.",
            figures.made(found),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
