"""Rows of parallelism_benchmarks.csv: layouts over many devices (`n_gpus`, `tp`, `pp`, …)."""

from __future__ import annotations

import re
from dataclasses import replace

from costing.device import Device
from costing.infer import Sizes, infer_shape
from costing.job import Devices, Job, maybe_whole, whole, whole_or
from costing.layout import Layout, Recompute, Software
from costing.memory import estimate_memory
from costing.technique import Technique, read_precision, read_technique
from costing.transformer import Transformer
from headwater.core.errors import DataError
from headwater.core.tables import CsvRow, number
from headwater.plan.forecast.device import find_device


def read_parallelism(row: CsvRow, devices: Devices, where: str) -> Job:
    device = find_device(row["hardware"], devices)
    shape = _parallelism_shape(row, where)
    technique = read_technique(row.get("technique") or "", year=_year(row.get("source") or "", device))
    degrees = {name: whole_or(row, name, 1, where) for name in ("tp", "pp", "cp")}
    num_devices, batch_rows = whole(row, "n_gpus", where), whole(row, "global_batch_seqs", where)
    data = num_devices // (degrees["tp"] * degrees["pp"] * degrees["cp"])
    if data * degrees["tp"] * degrees["pp"] * degrees["cp"] != num_devices or whole_or(row, "dp", data, where) != data:
        raise DataError(
            f"{where}: tp × pp × cp × dp = {' × '.join(str(degree) for degree in degrees.values())} × "
            f"{row.get('dp') or data} is not n_gpus={num_devices}; correct one of them"
        )
    layout = Layout(
        num_devices=num_devices,
        batch_rows=batch_rows,
        microbatch_rows=_parallelism_microbatch(row, batch_rows // max(1, data), degrees["pp"], where),
        tensor=degrees["tp"],
        pipeline=degrees["pp"],
        context=degrees["cp"],
        virtual_stages=_virtual_stages(technique, shape.num_layers // degrees["pp"], degrees["pp"]),
        sharding=technique.sharding or ("zero1" if degrees["pp"] > 1 else "fsdp"),
        keeps_half_the_matmuls=technique.keeps_half_the_matmuls,
        precision=read_precision(row.get("precision") or ""),
        software=_loss_over_ranks(technique.software, degrees["tp"]),
    )
    if technique.recompute is None:
        layout = least_recompute(shape, layout, device)
    else:
        layout = replace(layout, recompute=technique.recompute)
    return Job(row.get("bench") or where, shape, layout, device)


def _loss_over_ranks(software: Software, tensor: int) -> Software:
    """Return software whose loss over split logits holds two fp32 copies more: shifted logits, their exponentials."""
    return replace(software, logit_bytes=software.logit_bytes + 8) if tensor > 1 else software


def _parallelism_shape(row: CsvRow, where: str) -> Transformer:
    return infer_shape(
        Sizes(
            num_layers=whole(row, "n_layers", where),
            d_model=whole(row, "d_model", where),
            num_heads=whole(row, "n_heads", where),
            vocab_size=whole(row, "vocab", where),
            seq_len=whole(row, "seq_len", where),
            params=number(row, "params", where=where),
        )
    )


def _parallelism_microbatch(row: CsvRow, rows_of_replica: int, pipeline: int, where: str) -> int:
    """Return rows that go forward together.

    A pipeline whose stated microbatch is the replica's whole batch cuts it into as many parts as it has stages
    (torchtitan's default); without a statement it is 1 row in a pipeline, and up to 16 otherwise.
    """
    stated = maybe_whole(row, "micro_batch", where)
    if stated is None:
        return 1 if pipeline > 1 else _largest_divisor(rows_of_replica, 16)
    if pipeline > 1 and stated >= rows_of_replica > 1:
        return max(1, rows_of_replica // pipeline)
    return stated


def _largest_divisor(number_of_rows: int, most: int) -> int:
    return max(part for part in range(1, most + 1) if number_of_rows % part == 0) if number_of_rows else 1


def _virtual_stages(technique: Technique, layers_of_stage: int, pipeline: int) -> int:
    if pipeline == 1:
        return 1
    if technique.virtual_stages is not None:
        return max(1, min(technique.virtual_stages, layers_of_stage))
    stated = technique.interleaved_parts
    parts = layers_of_stage if stated is None else stated
    return parts if technique.is_interleaved and parts <= layers_of_stage else 1


def _year(source: str, device: Device) -> int | None:
    """Return the year that a source's name holds (…_202412_…, …_2025-06_…), or of the first such device."""
    found = re.search(r"[_-](20\d\d)-?\d\d[_.]", source)
    return int(found.group(1)) if found else 2025 if device.architecture == "blackwell" else None


def least_recompute(shape: Transformer, layout: Layout, device: Device) -> Layout:
    """Return the layout with as little recomputation as fits: none, attention's core, some layers, all of them."""
    options: list[tuple[Recompute, float]] = [("none", 1.0), ("selective", 1.0)]
    options += [("full", part / 8) for part in range(1, 9)]
    for recompute, part in options:
        layout = replace(layout, recompute=recompute, recomputed_layers=part)
        if estimate_memory(shape, layout).needed <= device.memory_bytes:
            break
    return layout
