"""What this machine has and lacks, measured: what `headwater doctor --json` prints."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution, requires
from typing import Any

OF_DEVELOPERS = ("bench", "dev")


def measure_machine() -> dict[str, Any]:
    """Return cores, memory, disk, measured peak and bandwidth, what compiles, and which packages each extra lacks."""
    import torch

    from headwater.machine.compute import inspect_machine, threads
    from headwater.machine.device.device import memory_bandwidth
    from headwater.machine.device.settings import MachineSettings
    from headwater.machine.host.facts import memory_bytes

    facts = inspect_machine(MachineSettings())
    with threads(facts.num_threads):
        bandwidth = memory_bandwidth(torch.device(facts.device))
    return {
        "device": facts.device_name,
        "gpu": None if facts.device == "cuda" else _why_no_gpu(torch.version.cuda, facts.torch_version),
        "cores": facts.num_threads,
        "memory_bytes": memory_bytes(),
        "free_disk_bytes": shutil.disk_usage(".").free,
        "torch": facts.torch_version,
        "compiles": facts.compiled,
        "note": facts.note,
        "dtype": facts.dtype,
        "dtype_why": facts.dtype_why,
        "flops_per_second_by_dtype": facts.rates,  # of one thread on a processor, as `dtype_why` says
        "peak_flops_per_second": facts.peak_flops_per_second,
        "load": facts.load,
        "memory_bytes_per_second": bandwidth,
        "extras": missing_packages(),
    }


def _why_no_gpu(cuda: str | None, version: str) -> str:
    """Return why no GPU is used, and what to do where there is one."""
    if cuda is None:
        which = "the +cpu build" if version.endswith("+cpu") else "built without CUDA"
        return f"none: this torch is {which}; for an NVIDIA GPU: pip install --force-reinstall torch"
    return f"none found, though this torch is built for CUDA {cuda}; `nvidia-smi` shows whether the driver finds one"


def missing_packages() -> dict[str, list[str]]:
    """Return, for each extra that a user may want, which of its packages aren't installed here."""
    found: dict[str, list[str]] = {}
    for package, extra in re.findall(r"^([\w.-]+).*extra == .(\w+)", "\n".join(requires("headwater") or []), re.M):
        if extra not in OF_DEVELOPERS:
            found.setdefault(extra, []).extend([] if _is_installed(package) else [package])
    return found


def _is_installed(package: str) -> bool:
    try:
        return bool(distribution(package))
    except PackageNotFoundError:
        return False
