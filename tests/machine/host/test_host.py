"""What the machine at hand says of itself, from files made here."""

from __future__ import annotations

import time

import pytest
from golden_rows import rows
from threadpoolctl import threadpool_info, threadpool_limits

from headwater.machine.host import facts
from headwater.machine.host.facts import cpu_flags, fast_dtype, float32_rate_per_core, gpu_name


@pytest.mark.parametrize(("flags", "dtype"), rows("the_fast_dtype_follows_the_instructions"))
def test_the_fast_dtype_follows_the_instructions(tmp_path, flags, dtype):
    (tmp_path / "cpuinfo").write_text(f"model name\t: some\nflags\t\t: {flags}\n")
    assert fast_dtype(cpu_flags(tmp_path / "cpuinfo")) == dtype


def test_a_system_that_says_nothing_has_neither(tmp_path):
    assert cpu_flags(tmp_path / "none") == set()
    assert gpu_name(tmp_path / "none") is None


def test_a_gpu_is_found_by_its_drivers_list(tmp_path):
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n")
    assert gpu_name(tmp_path) == "NVIDIA H100 80GB HBM3"


def test_a_core_multiplies_at_a_rate_that_can_be():
    assert 1e8 < float32_rate_per_core() < 1e13


def test_the_rate_of_a_core_is_taken_on_one_thread_whatever_numpy_takes_elsewhere(monkeypatch):
    seen = []

    class Watched:
        @staticmethod
        def thread_time() -> float:
            seen.append([library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"])
            return time.thread_time()

    with threadpool_limits(limits=2, user_api="blas"):
        monkeypatch.setattr(facts, "time", Watched)
        facts.float32_rate_per_core()
        after = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    assert seen and all(number == 1 for numbers in seen for number in numbers)
    assert set(after) <= {1, 2} and (2 in after or not after)
