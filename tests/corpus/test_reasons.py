from __future__ import annotations

import ast
from pathlib import Path

import headwater.corpus.quality as quality
import pytest

from headwater.corpus.balance import STAGES, dropped_by_stage, stage_of, stages_of_reasons
from headwater.corpus.sources.rules import CodeRules, WebRules
from headwater.corpus.toml_tables import toml_table

FOLDER = Path(quality.__file__).parent
JUDGES = ("filter", "lines", "repetition", "language", "classifier")


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        ("contaminated_mmlu", "protection"), ("redacted_email", "protection"), ("licence_not_allowed", "protection"),
        ("held_out_probe", "protection"), ("near_duplicate", "duplicates"), ("too_short", "quality"),
        ("not_utf8", "reading"), ("damaged_gzip", "reading"), ("empty", "reading"), ("boilerplate_lines", "quality"),
    ],
)  # fmt: skip
def test_a_reason_belongs_to_a_stage(reason, stage):
    assert stage_of(reason) == stage


def test_every_reason_that_a_rule_of_quality_returns_is_known_as_one():
    calls = [
        node
        for name in JUDGES
        for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Broken", "below", "above")
    ]
    reasons = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    assert len(reasons) > 15
    assert {reason for reason in reasons if stage_of(reason) != "quality"} <= {"empty"}


def test_reasons_stand_with_the_commonest_first():
    amounts = {"few_words": (1, 5), "long_words": (9, 1), "many_symbols": (1, 50)}
    sheet = {"dropped": {reason: {"documents": d, "bytes": b} for reason, (d, b) in amounts.items()}}
    assert list(dropped_by_stage(sheet)["quality"]["reasons"]) == ["long_words", "many_symbols", "few_words"]


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
    page = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")
    quality = sorted(reason for reason, stage in stages_of_reasons().items() if stage == "quality")
    of_names = ["hidden", "tool_folder", "already_read", "link_loop", "broken_link", "own_output", "link_in_archive"]
    assert [reason for reason in (*of_names, *quality) if reason not in page] == []


def test_the_settings_that_reasons_name_are_there_and_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")
    known = {name for rules in (WebRules, CodeRules) for name in rules.model_fields}
    named = toml_table("headwater.corpus", "reasons")["rules"]
    assert set(named) <= set(stages_of_reasons()) and set(named.values()) <= known
    assert [setting for setting in named.values() if setting not in page] == []
