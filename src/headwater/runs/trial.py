"""The run's own loop on tokens without meaning, in a folder that is removed: for measuring its steps. Needs torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.batches.mixture import make_plan
from headwater.batches.pack import pack_source
from headwater.batches.settings import MixtureSettings
from headwater.batches.source import BatchSource
from headwater.machine.signals import StopRequest
from headwater.records import Record
from headwater.runs.paths import Say
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import train_plan
from headwater.tokens.read import TokenStore
from headwater.tokens.write import EncodedDocument, write_store
from headwater.train.assemble import Run, assemble
from headwater.train.identity import TrainPlan
from headwater.train.loop import train

NEVER = 10_000_000  # steps: no save, validation or probe falls into the measurement
FIRST_ID = 32  # after the special tokens
NUM_DOCUMENTS, DOCUMENT_ROWS = 8, 64


class Enough(Exception):
    """Ends the loop, raised by what is shown its records."""


class _NoEvaluator:
    def validate(self, model: Any, forward: Any) -> dict[str, Any]:
        return {}

    def probe(self, model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from ()


def assemble_trial(config: RunConfig, folder: Path, batch_tokens: int, microbatch_tokens: int, say: Say) -> Run:
    """Return the run as training would assemble it, in `folder`, with batches of whole rows of random ids."""
    plan = _plan(config, batch_tokens, microbatch_tokens)
    return assemble(folder, plan, _rows(config, folder, batch_tokens), say)


def train_trial(run: Run, display: Callable[[Record], None]) -> None:
    """Train on until `display` raises Enough."""
    with contextlib.suppress(Enough):
        train(run, _NoEvaluator(), display, StopRequest())


def unsaid(message: object) -> None:
    """Say nothing of it: what an assembly says, or a record."""


def _plan(config: RunConfig, batch_tokens: int, micro: int) -> TrainPlan:
    changes: dict[str, Any] = {"num_steps": NEVER, "save_every": NEVER, "validate_every": NEVER, "num_probes": 0}
    changes |= {"half_length_fraction": 0.0, "batch_tokens": batch_tokens, "microbatch_tokens": micro}
    changes |= {"guard_sigmas": None, "audit_every": None, "hang_seconds": None}
    return replace(train_plan(config), mixture=MixtureSettings(), train=config.train.model_copy(update=changes))


def _rows(config: RunConfig, folder: Path, batch_tokens: int) -> BatchSource:
    """Return rows of random ids, in documents longer than a row."""
    seq_len, vocab_size = config.model.seq_len, config.model.vocab_size
    generator = np.random.default_rng(1)

    def document(number: int) -> EncodedDocument:
        # begin and end are added: one token less than positions, and the last one is only a target
        ids = generator.integers(min(FIRST_ID, vocab_size - 1), vocab_size, DOCUMENT_ROWS * seq_len - 1)
        return EncodedDocument(ids, 4 * len(ids), str(number))

    write_store(folder / "text", map(document, range(NUM_DOCUMENTS)), vocab_size, "random tokens")
    source = pack_source(TokenStore(folder / "text"), seq_len)
    num_rows = NEVER * (batch_tokens // seq_len)
    return BatchSource({"text": source}, make_plan({"text": source.num_rows}, MixtureSettings(), num_rows), seq_len, 1)
