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
from hypothesis import given
from hypothesis import strategies as st
from many_ranks import JOINED, LEFT, Fork, start_programs, start_ranks
from small_run import finish, write_run_file, write_texts

from headwater.core.errors import LostRanksError
from headwater.core.records import read_records
from headwater.machine.ranks.exchange import _trouble
from headwater.machine.ranks.heartbeat import BEAT_SECONDS, Heartbeat, Slowest
from headwater.machine.ranks.mesh import Place
from headwater.machine.ranks.watchdog import COMPUTING, RankProgress

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
    """Takes over 5 s: a stopped process is lost after as much silence as the setting says."""
    ranks = amid_steps(2, tmp_path, parallel__silence_seconds=4)
    ranks[1].send_signal(signal.SIGSTOP)
    said = finish(ranks[0])
    assert said.status == 1
    assert "rank 1 of 2 fell silent 4 s ago, in step " in said.err
    assert f"process {ranks[1].pid} on " in said.err
    ranks[1].send_signal(signal.SIGKILL)
    assert finish(ranks[1]).status == -signal.SIGKILL


def test_a_rank_whose_store_never_answers_ends_before_it_has_joined():
    program = "from headwater.machine.ranks.heartbeat import *; StoreWatch(Place(1, 2), RankProgress(), 0.5).start(); time.sleep(600)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.returncode == 1
    assert (
        "rank 1 of 2 is cut off: the launcher's store hasn't answered for 0.5 s; this rank was preparing" in said.stderr
    )


HOLDING_THE_LOCK = f"""
from headwater.machine.ranks import heartbeat
heartbeat.SOON_SECONDS = 0.5
{JOINED}
import ctypes
if ranks.rank:
    ctypes.PyDLL(None).usleep(2_500_000)  # in C, with the interpreter's lock: no thread of Python's beats
print(json.dumps(ranks.gather(ranks.rank)))
{LEFT}"""


def test_a_rank_in_c_code_that_keeps_the_interpreters_lock_is_not_lost(tmp_path):
    said = [finish(rank) for rank in start_programs([HOLDING_THE_LOCK] * 2, tmp_path)]
    assert [(one.status, one.out) for one in said] == [(0, "[0, 1]\n")] * 2, "\n".join(map(str, said))


# what one rank does in an exchange, and the words of its own with which both end
OWN_ERRORS = [
    ("ranks.gather_into_(torch.ones(7), torch.ones(3))", "invalid tensor size"),
    ("ranks.sum_(torch.ones(3, dtype=torch.float8_e4m3fn))", "Invalid scalar type"),
    ("with ranks.exchange(): raise torch.OutOfMemoryError('CUDA out of memory')", "CUDA out of memory"),
    ("with ranks.exchange(): raise torch.AcceleratorError('an illegal memory access')", "an illegal memory access"),
]


@pytest.mark.parametrize(
    ("is_on_both", "code", "words"), [(True, *OWN_ERRORS[0]), *((False, *own) for own in OWN_ERRORS)]
)
def test_an_error_of_a_ranks_own_keeps_its_words_on_every_rank(tmp_path, code, words, is_on_both):
    program = f"{JOINED}\nwith ranks:\n    if ranks.rank or {is_on_both}:\n        {{code}}\n    ranks.wait()\n"
    said = [finish(rank) for rank in start_programs([program.replace("{code}", code)] * 2, tmp_path)]
    assert all(one.status == 1 and words in one.err for one in said), "\n".join(map(str, said))
    assert "lost the others" not in said[1].err


def hearts(world_size: int, silence_seconds: float = 4.0) -> list[Heartbeat]:
    """Return the heartbeats of ranks that all stand in this process, none of which beats by itself."""
    store, places = dist.HashStore(), [Place(rank, world_size) for rank in range(world_size)]
    return [Heartbeat(store, place, RankProgress(), silence_seconds) for place in places]


def beat(heart: Heartbeat) -> tuple[tuple[int, ...], str]:
    heart._write()
    return heart._listen()


@given(st.floats(8, 600))
def test_a_silent_rank_is_lost_after_the_time_limit_or_soon_after_an_exchange_has_failed(silence_seconds):
    first, second = hearts(2, silence_seconds)
    second.progress.enter("computing", 17)
    beat(second)
    num_beats = round(silence_seconds / BEAT_SECONDS)
    assert [beat(first) for _ in range(num_beats)] == [((), "")] * num_beats
    first._noticed.set()
    assert "rank 1 of 2 fell silent 4 s ago, in step 17, computing" in beat(first)[1]
    first._noticed.clear()
    first._silent[1] = num_beats - 1
    assert f"rank 1 of 2 fell silent {num_beats * BEAT_SECONDS:g} s ago" in beat(first)[1]


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


def test_another_thread_never_reads_fewer_seconds_of_exchanges_than_before(monkeypatch):
    """It reads after any assignment, and stages of a pipeline make many while an exchange is under way."""
    clock, found = itertools.count(1.0), []
    monkeypatch.setattr("headwater.machine.ranks.watchdog.time.perf_counter", lambda: next(clock))

    class Read(RankProgress):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            found.append(self.exchange_seconds())

    progress = RankProgress()
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
    monkeypatch.setattr("headwater.machine.ranks.heartbeat.time.monotonic", lambda: next(clock))
    beat(first)
    assert first.slowest() is None
    for heart, seconds in zip([first, *others], waited, strict=True):
        heart.progress._exchanged = seconds, 0.0
        heart._write()
    beat(first)
    assert first.slowest() == slowest
