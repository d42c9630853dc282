"""Freed memory is kept for the next step, measured in pages that the system had to hand out."""

from __future__ import annotations

import platform
import subprocess
import sys
from mmap import mmap
from pathlib import Path

import pytest

import headwater
from headwater.machine.host.facts import memory_bytes
from headwater.machine.host.memory import available_bytes, resident_bytes

PROGRAM = """
import resource, sys
import torch
from headwater.machine.host.memory import keep_freed_memory

def faults_of_one_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 * 2**20 // 4)  # more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    keep_freed_memory()
    keep_freed_memory()
print(*(faults_of_one_step() for _ in range(6)))
"""


def faults(what: str) -> list[int]:
    """Return the page faults of six steps, each of which takes 64 MB and frees it, in a process of its own."""
    return said(PROGRAM, what)


def said(program: str, *arguments: str) -> list[int]:
    environment = {"PYTHONPATH": str(Path(headwater.__file__).parents[1]), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another one")
def test_the_memory_of_one_step_is_there_for_the_next():
    first, *later = faults("keep")
    # where the heap begins is random: once in a while a second step finds the first one's memory a little too short
    assert sorted(later)[-2] < first / 10, (first, later)
    freed = faults("free")
    assert min(freed[1:]) > freed[0] / 2, f"{freed}: the C library keeps it anyway, so that the test shows nothing"


GIVING_BACK = """
from headwater.machine.host.memory import give_back_freed_memory, keep_freed_memory, resident_bytes
keep_freed_memory()
blocks = [bytearray(100_000) for _ in range(1000)]
pinned = bytearray(100_000)  # above them: the heap can't shrink
del blocks
before = resident_bytes()
give_back_freed_memory()
print(before - resident_bytes())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another one")
def test_memory_freed_below_what_is_in_use_is_given_back():
    assert said(GIVING_BACK)[0] > 80_000_000


def test_memory_is_measured():
    before = resident_bytes()
    with mmap(-1, 64 << 20) as pages:  # the system's own: a tensor may be given memory that this process kept
        pages.write(b"x" * len(pages))
        assert resident_bytes() - before > 48 << 20
    assert 0 < available_bytes() < memory_bytes() < 2**50
