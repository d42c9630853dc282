"""A published run's description in words, as what its software does.

Benchmarks name programs and their options ("PTD-P, full activation recompute", "FSDP+TP+compile+float8, full AC").
What the words of a program imply is written here once, as facts about it and not about its results.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from costing.layout import Precision, Recompute, Sharding, Software
from headwater.core.errors import DataError

FUSED_LOSS_BYTES = 4.0
"Logits and their gradient in bf16."
CURRENT = Software(kernels="eager")
"FSDP of PyTorch with flash attention, uncompiled."
LLM_FOUNDRY_2023 = replace(CURRENT, attention="flash", logit_bytes=FUSED_LOSS_BYTES)
"""Its tables were made with a Triton kernel of the first flash attention, and with flash attention's fused loss, which
its models take unless told otherwise: bf16 logits and their gradient, nothing in fp32."""
MEGATRON_2021 = Software(attention="unfused", kernels="fused", hides_data_traffic=False, logit_bytes=10.0)
"""Megatron-LM of arXiv:2104.04473: fused kernels, scores in memory, gradients reduced after the backward pass; three
parts a device where it interleaves (arXiv:2205.05198, table 3)."""
MEGATRON_NOW = replace(MEGATRON_2021, attention="flash-2")
"With flash attention, optimizer state split over replicas, and parts of one layer where it interleaves."
MEGASCALE = replace(MEGATRON_NOW, hides_tensor_traffic=True, hides_data_traffic=True, is_parallel_block=True)
"arXiv:2402.15627, section 3: parallel block, all exchange overlapped."
TORCHTITAN = Software(repeats_keys=True)
"""FSDP2 with torch.compile; two parts a device where it interleaves; every second product kept unless all is
recomputed; shared keys and values repeated for every query head before context parallelism exchanges them."""
DEEPSPEED_ZERO3 = Software(attention="unfused", kernels="fused", uses_all_network_cards=False, logit_bytes=10.0)
"ZeRO-3 of 2021: gathers through one card at a time."
PARTS = {MEGATRON_2021: 3, TORCHTITAN: 2}
"Parts of the model on one device where a program interleaves; those of one layer for all others."

PROGRAMS: tuple[tuple[str, Software], ...] = (
    (r"deepspeed zero-3", DEEPSPEED_ZERO3),
    (r"megascale", MEGASCALE),
    (r"ptd-p|megatron-deepspeed", MEGATRON_2021),
    (r"sequence parallel", MEGATRON_2021),
    (r"^full recompute$", MEGATRON_2021),
    (r"megatron-lm|tp\d+ pp\d+|interleave", MEGATRON_NOW),
)
"First match wins."


INTERLEAVED_UNSAID = r"sequence parallel|^full recompute$|megascale|pp\+cp(?! 1f1b)"
"Descriptions whose papers say that they interleave: arXiv:2205.05198, table 3; 2402.15627, table 2; 2407.21783, 3.3.2."


@dataclass(frozen=True)
class Technique:
    """What the words say; None where they don't."""

    software: Software
    sharding: Sharding | None
    recompute: Recompute | None
    keeps_half_the_matmuls: bool
    virtual_stages: int | None
    "Parts of the model on one device, where that is said; `interleaved_parts` says what a program does else."
    interleaved_parts: int | None
    is_interleaved: bool


def read_technique(words: str, *, year: int | None = None) -> Technique:
    """Return what a description says of the software."""
    text = words.lower()
    software = next((software for pattern, software in PROGRAMS if re.search(pattern, text)), None)
    is_megatron = software is not None and software is not DEEPSPEED_ZERO3
    if software is None:
        software = _by_year(year)
    parts = PARTS.get(software)
    is_torchtitan = "compile" in text or "float8" in text
    if is_torchtitan:
        parts = PARTS[TORCHTITAN]
        software = replace(TORCHTITAN, hides_tensor_traffic=bool(re.search(r"async ?tp", text)))
        if year is not None and year >= 2025:
            # its loss is compiled as well since then: nothing in fp32
            software = replace(software, logit_bytes=FUSED_LOSS_BYTES)
    recompute = _recompute(text)
    every_second = (is_torchtitan and recompute != "full") or bool(re.search(r"selective ac|op-sac", text))
    return Technique(
        software=software,
        sharding=_sharding(text, is_megatron, software.attention == "unfused"),
        recompute="selective" if every_second else recompute,
        keeps_half_the_matmuls=every_second,
        virtual_stages=int(found.group(1)) if (found := re.search(r"interleave (\d+)", text)) else None,
        interleaved_parts=parts,
        is_interleaved="interleaved" in text or bool(re.search(INTERLEAVED_UNSAID, text)),
    )


def _by_year(year: int | None) -> Software:
    """Return what was usual: scores in memory until 2022 (arXiv:2205.14135), compilers from 2024, Hopper's kernel of
    attention from 2025."""
    if year is None or year == 2023:
        return CURRENT
    return MEGATRON_2021 if year <= 2022 else Software(attention="flash-3" if year >= 2025 else "flash-2")


def _sharding(text: str, is_megatron: bool, software_is_old: bool) -> Sharding | None:
    if "zero-1" in text:
        return "zero1"
    if re.search(r"hsdp|fsdp|zero-3|full ac\b", text):
        return "fsdp"
    if is_megatron:
        return "none" if software_is_old else "zero1"
    return None


def _recompute(text: str) -> Recompute | None:
    if re.search(r"full (activation )?recompute|full ac|megatron-deepspeed", text):  # arXiv:2201.11990, section 3.1
        return "full"
    return "selective" if "selective" in text else None


def read_precision(words: str) -> Precision:
    """Return the precision of the blocks' products, bf16 where nothing is said; raise DataError for another.

    fp16 counts as bf16; a scale a row is slower than one a tensor.
    """
    text = words.lower()
    if text.strip() and not re.search(r"(bf|fp|float|bfloat)(16|8|4)|mixed|half", text):
        raise DataError(f"precision={words!r} is none of bf16, fp16, fp8, fp8-rowwise and fp4, which can be planned")
    if "rowwise" in text:
        return "fp8-rowwise"
    if "fp8" in text or "float8" in text:
        return "fp8"
    return "fp4" if "fp4" in text else "bf16"
