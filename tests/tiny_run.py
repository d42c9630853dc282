"""A training run small enough for a test: made-up text that can be learned, one thread, nothing compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from made_models import small_settings

from headwater.core.records import Record
from headwater.machine.device.settings import MachineSettings
from headwater.machine.host.signals import StopRequest
from headwater.model.optim.schedule import ScheduleSettings
from headwater.model.optim.settings import OptimSettings
from headwater.tokens.batches.assemble import NO_TARGET, Batch
from headwater.tokens.batches.settings import MixtureSettings
from headwater.train.loop import train
from headwater.train.settings import TrainPlan, TrainSettings
from headwater.train.start import assemble, past_to_resume
from headwater.train.state import Run, RunState

VOCAB_SIZE, SEQ_LEN, ROWS_PER_STEP = 37, 24, 4


def numbers(seed: int, count: int) -> list[int]:
    """Return integers from a linear congruential generator: the same on every machine, for ever."""
    found, value = [], seed * 2654435761 + 12345
    for _ in range(count):
        value = (value * 6364136223846793005 + 1442695040888963407) % 2**64
        found.append(value >> 33)
    return found


def row(number: int) -> tuple[list[int], list[int]]:
    """Return (SEQ_LEN + 1 tokens, their documents); a token mostly follows from the one before it."""
    choices = numbers(number, SEQ_LEN + 1)
    tokens, documents = [choices[0] % VOCAB_SIZE], [0]
    for choice in choices[1:]:
        is_new_document = choice % 11 == 0
        is_surprise = choice % 7 == 0
        follows = (5 * tokens[-1] + 3) % VOCAB_SIZE
        tokens.append(choice // 100 % VOCAB_SIZE if is_new_document or is_surprise else follows)
        documents.append(documents[-1] + is_new_document)
    return tokens, documents


class MadeUpRows:
    """Stands for batches.source.BatchSource: rows as a pure function of their number."""

    def __init__(self, digest: str = "made up") -> None:
        self.digest = digest

    def stage_of(self, row: int) -> int:
        return 0

    def documents_of(self, row: int) -> list[tuple[str, str]]:
        return [("made up", str(row))]

    def rows(self, first_row: int, num_rows: int) -> Batch:
        rows = [row(number) for number in range(first_row, first_row + num_rows)]
        tokens, documents = (np.array(part, dtype=np.int32) for part in zip(*rows))
        same_document = documents[:, 1:] == documents[:, :-1]
        targets = np.where(same_document, tokens[:, 1:], NO_TARGET).astype(np.int64)
        return Batch(tokens[:, :-1], targets, documents[:, :-1], int(same_document.sum()), first_row)


def plan(
    *,
    family: str = "qwen3",
    rule: str = "muon",
    tied: bool = True,
    lr: float = 0.02,
    decay_fraction: float = 1 / 3,  # of 12 steps: the decay begins at step 8, which is saved anyway
    **train_settings: Any,
) -> TrainPlan:
    settings = {
        "num_steps": 12,
        "batch_tokens": ROWS_PER_STEP * SEQ_LEN,
        "microbatch_tokens": 2 * SEQ_LEN,
        "save_every": 4,
        "validate_every": 3,
        "num_probes": 3,
    }
    return TrainPlan(
        seed=5,
        mixture=MixtureSettings(),
        model=small_settings(family=family, vocab_size=VOCAB_SIZE, d_ff=48, seq_len=SEQ_LEN, tied_embeddings=tied),
        optim=OptimSettings(name=rule, matrix_lr=lr, embedding_lr=lr, head_lr=lr, vector_lr=lr, weight_decay=0.1),
        schedule=ScheduleSettings(warmup_steps=3, decay_fraction=decay_fraction),
        train=TrainSettings(**settings | train_settings),
        machine=MachineSettings(device="cpu", dtype="float32", compile="off", num_threads=1),
    )


@dataclass
class CountingEvaluator:
    """Measures nothing but the sum of all weights, so that a record shows which weights it was of."""

    calls: list[str] = field(default_factory=list)

    def validate(self, model: Any, forward: Any) -> dict[str, Any]:
        self.calls.append("validate")
        return {"weights": weight_sum(model)}

    def probe(self, model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        self.calls.append("probe")
        yield "probes", {"weights": weight_sum(model)}
        yield "samples", {"weights": weight_sum(model)}


def weight_sum(model: Any) -> float:
    return float(sum(parameter.detach().double().sum() for parameter in model.parameters()))


def assembled(
    run_dir: Path, the_plan: TrainPlan, batches: MadeUpRows, say: Callable[[str], None] = lambda line: None
) -> Run:
    """Assemble a run as its folder has it."""
    return assemble(run_dir, the_plan, batches, past_to_resume(run_dir, the_plan, batches, say), say)


def begin(run_dir: Path, the_plan: TrainPlan, batches: MadeUpRows | None = None) -> Run:
    """Assemble a run and write its first records, as the train stage does."""
    run = assembled(run_dir, the_plan, batches or MadeUpRows())
    rows = {"rows_consumed": run.start.rows_consumed}
    if run.start.step:
        run.records.append("resume", run.start.step, **rows)
    run.records.append("start", run.start.step, **rows)
    return run


def train_on(
    run: Run, display: Any = lambda record: None, stop: StopRequest | None = None, evaluator: Any = None
) -> RunState:
    """Train a run that has begun, to the end or until a stop; return the state reached."""
    try:
        return train(run, evaluator or CountingEvaluator(), display, stop or StopRequest())
    finally:
        run.records.close()


def train_here(run_dir: Path, the_plan: TrainPlan, stop_after: int | None = None, evaluator: Any = None) -> Run:
    """Train to the end, or until a stop is requested after `stop_after` steps."""
    run, stop = begin(run_dir, the_plan), StopRequest()

    def display(record: Record) -> None:
        if record["event"] == "step" and record["step"] == stop_after:
            stop.signal_name = "SIGTERM"

    end = train_on(run, display, stop, evaluator)
    assert end.step == (the_plan.train.num_steps if stop_after is None else stop_after)
    return run
