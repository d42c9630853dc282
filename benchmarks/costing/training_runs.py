"""Rows of training_runs.csv: whole runs (`params_total`, `tokens`, …), whose layout is seldom stated."""

from __future__ import annotations

from costing.infer import Sizes, infer_shape
from costing.job import Devices, Job, maybe_whole, pue_of, whole
from costing.technique import read_precision, read_technique
from costing.usual import in_words, usual_layout
from headwater.forecast.device import find_device
from headwater.forecast.layout import Layout
from headwater.tables import CsvRow, number


def read_training_run(row: CsvRow, devices: Devices, where: str) -> Job:
    device = find_device(row["hardware"], devices)
    shape = infer_shape(_run_sizes(row, where))
    stated = maybe_whole(row, "n_accel", where)
    num_devices = stated or _usual_devices(shape.num_params)
    software = read_technique("", year=maybe_whole(row, "year", where)).software
    start = Layout(num_devices, num_devices, 1, precision=read_precision(row.get("precision") or ""), software=software)
    layout = usual_layout(shape, device, start, row.get("parallelism") or "")
    assumed = () if stated else (f"{num_devices} devices",)
    return Job(
        name=row.get("model") or where,
        shape=shape,
        layout=layout,
        device=device,
        assumed=(*assumed, in_words(layout)),
        tokens=number(row, "tokens", where=where),
        pue=pue_of(row, where),
    )


def _run_sizes(row: CsvRow, where: str) -> Sizes:
    return Sizes(
        num_layers=whole(row, "n_layers", where),
        d_model=whole(row, "d_model", where),
        num_heads=whole(row, "n_heads", where),
        vocab_size=whole(row, "vocab", where),
        seq_len=whole(row, "seq_len", where),
        params=number(row, "params_active", where=where) or number(row, "params_total", where=where),
        num_kv_heads=maybe_whole(row, "n_kv_heads", where),
        d_ff=maybe_whole(row, "d_ff", where),
    )


def _usual_devices(params: int) -> int:
    """Return a size of cluster: 8 below 2 billion parameters, 256 below 30, else 2048."""
    return 8 if params < 2e9 else 256 if params < 30e9 else 2048
