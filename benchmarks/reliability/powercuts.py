"""Power lost at any moment, and with it a part of all that wasn't flushed: does the same command repair what is left?

    python benchmarks/reliability/powercuts.py [--cuts 2000] [--seed 1] [--json FILE] [--markdown FILE]

A process that dies loses nothing that it wrote: only a power cut tests what is flushed, and in which order. Each
target's work is done once with a journal of its operations. Then, for moments spread over them, a simulated disk
(unflushed.py) forgets a random part of what wasn't flushed, and the work is done again on what is left. What was whole
under a final name before must be whole, a checkpoint that was committed must be there, and the end must be bitwise
that of a run whose power was never cut. Exit status 1 otherwise.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import figures
from enumerated import Reference, reference
from headwater.core import disk
from targets import TARGETS, Place, Target, fresh_place, recover, templates, wrong_after_fault
from trials import FaultPlan, required, sample, say, spread, trial
from unflushed import ForgetfulDisk


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--cuts", type=int, default=2000, metavar="N", help="power cuts in all, about (2000)")
    parser.add_argument("--seed", type=int, default=1, help="decides what is lost (1)")
    parser.add_argument("--target", type=lambda text: text.split(";"), metavar="NAME;…", help="these targets alone")
    chosen = parser.parse_args(arguments)
    with templates(chosen.work) as work_dir:
        targets = [target for target in TARGETS if chosen.target is None or target.name in chosen.target]
        each = -(-chosen.cuts // len(targets))
        results = [cut_often(target, work_dir, each, chosen.seed, chosen.jobs) for target in targets]
    found = {"what": "power cuts", **figures.facts(), "seed": chosen.seed, "targets": results}
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    for result in results:
        for failure in result["failures"]:
            say(f"{result['target']}, {failure}")
    return int(any(result["failures"] for result in results))


def cut_often(target: Target, work_dir: Path, num_cuts: int, seed: int, num_jobs: int) -> dict[str, Any]:
    started_at = time.perf_counter()
    expected = reference(target, work_dir)
    place = fresh_place(target, work_dir, "journal")
    before = work_dir / "trials" / "before"
    shutil.copytree(place.runs_dir, before, symlinks=True)
    journal = required(trial(lambda: journal_of(lambda: target.work(place))), target.name).value
    moments = sample(range(len(journal) + 1), num_cuts)
    moments = [moments[number % len(moments)] for number in range(num_cuts)]
    cuts = [(number, moment) for number, moment in enumerate(moments)]
    said = spread(
        cuts, lambda cut: cut_and_recover(target, work_dir, (before, place), journal, cut, seed, expected), num_jobs
    )
    shutil.rmtree(place.runs_dir)
    shutil.rmtree(before)
    failures = [one for one in said if one]
    seconds = round(time.perf_counter() - started_at, 1)
    say(f"{target.name}: {len(cuts)} power cuts, {len(failures)} failures")
    return {
        "target": target.name,
        "operations": len(journal),
        "cuts": len(cuts),
        "good": len(cuts) - len(failures),
        "seconds": seconds,
        "failures": failures,
    }


def journal_of(work: Callable[[], None]) -> list[list[Any]]:
    """Do the work; return its operations, with bytes as text of the same numbers, so that they fit in JSON."""
    plan = FaultPlan(journal=[])
    disk.install(plan)
    work()
    disk.install(None)
    assert plan.journal is not None
    return [
        [part.decode("latin-1") if isinstance(part, bytes) else _plain(part) for part in line] for line in plan.journal
    ]


def _plain(part: Any) -> Any:
    return part if isinstance(part, int | str) else str(part)


def cut_and_recover(
    target: Target,
    work_dir: Path,
    where: tuple[Path, Place],
    journal: Sequence[Sequence[Any]],
    cut: tuple[int, int],
    seed: int,
    expected: Reference,
) -> str:
    """Cut the power after `cut` = (number, moment) operations and do the work again; return what went wrong."""
    before, place = where
    number, moment = cut
    runs_dir = work_dir / "trials" / f"cut-{number}"
    left_over = trial(
        lambda: leave_a_part(before, place.runs_dir, journal[:moment], runs_dir, Random(f"{seed}/{number}"))
    )
    after = Place(place.run_file, runs_dir)
    settled = trial(lambda: target.facts(after.run_dir)) if moment == len(journal) else None
    left = trial(lambda: wrong_after_fault(target, after))
    again = trial(lambda: recover(target, after))
    shutil.rmtree(runs_dir, ignore_errors=True)
    problems = [] if left_over.is_done else [f"the simulated disk: {left_over.says()}"]
    if settled is not None and settled.value != expected.facts:
        problems.append("what was done is gone")
    problems += seriously(left.value) if left.is_done else [left.says()]
    problems += seriously(again.value["wrong"]) if again.is_done else [again.says()]
    if again.is_done and again.value["facts"] != expected.facts:
        problems.append("what the second call left isn't what an unfailed run leaves")
    return f"cut {number} after operation {moment}: {'; '.join(problems)}" if problems else ""


def seriously(problems: list[str]) -> list[str]:
    """Return all but records that were never flushed: readers skip what isn't JSON, and a checkpoint flushes first."""
    return [problem for problem in problems if not problem.startswith("records.jsonl")]


def leave_a_part(
    before: Path, written_at: Path, journal: Sequence[Sequence[Any]], target: Path, chance: Random
) -> None:
    """Do the operations on a forgetful disk that holds `before`, cut its power, and write what is left to `target`."""
    simulated = ForgetfulDisk(before)
    for kind, path, *details in journal:
        placed = [_below(path, written_at, before), *details]
        if kind in ("rename", "exchange", "hardlink"):
            placed[1] = _below(details[0], written_at, before)
        if kind == "write":
            placed[2] = details[1].encode("latin-1")
        simulated.do([kind, *placed])
    simulated.cut(chance, target)


def _below(path: str, source: Path, target: Path) -> str:
    return str(target / Path(path).relative_to(source)) if Path(path).is_relative_to(source) else path


def section(found: dict[str, Any]) -> str:
    """Return the page's section."""
    names = ("operations", "cuts", "good", "seconds")
    rows = [[r["target"], *(r[name] for name in names)] for r in found["targets"]]
    rows.append(["**all**", *(sum(r[name] for r in found["targets"]) for name in names)])
    header = ["interrupted", "operations", "power cuts", "recovered, bitwise equal", "seconds"]
    return "\n\n".join(
        [
            "## The power cut at any moment",
            "Simulated. Each operation is journaled; at moments spread over them the disk keeps what was flushed and a "
            "random part of the rest (a write whole, in half, as zeros or not at all; a name new, old or gone). "
            "*Recovered*: nothing half-made has a final name, nothing that was committed is lost, and the same command "
            "ends with the bytes of a run whose power was never cut.",
            figures.markdown_table(header, rows),
            f"Seed {found['seed']}. {figures.made(found)}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
