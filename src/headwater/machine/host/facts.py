"""What the machine at hand is, its cores and memory, and how fast it multiplies, found out in a moment. No torch."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

SIZE, REPEATS = 768, 6
CPUINFO, NVIDIA = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia/gpus")
PROCESSES = Path("/proc")
CPUS, CGROUPS = Path("/sys/devices/system/cpu"), Path("/sys/fs/cgroup")


def float32_rate_per_core() -> float:
    """Return FLOP/s of one core in fp32, by numpy's matrix product on one thread (0.05 s).

    Divided by the thread's own time, not by the clock: other work on the machine doesn't count. With numpy's own
    threads it would be half or twice of it, as it happens: they spin, and their time is told late.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    left = np.ones((SIZE, SIZE), dtype=np.float32)
    best = 0.0
    with threadpool_limits(limits=1, user_api="blas"):
        left @ left
        for _ in range(REPEATS):
            started_at = time.thread_time()
            left @ left
            spent = time.thread_time() - started_at
            if spent > 0:  # a coarse clock may not have moved
                best = max(best, 2 * SIZE**3 / spent)
    return best


def cpu_flags(path: Path = CPUINFO) -> set[str]:
    """Return the instructions that the processor lists; none where the system doesn't say."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())


def fast_dtype(flags: set[str]) -> str:
    """Return what `machine.dtype = "auto"` most likely finds fastest: int8 where it is exact and bf16 is fast, too.

    With AMX torch's products in int8 are 0.9 to 1.2 times as fast as those in bf16 (docs/log.md, 2026-11-26,
    Plans: what fits), too little for a run.
    """
    if "amx_bf16" in flags:
        return "bfloat16"
    if "avx512_bf16" in flags:
        return "int8" if "avx512_vnni" in flags else "bfloat16"
    return "float32"


def gpu_name(folder: Path = NVIDIA) -> str | None:
    """Return the name of the first GPU that the driver lists, or None."""
    try:
        for path in sorted(folder.glob("*/information")):
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("Model:"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        return None
    return None


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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


def stat_of(pid: int, processes: Path = PROCESSES) -> list[str]:
    """Return what Linux says of a process, from its state's letter on; [] where there is none, or nothing is said."""
    try:
        text = (processes / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


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
