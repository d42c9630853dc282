"""The microbatch that is measured: the rule's unless another is clearly faster, kept by the run, and without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from many_ranks import on_ranks
from tiny_run import MadeUpRows, assembled, begin, plan, train_here

from headwater.core.errors import CheckpointError, TrainingError
from headwater.core.records import read_records
from headwater.machine.device.device import Device
from headwater.machine.device.microbatch import Microbatch, measured_microbatch
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import Mesh, Place
from headwater.train import start as module
from headwater.train.checkpoint.layout import checkpoint_dir
from headwater.train.checkpoint.load import read_checkpoint
from headwater.train.settings import even_microbatch

SEARCHES = {  # seconds of each size, the rule's size, how often may be doubled; the size chosen
    "no larger one is faster by a margin": ({4: 1.0, 8: 1 / 1.02}, 4, 9, 4),
    "larger ones as long as each is faster": ({4: 1.0, 8: 0.8, 16: 0.7, 32: 0.69}, 4, 9, 16),
    "up to the whole batch": ({16: 1.0, 32: 0.5, 64: 0.25}, 16, 9, 64),
    "sizes divide the batch": ({5: 1.0}, 5, 9, 5),
    "a larger one doesn't fit": ({8: 1.0, 16: None}, 8, 9, 8),
    "the rule's doesn't fit": ({8: None, 4: None, 2: 1.0}, 8, 9, 2),
    "no room to double": ({4: 1.0}, 4, 0, 4),
    "room for one more": ({4: 1.0, 8: 0.5}, 4, 1, 8),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_measures_these_sizes_alone_and_chooses_this_one(name):
    seconds, start, num_doubled, chosen = SEARCHES[name]
    measured, room = [], iter([True] * num_doubled + [False])
    num_rows = 15 if start == 5 else 64

    def seconds_of(size: int) -> float | None:
        measured.append(size)
        return seconds[size]

    found = measured_microbatch(seconds_of, room.__next__, num_rows * 100, start * 100, 100)
    assert (measured, found.tokens) == (list(seconds), chosen * 100)
    for size, taken in seconds.items():
        speed = "too large for the memory" if taken is None else f"{num_rows * 100 / taken:,.0f}/s"
        assert f"{size * 100} tokens: {speed}" in found.why


def test_nothing_that_fits_is_an_error_that_says_what_to_do():
    with pytest.raises(TrainingError, match=r"a microbatch of 1 row\(s\); set train\.recompute=1, or"):
        measured_microbatch({2: None, 1: None}.__getitem__, lambda: True, 6400, 200, 100)


def test_the_rule_is_the_one_of_a_run_file_that_says_nothing():
    assert even_microbatch(64 * 512, 512) == 8192
    assert even_microbatch(4096, 256) == 4096


# ---- in a run


def results(folder) -> tuple[list, dict]:
    steps = read_records(folder / "records.jsonl", "step")
    checkpoint = read_checkpoint(checkpoint_dir(folder, 12))
    tensors = {name: tensor.tolist() for name, tensor in (checkpoint.model | checkpoint.optim).items()}
    return [(record["loss"], record["grad_norm"]) for record in steps], tensors


def test_a_choice_is_kept_by_the_run_and_a_resume_measures_nothing(tmp_path, monkeypatch):
    """Measured in earnest, so that what measuring leaves would show beside a run of the same number that is set."""
    parts, whole = tmp_path / "parts", tmp_path / "set"
    tokens = train_here(parts, plan(microbatch_tokens="auto"), stop_after=3).microbatch.tokens
    with pytest.raises(CheckpointError, match=rf"train\.microbatch_tokens: was auto, is {tokens}"):
        begin(parts, plan(microbatch_tokens=tokens))
    monkeypatch.setattr(module, "measured_microbatch", None)
    run = train_here(parts, plan(microbatch_tokens="auto"))
    assert run.microbatch.tokens == tokens
    assert train_here(whole, plan(microbatch_tokens=tokens)).microbatch == Microbatch(tokens, "train.microbatch_tokens")
    assert results(parts) == results(whole)


def test_a_search_measures_the_runs_own_rows_and_says_what_it_chose(tmp_path, monkeypatch):
    calls, said = [], []

    class Rows(MadeUpRows):
        def rows(self, first_row, num_rows):
            calls.append((first_row, num_rows))
            return super().rows(first_row, num_rows)

    monkeypatch.setattr(Device, "seconds_of", lambda self, work: work() or 1.0)
    run = assembled(tmp_path, plan(microbatch_tokens="auto"), Rows(), said.append)
    run.records.close()
    assert set(calls) == {(0, 4)}
    assert run.microbatch.tokens == 4 * 24, "the rule's, which is the whole batch"
    assert said[-1] == f"microbatches of 96 tokens: {run.microbatch.why}"
    assert "96 tokens: 96/s" in run.microbatch.why
    assert not [p for p in run.prepared.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("value", [0, -24, "most", 1.5, True, None])
def test_what_is_no_microbatch_is_refused_in_one_sentence(value):
    with pytest.raises(ValueError, match="1 validation error") as error:
        plan(microbatch_tokens=value)
    assert "a microbatch is a number of tokens, 1 or more, or auto" in str(error.value)


@pytest.mark.parametrize(("available", "resident", "sizes"), [(3, 2, {4, 2}), (2, 3, {2})])
def test_a_size_is_doubled_where_the_process_fits_into_what_is_left(monkeypatch, tmp_path, available, resident, sizes):
    calls = []
    monkeypatch.setattr(module, "available_bytes", lambda: available)
    monkeypatch.setattr(module, "resident_bytes", lambda: resident)
    monkeypatch.setattr(Device, "seconds_of", lambda self, work: work() or 1.0)
    monkeypatch.setattr(module, "even_microbatch", lambda batch_tokens, seq_len, wanted: 2 * seq_len)

    class Rows(MadeUpRows):
        def rows(self, first_row, num_rows):
            calls.append(num_rows)
            return super().rows(first_row, num_rows)

    assembled(tmp_path, plan(microbatch_tokens="auto"), Rows(), lambda line: None).records.close()
    assert set(calls) - {1} == sizes


GPUS_OF_OTHER_MEMORY = """
from unittest import mock
from headwater.machine.device.device import Device
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.train import start
from tiny_run import MadeUpRows, plan

