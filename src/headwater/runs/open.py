"""What a run's folder holds, opened: its evaluator, its model. Its rows to train on: runs.rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from headwater.batches.pack import PackedSource
from headwater.checkpoint.load import read_model_weights
from headwater.errors import CheckpointError
from headwater.evaluate.bits_per_byte import Forward
from headwater.evaluate.evaluator import RunEvaluator
from headwater.machine.machine import Machine, inspect_for_evaluation
from headwater.model.transformer import Transformer
from headwater.runs.paths import Folders
from headwater.runs.rows import open_held_out
from headwater.runs.run_config import RunConfig, config_of_run
from headwater.runs.stages import final_checkpoint
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.train.assemble import model_ops


def open_evaluator(config: RunConfig, held_out: dict[str, PackedSource] | None = None) -> RunEvaluator:
    """Return what measures a model of this run on the validation split: `held_out`, where that is open already."""
    tokenizer = Tokenizer.load(Folders(config.run_dir).tokenizer)
    return RunEvaluator(
        tokenizer=tokenizer,
        held_out=open_held_out(config) if held_out is None else held_out,
        token_bytes=tokenizer.bytes_per_token_table(),
        num_rows=config.train.validation_sequences,
        prompts=config.train.prompts,
        synthetic=synthetic_sources(config),
    )


def synthetic_sources(config: RunConfig) -> frozenset[str]:
    """Return the names of the sources that a program composed: what they hold is not real text."""
    return frozenset(name for name, source in config.corpus.sources.items() if source.builtin == "almanac")


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with its tokenizer."""

    config: RunConfig
    model: Transformer
    tokenizer: Tokenizer


def load_model(run_dir: Path) -> LoadedModel:
    """Return the model of a run's newest checkpoint, in fp32 on the CPU; every byte of it is checked."""
    config = config_of_run(run_dir)
    model = Transformer(config.model)
    model.load_state_dict(final_weights(run_dir))
    return LoadedModel(config, model.eval(), Tokenizer.load(Folders(run_dir).tokenizer))


@contextmanager
def load_for_evaluation(config: RunConfig) -> Iterator[tuple[Transformer, Forward]]:
    """Yield the model of a run's newest checkpoint, in fp32 on the run's device, and its forward pass as run there."""
    machine = Machine(inspect_for_evaluation(config.machine, config.model.head_dim))
    model = Transformer(config.model, machine.compute_dtype, model_ops(machine))
    model.load_state_dict(final_weights(config.run_dir))
    model.eval().to(machine.device)
    with machine.at_work():
        yield model, machine.forward(model)


def final_weights(run_dir: Path) -> dict[str, Tensor]:
    """Return the weights of the newest checkpoint; raise CheckpointError, with what to do, when it is damaged."""
    path = final_checkpoint(run_dir)
    try:
        return read_model_weights(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; `headwater run` renames it and resumes from the checkpoint before it"
        ) from error
