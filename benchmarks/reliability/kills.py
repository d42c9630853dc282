"""A training process group killed with SIGKILL at random times, again and again: does every run end with the same bits?

    python benchmarks/reliability/kills.py [--kills 3000] [--seed 1] [--json FILE] [--markdown FILE]

A tiny run is started, killed at a moment drawn uniformly between its start and the end of an unfailed run, started
again, and so on until it finishes; then the next run begins. Moments are counted in processor time where the system
tells it, so that they are uniform under load as well. Every finished run must have the losses, the measurements, the
weights and the optimizer state of a run that was never killed, bit by bit; otherwise the exit status is 1.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import figures
import whole
from headwater.files import link_folder
from targets import TARGETS, Place, make_template, templates, train
from trials import required, say, spread, trial

RUNS_FOR_THE_TIME = 3
POLL_SECONDS = 0.001
CLOCK_OF = "/proc/{}/schedstat"  # nanoseconds that the main thread has run
LONGER = {"train__num_steps": 60, "train__save_every": 5, "train__validate_every": 20}  # starting takes less of it
TRAINING = next(target for target in TARGETS if target.name == "training")


@dataclass
class Count:
    """What happened so far, over all runs of one process."""

    kills: int = 0
    attempts: int = 0
    runs: int = 0
    resumed: int = 0  # attempts that began at a checkpoint
    failures: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--kills", type=int, default=3000, metavar="N", help="kills in all (3000)")
    parser.add_argument("--seed", type=int, default=1, help="decides the times (1)")
    chosen = parser.parse_args(arguments)
    started_at = time.perf_counter()
    with templates(chosen.work) as work_dir:
        required(trial(lambda: make_template(TRAINING, work_dir)), "a template")
        expected, seconds = unfailed(work_dir)
        say(f"an unfailed run takes {seconds:.2f} s")
        shares = [(number, -(-chosen.kills // chosen.jobs)) for number in range(chosen.jobs)]
        judge = lambda share: vars(kill_often(work_dir, chosen.seed, share, expected, seconds))  # noqa: E731
        counts = spread(shares, judge, chosen.jobs)
    found = {
        "what": "random kills",
        **figures.facts(),
        "seed": chosen.seed,
        "seconds_of_a_run": round(seconds, 3),
        "seconds": round(time.perf_counter() - started_at, 1),
        **{name: sum(count[name] for count in counts) for name in ("kills", "attempts", "runs", "resumed")},
        "failures": [failure for count in counts for failure in count["failures"]],
    }
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    for failure in found["failures"]:
        say(failure)
    return int(bool(found["failures"]))


def unfailed(work_dir: Path) -> tuple[dict[str, Any], float]:
    """Return what an unfailed run leaves, and the seconds it takes: the median of a few."""
    times = []
    for number in range(RUNS_FOR_THE_TIME):
        place = light_place(work_dir, f"unfailed-{number}")
        status, seconds = attempt(place, None)
        if status:
            raise SystemExit("training doesn't work without a kill either")
        times.append(seconds)
        left = required(trial(lambda place=place: whole.trained(place.run_dir)), "a check of what it left").value
        shutil.rmtree(place.runs_dir)
    return left, sorted(times)[len(times) // 2]


def light_place(work_dir: Path, name: str) -> Place:
    """Return a folder for a run whose prepared data lie elsewhere, as a ladder's rungs do it."""
    template = work_dir / "templates" / "training"
    place = Place(work_dir / "tiny.toml", work_dir / "trials" / name)
    place.run_dir.mkdir(parents=True)
    link_folder(place.run_dir / "data", next(template.iterdir()) / "data")
    return place


