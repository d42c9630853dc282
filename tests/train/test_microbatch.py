"""The microbatch that is measured: the rule's unless another is clearly faster, kept by the run, and without a trace."""

from __future__ import annotations

import pytest
from tiny_run import MadeUpRows, assembled, begin, plan, train_here

from headwater.core.errors import CheckpointError, TrainingError
from headwater.core.records import read_records
from headwater.machine.device.device import Device
from headwater.machine.device.microbatch import Microbatch, choose, climb, confirm
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import Mesh
from headwater.machine.ranks.place import Place
from headwater.train import start as module
from headwater.train.checkpoint.layout import checkpoint_dir
from headwater.train.checkpoint.load import read_checkpoint

ALWAYS = lambda: True  # noqa: E731


def search(seconds: dict[int, float | None], start: int, num_rows: int = 64, room=ALWAYS, time=ALWAYS):
    """Return (the sizes in the order in which they were measured, the size chosen)."""
    found = confirm(climb(num_rows, start, seconds.__getitem__, room, time), start, seconds.__getitem__)
    return list(found), choose(found, start)


SEARCHES = {  # seconds of each size, the rule's size, options; the sizes measured, the one chosen
    "no other is faster by a margin": ({4: 1.0, 8: 1 / 1.02, 2: 1 / 1.02}, 4, {}, [4, 8, 2], 4),
    "larger ones as long as each is faster": ({4: 1.0, 8: 0.8, 16: 0.7, 32: 0.69}, 4, {}, [4, 8, 16, 32], 32),
    "and not the last of them": ({4: 1.0, 8: 0.8, 16: 0.7, 32: 0.75}, 4, {}, [4, 8, 16, 32], 16),
    "smaller ones where larger are no better": ({8: 1.0, 16: 1.1, 4: 0.9, 2: 0.8, 1: 0.9}, 8, {}, [8, 16, 4, 2, 1], 2),
    "sizes divide the batch": ({5: 1.0, 15: 0.5, 1: 1.0}, 5, {"num_rows": 15}, [5, 15], 15),
    "also below": ({5: 1.0, 15: 2.0, 1: 1.0}, 5, {"num_rows": 15}, [5, 15, 1], 5),
    "a prime": ({1: 1.0, 7: 2.0}, 1, {"num_rows": 7}, [1, 7], 1),
    "one that doesn't fit": ({8: 1.0, 16: None, 4: 1.0}, 8, {}, [8, 16, 4], 8),
    "the rule's doesn't fit": ({8: None, 4: None, 2: 1.0, 1: 0.99}, 8, {}, [8, 4, 2, 1], 1),
    "nor is there time": ({8: None, 4: None, 2: 1.0}, 8, {"time": lambda: False}, [8, 4, 2], 2),
    "no room to double": ({4: 1.0, 2: 1.0}, 4, {"room": lambda: False}, [4, 2], 4),
    "time for one more": ({4: 1.0, 8: 0.5}, 4, {"time": iter([True, False, False]).__next__}, [4, 8], 8),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_measures_these_sizes_and_chooses_this_one(name):
    seconds, start, options, measured, chosen = SEARCHES[name]
    assert search(seconds, start, **options) == (measured, chosen)


def test_a_rules_size_that_was_only_disturbed_stays():
    found = {4: 1.0, 8: 0.8}
    assert choose(found, 4) == 8
    assert choose(confirm(found, 4, {4: 0.81}.__getitem__), 4) == 4
    assert choose(confirm(found, 4, {4: 1.1}.__getitem__), 4) == 8


def test_nothing_that_fits_is_an_error_that_says_what_to_do():
    with pytest.raises(TrainingError, match=r"a microbatch of 1 row\(s\); set train\.recompute=1, or"):
        search({2: None, 1: None}, 2)


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
    assert set(calls) == {(0, 4), (0, 2)}
    assert run.microbatch.tokens == 4 * 24, "the rule's: twice as many microbatches of 1 s each take longer"
    assert said[-1] == f"microbatches of 96 tokens: {run.microbatch.why}"
    assert "48 tokens: 48/s, 96 tokens: 96/s" in run.microbatch.why
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


@pytest.mark.parametrize(
    ("mesh", "tokens"), [(Mesh(), 96), (Mesh(replicate=2), 48), (Mesh(pipeline=2), 24), (Mesh(pipeline=4), 24)], ids=str
)
def test_a_microbatch_of_auto_is_kept_where_the_ranks_that_resume_can_take_it(tmp_path, mesh, tokens):
    """A measured number can't be lowered by hand in a resumed run, which would be another one's settings."""
    ranks = Ranks(Place(0, mesh.world_size), mesh)
    parallel = DataParallel(ranks, Device())
    found = module._microbatch(
        plan(microbatch_tokens="auto"), {"microbatch_tokens": 96}, None, None, parallel, None, lambda line: None
    )
    assert found.tokens == tokens
