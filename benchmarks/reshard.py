"""Whether a state saved by ranks in one layout is loaded bit by bit in every other, and training resumes from it.

Every layout trains a few steps with exact sums and saves; every layout loads what each has saved, saves it again and
trains on. All digests and all losses must be the same, whoever wrote and whoever reads.

    python benchmarks/reshard.py --layouts 1 fsdp2 hsdp2x2
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from headwater.checkpoint.layout import checkpoint_dir
from headwater.checkpoint.load import load_state_
from headwater.checkpoint.save import Saver
from headwater.checkpoint.verify import checked_manifest
from headwater.ranks.exchange import Ranks
from parity import LAYOUTS, Case, Training, joined, lines_of_layout

CASE = Case("muon", exact=True, tied=False, block_rows=16)
SAVED_STEP, LAST_STEP = 3, 8


def save(training: Training, ranks: Ranks, folder: Path) -> str:
    """Write a checkpoint; return the digest of the state in it, on the first rank."""
    saver = Saver(folder, ranks)
    saver.begin(SAVED_STEP, training.model.state_dict(), training.optimizer.state_tensors(), {})
    saver.finish()
    saver.close()
    ranks.wait()
    return str(checked_manifest(checkpoint_dir(folder, SAVED_STEP))["state_digest"]) if ranks.is_first else ""


def as_rank(layout: str, folder: Path, sources: list[str]) -> None:
    """Save a state of one's own where no sources are named; else load each source's, save it and train on."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with joined(layout) as ranks:
        for source in sources or [layout]:
            training = Training(CASE, ranks)
            if sources:
                path = checkpoint_dir(folder / source, SAVED_STEP)
                load_state_(path, training.model.state_dict(), training.optimizer.state_tensors())
            else:
                training.take_steps(0, SAVED_STEP)
            digest = save(training, ranks, folder / (f"{source}-{layout}" if sources else layout))
            losses = [result.loss.hex() for result in training.take_steps(SAVED_STEP, LAST_STEP)]
            if ranks.is_first:
                print(json.dumps([source, digest, losses]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--as-rank", choices=LAYOUTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sources", nargs="*", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        as_rank(options.as_rank, options.folder, options.sources)
        return
    began, program, found = time.perf_counter(), Path(__file__), list[tuple[str, str, bool]]()
    with tempfile.TemporaryDirectory(prefix="headwater-reshard-") as folder:
        own = [line for layout in options.layouts for line in lines_of_layout(layout, program, "--folder", folder)]
        _, digest, losses = own[0]
        print(f"saved by {len(own)} layouts: {sum(line[1:] == own[0][1:] for line in own)} alike")
        for layout in options.layouts:
            for source, *same in lines_of_layout(layout, program, "--folder", folder, "--sources", *options.layouts):
                found.append((source, layout, same == [digest, losses]))
    for source, layout, is_same in found:
        if not is_same:
            print(f"{source} to {layout}: not the same")
    print(f"{sum(is_same for *_, is_same in found)} of {len(found)} pairs alike, {time.perf_counter() - began:.0f} s")
    sys.exit(not all(is_same for *_, is_same in found) or any(line[1:] != own[0][1:] for line in own))


if __name__ == "__main__":
    main()
