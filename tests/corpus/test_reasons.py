from __future__ import annotations

import ast
from pathlib import Path

import pytest

import headwater.corpus.quality as quality
from headwater.corpus.reasons import STAGES, dropped_by_stage, stage_of

FOLDER = Path(quality.__file__).parent
JUDGES = ("filter", "lines", "repetition", "language", "classifier", "steps")


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        ("contaminated_mmlu", "protection"), ("redacted_email", "protection"), ("licence_not_allowed", "protection"),
        ("held_out_probe", "protection"), ("near_duplicate", "duplicates"), ("too_short", "quality"),
        ("not_utf8", "reading"), ("damaged_gzip", "reading"), ("empty", "reading"), ("boilerplate_lines", "quality"), ("repeated_line", "duplicates"),
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
