"""Rows of training_runs.csv: whole runs (`params_total`, `tokens`, …), whose layout is seldom stated."""

from __future__ import annotations

from costing.infer import Sizes, infer_shape
from costing.job import Devices, WholeRun, maybe_whole, whole
from headwater.core.errors import DataError
from headwater.core.tables import CsvRow, number
from headwater.plan.forecast.device import find_device


def read_training_run(row: CsvRow, devices: Devices, where: str) -> WholeRun:
    pue = number(row, "pue", where=where)
    if pue is not None and pue < 1:
        raise DataError(f"{where}: pue={pue:g} is below 1, which is a data centre that uses less than its computers")
    stated = number(row, "params_active", where=where) or number(row, "params_total", where=where)
    return WholeRun(
        name=row.get("model") or where,
        device=find_device(row["hardware"], devices),
        params=stated or infer_shape(_sizes(row, where)).num_params,
        tokens=number(row, "tokens", where=where),
        pue=pue,
    )


def _sizes(row: CsvRow, where: str) -> Sizes:
    return Sizes(
        num_layers=whole(row, "n_layers", where),
        d_model=whole(row, "d_model", where),
        num_heads=whole(row, "n_heads", where),
        vocab_size=whole(row, "vocab", where),
        seq_len=whole(row, "seq_len", where),
        num_kv_heads=maybe_whole(row, "n_kv_heads", where),
        d_ff=maybe_whole(row, "d_ff", where),
    )
