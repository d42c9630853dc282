"""What a model to start from knows of its own run and text; how far a new text is from that, in bits per byte."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from headwater.core.config import Table
from headwater.core.manifests import is_unmade
from headwater.core.numbers import duration
from headwater.evaluate.bits_per_byte import Surprise, measure_surprise
from headwater.evaluate.scorer import BATCH_TOKENS, Scorer, padded_rows
from headwater.export.base.facts import BaseFacts
from headwater.export.base.weights import model_of
from headwater.machine.compute import fastest_, inspect_for_evaluation, set_up
from headwater.machine.device.settings import MachineSettings
from headwater.model.loss import NO_TARGET
from headwater.runfile.paths import Folders, Say
from headwater.runfile.run_config import RunConfig, config_of_run
from headwater.tokens.batches.assemble import Batch
from headwater.tokens.read import TokenStore, open_stores_without_verifying
from headwater.tokens.tokenizer.tokenizer import Tokenizer

NUM_TOKENS, MAX_TOKENS = 16_384, 256  # of each text, and of one sequence
MIN_SAID_SECONDS = 5.0  # of a wait that is said
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Shift:
    """Bits per byte of a model on new text and on the held-out text of its own run, which public models don't have."""

    new: float
    old: float | None

    @property
    def ratio(self) -> float | None:
        return None if self.old is None else self.new / self.old


def run_of(base: BaseFacts) -> Path | None:
    """Return the folder of the run that a base is of, where its text lies there still."""
    if base.kind != "checkpoint":
        return None
    run = base.weights.resolve().parents[1]
    return None if is_unmade(Folders(run).tokens) else Path(base.path if Path(base.path).resolve() == run else run)


def config_of_base(base: BaseFacts) -> RunConfig | None:
    """Return the settings of the run that a base is a checkpoint of; None of other people's models.

    Raises ConfigError where that run's folder doesn't have them any more.
    """
    return config_of_run(base.weights.resolve().parents[1]) if base.kind == "checkpoint" else None


def corpus_like(run: RunConfig | None) -> Table:
    """Return what a run has set in [corpus] beside its sources: all of it is for new text, too."""
    return {} if run is None else run.corpus.model_dump(mode="json", exclude={"sources"}, exclude_defaults=True)


def measure_shift(base: BaseFacts, tokenizer: Tokenizer, new: Sequence[str], say: Say) -> Shift:
    """Return bits per byte on parts of the new text, in their order, and on held-out documents of the base's run.

    `say` gets the time that is left once a first batch was timed, where that is long.
    """
    run, token_bytes = run_of(base), tokenizer.bytes_per_token_table()
    texts: dict[str, Iterator[list[int]]] = {"new": ([tokenizer.begin_id, *tokenizer.encode(part)] for part in new)}
    if run is not None:
        texts["old"] = _rows_of_stores(open_stores_without_verifying(Folders(run).tokens, "validation"))
    facts = inspect_for_evaluation(MachineSettings(), base.model.head_dim)
    model = model_of(base).to(facts.device)
    scorer = Scorer(model, forward=fastest_(model, facts).hidden)
    batches = [(name, batch) for name, rows in texts.items() for batch in batches_of(scorer, rows, token_bytes)]
    found = dict.fromkeys(texts, Surprise())
    with set_up(facts):  # as many threads as there are cores, which sleep while they wait under load
        started_at = time.perf_counter()
        for number, (name, batch) in enumerate(batches, 1):
            found[name] += measure_surprise(scorer, [batch], token_bytes)
            left = (len(batches) - 1) * (time.perf_counter() - started_at)
            if number == 1 and left > MIN_SAID_SECONDS:
                say(f"that takes about {duration(left)} more")
    return Shift(found["new"].bits_per_byte, found["old"].bits_per_byte if "old" in found else None)


def _rows_of_stores(stores: dict[str, TokenStore]) -> Iterator[list[int]]:
    """Yield the beginnings of held-out documents, of each source in turn."""
    for number in range(max(store.num_documents for store in stores.values())):
        for store in (store for store in stores.values() if number < store.num_documents):
            start, end = store.starts[number], store.starts[number + 1]
            yield store.slice(start, min(end, start + MAX_TOKENS)).tolist()


def batches_of(scorer: Scorer, rows: Iterable[list[int]], token_bytes: np.ndarray) -> Iterator[Batch]:
    """Yield the beginnings of rows in batches, until they have enough tokens of text."""
    width = min(MAX_TOKENS, scorer.max_tokens)
    remaining, num_tokens = (row[:width] for row in rows if len(row) > 1), 0
    while num_tokens < NUM_TOKENS and (taken := list(islice(remaining, BATCH_TOKENS // width))):
        tokens_BT, documents_BT = (each.numpy() for each in padded_rows([row[:-1] for row in taken], width, CPU))
        targets_BT = np.full(tokens_BT.shape, NO_TARGET)
        for targets_T, row in zip(targets_BT, taken, strict=False):  # rows that only fill the batch have none
            targets_T[: len(row) - 1] = row[1:]
        num_targets = sum(int(np.count_nonzero(token_bytes[row[1:]])) for row in taken)
        num_tokens += num_targets
        yield Batch(tokens_BT, targets_BT, documents_BT, num_targets, 0)
