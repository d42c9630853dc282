"""Data sheets as the model of a cluster needs them: headwater's devices, with their other rates and their memory's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import ConfigError
from headwater.core.tables import CsvRow, number, required, table
from headwater.plan.forecast import device


@dataclass(frozen=True)
class Device(device.Accelerator):
    """One accelerator; a rate in fp8 or fp4 is None where there are no such units.

    `watts` is the limit it runs at, `full_watts` that of the data sheet's peaks.
    """

    fp8_flops: float | None
    fp4_flops: float | None
    memory_bandwidth: float
    full_watts: float

    def peak_flops(self, precision: str) -> float:
        """Return the dense peak of matrix multiplication; raise ConfigError where the device has no such units."""
        peak = {"fp8": self.fp8_flops, "fp4": self.fp4_flops}.get(precision, self.bf16_flops)
        if peak is None:
            raise ConfigError(f"{self.name} multiplies no {precision}")
        return peak

    @property
    def clock(self) -> float:
        """Return how fast it may run under its power limit: power goes as the cube of frequency (CMOS scaling)."""
        return min(1.0, (self.watts / self.full_watts) ** (1 / 3))


def read_devices(path: Path | None = None) -> dict[str, Device]:
    """Return the devices of headwater's table, or of another, by every name they go by."""
    rows = {row["name"]: (row, f"{place}, {row['name']}") for place, row in table("hardware.csv", path, device.COLUMNS)}
    return {name: _device(plain, *rows[plain.name]) for name, plain in device.read_devices(path).items()}


def _device(plain: device.Accelerator, row: CsvRow, where: str) -> Device:
    narrow = {name: number(row, f"{name}_TFLOPs", where=where) for name in ("fp8", "fp4")}
    fp8, fp4 = (None if rate is None else rate * 1e12 for rate in narrow.values())
    return Device(
        **vars(plain),
        fp8_flops=fp8,
        fp4_flops=fp4,
        memory_bandwidth=required(row, "memory_TBps", where=where) * 1e12,
        full_watts=number(row, "full_watts", where=where) or plain.watts,
    )
