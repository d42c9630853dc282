"""What a machine with a GPU shows in half an hour: does headwater run there as on a processor, and how fast.

    make gpu                                    on the first GPU that torch finds
    python benchmarks/gpu/first_hour.py --peer nanoGPT=FOLDER --peer nanochat=FOLDER
    python benchmarks/gpu/first_hour.py --device cpu --toy    the program itself, without a GPU, in a minute or two

Each check runs in processes of its own under a limit of time. One that fails is named with its reason, and the next
one begins. OUT/result.json is written after each; OUT/table.md is what docs/log.md takes. The exit status is 1 if any
failed. A run's folders stay in OUT.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import training  # noqa: E402
from job import Shape  # noqa: E402
from tables import markdown  # noqa: E402

TESTS = HERE.parents[1] / "tests" / "gpu"
# rows are halved until they fit; the tokens of a step stay
SHAPES = {
    "124M": Shape(12, 12, 768, 1024, 50304, 32, 4),
    "350M": Shape(24, 16, 1024, 1024, 50304, 32, 4),
    "1.5B": Shape(48, 25, 1600, 1024, 50304, 16, 4),
}
TOY = {"toy": Shape(2, 2, 64, 64, 300, 4, 2)}
TRAINERS = {  # module of contenders, modes
    "headwater": ("headwater", ["bfloat16"]),
    "headwater, not deterministic": ("headwater", ["bfloat16-free"]),
    "headwater, float8": ("headwater", ["float8"]),
}
PEERS = {"nanogpt": ("nanogpt", ["bfloat16-compiled"]), "nanochat": ("nanochat", ["bfloat16-compiled"])}
LIMIT_SECONDS = {"machine": 120, "tests": 480, "training": 480, "speed": 300}


class CheckFailed(Exception):
    """A check came out badly or couldn't be made; the text says how."""


@dataclass
class Checks:
    """The checks so far, with what they found; a check that fails doesn't end the others."""

    out_dir: Path
    ends_at: float
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    def make(self, name: str, kind: str, check: Callable[[float], dict[str, Any]]) -> dict[str, Any]:
        """Make a check, which gets its seconds, and keep what it returns under `name`."""
        started_at, limit = time.monotonic(), min(LIMIT_SECONDS[kind], self.ends_at - time.monotonic())
        if limit < 1:
            return self.found.setdefault(name, {"status": "not made: the time was over"})
        print(f"{name} (at most {limit:.0f} s) …", file=sys.stderr, flush=True)
        try:
            found = {"status": "ok", **check(limit)}
        except Exception as error:  # of whatever kind: the others are to be made
            found = {"status": f"failed: {error or type(error).__name__}"}
        self.found[name] = found | {"seconds": round(time.monotonic() - started_at, 1)}
        print(f"  {found['status']}", file=sys.stderr, flush=True)
        self.write()
        return self.found[name]

    def write(self) -> None:
        text = json.dumps({"command": sys.argv, "checks": self.found}, indent=1)
        (self.out_dir / "result.json").write_text(text, encoding="utf-8")
        (self.out_dir / "table.md").write_text(markdown(self.found) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    out_dir = options.out.resolve()
    out_dir.mkdir(parents=True, exist_ok=True)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for all that is started
    checks = Checks(out_dir, time.monotonic() + 60 * options.minutes)
    machine = checks.make("machine", "machine", partial(machine_facts, options.device))
    checks.make("tests/gpu", "tests", tests)
    setup = training.Setup(out_dir / "runs", options.recipe, options.steps, options.device, run_program)
    for name, check in setup.checks().items():
        checks.make(name, "training", check)
    for size, shape in options.shapes.items():
        for trainer, (module, modes, folder) in options.trainers.items():
            command = [sys.executable, HERE / "trainer_speed.py", shape, module, ",".join(modes), folder or "", out_dir]
            command += [options.text] if options.text else []
            checks.make(f"{size}, {trainer}", "speed", partial(speed, command, machine))
    print(markdown(checks.found))
    return int(any(found["status"] != "ok" for found in checks.found.values()))


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER", help="nanoGPT or nanochat")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="results and runs (runs/gpu)")
    parser.add_argument("--minutes", type=float, default=30, help="no check begins later, and each ends by then (30)")
    parser.add_argument("--recipe", default="first-light", help="what is trained on both devices (first-light)")
    parser.add_argument("--steps", type=int, default=300, help="of that recipe (300)")
    parser.add_argument("--text", type=Path, help="for the speeds; default: the running Python's library sources")
    parser.add_argument("--toy", action="store_true", help="a toy model for the speeds, and the first trainer alone")
    options = parser.parse_args(arguments)
    options.shapes = TOY if options.toy else SHAPES
    trainers = dict(list(TRAINERS.items())[:1]) if options.toy else TRAINERS
    options.trainers = {name: (module, modes, None) for name, (module, modes) in trainers.items()}
    for peer in options.peer:
        name, _, folder = peer.partition("=")
        if name.lower() not in PEERS or not Path(folder).is_dir():
            parser.error(f"--peer {peer}: a peer is nanoGPT=FOLDER or nanochat=FOLDER, with a folder that is there")
        module, modes = PEERS[name.lower()]
        options.trainers[name] = module, modes, str(Path(folder).resolve())
    return options


def run_program(command: Sequence[object], limit: float, **environment: str) -> str:
    """Return a program's standard output; raise CheckFailed, with its last lines, where it fails or takes too long.

    It ends with all processes that it started.
    """
    process = subprocess.Popen(
        [str(each) for each in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise CheckFailed(f"not done after {limit:.0f} s") from None
    if process.returncode:
        raise CheckFailed(f"exit status {process.returncode}: {' | '.join((err or out).strip().splitlines()[-6:])}")
    return out


def machine_facts(device: str, limit: float) -> dict[str, Any]:
    """Return what computes here, and its measured peaks; the data sheet's, too, where the table of GPUs has it."""
    facts = json.loads(run_program([sys.executable, HERE / "peaks.py"], limit).splitlines()[-1])
    if facts["device"] != device:
        raise CheckFailed(f"torch {facts['torch']} finds no GPU (torch.cuda.is_available() is False)")
    return {"python": platform.python_version(), "system": platform.platform(), **facts}


def tests(limit: float) -> dict[str, Any]:
    """Run the tests that need a GPU; without one each says that it is skipped."""
    command = [sys.executable, "-m", "pytest", "-rfE", "--tb=line", "-p", "no:xdist", TESTS]
    lines = run_program(["sh", "-c", '"$@"; test $? -le 1', "sh", *command], limit).strip().splitlines()
    result, failed = lines[-1], [line[:300] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if failed or not any(word in result for word in (" passed", " skipped")):
        raise CheckFailed("; ".join([result, *failed]))
    return {"result": result}


def speed(command: Sequence[object], machine: dict[str, Any], limit: float) -> dict[str, Any]:
    """Return what trainer_speed.py measures, with the fractions of the data sheet's peak and of the measured one."""
    found: dict[str, Any] = json.loads(run_program(command, limit).splitlines()[-1])
    if found["status"] != "ok":
        raise CheckFailed(found["status"].removeprefix("failed: "))
    peaks = {"sheet": machine.get("sheet_flops"), "measured": machine.get("peak_flops", {}).get("bfloat16")}
    return found | {f"mfu_{name}": found["model_flops_per_second"] / peak for name, peak in peaks.items() if peak}


if __name__ == "__main__":
    sys.exit(main())
