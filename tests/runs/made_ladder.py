"""What a finished ladder leaves, made without training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from headwater.runs.ladder_record import (
    Design,
    DoneRung,
    LadderOptions,
    Rung,
    make_of,
    model_of,
    size_of,
    write_table,
)
from headwater.runs.paths import Folders
from headwater.runs.run_config import RunConfig


def law(size: float, tokens: float) -> float:
    return 1.5 + 40 * size**-0.35 + 30 * tokens**-0.3


def leave_ladder(config: RunConfig) -> Path:
    """Leave the folder of a ladder of the run, of nine rungs that follow the law, and return its table."""
    folder, make, done = Folders(config.run_dir).ladder, make_of(config), []
    for heads, params in ((1, 1e4), (2, 3e4), (3, 6e4)):
        shape = {"num_layers": 2, "d_model": 16 * heads, "num_heads": heads, "num_kv_heads": heads, "head_dim": 16}
        for steps, tokens in ((60, 3e4), (120, 1e5), (240, 3e5)):
            sizes = {"params": params, "tokens": tokens, "flops": 6 * params * tokens}
            rung = Rung(**shape, d_ff=64 * heads, num_steps=steps, **sizes, seconds=1.0)
            loss = law(size_of(model_of(rung, config.model)), tokens)
            done.append(DoneRung(rung, {"all": loss, "mine": loss}, 0.01, 1.0))
            (folder / rung.name).mkdir(parents=True)
            (folder / rung.name / "rung.json").write_text(json.dumps(asdict(done[-1])))
    (folder / "ladder.json").write_text(json.dumps(asdict(Design(make, LadderOptions(), [each.rung for each in done]))))
    write_table(folder / "runs.csv", done, 1, 1.0)
    return folder / "runs.csv"
