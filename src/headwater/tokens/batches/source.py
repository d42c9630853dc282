"""Batches of a training run as a pure function of the row number: to resume is to know one integer.

One background thread makes the batches of the next steps while the model works on this one's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from headwater.core.errors import ConfigError, StoreError
from headwater.core.files import digest_json
from headwater.tokens.batches.assemble import Batch, empty_batch, fill_
from headwater.tokens.batches.mixture import MixturePlan
from headwater.tokens.batches.order import order_key, permute
from headwater.tokens.batches.pack import PackedSource, Passage, targets_of

NUM_AHEAD = 2  # steps whose batches are made before they are needed


class BatchSource:
    """Row g of the run is draw k of a source (the plan says which), which is a row of epoch k // n of that source."""

    def __init__(
        self,
        sources: Mapping[str, PackedSource],
        plan: MixturePlan,
        seq_len: int,
        seed: int,
        plan_for: Callable[[int], MixturePlan] | None = None,
    ) -> None:
        """Raise StoreError when the plan was made for other rows than these.

        `plan_for` returns the plan that a run of so many rows would have.
        """
        self.plan_for = plan_for
        self._sources = dict(sources)
        self.plan = plan
        self.seq_len = seq_len
        self.seed = seed
        self._pad_id = next(iter(sources.values())).store.pad_id
        found = {name: source.num_rows for name, source in sources.items()}
        planned = plan.of_rows or plan.rows
        if found != planned:
            raise StoreError(f"the mixture plan is for rows {planned} and the token stores have {found}; plan again")
        for name, source in sources.items():
            if source.index.seq_len != seq_len:
                raise StoreError(f"{name} is packed for seq_len={source.index.seq_len}, not {seq_len}; pack it again")

    @property
    def digest(self) -> str:
        """Digest of all that decides the rows: stores, packing, plan, seed. A resume must find the same one."""
        return self.digest_with(self.plan)

    def digest_with(self, plan: MixturePlan) -> str:
        """Return the digest of the same text in another plan."""
        stores = {name: source.digest for name, source in self._sources.items()}
        return digest_json({"stores": stores, "plan": plan.digest, "seq_len": self.seq_len, "seed": self.seed})

    def rows(self, first_row: int, num_rows: int) -> Batch:
        """Return the global rows [first_row, first_row + num_rows); the same for every way of splitting them."""
        source_of, _, row_of = self._places(np.arange(first_row, first_row + num_rows))
        batch = empty_batch(num_rows, self.seq_len, self._pad_id, first_row)
        num_targets = 0
        for number, name in enumerate(self.plan.sources):
            places = np.flatnonzero(source_of == number)
            if len(places):
                num_targets += fill_(batch, places, self._sources[name], row_of[places])
        return replace(batch, num_targets=num_targets)

    def _places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the number of the source of each global row, which time that is gone through, and the row there."""
        source_of, draw = self.plan.locate(rows)
        epoch_of, row_of = np.zeros_like(draw), np.empty_like(draw)
        for number, name in enumerate(self.plan.sources):
            n = self.plan.rows[name]
            here = np.flatnonzero(source_of == number)
            epoch_of[here] = draw[here] // max(n, 1)
            for epoch in np.unique(epoch_of[here]).tolist():
                chosen = here[epoch_of[here] == epoch]
                row_of[chosen] = permute(n, order_key(self.seed, name, epoch), draw[chosen] - epoch * n)
            if self.plan.of_rows is not None:  # the rows that the plan counts are a shuffled part of all
                key = order_key(self.seed, f"part of {name}", 0)
                row_of[here] = permute(self.plan.of_rows[name], key, row_of[here])
        return source_of, epoch_of, row_of

    def stage_of(self, row: int) -> int:
        """Return the number of the mixture's stage that a global row is in: in each the sources have other shares."""
        return sum(stage.first_row <= row for stage in self.plan.stages) - 1

    def documents_of(self, row: int) -> list[tuple[str, str]]:
        """Return (source, corpus document id) of the documents in a global row, in order."""
        name, _, packed_row = self.place_of(row)
        return [(name, document) for document in self._sources[name].documents_of(packed_row)]

    def packed(self, source: str) -> PackedSource:
        """Return the rows of one source of the plan."""
        return self._sources[source]

    def passages_of(self, row: int) -> list[Passage]:
        """Return the passages of documents that a global row holds, in order."""
        name, _, packed_row = self.place_of(row)
        return self._sources[name].passages_of(packed_row)

    def place_of(self, row: int) -> tuple[str, int, int]:
        """Return the source of a global row, which time its text is gone through (from 0), and its row there."""
        source, epoch, row_there = (int(each[0]) for each in self._places(np.array([row])))
        return self.plan.sources[source], epoch, row_there

    def loss_shares(self, num_rows: int) -> dict[str, float]:
        """Return each source's part of what a run of so many rows learns: {} where it is their part of the rows."""
        targets = targets_of(self._sources)
        if targets is None:
            return {}
        counts = self.plan.counts(num_rows)
        learned = {name: counts[name] * targets[name] / self._sources[name].num_rows for name in self.plan.sources}
        return {name: round(each / sum(learned.values()), 6) for name, each in learned.items()}

    def shares(self, num_rows: int) -> dict[str, dict[str, float]]:
        """Return what a run of so many rows sees of each source.

        documents, tokens and rows of the source; tokens_lost, which packing skipped (0: every token but a document's
        first is predicted once an epoch); padding, the share of the rows' positions that hold none; weight, the share
        of the run's rows; loss, that of what it learns, where some tokens aren't learned; rows_read, how many different
        ones the run may read; epochs, how often it goes through those.
        """
        counts, epochs, found = self.plan.counts(num_rows), self.plan.epochs(num_rows), {}
        losses = self.loss_shares(num_rows)
        for name in self.plan.sources:
            store, index = self._sources[name].store, self._sources[name].index
            found[name] = {
                "documents": store.num_documents,
                "tokens": store.num_tokens,
                "rows": self._sources[name].num_rows,
                "rows_read": self.plan.rows[name],
                "tokens_lost": store.num_tokens - store.num_documents - index.num_targets,
                "padding": round(index.padding_fraction, 6),
                "weight": round(counts[name] / num_rows, 6),
                "epochs": round(epochs[name], 4),
                **({"loss": losses[name]} if losses else {}),
            }
        return found


