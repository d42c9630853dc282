"""What the verb doctor shows."""

from __future__ import annotations

from typing import Any

from headwater.cli.terminal import table


def print_findings(findings: dict[str, Any]) -> None:
    giga = {name: value / 1e9 for name, value in findings.items() if isinstance(value, int | float)}
    load = f"{findings['load']}: peak and bandwidth are too low; measure again when it is idle"
    lines = [
        ("device", f"{findings['device']}, {findings['cores']} cores, {giga['memory_bytes']:.0f} GB memory"),
        ("gpu", findings["gpu"]),
        ("disk", f"{giga['free_disk_bytes']:.0f} GB free here"),
        ("torch", f"{findings['torch']}, {'compiling works' if findings['compiles'] else findings['note']}"),
        ("format", f"{findings['dtype']}, {findings['dtype_why']}"),
        ("peak", f"{giga['peak_flops_per_second']:,.0f} GFLOP/s in it"),
        ("bandwidth", f"{giga['memory_bytes_per_second']:.0f} GB/s of memory read and written"),
        ("load", load if findings["load"] else None),
    ]
    for name, missing in findings["extras"].items():
        lacks = f"{', '.join(missing)} missing; pip install 'headwater[{name}]'"
        lines.append(("extra", f"{name}: {lacks if missing else 'installed'}"))
    table([line for line in lines if line[1] is not None], "<<")
