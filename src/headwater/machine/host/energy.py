"""Energy of a run: measured where the machine counts it, else estimated, and said which."""

from __future__ import annotations

from pathlib import Path

RAPL = Path("/sys/class/powercap")
MEASURED = "measured by the CPU's package counters (RAPL)"
WATTS_A_CORE = 12.0  # package power of a server CPU under load, per core: e.g. 360 W at 32 cores, 280 W at 24


class EnergyMeter:
    """Count energy from construction on: by the CPU's own counters (RAPL) if they can be read."""

    def __init__(self, num_threads: int, device: str = "cpu") -> None:
        """`num_threads` are those of all ranks; counters are of this machine alone."""
        self._num_threads, self._device = num_threads, device
        self._start = _read_counters()

    def watt_hours(self, seconds: float) -> tuple[float, str]:
        """Return the energy used and how it is known; `seconds` is the time since construction."""
        now, part = _read_counters(), "" if self._device == "cpu" else "the CPU's part alone, without the GPU: "
        if self._start and set(now) == set(self._start):
            microjoules = sum((now[zone][0] - self._start[zone][0]) % now[zone][1] for zone in now)
            return microjoules / 3.6e9, part + MEASURED
        watts = WATTS_A_CORE * self._num_threads
        how = f"estimated: {WATTS_A_CORE:.0f} W a core × {self._num_threads} × time; no power counter can be read here"
        return watts * seconds / 3600, part + how


def _read_counters() -> dict[str, tuple[int, int]]:
    zones = {}
    try:
        for zone in sorted(RAPL.glob("intel-rapl:?")):
            energy = int((zone / "energy_uj").read_text())
            zones[zone.name] = (energy, int((zone / "max_energy_range_uj").read_text()) + 1)
    except (OSError, ValueError):
        return {}
    return zones