def rank_rows(step_first_row: int, batch_rows: int, rank: int, world_size: int) -> tuple[int, int]:
    """Return the first row and the number of rows of one rank in a step of `batch_rows` rows.

    Ranks take contiguous parts in order, so that joined they are the same batch for every `world_size`.
    """
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank={rank} is not in [0, {world_size})")
    if batch_rows % world_size:
        raise ConfigError(f"a step of {batch_rows} rows can't be split over {world_size} ranks; use a multiple of it")
    count = batch_rows // world_size
    return step_first_row + rank * count, count


class StepRows:
    """One rank's microbatches of a run's steps; what making them raises is raised where they are needed."""

    def __init__(self, batches: BatchSource, step_rows: int, microbatch_rows: int, part: tuple[int, int]) -> None:
        """`part` is which part of a step's rows this rank has, and of how many."""
        self._batches, self._step_rows, self._microbatch_rows, self._part = batches, step_rows, microbatch_rows, part
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: dict[int, Future[list[Batch]]] = {}  # by the first row of a step

    def at(self, first_row: int) -> tuple[list[Batch], float]:
        """Return the microbatches of the step that begins with this row, and the seconds of waiting for them."""
        started_at = time.perf_counter()
        wanted = [first_row + number * self._step_rows for number in range(1 + NUM_AHEAD)]
        for row in self._ahead.keys() - wanted:  # of a run that went back: it continues with other rows
            self._ahead.pop(row).cancel()
        for row in wanted:
            if row not in self._ahead:
                self._ahead[row] = self._thread.submit(self._made, row)
        return self._ahead.pop(first_row).result(), time.perf_counter() - started_at

    def _made(self, first_row: int) -> list[Batch]:
        first, count = rank_rows(first_row, self._step_rows, *self._part)
        size = self._microbatch_rows
        return [self._batches.rows(row, size) for row in range(first, first + count, size)]

    def close(self) -> None:
        """Make nothing more, and wait until the thread has ended."""
        self._thread.shutdown(cancel_futures=True)
