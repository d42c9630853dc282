"""A rank that is killed, stopped or hangs is named by the others, which end; a rank that ends as it should is not."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch.distributed as dist
from many_ranks import Fork, start_ranks
from small_run import finish, write_run_file, write_texts

from headwater.errors import LostRanksError, StorageError
from headwater.ranks.exchange import _trouble
from headwater.ranks.heartbeat import BEAT_SECONDS, Heartbeat, Slowest
from headwater.ranks.place import Place
from headwater.ranks.progress import COMPUTING, Progress
from headwater.records import read_records

ENDLESS = dict.fromkeys(("train__num_steps", "train__save_every", "train__validate_every"), 100_000)


def amid_steps(world_size: int, folder: Path, **settings: object) -> list[Fork]:
    """Return ranks of a run that has no end, once their beats say that they take steps."""
    write_texts(folder / "texts")
    write_run_file(folder / "both.toml", train__microbatch_tokens=128, train__num_probes=0, **ENDLESS, **settings)
    ranks = start_ranks(world_size, "train", "both.toml", cwd=folder)
    records = folder / "runs" / "both" / "records.jsonl"
    while not (steps := read_records(records, "step")) or steps[-1]["time"] < steps[0]["time"] + 4 * BEAT_SECONDS:
        assert all(rank.poll() is None for rank in ranks), ranks[0].communicate()[1]
        time.sleep(0.05)
    return ranks


def test_a_stopped_rank_is_named_with_step_and_phase(tmp_path):
    ranks = amid_steps(2, tmp_path)
    ranks[1].send_signal(signal.SIGSTOP)
    said = finish(ranks[0])
    assert said.status == 1
    assert "rank 1 of 2 fell silent 4 s ago, in step " in said.err
    assert f"process {ranks[1].pid} on " in said.err
    assert finish(ranks[1]).status == -signal.SIGKILL, "a stopped process would hold up its launcher"


def test_all_learn_of_a_killed_rank_with_its_step_and_process(tmp_path):
    ranks = amid_steps(3, tmp_path, train__batch_tokens=768)
    ranks[1].send_signal(signal.SIGKILL)
    said = [finish(rank) for rank in ranks]
    log = tmp_path / "runs" / "both" / "logs" / "rank-2.log"
    assert all("rank 1 of 3 died" in text for text in (said[0].err, log.read_text())), "\n".join(map(str, said))
    assert "rank 1 of 3 died, in step " in said[0].err and f"process {ranks[1].pid} on " in said[0].err
    assert said[2].err == "", "what it prints lies in its log"
    assert [one.status for one in said] == [1, -signal.SIGKILL, 1]


def test_a_rank_whose_store_never_answers_ends_before_it_has_joined():
    program = (
        "from headwater.ranks.heartbeat import *; StoreWatch(Place(1, 2), Progress(), 0.5).start(); time.sleep(600)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.returncode == 1
    assert (
        "rank 1 of 2 is cut off: the launcher's store hasn't answered for 0.5 s; this rank was preparing" in said.stderr
    )


def hearts(world_size: int) -> list[Heartbeat]:
    """Return the heartbeats of ranks that all stand in this process, none of which beats by itself."""
    store = dist.HashStore()
    return [Heartbeat(store, Place(rank, world_size), Progress(), 4.0) for rank in range(world_size)]


def beat(heart: Heartbeat) -> tuple[tuple[int, ...], str]:
    heart._write()
    return heart._listen()


def test_a_rank_whose_beats_stop_is_lost_after_as_many_of_the_listeners_own():
    first, second = hearts(2)
    second.progress.enter("computing", 17)
    beat(second)
    found = [beat(first) for _ in range(9)]
    assert [lost for lost, _ in found] == [()] * 8 + [(1,)]
    assert "rank 1 of 2 fell silent 4 s ago, in step 17, computing" in found[-1][1]


def test_ranks_of_a_machine_that_is_gone_are_lost_together_though_one_was_heard_later():
    first, _, third, fourth = hearts(4)
    beat(first)
    for number in range(8):
        if number < 2:
            beat(third)
        beat(fourth)
        lost, why = beat(first)
    assert lost == (1, 2), (lost, why)
    assert "ranks 1, 2 of 4 fell silent 4 s ago" in why


def test_the_first_rank_is_heard_by_all_and_its_word_on_others_taken():
    first, second, third = hearts(3)
    third.progress.trouble = "hung"
    beat(third)
    lost, why = beat(first)
    assert lost == (2,)
    assert beat(second) == ((), "")
    first._own = replace(first._own, lost=lost, why=why)
    assert [beat(first)[0], beat(second)] == [(2,), ((2,), why)]
    assert [beat(third)[0] for _ in range(8)][-1] == (2,)


def test_a_rank_that_ends_as_it_should_is_not_lost_and_one_that_found_nobody_lost_says_its_own_reason():
    first, second = hearts(2)
    assert (_trouble(None), _trouble(LostRanksError("no memory"))) == ("", "ended (no memory)")
    second.progress.trouble = ""
    beat(second)
    assert [beat(first) for _ in range(20)] == [((), "")] * 20


def test_an_error_of_one_rank_is_what_the_others_say():
    first, second = hearts(2)
    second.progress.trouble = _trouble(StorageError("no space left"))
    beat(second)
    assert "rank 1 of 2 ended (no space left), preparing" in beat(first)[1]


def test_another_thread_never_reads_fewer_seconds_of_exchanges_than_before(monkeypatch):
    """It reads after any assignment, and stages of a pipeline make many while an exchange is under way."""
    clock, found = itertools.count(1.0), []
    monkeypatch.setattr("headwater.ranks.progress.time.perf_counter", lambda: next(clock))

    class Read(Progress):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            found.append(self.exchange_seconds())

    progress = Progress()
    progress.enter(COMPUTING, 1)
    progress.__class__ = Read
    with progress.exchanging():
        for _ in range(3):
            with progress.computing():
                pass
    assert found == sorted(found)
    assert len(found) >= 8


@pytest.mark.parametrize(("waited", "slowest"), [((8.0, 2.0, 8.5), Slowest(1, 0.625)), ((8.0, 7.5, 8.5), None)])
def test_the_rank_that_waits_least_in_exchanges_is_the_slowest_where_it_stands_out(monkeypatch, waited, slowest):
    first, *others = hearts(3)
    clock = iter([100.0, 110.0])
    monkeypatch.setattr("headwater.ranks.heartbeat.time.monotonic", lambda: next(clock))
    beat(first)
    assert first.slowest() is None
    for heart, seconds in zip([first, *others], waited, strict=True):
        heart.progress._exchanged = seconds, 0.0
        heart._write()
    beat(first)
    assert first.slowest() == slowest
