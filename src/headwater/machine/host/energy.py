"""Energy of a run: measured where the machine counts it, else estimated, and said which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

RAPL = Path("/sys/class/powercap")
MEASURED = "measured"  # begins what is said of energy that was counted
WATTS_A_CORE = 12.0  # package power of a server CPU under load, per core: e.g. 360 W at 32 cores, 280 W at 24


class EnergyMeter:
    """Count energy from construction on: by the counters of the CPU (RAPL) and of GPUs (NVML) if they can be read."""

    def __init__(self, num_threads: int, gpus: Sequence[str] = ()) -> None:
        """`num_threads` are of all ranks, `gpus` the UUIDs of those that compute; counters are of this machine."""
        self._num_threads, self._gpus = num_threads, gpus
        self._start = self._read()

    def _read(self) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
        return _read_packages(), _read_gpus(self._gpus)

    def watt_hours(self, seconds: float) -> tuple[float, str]:
        """Return the energy used and how it is known; `seconds` is the time since construction."""
        (packages_before, gpus_before), (packages, gpus) = self._start, self._read()
        if packages_before and set(packages) == set(packages_before):
            microjoules = sum((packages[zone][0] - packages_before[zone][0]) % packages[zone][1] for zone in packages)
            found, how = microjoules / 3.6e9, f"{MEASURED} by the CPU's package counters (RAPL)"
        else:
            watts = WATTS_A_CORE * self._num_threads
            each = f"{WATTS_A_CORE:.0f} W a core × {self._num_threads} × time"
            found, how = watts * seconds / 3600, f"estimated: {each}; no power counter can be read here"
        if not self._gpus:
            return found, how
        if not gpus or set(gpus) != set(gpus_before):
            return found, f"the CPU's part alone, without the GPU (nvidia-ml-py reads it): {how}"
        millijoules = sum(gpus[gpu] - gpus_before[gpu] for gpu in gpus)
        return found + millijoules / 3.6e6, f"{MEASURED} by the GPUs' counters (NVML); the CPU's part is {how}"


def _read_packages() -> dict[str, tuple[int, int]]:
    """Return the microjoules of each package of this machine's processors, and at how many its counter wraps."""
    zones = {}
    try:
        for zone in sorted(RAPL.glob("intel-rapl:?")):
            energy = int((zone / "energy_uj").read_text())
            zones[zone.name] = (energy, int((zone / "max_energy_range_uj").read_text()) + 1)
    except (OSError, ValueError):
        return {}
    return zones


def _read_gpus(uuids: Sequence[str]) -> dict[str, int]:
    """Return the millijoules of GPUs since their driver was loaded; {} where nothing says."""
    if not uuids:
        return {}
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        handles = {uuid: pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids}
        return {uuid: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for uuid, handle in handles.items()}
    except pynvml.NVMLError:  # of before Volta, or one that is cut in instances
        return {}