class Gpu(Device):
    held = 0
    def memory_bytes(self):
        return 1000
    def peak_memory_bytes(self):  # 100 of weights and state, and twice as much a row on the second rank
        return 100 + (55 + 55 * ranks.rank) * self.held
    def seconds_of(self, work):
        work()
        return {1: 4.0, 2: 1.5, 4: 0.5}[self.held] * (1.0 + ranks.rank)

def passes(model, parallel, batches, num_targets):
    device.held = max(device.held, batches[0].tokens_BT.shape[0])
    assert parallel.ranks.world_size == 1, "nothing is exchanged while it is measured"

device = Gpu()
parallel, given = DataParallel(ranks, device), plan(microbatch_tokens="auto", batch_tokens=16 * 24)
with mock.patch.object(start, "sum_gradients", passes), mock.patch.object(start, "even_microbatch", lambda *_: 24):
    with mock.patch("torch.nn.Module.zero_grad"):
        found = start.choose_microbatch(given, {}, torch.nn.Module(), FACTS, parallel, MadeUpRows(), lambda line: None)
print(json.dumps([found.tokens, found.why]))
"""


def test_ranks_on_gpus_double_a_microbatch_as_far_as_the_fullest_can_and_all_alike(tmp_path):
    """Of rows that take a tenth of the memory on one of them, and a twentieth on the other, 4 fit and 8 don't."""
    facts = "from headwater.machine.compute import MachineFacts\nFACTS = MachineFacts('cpu', '', 'float32', False, 1, 1.0, '', '')\n"
    path = f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    found = on_ranks(2, path + facts + GPUS_OF_OTHER_MEMORY, tmp_path)
    assert found[0] == found[1]
    assert found[0][0] == 4 * 24
    assert "the fastest measured" in found[0][1]


@pytest.mark.parametrize(
    ("mesh", "tokens"), [(Mesh(), 96), (Mesh(replicate=2), 48), (Mesh(pipeline=2), 24), (Mesh(pipeline=4), 24)], ids=str
)
def test_a_microbatch_of_auto_is_kept_where_the_ranks_that_resume_can_take_it(tmp_path, mesh, tokens):
    """A measured number can't be lowered by hand in a resumed run, which would be another one's settings."""
    ranks = Ranks(Place(0, mesh.world_size), mesh)
    parallel = DataParallel(ranks, Device())
    found = module.choose_microbatch(
        plan(microbatch_tokens="auto"), {"microbatch_tokens": 96}, None, None, parallel, None, lambda line: None
    )
    assert found.tokens == tokens
