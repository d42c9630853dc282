"""The checkpoints of a run and the models in them, for whoever asks one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.core.errors import CheckpointError
from headwater.evaluate.scorer import Forward
from headwater.machine.compute import fastest_, inspect_for_evaluation, set_up
from headwater.model.transformer import Transformer
from headwater.runfile.paths import Folders
from headwater.runfile.run_config import RunConfig, config_of_run
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import checkpoint_of
from headwater.train.checkpoint.load import load_state_
from headwater.train.checkpoint.verify import read_state


def step_shown(checkpoint: Path) -> str:
    """Return a checkpoint's step; of how many, and what that means, if training had not ended there."""
    state = read_state(checkpoint)
    step, num_steps = state["step"], state["identity"].get("train", {}).get("num_steps", 0)  # 0: of no training
    return f"{step}" if step >= num_steps else f"{step} of {num_steps}, before its learning rate had decayed to the end"


def load_model(run_dir: Path, step: int | None = None) -> tuple[Transformer, Tokenizer]:
    """Return the model of a run's checkpoint, in fp32 on the CPU, and its tokenizer; every byte is checked.

    The checkpoint is that of a step, or the newest.
    """
    model = Transformer(config_of_run(run_dir).model)
    with reading(run_dir, step) as path:
        load_state_(path, model.state_dict(), {})
    return model.eval(), Tokenizer.load(Folders(run_dir).tokenizer)


@contextmanager
def load_for_evaluation(config: RunConfig, step: int | None = None) -> Iterator[tuple[Transformer, Forward]]:
    """Yield the model of a run's checkpoint, the newest or that of a step, in fp32 on the run's device.

    With it comes its forward pass as run there.
    """
    facts = inspect_for_evaluation(config.machine, config.model.head_dim)
    model = Transformer(config.model, facts.compute_dtype)
    with reading(config.run_dir, step) as path:
        load_state_(path, model.state_dict(), {})
    model.eval().to(facts.device)
    fast = fastest_(model, facts)
    with set_up(facts):
        yield model, fast.hidden


@contextmanager
def reading(run_dir: Path, step: int | None = None) -> Iterator[Path]:
    """Yield the checkpoint of a step or the newest; a CheckpointError about this one says, as well, what to do."""
    path = checkpoint_of(run_dir, step)
    try:
        yield path
    except CheckpointError as error:
        if path != checkpoint_of(run_dir):
            raise
        raise CheckpointError(
            f"{error}; `headwater run` renames it and resumes from the checkpoint before it"
        ) from error
