"""A run of two ranks as a Slurm job whose time is too short: does it save, queue itself again, and end?

    python benchmarks/reliability/slurm/requeue.py [--steps 3000] [--minutes 2]

Starts a cluster of this machine alone (up.sh), submits the file that `headwater launch slurm` writes, and waits. A job
that is queued again would wait two minutes more, for Slurm's BeginTime: this program tells it to start now. Exit status
1 unless the run was stopped by TERM at least once, saved, and came to its end with every step done once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from headwater.core.records import read_all, read_records
from targets import write_run_file

HERE, INSIDE = Path(__file__).parent, ["ip", "netns", "exec", "headwater-slurm"]
LIMIT_SECONDS = 1200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000, help="of the run: two minutes or more (3000)")
    parser.add_argument("--minutes", type=int, default=2, help="of a job; Slurm may be a minute early (2)")
    chosen = parser.parse_args()
    if os.geteuid() or not shutil.which("slurmctld"):
        sys.exit("needs root, and: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge")
    with tempfile.TemporaryDirectory(prefix="headwater-slurm-") as folder:
        work = Path(folder)
        os.environ["SLURM_CONF"] = str(work / "slurm.conf")
        try:
            subprocess.run([HERE / "up.sh", folder], check=True)
            return submitted(work, chosen.steps, chosen.minutes)
        finally:
            subprocess.run([HERE / "down.sh", folder], check=False)


def submitted(work: Path, steps: int, minutes: int) -> int:
    """Submit a run, wait for its end, and print what came of it."""
    write_run_file(work)
    run_dir = work / "runs" / "slurm"
    settings = ["name=slurm", f"runs_dir={work / 'runs'}", f"train.num_steps={steps}", "train.save_every=500"]
    settings += ["train.microbatch_tokens=64", f"train.validate_every={steps}"]
    options = [
        "--ranks-per-node=2",
        f"--hours={minutes / 60}",
        f"--out={work / 'slurm.sbatch'}",
        "--sbatch=--cpus-per-task=2",
    ]
    program = [sys.executable, "-m", "headwater", "launch", "slurm", str(work / "tiny.toml")]
    subprocess.run([*program, *settings, *options], check=True)
    print((work / "slurm.sbatch").read_text())
    began = time.monotonic()
    slurm("sbatch", "--export=ALL,GLOO_SOCKET_IFNAME=lo,OMP_NUM_THREADS=1", str(work / "slurm.sbatch"))
    while "JobState=COMPLETED" not in (job := slurm("scontrol", "show", "job", "1")):
        if (
            any(state in job for state in ("FAILED", "TIMEOUT", "CANCELLED"))
            or time.monotonic() - began > LIMIT_SECONDS
        ):
            break
        if "Reason=BeginTime" in job:
            slurm("scontrol", "update", "JobId=1", "StartTime=now")
        time.sleep(1)
    log = "".join(path.read_text() for path in (run_dir / "logs").glob("slurm-*.log"))
    records = run_dir / "records.jsonl"
    stops = [record for record in read_all(records) if record["event"] == "stopped"]
    done = [record["step"] for record in read_records(records, "step")]
    is_right = bool(stops) and all(s["saved"] for s in stops) and done == list(range(1, steps + 1))
    state = next(word for word in job.split() if word.startswith("JobState="))
    restarts = next(word for word in job.split() if word.startswith("Restarts="))
    print(
        f"{state} {restarts} after {time.monotonic() - began:.0f} s; stopped and saved at {[s['step'] for s in stops]}"
    )
    if not is_right or "COMPLETED" not in state:
        print(log[-4000:])
    return int(not is_right or "COMPLETED" not in state)


def slurm(*words: str) -> str:
    return subprocess.run([*INSIDE, *words], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
