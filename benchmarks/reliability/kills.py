"""Kill training again and again: does every run end with the same bits?

    python benchmarks/reliability/kills.py [--runs 500] [--seed 1] [--json FILE] [--markdown FILE]

A tiny run, whose steps, saves, batch, rule and schedule are drawn, is started, killed at a moment drawn uniformly
between its start and the end of an unfailed run, started again, and so on until it finishes; half of them then get more
steps, and are killed on the way to those. Moments are counted in processor time where the system tells it, so that they
are uniform under load as well. Every finished run must have the losses, the measurements, the weights and the optimizer
state of a run of the same settings that was never killed, bit by bit; otherwise the exit status is 1.
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
from headwater.core.files import link_folder
from targets import SEQ_LEN, TARGETS, Place, make_template, templates, train
from trials import required, say, spread, trial

POLL_SECONDS = 0.001
CLOCK_OF = "/proc/{}/schedstat"  # nanoseconds that the main thread has run
STEPS = 3, 60
TRAINING = next(target for target in TARGETS if target.name == "training")


@dataclass
class Count:
    """What happened so far, over all runs of one process."""

    kills: int = 0
    attempts: int = 0
    runs: int = 0
    lengthened: int = 0
    resumed: int = 0  # attempts that began at a checkpoint
    failures: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--runs", type=int, default=500, metavar="N", help="runs in all (500)")
    parser.add_argument("--seed", type=int, default=1, help="decides settings and times (1)")
    chosen = parser.parse_args(arguments)
    started_at = time.perf_counter()
    with templates(chosen.work) as work_dir:
        required(trial(lambda: make_template(TRAINING, work_dir)), "a template")
        judge = lambda number: vars(judge_run(work_dir, chosen.seed, number))  # noqa: E731
        counts = spread(range(chosen.runs), judge, chosen.jobs)
    names = ("kills", "attempts", "runs", "lengthened", "resumed")
    found = {
        "what": "random kills",
        **figures.facts(),
        "seed": chosen.seed,
        "seconds": round(time.perf_counter() - started_at, 1),
        **{name: sum(count[name] for count in counts) for name in names},
        "failures": [failure for count in counts for failure in count["failures"]],
    }
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    return int(bool(found["failures"]))


def drawn(chance: random.Random) -> tuple[dict[str, Any], list[int]]:
    """Return a run's settings, and the numbers of steps that it is to reach, one after the other."""
    num_steps = chance.randint(*STEPS)
    settings = {
        "train__save_every": chance.randint(1, num_steps),
        "train__validate_every": chance.randint(1, num_steps),
        "train__num_probes": chance.randint(0, 2),
        "train__batch_tokens": SEQ_LEN * chance.randint(1, 4),
        "train__microbatch_tokens": SEQ_LEN,
        "optim__name": chance.choice(["muon", "adamw"]),
        "schedule__decay_fraction": chance.uniform(0.1, 0.6),
    }
    return settings, [num_steps, *([num_steps + chance.randint(1, 20)] if chance.random() < 0.5 else [])]


def light_place(work_dir: Path, name: str) -> Place:
    """Return a folder for a run whose prepared data lie elsewhere, as a ladder's rungs do it."""
    template = work_dir / "templates" / "training"
    place = Place(work_dir / "tiny.toml", work_dir / "trials" / name)
    place.run_dir.mkdir(parents=True)
    link_folder(place.run_dir / "data", next(template.iterdir()) / "data")
    return place


def judge_run(work_dir: Path, seed: int, number: int) -> Count:
    """Draw a run; compare what it leaves when it is killed again and again with what it leaves undisturbed."""
    chance, count = random.Random(f"{seed}/{number}"), Count(runs=1)
    settings, lengths = drawn(chance)
    calm, killed = (light_place(work_dir, f"{number}-{name}") for name in ("calm", "killed"))
    for num_steps in lengths:
        changed = settings | {"train__num_steps": num_steps}
        status, seconds = attempt(calm, None, changed)
        expected = trial(lambda: whole.trained(calm.run_dir))
        if status or not expected.is_done:
            count.failures.append(f"{changed} doesn't work undisturbed: exit status {status}, {expected.says()}")
            break
        if wrong := kill_until_done(killed, changed, chance, seconds, count, expected.value):
            count.failures.append(f"{changed}, {lengths}: {wrong}")
            break
        count.lengthened += num_steps != lengths[0]
    records = whole.read_all(killed.run_dir / "records.jsonl")
    count.resumed = sum(record["event"] == "resume" for record in records)
    for failure in count.failures:
        say(failure)
    for place in (calm, killed):
        shutil.rmtree(place.runs_dir)
    return count


def kill_until_done(
    place: Place, changed: dict[str, Any], chance: random.Random, run_seconds: float, count: Count, expected: Any
) -> str:
    """Start a run as often as it is killed, until it finishes; return what is wrong with what it leaves."""
    seconds: list[float] = []
    while True:
        seconds.append(round(chance.uniform(0, run_seconds), 4))
        count.attempts += 1
        status, _ = attempt(place, seconds[-1], changed)
        if status != -signal.SIGKILL:
            break
        count.kills += 1
        left = trial(lambda: whole.problems_of_training(place.run_dir))
        if left.value or not left.is_done:
            return f"after kills at {seconds} s: {left.value or left.says()}"
    done = trial(lambda: {**whole.trained(place.run_dir), "lies_about": whole.temporary_names(place.run_dir)})
    lies_about = done.value.pop("lies_about") if done.is_done else []
    if not status and done.value == expected and not lies_about:
        return ""
    differs = done.says() if not done.is_done else [name for name in expected if done.value[name] != expected[name]]
    return f"exit status {status}, kills at {seconds[:-1]} s: differs in {differs}, left {lies_about}"


def attempt(place: Place, kill_after: float | None, changed: dict[str, Any]) -> tuple[int, float]:
    """Train in a process group of its own, killed after that many seconds; return its exit status and its seconds."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            train(place, **changed)
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
    rows = [
        [found[name] for name in ("runs", "lengthened", "kills", "resumed")] + [good, len(found["failures"]), bound]
    ]
    header = ["runs", "with more steps", "kills", "resumes", "bitwise equal", "failures", "failures a kill"]
    return "\n\n".join(
        [
            "## Killed at random",
            "SIGKILL to the process group of a training run at moments drawn uniformly over its length. Each run has "
            f"drawn settings: {STEPS[0]} to {STEPS[1]} steps, odd ones too, saves, validations, batch, update rule and "
            "decay. It is started again until it finishes; half of them then get more steps. *Bitwise equal*: losses, "
            "measurements, weights and optimizer state of a run of the same settings that was never killed.",
            figures.markdown_table(header, rows),
            f"Seed {found['seed']}, {found['seconds']:,.0f} s. {figures.made(found)}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
