"""At which stage a text is dropped, by its reason: reading, protection, quality, duplicates.

A reason that none of the later stages has is a reader's: formats bring their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAGES = ("reading", "protection", "quality", "duplicates")

_PROTECTION = {"held_out_probe", "licence_not_allowed"}
_PROTECTION_PREFIXES = ("contaminated_", "redacted_")
_DUPLICATES = {"exact_duplicate", "near_duplicate", "repeated_paragraph", "repeated_line"}
_QUALITY_REASONS = (
    "boilerplate_lines bullet_list code_in_text cut_off_lines data_file encoded_data few_sentences few_stop_words "
    "few_words generated long_lines long_words low_alpha_fraction low_quality many_symbols other_language "
    "placeholder_text repeated_lines repeated_ngrams repeated_passages short_lines short_words site_notice too_short "
    "unfinished_lines unsure_language wrongly_decoded"
)
_QUALITY = frozenset(_QUALITY_REASONS.split())


def stage_of(reason: str) -> str:
    """Return the stage of a reason, one of STAGES."""
    if reason in _PROTECTION or reason.startswith(_PROTECTION_PREFIXES):
        return "protection"
    if reason in _DUPLICATES:
        return "duplicates"
    return "quality" if reason in _QUALITY else "reading"


def commonest_first(amounts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, Any]]:
    """Return reasons with their amounts: by documents, then by bytes."""
    return sorted(amounts.items(), key=lambda item: (-item[1]["documents"], -item[1]["bytes"], item[0]))


def dropped_by_stage(sheet: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {stage: {documents, bytes, reasons: {reason: {documents, bytes}}}} of a balance sheet, commonest first."""
    stages: dict[str, dict[str, Any]] = {stage: {"documents": 0, "bytes": 0, "reasons": {}} for stage in STAGES}
    for reason, amount in commonest_first(sheet["dropped"]):
        stage = stages[stage_of(reason)]
        stage["documents"] += amount["documents"]
        stage["bytes"] += amount["bytes"]
        stage["reasons"][reason] = amount
    return stages
