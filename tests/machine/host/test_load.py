"""Other processes' use of the processor is told apart from this one's."""

from __future__ import annotations

import os

import pytest

from headwater.machine.host.load import LoadMeter, busy_now, own_cpu_seconds


def stat(path, *busy_ticks):
    """Write what Linux says of two CPUs: ticks of user time, and as many idle ones."""
    lines = [f"cpu{cpu} {ticks} 0 0 {ticks} 7 0 0 0 0 0" for cpu, ticks in enumerate(busy_ticks)]
    path.write_text("\n".join(["cpu 999 9 9 9 9 9 9 9 9 9", *lines, "intr 5"]) + "\n")
    return path


@pytest.fixture
def meter_of(tmp_path, monkeypatch):
    """Make a meter of a period of ten seconds."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(os, "sysconf", lambda name: 100)

    def make(before, after, own=0.0):
        times, spent = iter([0.0, *[10.0] * 9]), iter([0.0, *[own] * 9])
        meter = LoadMeter(stat(tmp_path / "stat", *before), lambda: next(times), lambda: next(spent))
        stat(tmp_path / "stat", *after)
        return meter

    return make


def test_what_others_take_is_the_rest_of_the_busy_time(meter_of):
    meter = meter_of((100, 100), (1100, 600), own=5.0)  # 15 s of 20 were busy, 5 of them this process's
    assert meter.others() == pytest.approx(1.0)
    assert meter.note() == "Other processes use 1.0 of the 2 CPUs"


def test_threads_that_leave_a_cpu_free_lend_it_to_others(meter_of):
    meter = meter_of((100, 100), (1100, 600), own=5.0)
    assert meter.note(num_threads=1) is None
    assert meter.note(num_threads=2) == meter.note(num_threads=4) == "Other processes use 1.0 of the 2 CPUs"


def test_no_cpu_time_or_one_of_an_odd_kind_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    path = tmp_path / "stat"
    for text in (None, "cpu0 1 2 3\n", "cpu0\n", "cpu0 a b c d e f g h\n", ""):
        if text is not None:
            path.write_text(text)
        assert LoadMeter(path).others() is LoadMeter(path).note() is None


def test_what_other_machines_take_is_not_of_programs_here(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    path, times = tmp_path / "stat", iter([0.0, 10.0])
    path.write_text("cpu0 100 0 0 100 0 0 0 0 0 0\n")
    meter = LoadMeter(path, lambda: next(times), lambda: 0.0)
    path.write_text("cpu0 100 0 0 100 0 0 0 900 0 0\n")
    assert meter.others() == 0


def test_what_this_process_has_started_is_its_own_work(tmp_path, monkeypatch):
    def process(number, parent, ticks):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "stat").write_text(f"{number} (a) b) S {parent} {'0 ' * 9}{ticks} 0 0 0 20 0\n")

    monkeypatch.setattr(os, "getpid", lambda: 10)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    monkeypatch.setattr(os, "times", lambda: (1.0, 0.5, 0.0, 0.0, 99.0))
    for number, parent, ticks in [(10, 1, 150), (11, 10, 200), (12, 11, 300), (13, 1, 4000)]:
        process(number, parent, ticks)
    assert own_cpu_seconds(tmp_path) == pytest.approx(1.5 + 2 + 3)
    process(1, 0, 100)
    assert own_cpu_seconds(tmp_path, root=1) == pytest.approx(1 + 1.5 + 2 + 3 + 40), "a launcher with two ranks"


@pytest.mark.parametrize(("seconds", "waited"), [(0.03, 0.07), (5.0, 0.0)])
def test_a_meter_that_began_earlier_is_waited_for_no_longer_than_a_tenth(monkeypatch, seconds, waited):
    slept, times = [], iter([1.0, 1.0 + seconds, 2.0 + seconds])
    monkeypatch.setattr("headwater.machine.host.load.time.sleep", slept.append)
    busy_now(LoadMeter(clock=lambda: next(times)))
    assert slept == [pytest.approx(waited)]
