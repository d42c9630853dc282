import os

import pytest

from headwater.machine.host.facts import usable_cores


@pytest.fixture
def cpus(tmp_path, monkeypatch):
    """Eight CPUs, two hardware threads a core: 0 and 4 share one, 1 and 5, …"""
    for cpu in range(8):
        folder = tmp_path / "cpus" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    return tmp_path / "cpus"


def allow(monkeypatch, *numbers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(numbers))


def test_two_hardware_threads_of_a_core_count_once(cpus, tmp_path, monkeypatch):
    allow(monkeypatch, *range(8))
    assert usable_cores(cpus, tmp_path / "none") == 4


def test_only_cpus_that_the_process_may_use_count(cpus, tmp_path, monkeypatch):
    allow(monkeypatch, 1, 5, 2)
    assert usable_cores(cpus, tmp_path / "none") == 2


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 4), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_a_quota_pays_for_whole_cores(cpus, tmp_path, monkeypatch, limit, cores):
    allow(monkeypatch, *range(8))
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert usable_cores(cpus, tmp_path) == cores


def test_where_the_system_says_nothing_every_cpu_is_a_core(tmp_path, monkeypatch):
    allow(monkeypatch, 0, 1, 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 3
