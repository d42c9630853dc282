"""Two hours of training on two ranks with a fault a minute: does it resume by itself, and how much of the time is kept?

    python benchmarks/reliability/soak.py [--seconds 7200] [--mean-seconds 60] [--json FILE] [--markdown FILE]

First-light on its real text, run after run, each under torchrun. Something like systemd or a batch system's requeue
calls the same command whenever it ended with a status other than 0, and does nothing else. Faults come at random: a
rank or all of them killed, SIGTERM, a rank stopped for good, a full disk, a damaged checkpoint. Every run that
finishes must have the losses, the norms and the final state of one that nothing happened to, bit by bit. Exit status 1
where one differs, or where a run needed a person. Mounting the small disk that is filled needs root;
without it that kind is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import figures
import whole
from headwater.checkpoint.layout import list_checkpoints, list_damaged
from headwater.checkpoint.verify import checked_manifest
from headwater.files import link_folder
from headwater.records import read_all, read_records
from soak_account import account, daly_interval, save_seconds, section
from soak_faults import KINDS, Fault, FaultSchedule, Victim
from trials import say

RANKS = 2
SHUTDOWN_SECONDS = 5  # torchrun's patience after a SIGTERM to itself; before a restart it has 30 s, whatever is set
HANG_SECONDS = 20
SETTINGS = (
    "machine.dtype=bfloat16",
    "machine.num_threads=1",
    "train.microbatch_tokens=2048",
    "train.num_probes=0",
    "train.validate_every=100000",
    f"train.hang_seconds={HANG_SECONDS}",
)
RECORDS = "records.jsonl"
REFERENCE_SAVE_EVERY = 25
LEAST_SAVE_EVERY = 4
CHECKPOINTS_ON_DISK = 14  # those kept, those being written, those put aside
POLL_SECONDS = 0.05
NO_PROGRESS_SECONDS = 2400.0  # beyond the exchanges' own 30 minutes: a person would have to step in


@dataclass
class Soak:
    """What has happened until now; written to the JSON file after every event."""

    began_at: float
    steps: int
    save_every: int
    reference: dict[str, Any]
    faults: list[Fault] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    interventions: int = 0
    ended_at: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--seconds", type=float, default=7200, help="length of the soak, after the reference (7200)")
    parser.add_argument("--mean-seconds", type=float, default=60, help="mean time between faults (60)")
    parser.add_argument("--steps", type=int, default=400, help="of one run (400)")
    parser.add_argument("--seed", type=int, default=1, help="decides times and kinds of the faults (1)")
    parser.add_argument("--run", default="first-light", help="recipe or run file")
    parser.add_argument("--reference", type=Path, metavar="JSON", help="figures of before, whose unfailed run is taken")
    parser.add_argument("--prepared", type=Path, metavar="RUN", help="a run folder whose data are used")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings on top")
    chosen = parser.parse_args(arguments)
    if chosen.reference and not chosen.prepared:
        parser.error("--reference is of --prepared's data")
    given = [chosen.run, *SETTINGS, f"train.num_steps={chosen.steps}", *chosen.settings]
    with figures.work_folder(chosen.work) as folder:
        if chosen.prepared:
            (folder / "runs" / "prepared").mkdir(parents=True)
            shutil.copytree(chosen.prepared / "data", folder / "runs" / "prepared" / "data")
        known = json.loads(chosen.reference.read_text()) if chosen.reference else None
        reference = known["reference"] if known else unfailed(folder, given)
        pause, step = save_seconds(reference["saves"]), median(reference["step_seconds"])
        every = max(LEAST_SAVE_EVERY, round(daly_interval(pause, chosen.mean_seconds) / step))
        say(f"unfailed: {reference['seconds']:.0f} s, a step {step:.3f} s, a save {pause:.3f} s; a save every {every}")
        size = CHECKPOINTS_ON_DISK * reference["checkpoint_bytes"] + (32 << 20)
        with small_disk(folder / "disk", size) as disk:
            kinds = KINDS if disk else tuple(kind for kind in KINDS if kind != "full disk")
            soak = Soak(time.time(), chosen.steps, every, reference)
            schedule = FaultSchedule(chosen.seed, chosen.mean_seconds, kinds)
            given.append(f"train.save_every={every}")
            trial = Trial(folder, disk, given, schedule, soak.began_at + chosen.seconds, chosen.json)
            while time.time() < trial.until and not soak.interventions:
                one_run(soak, trial)
    soak.ended_at = time.time()
    found = {"what": "soak", **figures.facts(), "seed": chosen.seed, **as_json(soak)}
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    for failure in soak.failures:
        say(failure)
    return int(bool(soak.failures) or soak.interventions > 0)


def as_json(soak: Soak) -> dict[str, Any]:
    """Return all that is known, with the account of the time as far as it went."""
    found = asdict(soak) | {"ended_at": soak.ended_at or time.time()}
    return found | {"account": account(found)}


def keep(soak: Soak, path: Path | None) -> None:
    """Write down what is known, so that an abort loses nothing."""
    if path is not None:
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps({"what": "soak, unfinished", **as_json(soak)}, indent=1), encoding="utf-8")
        fresh.replace(path)


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[Path | None]:
    """Yield a file system in memory of `size` bytes, or None where this process may not mount one."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True)
    if done.returncode:
        say("no disk of its own could be mounted (that needs root): full disks are skipped")
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=False)


