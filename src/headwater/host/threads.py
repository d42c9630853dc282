"""How many threads compute: one for each physical core that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cpus: Path = CPUS, cgroups: Path = CGROUPS) -> int:
    """Return the physical cores among the CPUs this process may run on, within its container's quota (cgroup v2, as
    seen from inside it).

    Two hardware threads of one core share its vector units: a second thread there makes matmuls no faster, and every
    parallel region waits for the slower of the two. A container's quota of CPU time counts as whole cores:
    threads beyond it are stopped in turn while the others wait for them. Where the system says nothing about cores,
    every CPU counts as one.
    """
    allowed = allowed_cpus()
    cores = {_core(cpu, cpus) for cpu in allowed}
    return max(1, min(len(cores), _quota(cgroups)))


def allowed_cpus() -> list[int]:
    """Return the numbers of the CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def has_quota(cgroups: Path = CGROUPS) -> bool:
    """Return whether a container's quota pays for fewer CPUs than the process may run on."""
    return _quota(cgroups) < len(allowed_cpus())


def _core(cpu: int, cpus: Path) -> str:
    """Return a name that the hardware threads of one core share."""
    try:
        return (cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text(encoding="ascii").strip()
    except OSError:
        return f"cpu {cpu}"


def _quota(cgroups: Path) -> int:
    """Return the whole cores that the container's quota pays for; all CPUs where none is found."""
    try:
        quota, period = (cgroups / "cpu.max").read_text(encoding="ascii").split()
        return max(1, math.floor(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # no file, or "max"
        return os.cpu_count() or 1
