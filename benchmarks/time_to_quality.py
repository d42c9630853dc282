"""How soon headwater reaches the bits per byte that other trainers end with, on the same text and machine.

    python benchmarks/time_to_quality.py --json --train FILE --held-out FILE [--minutes M] [--seeds N]
        [--peer nanoGPT=FOLDER] [--peer nanochat=FOLDER] [--shape L,H,D,T,V,B] [--recipe FILE] [--set a.b=c …]

Baselines: GPT-2's shape trained with AdamW at the best of several learning rates (nanoGPT's model with --peer nanoGPT,
else transformers'), and with --peer nanochat that project's own model and optimizer at equal matrix parameters, its
best scale of learning rates. Each takes M minutes; headwater takes fractions of that, and the time at which its
curve crosses a baseline's end is interpolated. All run on the processor. Wall time counts from building the model to
the end of the last step, compilation included; caches of compiled code are empty at the start of every run. Loading
programs, encoding text and judging don't count for any contender. Progress goes to standard error; --json adds one
JSON line at the end.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from headwater.errors import ConfigError, HeadwaterError
from quality.campaign import Campaign, Side
from quality.headwater import matrix_parameters, recipe_settings, resolve
from quality.job import Job, Shape
from quality.table import as_json, as_text
from quality.texts import Texts, prepare_texts
from quality.workers import Workers, code_digest

NANOGPT_LIMIT, NANOCHAT_LIMIT = 1 / 4, 1 / 1.5
NANOGPT_FRACTIONS = [1 / 8, 1 / 6, 1 / 5, 1 / 4]
NANOCHAT_FRACTIONS = [2 / 5, 1 / 2, 2 / 3, 5 / 6]
PEER_FILES = {"nanogpt": "model.py", "nanochat": "nanochat/gpt.py"}
DTYPES = ["float32", "bfloat16"]


def numbers(text: str) -> list[float]:
    found = [float(part) for part in text.split(",")]
    if min(found) <= 0:
        raise ValueError
    return found


def parse_arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="text to train on")
    parser.add_argument("--held-out", type=Path, required=True, metavar="FILE", help="text to judge on")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--minutes", type=float, default=5.0, help="wall time of a baseline's run (5)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each contender (3)")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER", help="nanoGPT or nanochat")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,…", help="these baselines alone")
    parser.add_argument("--shape", default="4,4,192,256,8192,16", metavar="L,H,D,T,V,B")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="headwater's settings, as in a run file")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one more of headwater's settings")
    parser.add_argument("--lrs", type=numbers, default=[1e-3, 2e-3, 4e-3], help="AdamW's learning rates to try")
    parser.add_argument("--scales", type=numbers, default=[0.5, 1, 2], help="scales of nanochat's rates to try")
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="the baselines' dtypes to choose from")
    parser.add_argument("--fractions", type=numbers, help="headwater's planned times, as fractions of --minutes")
    parser.add_argument("--extensions", type=int, default=2, help="longer or shorter runs added when needed (2)")
    parser.add_argument("--compile", choices=["on", "off"], default="on", help="off: nobody compiles")
    parser.add_argument("--allow-overlap", action="store_true", help="continue when held-out text was trained on")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep texts and results here, and use what it has")
    return parser.parse_args(given)


def find_peers(given: list[str]) -> dict[str, str]:
    """Return {name in lower case: folder}; raise ConfigError for an unknown peer or a folder that isn't it."""
    peers = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or name.lower() not in PEER_FILES:
            raise ConfigError(f"--peer {text!r}: give nanoGPT=FOLDER or nanochat=FOLDER")
        needed = Path(folder) / PEER_FILES[name.lower()]
        if not needed.is_file():
            raise ConfigError(f"--peer {text}: there is no {needed}; give the folder of a copy of that repository")
        peers[name.lower()] = str(Path(folder).resolve())
    if "nanogpt" not in peers and importlib.util.find_spec("transformers") is None:
        raise ConfigError("the baseline needs transformers (pip install headwater[hf]) or --peer nanoGPT=FOLDER")
    return peers