def command(given: list[str], run_dir: Path) -> list[str]:
    """Return the one command that is called again and again."""
    launcher = f"--nproc-per-node {RANKS} --max-restarts 1000 --shutdown-timeout {SHUTDOWN_SECONDS}".split()
    place = ["--standalone", "--local-addr", "127.0.0.1"]
    where = [f"name={run_dir.name}", f"runs_dir={run_dir.parent}", "--stop-within", str(SHUTDOWN_SECONDS)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *launcher, *place]
    return [*torchrun, "-m", "headwater", "train", *given, *where]


def launch(given: list[str], run_dir: Path, log: Path) -> subprocess.Popen[bytes]:
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    more = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("ab") as said:
        return subprocess.Popen(
            command(given, run_dir), stdout=said, stderr=said, env=os.environ | more, start_new_session=True
        )


def unfailed(folder: Path, given: list[str]) -> dict[str, Any]:
    """Prepare the data, train once with nothing in the way, and return what that left and took."""
    log = folder / "unfailed.log"
    finish(launch([*given, "train.num_steps=4", "train.save_every=100"], folder / "runs" / "prepared", log), log)
    run_dir = folder / "runs" / "reference"
    run_dir.mkdir()
    link_folder(run_dir / "data", folder / "runs" / "prepared" / "data")
    started_at = time.time()
    finish(launch([*given, f"train.save_every={REFERENCE_SAVE_EVERY}"], run_dir, log), log)
    newest = list_checkpoints(run_dir)[0][1]
    left = {"seconds": time.time() - started_at, "started_at": started_at, **what_it_left(run_dir)}
    left["checkpoint_bytes"] = sum(path.stat().st_size for path in newest.iterdir())
    left["saves"] = [[r["seconds"], r["background_seconds"]] for r in read_records(run_dir / RECORDS, "checkpoint")]
    return left


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.wait():
        sys.exit(f"training doesn't work without a fault either:\n{log.read_text(errors='replace')[-6000:]}")


def what_it_left(run_dir: Path) -> dict[str, Any]:
    """Return what must be the same with and without faults, and the seconds of each step."""
    steps = read_records(run_dir / RECORDS, "step")
    return {
        "bits": [[float(step["loss"]).hex(), float(step["grad_norm"]).hex()] for step in steps],
        "measured": whole.measured(run_dir)[-1:],
        "digest": checked_manifest(list_checkpoints(run_dir)[0][1])["state_digest"],
        "step_seconds": [step["seconds"] for step in steps],
        "step_times": [step["time"] for step in steps],
    }


@dataclass(frozen=True)
class Trial:
    """What all runs of the soak have in common."""

    folder: Path
    disk: Path | None
    given: list[str]
    schedule: FaultSchedule
    until: float
    json_path: Path | None


def one_run(soak: Soak, trial: Trial) -> None:
    """Train one run to its end, or to the end of the time, and judge it; then take it away."""
    number = len(soak.runs)
    run_dir, log = (trial.disk or trial.folder) / "runs" / f"soak-{number}", trial.folder / "soak.log"
    run_dir.mkdir(parents=True)
    link_folder(run_dir / "data", trial.folder / "runs" / "prepared" / "data")
    started_at = time.time()
    is_finished, num_calls = supervise(run_dir, log, soak, trial)
    ended_at = time.time()
    run = judged(run_dir, soak, number, is_finished)
    run["hangs_reported"] = log.read_text(errors="replace").count("fell silent")
    soak.runs.append(run | {"started_at": started_at, "seconds": ended_at - started_at, "calls": num_calls})
    verdict = "equal" if run["is_equal"] else "DIFFERENT"
    say(f"{since(soak)} run {number}: {run['steps']} steps, {'finished' if is_finished else 'cut off'}, {verdict}")
    if not run["is_equal"]:
        soak.failures.append(f"run {number} differs from the unfailed one: {run}")
    if soak.failures:
        soak.failures.append(log.read_text(errors="replace")[-6000:])
    log.unlink()
    shutil.rmtree(run_dir)
    keep(soak, trial.json_path)


def supervise(run_dir: Path, log: Path, soak: Soak, trial: Trial) -> tuple[bool, int]:
    """Call the same command until it ends with 0, while faults strike; return whether it did, and the calls."""
    victim = Victim(launch(trial.given, run_dir, log), run_dir, trial.disk, soak.save_every, soak.steps)
    number, num_calls, tail, progress_at = len(soak.runs), 1, Tail(run_dir / RECORDS), time.time()
    open_faults: list[Fault] = []
    try:
        while True:
            for record in tail.read():
                progress_at = follow(record, victim, open_faults, trial.schedule) or progress_at
            status = victim.launcher.poll()
            if status == 0 or time.time() > trial.until:
                return status == 0, num_calls
            if time.time() - progress_at > NO_PROGRESS_SECONDS:
                soak.interventions += 1
                soak.failures.append(f"run {number} made no step for {NO_PROGRESS_SECONDS:.0f} s")
                return False, num_calls
            if status is not None:
                victim.kill_all()  # what an ended command leaves: a control group does the same
                victim.launcher, num_calls = launch(trial.given, run_dir, log), num_calls + 1
            note_detected_hangs(open_faults)
            for fault in trial.schedule.strike(victim, number):
                note(fault, open_faults, soak)
                keep(soak, trial.json_path)
            time.sleep(POLL_SECONDS)
    finally:
        end(victim, trial.schedule, open_faults)


