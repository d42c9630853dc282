from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_order import permuted

from headwater.core.errors import ConfigError, StoreError
from headwater.tokens.batches.assemble import sequential_batches
from headwater.tokens.batches.mixture import make_plan
from headwater.tokens.batches.order import mix64, order_key
from headwater.tokens.batches.pack import pack_source
from headwater.tokens.batches.settings import MixtureSettings
from headwater.tokens.batches.source import NUM_AHEAD, BatchSource, StepRows, rank_rows
from headwater.tokens.read import TokenStore
from headwater.tokens.tokenizer.settings import BEGIN_ID, END_ID, PAD_ID
from headwater.tokens.write import EncodedDocument, write_store

SEQ_LEN = 16
LENGTHS = {"books": [100, 37, 5, 0, 16, 14], "code": [3, 9, 9, 2, 30, 11, 7, 1, 1, 6]}
STEP_ROWS, MICROBATCH_ROWS = 8, 2


def documents(name):
    """Ids that differ by document and place, so that a wrong token can't pass for the right one."""
    for number, length in enumerate(LENGTHS[name]):
        ids = [32 + mix64((len(name) << 40) + (number << 20) + place) % 60_000 for place in range(length)]
        yield EncodedDocument(ids, length, f"{name}/{number}")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for name in LENGTHS:
        write_store(folder / name, documents(name), 65_000, "t", shard_tokens=60)
    return {name: pack_source(TokenStore(folder / name), SEQ_LEN) for name in LENGTHS}


def source_of(packed, seed=1, num_rows=10_000, **mixture) -> BatchSource:
    plan = make_plan({name: source.num_rows for name, source in packed.items()}, MixtureSettings(**mixture), num_rows)
    return BatchSource(packed, plan, SEQ_LEN, seed)


