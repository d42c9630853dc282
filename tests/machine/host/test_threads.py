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


@pytest.mark.parametrize(
    ("allowed", "limit", "cores"),
    [
        (range(8), None, 4),  # two hardware threads of a core count once
        ([1, 5, 2], None, 2),
        (range(8), "max 100000", 4),
        (range(8), "200000 100000", 2),  # a quota pays for whole cores
        (range(8), "250000 100000", 2),
        (range(8), "50000 100000", 1),
    ],
)
def test_cores_are_those_that_the_process_may_use_and_its_quota_pays_for(
    cpus, tmp_path, monkeypatch, allowed, limit, cores
):
    allow(monkeypatch, *allowed)
    if limit:
        (tmp_path / "cpu.max").write_text(limit + "\n")
    assert usable_cores(cpus, tmp_path) == cores


def test_where_the_system_says_nothing_every_cpu_is_a_core(tmp_path, monkeypatch):
    allow(monkeypatch, 0, 1, 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 3