def note(fault: Fault, open_faults: list[Fault], soak: Soak) -> None:
    say(f"{since(soak)} run {fault.run}, step {fault.step}: {fault.kind} {fault.facts or ''}")
    for other in open_faults:
        other.overlapped = True
    fault.overlapped = bool(open_faults)
    open_faults.append(fault)
    soak.faults.append(fault)


def end(victim: Victim, schedule: FaultSchedule, open_faults: list[Fault]) -> None:
    """Let the run save and end, and whatever is left of it end, too; a finished one has recovered from all."""
    if victim.launcher.poll() is None:
        victim.launcher.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            victim.launcher.wait(4 * SHUTDOWN_SECONDS)
    victim.kill_all()
    victim.launcher.wait()
    if victim.disk is not None:
        schedule.clear(victim.disk)
    if victim.launcher.returncode == 0:
        for fault in open_faults:
            fault.step_again_after, fault.steps_lost = time.time() - fault.at, 0


def follow(record: dict[str, Any], victim: Victim, open_faults: list[Fault], schedule: FaultSchedule) -> float | None:
    """Learn from a record how far the run is, and which faults it has recovered from; return the time of a step."""
    if record["event"] == "start":
        for fault in open_faults:
            if record["attempt"] > fault.attempt:
                fault.steps_lost = max(0, fault.step - record["step"])
        victim.steps_of_attempt = 0
    if record["event"] != "step":
        return None
    victim.attempt, victim.step, victim.stepped_at = record["attempt"], record["step"], record["time"]
    victim.steps_of_attempt += 1
    for fault in list(open_faults):
        is_over = fault.kind == "full disk" and not schedule.is_full()
        if record["attempt"] > fault.attempt:
            fault.step_again_after = record["time"] - fault.at
            open_faults.remove(fault)
        elif is_over and record["time"] > fault.at + 1 and not fault.overlapped:
            fault.step_again_after, fault.steps_lost = 0.0, 0  # nothing was to be written just then
            open_faults.remove(fault)
    return float(record["time"])


def note_detected_hangs(open_faults: list[Fault]) -> None:
    for fault in open_faults:
        if fault.watched and fault.detected_after is None and not is_alive(fault.watched):
            fault.detected_after = time.time() - fault.at


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that has ended and isn't yet taken note of has no command."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


class Tail:
    """The new whole lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._rest, self._at = path, b"", 0

    def read(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in lines:
            with suppress(ValueError):
                found.append(json.loads(line))
        return [record for record in found if isinstance(record, dict)]


def judged(run_dir: Path, soak: Soak, number: int, is_finished: bool) -> dict[str, Any]:
    """Return what a run did and whether it has the bits of the unfailed one, as far as it came."""
    expected, every = soak.reference, read_all(run_dir / RECORDS)
    all_steps, saves = ([r for r in every if r["event"] == event] for event in ("step", "checkpoint"))
    lasting = read_records(run_dir / RECORDS, "step")
    bits = [[float(step["loss"]).hex(), float(step["grad_norm"]).hex()] for step in lasting]
    is_equal = bits == expected["bits"][: len(bits)]
    if is_finished:
        left = what_it_left(run_dir)
        is_equal &= all(left[name] == expected[name] for name in ("bits", "measured", "digest"))
        is_equal &= not whole.temporary_names(run_dir)
    return {
        "steps": len(lasting),
        "is_finished": is_finished,
        "is_equal": is_equal,
        "seconds_of_lasting_steps": sum(step["seconds"] for step in lasting),
        "seconds_of_all_steps": sum(step["seconds"] for step in all_steps),
        "all_steps": len(all_steps),
        "attempts": max((r["attempt"] for r in every), default=0),
        "first_step_at": min((step["time"] - step["seconds"] for step in all_steps), default=None),
        "last_step_at": max((step["time"] for step in all_steps), default=None),
        "step_seconds": median(step["seconds"] for step in all_steps) if all_steps else None,
        "saves": [[save["seconds"], save["background_seconds"]] for save in saves],
        "seconds_of_saves": sum(save["seconds"] for save in saves),
        "stops_saved": sum(r.get("saved") is True for r in every if r["event"] == "stopped"),
        "put_aside": len(list_damaged(run_dir)),
        "faults": sum(fault.run == number for fault in soak.faults),
    }


def since(soak: Soak) -> str:
    return f"{time.time() - soak.began_at:6.0f} s"


if __name__ == "__main__":
    sys.exit(main())
