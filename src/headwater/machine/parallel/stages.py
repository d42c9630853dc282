"""A model cut into stages of consecutive blocks, whose parameters keep the names that they have in the whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torch import nn

from headwater.machine.parallel.boxes import blocks_of, num_recomputed
from headwater.model.transformer import Blocks, Transformer


def stages_of(build: Callable[[], Transformer], numbers: Sequence[int], num_stages: int) -> list[Transformer]:
    """Return the stages of these numbers: each is what `build` makes, on the meta device, less what the others have.

    They share their buffers, which a rank fills once.
    """
    stages = [build() for _ in numbers]
    for stage, number in zip(stages, numbers, strict=True):
        _keep_stage_(stage, number, num_stages)
        stage._buffers = stages[0]._buffers
    return stages


def _keep_stage_(model: Transformer, number: int, num_stages: int) -> None:
    here = blocks_of(number, num_stages, model.settings.num_layers)
    for name in [name for name in model.blocks._modules if int(name) not in here]:  # those that stay keep their names
        del model.blocks._modules[name]
    if isinstance(recomputed := model.blocks.recompute, int):
        model.blocks.recompute = num_recomputed(here, recomputed, model.settings.num_layers)
    if number > 0:
        model.embed = nn.Identity()  # type: ignore[assignment]
        model._modules.pop("positions", None)
    if number < num_stages - 1:
        model.final_norm = nn.Identity()
        del model.head


def hand_on_(root: Transformer) -> None:
    """Have a stage that isn't the last one return its hidden states, for the next one, in place of a loss."""
    hidden = root.hidden
    root.forward = lambda x, documents_BT, targets_BT: hidden(x, documents_BT)  # type: ignore[method-assign, assignment]


def joined(stages: Sequence[Transformer]) -> Transformer:
    """Return a model of all parameters of a rank's stages, for all that goes by their names: nobody calls it."""
    if len(stages) == 1:
        return stages[0]
    root = copy.copy(stages[0])
    root._modules = stages[-1]._modules | {name: stages[0]._modules[name] for name in stages[0]._modules}
    root.final_norm = stages[-1].final_norm
    blocks: Blocks = copy.copy(stages[0].blocks)
    blocks._modules = {name: block for stage in stages for name, block in stage.blocks._modules.items()}
    root.blocks = blocks
    return root