def sides(arguments: argparse.Namespace, texts: Texts, shape: Shape, peers: dict[str, str]) -> tuple[Side, list[Side]]:
    """Return headwater's side and the baselines'."""
    compiled = arguments.compile == "on"
    settings = recipe_settings(arguments.recipe) if arguments.recipe else []
    settings += [] if compiled else ["machine.compile=off"]
    settings += arguments.set
    resolve(shape, 1, 1000, tuple(settings))  # what is wrong with them shows now, not after the baselines

    def job(contender: str, folder: str | None, own_settings: list[str]) -> Job:
        return Job(
            contender, folder, str(texts.folder), shape, seed=1, lr=1.0, dtype="auto", num_steps=1, max_seconds=0.0,
            compiled=compiled, settings=tuple(own_settings), code=code_digest(contender),
        )  # fmt: skip

    dtypes = arguments.dtypes.split(",")
    if unknown := set(dtypes) - set(DTYPES):
        raise ConfigError(f"--dtypes: {', '.join(sorted(unknown))} is not one of {', '.join(DTYPES)}")
    name = "nanoGPT" if "nanogpt" in peers else "gpt2-adamw"
    gpt2 = Side(name, job("gpt2-adamw", peers.get("nanogpt"), []), dtypes, arguments.lrs, NANOGPT_LIMIT)
    baselines = [gpt2]
    if "nanochat" in peers:
        size = [f"matrix_parameters={matrix_parameters(shape, tuple(settings))}"]
        chat = Side("nanochat", job("nanochat", peers["nanochat"], size), dtypes, arguments.scales, NANOCHAT_LIMIT)
        baselines.append(chat)
    if unknown := set(arguments.only or []) - {side.name for side in baselines}:
        names = ", ".join(side.name for side in baselines)
        raise ConfigError(f"--only: no baseline {', '.join(sorted(unknown))} with these --peer; there are {names}")
    chosen = [side for side in baselines if arguments.only is None or side.name in arguments.only]
    return Side("headwater", job("headwater", None, settings), ["auto"]), chosen


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    if not 0 < arguments.minutes < float("inf") or arguments.seeds < 1:
        raise ConfigError(f"--minutes {arguments.minutes:g} and --seeds {arguments.seeds} must be above 0")
    shape, peers = Shape.parse(arguments.shape), find_peers(arguments.peer)
    texts = prepare_texts(arguments.train, arguments.held_out, shape, work, arguments.allow_overlap, say)
    facts = texts.facts
    say(
        f"training text: {facts['train_tokens']:,} tokens; held-out text: {facts['held_out_bytes']:,} bytes, of which "
        f"{facts['overlap']:.1%} in lines that the training text has, too"
    )
    ours, baselines = sides(arguments, texts, shape, peers)
    near = (NANOCHAT_FRACTIONS if side.name == "nanochat" else NANOGPT_FRACTIONS for side in baselines)
    fractions = arguments.fractions or [fraction for own in near for fraction in own]
    campaign = Campaign(Workers(work, say), ours, baselines, arguments.minutes, say)
    campaign.run(arguments.seeds, sorted(fractions), arguments.extensions)
    print(as_text(campaign))
    return {
        "benchmark": "time_to_quality",
        "shape": vars(shape),
        "minutes": arguments.minutes,
        "seeds": arguments.seeds,
        "settings": list(ours.job.settings),
        "texts": {"train": str(arguments.train), "held_out": str(arguments.held_out), **facts},
        "machine": {"cores": len(os.sched_getaffinity(0)), "torch": importlib.metadata.version("torch")},
        "compiled": arguments.compile == "on",
        **as_json(campaign),
    }


def main(given: list[str] | None = None) -> int:
    arguments = parse_arguments(given)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(arguments, (arguments.work or Path(folder)).resolve())
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    if arguments.json:
        print(json.dumps(found, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
