"""A run that goes from 1 to 2 to 4 ranks and back to 1: is it, bit by bit, the run of one rank?

    python benchmarks/reliability/elastic.py [--steps 48] [--json FILE] [--markdown FILE]

The settings and the real text of first-light in bfloat16, with `train.exact`. After a quarter, a half and three
quarters of the steps a signal to one rank stops all of them, and the next number of ranks resumes the run. After each
load the state of all ranks is put together and its digest compared with that of the checkpoint. A second run stays on
one rank; losses, norms and final states of both are compared. A third, without `exact`, shows how far losses are apart
then. Exit status 1 where bits differ that shouldn't.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import figures
from headwater.core.records import read_records
from headwater.train.checkpoint.layout import checkpoint_dir, list_checkpoints
from headwater.train.checkpoint.verify import checked_manifest

RANKS = (1, 2, 4, 1)
SETTINGS = (
    "train.microbatch_tokens=1024",
    "machine.dtype=bfloat16",
    "train.save_every=100000",
    "train.num_probes=0",
    "train.validate_every=100000",
)
DIGEST = "--digest-of"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--steps", type=int, default=48, help="of the whole run (48)")
    parser.add_argument(DIGEST, nargs=2, metavar=("RUN", "OUT"), help="used by the program itself, on each rank")
    chosen = parser.parse_args(arguments)
    if chosen.digest_of:
        print_digest(*map(Path, chosen.digest_of))
        return 0
    with figures.work_folder(chosen.work) as folder:
        common = [*SETTINGS, f"train.num_steps={chosen.steps}"]
        finish(start(1, ["train", "first-light", "name=alone", "train.exact=true", *common], folder))
        share_data(folder, "alone", "elastic", "fast")
        command = ["train", "first-light", "name=elastic", "train.exact=true", *common]
        legs = [leg(number, RANKS[number - 1], chosen.steps, command, folder) for number in range(1, len(RANKS) + 1)]
        finish(start(2, ["train", "first-light", "name=fast", *common], folder))
        found = figures.facts() | {"what": "ranks", "steps": chosen.steps, "legs": legs}
        found |= compare(folder, chosen.steps)
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    all_loads = all(one["loaded"] == one["saved"] for one in legs[1:])
    return int(not (all_loads and found["equal_steps"] == chosen.steps and found["equal_state"]))


def share_data(folder: Path, source: str, *names: str) -> None:
    """Let other runs use the text that one has prepared."""
    for name in names:
        target = folder / "runs" / name
        target.mkdir(parents=True)
        shutil.copytree(folder / "runs" / source / "data", target / "data")


def leg(number: int, num_ranks: int, num_steps: int, arguments: list[str], folder: Path) -> dict[str, Any]:
    """Resume with some ranks to the next quarter; return what was loaded and what was saved."""
    run_dir, until = folder / "runs" / "elastic", number * num_steps // len(RANKS)
    found: dict[str, Any] = {"ranks": num_ranks}
    checkpoints = list_checkpoints(run_dir)
    if checkpoints:
        found["saved"] = checked_manifest(checkpoints[0][1])["state_digest"]
        program = [sys.executable, __file__, DIGEST, str(run_dir), str(folder / f"loaded-{number}")]
        found["loaded"] = finish(start_each([program] * num_ranks, folder))[0].strip()
    processes = start(num_ranks, arguments, folder)
    if until < num_steps:
        while last_step(run_dir) < until:
            if any(process.poll() is not None for process in processes):
                break  # which `finish` says
            time.sleep(0.01)
        processes[-1].send_signal(signal.SIGTERM)
    finish(processes)
    return found | {"to_step": list_checkpoints(run_dir)[0][0]}


def last_step(run_dir: Path) -> int:
    return max((record["step"] for record in read_records(run_dir / "records.jsonl")), default=0)


def start(num_ranks: int, arguments: list[str], folder: Path) -> list[subprocess.Popen[str]]:
    return start_each([[sys.executable, "-m", "headwater", *arguments]] * num_ranks, folder)


def start_each(commands: list[list[str]], folder: Path) -> list[subprocess.Popen[str]]:
    """Start a process a rank, as torchrun does, over loopback alone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    count = str(len(commands))
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return [
        subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | shared | {"GLOO_SOCKET_IFNAME": "lo", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            **pipes,
        )
        for rank, command in enumerate(commands)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Return what each process printed; exit with its errors where one failed."""
    said = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        if process.returncode not in (0, 75):
            sys.exit(f"{process.args!r} ended with {process.returncode}:\n{errors[-2000:]}")
    return [out for out, _ in said]


def print_digest(run_dir: Path, out_dir: Path) -> None:
    """Load the run's checkpoint on all ranks, save what they have and, on the first, print the digest of that."""
    from headwater.machine.ranks.mesh import place_of
    from headwater.machine.ranks.rendezvous import join_ranks
    from headwater.runfile.run_config import config_of_run, train_plan
    from headwater.runs.stages import open_batches
    from headwater.train.checkpoint.save import Saver
    from headwater.train.start import assemble, past_to_resume

    config = config_of_run(run_dir)
    ranks = join_ranks(place_of(os.environ), device=config.machine.device)
    plan, batches = train_plan(config), open_batches(config)
    past = past_to_resume(run_dir, plan, batches, lambda line: None, ranks=ranks)
    run = assemble(run_dir, plan, batches, past, lambda line: None, ranks=ranks)
    run.records.close()
    saver = Saver(out_dir, ranks)
    saver.begin(run.start.step, run.prepared.model.state_dict(), run.optimizer.state_tensors(), {})
    saver.finish()
    ranks.wait()
    saver.close()
    if ranks.is_first:
        print(checked_manifest(checkpoint_dir(out_dir, run.start.step))["state_digest"])
    ranks.leave()


def compare(folder: Path, num_steps: int) -> dict[str, Any]:
    """Return how many steps of the two exact runs have the same bits, and how far the third one is from them."""
    runs = {name: folder / "runs" / name for name in ("alone", "elastic", "fast")}
    steps = {name: read_records(run / "records.jsonl", "step") for name, run in runs.items()}
    pairs = list(zip(steps["alone"], steps["elastic"], strict=True))
    digests = {checked_manifest(checkpoint_dir(runs[name], num_steps))["state_digest"] for name in ("alone", "elastic")}
    apart = [abs(a["loss"] - b["loss"]) for a, b in zip(steps["alone"], steps["fast"], strict=True)]
    return {
        "equal_steps": sum(_bits(one) == _bits(other) for one, other in pairs),
        "equal_state": len(digests) == 1,
        "largest_difference_without": max(apart),
    }


def _bits(record: dict[str, Any]) -> list[str]:
    return [float(record[name]).hex() for name in ("loss", "grad_norm")]


def section(found: dict[str, Any]) -> str:
    rows = [[one["ranks"], one["to_step"], _loaded(one)] for one in found["legs"]]
    table = figures.markdown_table(["ranks", "to step", "digest of the state after loading"], rows)
    ended = "equal" if found["equal_state"] else "DIFFERENT"
    exact = (
        f"With `train.exact`: {found['equal_steps']} of {found['steps']} steps have the loss and the gradient norm of "
        f"the run on one rank to the last bit, final state {ended}."
    )
    apart = f"{found['largest_difference_without']:.1e}"
    fast = f"Without, on 2 ranks (G3): the same rows, losses {apart} apart at most."
    return "\n\n".join(["## Other numbers of ranks", figures.made(found), table, f"{exact} {fast}"])


def _loaded(leg: dict[str, Any]) -> str:
    if "loaded" not in leg:
        return "started here"
    return "equal" if leg["loaded"] == leg["saved"] else "DIFFERENT"


if __name__ == "__main__":
    sys.exit(main())
