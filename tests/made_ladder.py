"""What a finished ladder leaves, made without training."""

from __future__ import annotations

from pathlib import Path

from headwater.plan.rungs import Design, DoneRung, Rung
from headwater.runfile.paths import Folders, write_kept
from headwater.runfile.run_config import RunConfig, made_for


def law(size: float, tokens: float) -> float:
    return 1.5 + 40 * size**-0.35 + 30 * tokens**-0.3


def leave_ladder(config: RunConfig) -> Path:
    """Leave the folder of a ladder of the run, of nine rungs that follow the law, and return it."""
    folder, done = Folders(config.run_dir).ladder, []
    for heads in (1, 2, 3):
        shape = {"num_layers": 2, "d_model": 16 * heads, "num_heads": heads, "num_kv_heads": heads, "head_dim": 16}
        model = config.model.model_copy(update=shape | {"d_ff": 64 * heads})
        for steps, tokens in ((60, 3e4), (120, 1e5), (240, 3e5)):
            rung = Rung(model, steps, tokens, flops=0.0, seconds=1.0)
            loss = law(rung.size, tokens)
            done.append(DoneRung(rung, {"all": loss, "mine": loss}, 1.0))
            (folder / rung.name).mkdir(parents=True)
            write_kept(folder / rung.name / "rung.json", done[-1])
    write_kept(folder / "ladder.json", Design(made_for(config), None, [each.rung for each in done]))
    return folder
