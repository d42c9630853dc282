"""Which tokens of a conversation are learned: a bit each on disk, -1 among the targets of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.tokens.batches.assemble import NO_TARGET, sequential_batches
from headwater.tokens.batches.mixture import make_plan
from headwater.tokens.batches.pack import pack_source, targets_of
from headwater.tokens.batches.settings import MixtureSettings
from headwater.tokens.batches.source import BatchSource
from headwater.tokens.read import TokenStore
from headwater.tokens.write import EncodedDocument, write_store

SEQ_LEN = 8


def conversation(length: int, seed: int) -> EncodedDocument:
    chance = np.random.default_rng(seed)
    return EncodedDocument(chance.integers(32, 300, length), length, str(seed), chance.random(length) < 0.3)


def store_of(folder, documents, shard_tokens=1 << 20) -> TokenStore:
    write_store(folder, documents, 300, "t", shard_tokens)
    return TokenStore(folder)


@pytest.fixture
def packed(tmp_path):
    talks = [conversation(3 + seed % 20, seed) for seed in range(60)]
    prose = [EncodedDocument(list(range(32, 32 + 9 * seed)), 9 * seed, str(seed)) for seed in range(1, 20)]
    return {
        "talks": pack_source(store_of(tmp_path / "talks", talks, shard_tokens=100), SEQ_LEN),
        "prose": pack_source(store_of(tmp_path / "prose", prose), SEQ_LEN),
    }


def test_every_token_that_is_learned_is_a_target_once_an_epoch_and_no_other_is(packed):
    talks = packed["talks"]
    batches = list(sequential_batches(talks, 7))
    targets = np.concatenate([batch.targets_BT.ravel() for batch in batches])
    store = talks.store
    learned = store.gather(np.flatnonzero(store.are_targets(np.arange(store.num_tokens))))
    assert sorted(targets[targets != NO_TARGET]) == sorted(learned)
    assert sum(batch.num_targets for batch in batches) == talks.num_targets == len(learned)
    for batch in batches:
        assert batch.num_targets == np.count_nonzero(batch.targets_BT != NO_TARGET)


def source_of(packed, num_rows, **weights) -> BatchSource:
    rows = {name: source.num_rows for name, source in packed.items()}
    plan = make_plan(rows, MixtureSettings(weights=weights), num_rows, targets_of(packed))
    return BatchSource(packed, plan, SEQ_LEN, seed=1)


def test_a_weight_is_a_share_of_what_is_learned_not_of_the_rows(packed):
    num_rows = 20_000
    source = source_of(packed, num_rows, talks=0.25, prose=0.75)
    place, _ = source.plan.locate(np.arange(num_rows))
    of_row = np.count_nonzero(source.rows(0, num_rows).targets_BT != NO_TARGET, axis=1)
    learned = {name: of_row[place == number].sum() for number, name in enumerate(source.plan.sources)}
    share = learned["talks"] / of_row.sum()
    assert abs(share - 0.25) < 0.005, share
    assert abs(source.loss_shares(num_rows)["talks"] - share) < 0.005
    assert source.plan.shares(num_rows)["talks"] > 0.4