def rows_plainly(packed, source: BatchSource, first_row: int, num_rows: int):
    """Return tokens, targets and documents of rows, and the documents' names, one position after another."""
    for row in range(first_row, first_row + num_rows):
        (number,), (draw,) = (each.tolist() for each in source.plan.locate(np.array([row])))
        name = source.plan.sources[number]
        store, index, n = packed[name].store, packed[name].index, source.plan.rows[name]
        place = permuted(n, order_key(source.seed, name, draw // n), draw % n)
        if source.plan.of_rows:
            place = permuted(index.num_rows, order_key(source.seed, f"part of {name}", 0), place)
        ids = [id for document in documents(name) for id in (BEGIN_ID, *document.ids, END_ID)]
        tokens, targets, numbers, names = [], [], [], []
        for chunk in range(index.row_ptr[place], index.row_ptr[place + 1]):
            start, length = int(index.chunk_start[chunk]), int(index.chunk_len[chunk])
            tokens += ids[start : start + length]
            targets += ids[start + 1 : start + length + 1]
            numbers += [len(names)] * length
            names.append((name, store.document_id(sum(int(each) <= start for each in store.starts) - 1)))
        padding = SEQ_LEN - len(tokens)
        yield tokens + [PAD_ID] * padding, targets + [-1] * padding, numbers + [len(names)] * padding, names, (
            name, draw // n, place,
        )  # fmt: skip


@given(
    st.integers(0, 10**6), st.integers(0, 9), st.integers(0, 3), st.sampled_from([1.0, 0.6, 0.3]), st.sampled_from([(1, 1), (2, 1), (0, 1)])
)  # fmt: skip
def test_every_row_is_that_of_a_plain_account(packed, first_row, num_rows, seed, share_of_text, weights):
    source = source_of(packed, seed, weights=dict(zip(("books", "code"), weights)), share_of_text=share_of_text)
    batch = source.rows(first_row, num_rows)
    expected = list(rows_plainly(packed, source, first_row, num_rows))
    found = zip(batch.tokens_BT.tolist(), batch.targets_BT.tolist(), batch.documents_BT.tolist(), strict=True)
    assert list(found) == [row[:3] for row in expected]
    assert batch.num_targets == sum(target >= 0 for _, targets, *_ in expected for target in targets)
    assert batch.first_row == first_row
    arrays = (batch.tokens_BT, batch.targets_BT, batch.documents_BT)
    assert [array.shape for array in arrays] == [(num_rows, SEQ_LEN)] * 3
    assert [array.dtype for array in arrays] == [np.int32, np.int64, np.int32]
    for row, (*_, names, place) in enumerate(expected, first_row):
        assert source.documents_of(row) == names and source.place_of(row) == place


def test_the_batch_is_this_on_every_machine(packed):
    batch = source_of(packed, weights={"books": 2, "code": 1}).rows(5, 8)
    data = b"".join([batch.tokens_BT.tobytes(), batch.targets_BT.tobytes(), batch.documents_BT.tobytes()])
    assert hashlib.sha256(data).hexdigest() == "e0c03d0d38ce8a006b56a6e959f2e52668c0cf934879088d01d977f12f53f0d7"


@given(st.integers(0, 10**6), st.integers(1, 50), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_the_ranks_have_every_row_of_a_step_once_in_order(first_row, scale, world_size):
    parts = [rank_rows(first_row, 12 * scale, rank, world_size) for rank in range(world_size)]
    assert [row for first, count in parts for row in range(first, first + count)] == [
        *range(first_row, first_row + 12 * scale)
    ]


def test_a_batch_that_the_ranks_cannot_share_is_an_error():
    with pytest.raises(ConfigError, match="10 rows can't be split over 4 ranks"):
        rank_rows(0, 10, 0, 4)
    with pytest.raises(ConfigError, match="rank=4"):
        rank_rows(0, 8, 4, 4)


def test_a_plan_for_other_stores_and_rows_of_another_length_are_refused(packed):
    plan = make_plan({"books": 3, "code": 4}, MixtureSettings(), 10)
    with pytest.raises(StoreError, match="plan again"):
        BatchSource(packed, plan, SEQ_LEN, 1)
    with pytest.raises(StoreError, match="books is packed for seq_len=16, not 32"):
        BatchSource(packed, source_of(packed).plan, 32, 1)


@pytest.mark.parametrize("rows_per_batch", [1, 3, 4, 6, 7, 16, 64])
def test_sequential_batches_cover_every_row_once_in_few_shapes_with_little_padding(packed, rows_per_batch):
    source = packed["code"]
    for num_rows in range(1, source.num_rows + 1):
        batches = list(sequential_batches(source, rows_per_batch, range(num_rows)))
        whole = next(sequential_batches(source, num_rows, range(num_rows)))
        shapes = [batch.tokens_BT.shape for batch in batches]
        assert set(shapes[:-1]) <= {(rows_per_batch, SEQ_LEN)}
        quarter = -(-rows_per_batch // 4)
        assert shapes[-1][0] % quarter == 0 or shapes[-1][0] == rows_per_batch
        padding = sum(rows for rows, _ in shapes) - num_rows
        assert 0 <= padding < quarter
        for name in ("tokens_BT", "targets_BT", "documents_BT"):
            together = np.concatenate([getattr(batch, name) for batch in batches])
            assert np.array_equal(together[:num_rows], getattr(whole, name)[:num_rows])
            if name != "documents_BT":
                assert np.all(together[num_rows:] == (PAD_ID if name == "tokens_BT" else -1))
        assert sum(batch.num_targets for batch in batches) == whole.num_targets
    assert whole.num_targets == source.store.num_tokens - source.store.num_documents


class Rows:
    """Stands for a batch source: a batch is its first row and how many it has."""

    def __init__(self, bad_row: int | None = None) -> None:
        self.made: list[int] = []
        self.bad_row = bad_row

    def rows(self, first_row: int, num_rows: int) -> tuple[int, int]:
        if first_row == self.bad_row:
            raise ValueError("the disk is gone")
        self.made.append(first_row)
        return first_row, num_rows


@contextmanager
def steps_of(rows: Rows, part: tuple[int, int] = (0, 1)) -> Iterator[StepRows]:
    with closing(StepRows(rows, STEP_ROWS, MICROBATCH_ROWS, part)) as steps:
        yield steps


@pytest.mark.parametrize(("part", "first"), [((0, 1), [0, 2, 4, 6]), ((0, 2), [0, 2]), ((1, 2), [4, 6])])
def test_a_step_has_this_ranks_microbatches_in_order(part, first):
    with steps_of(Rows(), part) as steps:
        for step in range(5):
            batches, seconds = steps.at(step * STEP_ROWS)
            assert batches == [(step * STEP_ROWS + row, MICROBATCH_ROWS) for row in first]
            assert seconds >= 0


def test_no_more_steps_are_made_ahead_than_said():
    rows = Rows()
    num_batches = (1 + NUM_AHEAD) * STEP_ROWS // MICROBATCH_ROWS
    with steps_of(rows) as steps:
        steps.at(0)
        deadline = time.monotonic() + 10
        while len(rows.made) < num_batches and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(rows.made) == num_batches


def test_close_ends_the_thread():
    before = threading.active_count()
    with steps_of(Rows()) as steps:
        steps.at(0)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
