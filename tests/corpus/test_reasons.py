from __future__ import annotations

from pathlib import Path

import pytest

from headwater.corpus.balance import STAGES, dropped_by_stage, stage_of, stages_of_reasons
from headwater.corpus.decide.limits import limits_of
from headwater.corpus.measures.language import Language
from headwater.corpus.measures.statistics import Statistics
from headwater.corpus.sources.settings import CorpusSettings

PAGE = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")
OWN = {"min": 0, "max": 1}
SETTINGS = CorpusSettings.model_validate(
    {
        "sources": {"mine": {"paths": ["x"]}},
        "limits": {"web": {"own": OWN}},
        "languages": ["en"],
        "licences": {"allow": ["MIT"]},
    }
)


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        ("contaminated_mmlu", "protection"), ("redacted_email", "protection"), ("licence_not_allowed", "protection"),
        ("held_out_probe", "protection"), ("near_duplicate", "duplicates"), ("too_short", "quality"),
        ("not_utf8", "reading"), ("damaged_gzip", "reading"), ("empty", "reading"), ("boilerplate_lines", "quality"),
        ("own_too_low", "quality"), ("own_too_high", "quality"),
    ],
)  # fmt: skip
def test_a_reason_belongs_to_a_stage(reason, stage):
    assert stage_of(reason) == stage


def test_every_limit_has_a_reason_that_is_known():
    limits = limits_of(SETTINGS)
    assert len({limit.reason for limit in limits}) > 20
    stages = {limit.reason: stage_of(limit.reason) for limit in limits}
    assert {reason for reason, stage in stages.items() if stage != "quality"} == {"empty", "licence_not_allowed"}


def test_the_stages_add_up_to_what_was_dropped():
    amounts = {"too_short": (3, 30), "near_duplicate": (2, 200), "redacted_email": (0, 17), "not_utf8": (1, 5)}
    sheet = {"dropped": {reason: {"documents": d, "bytes": b} for reason, (d, b) in amounts.items()}}
    stages = dropped_by_stage(sheet)
    assert tuple(stages) == STAGES
    assert sum(stage["documents"] for stage in stages.values()) == 6
    assert sum(stage["bytes"] for stage in stages.values()) == 252
    assert stages["duplicates"] == {
        "documents": 2,
        "bytes": 200,
        "reasons": {"near_duplicate": {"documents": 2, "bytes": 200}},
    }


def test_every_reason_that_skips_a_name_and_every_rule_of_quality_is_in_the_table_of_the_page():
    quality = sorted(reason for reason, stage in stages_of_reasons().items() if stage == "quality")
    of_names = ["hidden", "tool_folder", "already_read", "link_loop", "broken_link", "own_output", "link_in_archive"]
    assert [reason for reason in (*of_names, *quality) if reason not in PAGE] == []


def test_the_page_lists_the_columns_that_measures_declare():
    values = {float: "number", int: "whole number", bool: "true or not", str: "word"}
    columns = Statistics.columns | Language.columns
    rows = [f"| {name} | {values[column.type]} | {column.what} |" for name, column in columns.items()]
    assert "\n".join(["| column | values | what it says of a text |", "| --- | --- | --- |", *rows]) in PAGE, "\n".join(
        rows
    )
