"""Every kind of hostile file, small, in one folder: each is kept or dropped with the right reason, and nothing stops."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from hostility.all import CASES
from hostility.build import build_over, decisions, is_balanced
from hostility.case import Case

SMALL = 50_000


@dataclass(frozen=True)
class Built:
    manifest: dict[str, Any]
    outcomes: dict[int, Counter[str]]
    "By the number of the case."


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """Build one corpus of all kinds, once: what is made to take a parser's whole memory or time takes ten seconds."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, case in enumerate(CASES):
        place = folder / "in" / f"{number:03d}"
        place.mkdir(parents=True)
        case.make(place, min(SMALL, case.largest))
    manifest = build_over(folder / "in", folder / "out")
    found = {number: Counter() for number in range(len(CASES))}
    for origin, decision in decisions(folder / "out"):
        found[int(os.path.relpath(origin, folder / "in")[:3])][decision] += 1
    # pytest's own way of removing it calls itself for every level
    subprocess.run(["rm", "-rf", "--", str(folder / "in")], check=True)
    return Built(manifest, found)


def test_the_account_is_exact(built):
    assert is_balanced(built.manifest)
    assert built.manifest["sources"]["hostile"]["read"]["documents"] > len(CASES)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_a_hostile_file_is_kept_or_dropped_for_the_right_reason(built, number):
    case: Case = CASES[number]
    assert built.outcomes[number], "nothing was read"
    assert set(built.outcomes[number]) <= case.outcomes


def test_what_wants_to_be_written_elsewhere_is_not(built, tmp_path_factory):
    assert not list(tmp_path_factory.getbasetemp().rglob("up.txt"))


def test_every_case_has_a_name_of_its_own():
    assert len({case.name for case in CASES}) == len(CASES) >= 80