def kill_often(
    work_dir: Path, seed: int, share: tuple[int, int], expected: dict[str, Any], run_seconds: float
) -> Count:
    """Kill `share` = (number of this process, kills) times; judge every run that finishes."""
    number, num_kills = share
    chance, count = random.Random(f"{seed}/{number}"), Count()
    while count.kills < num_kills:
        place = light_place(work_dir, f"{number}-{count.runs}")
        judge_run(place, chance, count, expected, run_seconds)
        shutil.rmtree(place.runs_dir)
        count.runs += 1
        if count.runs % 50 == 0:
            say(f"{count.kills} kills, {count.runs} runs finished, {len(count.failures)} failures")
    return count


def judge_run(place: Place, chance: random.Random, count: Count, expected: dict[str, Any], run_seconds: float) -> None:
    """Start a run as often as it is killed, until it finishes, and compare what it left."""
    seconds: list[float] = []
    while True:
        seconds.append(round(chance.uniform(0, run_seconds), 4))
        count.attempts += 1
        status, _ = attempt(place, seconds[-1])
        if status != -signal.SIGKILL:
            break
        count.kills += 1
        left = trial(lambda: whole.problems_of_training(place.run_dir))
        if left.value or not left.is_done:
            count.failures.append(f"after kills at {seconds} s: {left.value or left.says()}")
            return
    done = trial(lambda: {**whole.trained(place.run_dir), "lies_about": whole.temporary_names(place.run_dir)})
    lies_about = done.value.pop("lies_about") if done.is_done else []
    if status or done.value != expected or lies_about:
        differs = done.says() if not done.is_done else [k for k in expected if done.value[k] != expected[k]]
        count.failures.append(
            f"exit status {status}, kills at {seconds[:-1]} s: differs in {differs}, left {lies_about}"
        )
    count.resumed += sum(record["event"] == "resume" for record in whole.read_all(place.run_dir / "records.jsonl"))


def attempt(place: Place, kill_after: float | None) -> tuple[int, float]:
    """Train in a process group of its own, killed after that many seconds; return its exit status and its seconds."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            train(place, **LONGER)
        except BaseException:
            os._exit(1)
        os._exit(0)
    started_at = time.perf_counter()
    while kill_after is not None and (used := seconds_used(child, started_at)) is not None:
        if used >= kill_after:
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:  # it has not yet made its group
                os.kill(child, signal.SIGKILL)
            break
        time.sleep(min(POLL_SECONDS, kill_after - used))
    _, status, usage = os.wait4(child, 0)
    seconds = (
        usage.ru_utime + usage.ru_stime
        if Path(CLOCK_OF.format(os.getpid())).exists()
        else time.perf_counter() - started_at
    )
    return os.waitstatus_to_exitcode(status), seconds


def seconds_used(child: int, started_at: float) -> float | None:
    """Return a child's time on the processor, or by the clock where the system doesn't tell; None once it has ended."""
    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
        return None
    try:
        return int(Path(CLOCK_OF.format(child)).read_text().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        return time.perf_counter() - started_at


def section(found: dict[str, Any]) -> str:
    """Return the page's section."""
    good = found["runs"] - len(found["failures"])
    # of n trials without a failure: with 95 % confidence fewer than 3 in n fail (the rule of three)
    bound = f"below {3 / found['kills']:.2%} (95 %)" if not found["failures"] else "not bounded: there were failures"
    rows = [[found["kills"], found["resumed"], found["runs"], good, len(found["failures"]), bound]]
    header = ["kills", "resumes from a checkpoint", "runs finished", "bitwise equal", "failures", "failures a kill"]
    steps, every, seconds = LONGER["train__num_steps"], LONGER["train__save_every"], found["seconds_of_a_run"]
    return "\n\n".join(
        [
            "## Killed at random",
            "SIGKILL to the process group of a training run at moments drawn uniformly over its length "
            f"({steps} steps, a save every {every}, {seconds:.2f} s from its fork to its end). It is started again "
            "until it finishes. *Bitwise equal*: losses, measurements, weights and optimizer state of a run that was "
            "never killed.",
            figures.markdown_table(header, rows),
            f"Seed {found['seed']}, {found['seconds']:,.0f} s. {figures.made(found)}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
