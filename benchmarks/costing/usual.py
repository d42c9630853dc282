"""The layout of a run that states none: what a practitioner would try, and the fastest of it that fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from headwater.forecast.device import Device
from headwater.forecast.efficiency import shipped_efficiency
from headwater.forecast.layout import Layout, Recompute
from headwater.forecast.memory import estimate_memory
from headwater.forecast.time import step_seconds, step_work
from headwater.forecast.transformer import Transformer

BATCH_TOKENS, MICROBATCH_TOKENS = 4e6, 16384
USUAL_DEGREES = ((1, 1), (2, 1), (4, 1), (8, 1), (4, 4), (8, 4), (8, 8), (8, 16))
"Tensor and pipeline parallelism that a practitioner would try."


def least_recompute(shape: Transformer, layout: Layout, device: Device) -> Layout:
    """Return the layout with as little recomputation as fits: none, attention's core, some layers, all of them."""
    options: list[tuple[Recompute, float]] = [("none", 1.0), ("selective", 1.0)]
    options += [("full", part / 8) for part in range(1, 9)]
    for recompute, part in options:
        layout = replace(layout, recompute=recompute, recomputed_layers=part)
        if estimate_memory(shape, layout).needed <= device.memory_bytes:
            break
    return layout


def usual_layout(shape: Transformer, device: Device, start: Layout, words: str) -> Layout:
    """Return the fastest of a few usual layouts that fit: FSDP, tensor parallelism, pipelines.

    `words` such as "TP4 PP12" fix the degrees. Rows go forward up to 16 thousand tokens together, the batch is about 4
    million tokens, a pipeline interleaves one layer at a time and shards optimizer state only.
    """
    stated = {name: int(degree) for name, degree in re.findall(r"\b(TP|PP)(\d+)", words)}
    degrees = ((stated.get("TP", 1), stated.get("PP", 1)),) if stated else USUAL_DEGREES
    options = [layout for tensor, pipeline in degrees for layout in _options(shape, device, start, tensor, pipeline)]
    fitting = [layout for layout in options if estimate_memory(shape, layout).needed <= device.memory_bytes]
    if not options:
        return start
    if not fitting:
        return min(options, key=lambda layout: estimate_memory(shape, layout).needed)
    efficiency = shipped_efficiency()
    return min(
        fitting, key=lambda layout: step_seconds(step_work(shape, layout, device), efficiency) / layout.batch_rows
    )


def _options(shape: Transformer, device: Device, start: Layout, tensor: int, pipeline: int) -> Iterator[Layout]:
    """Yield layouts of these degrees with few and many rows together, as far as such a layout can be."""
    num_parts = tensor * pipeline
    heads = shape.num_heads
    if start.num_devices % num_parts or heads % tensor or pipeline > shape.num_layers:
        return
    data = start.num_devices // num_parts
    for rows in {1, max(1, MICROBATCH_TOKENS // shape.seq_len)}:
        # a pipeline with fewer microbatches than stages would mostly wait
        per_replica = max(pipeline, round(BATCH_TOKENS / (data * rows * shape.seq_len)))
        layout = replace(
            start,
            tensor=tensor,
            pipeline=pipeline,
            virtual_stages=max(1, shape.num_layers // pipeline) if pipeline > 1 else 1,
            sharding="fsdp" if pipeline == 1 else "zero1",
            microbatch_rows=rows,
            batch_rows=data * rows * per_replica,
        )
        yield least_recompute(shape, layout, device)


def in_words(layout: Layout) -> str:
    return (
        f"layout: tensor {layout.tensor}, pipeline {layout.pipeline}, {layout.sharding}, "
        f"{layout.batch_rows} rows a step, {layout.microbatch_rows} a microbatch, "
        f"recompute {layout.recompute}"
    )
