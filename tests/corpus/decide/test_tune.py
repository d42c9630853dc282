"""What another limit would keep, by columns: equal to a build with it, for limits and columns that are drawn."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from small_run import prose

from headwater.core.errors import ConfigError, DataError
from headwater.core.files import remove_folder
from headwater.core.task_output import work_folder
from headwater.corpus.balance import stage_of
from headwater.corpus.build import build_corpus
from headwater.corpus.decide.tune import tune
from headwater.corpus.sources.settings import CorpusSettings


def settings_with(folder: Path, limits: dict[str, object] | None = None, **more: object) -> CorpusSettings:
    sources = {"pages": {"paths": [str(folder / "pages.jsonl")], "kind": "web"}}
    return CorpusSettings.model_validate({"sources": sources, "limits": {"web": limits or {}}, **more})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    draw = random.Random(3)
    texts = [prose(draw.randrange(1, 400), number) + "!" * draw.randrange(4) for number in range(120)]
    lines = [json.dumps({"text": text, "id": str(number)}) for number, text in enumerate(texts + texts[:10])]
    (folder / "pages.jsonl").write_text("\n".join(lines) + "\n")
    build_corpus(settings_with(folder), folder / "corpus", print)
    return folder


@pytest.mark.parametrize("seed", range(2))
def test_what_limits_would_keep_is_what_a_build_with_them_keeps_but_for_copies(folder, tmp_path, seed):
    draw = random.Random(seed)
    column = draw.choice(["words", "characters", "sentences", "mean_word_length"])
    usual = tune(folder / "corpus", settings_with(folder), column).quantiles
    limit = draw.uniform(usual["0.25"], usual["0.75"])
    other = settings_with(folder, {column: {draw.choice(["min", "max"]): limit}})
    found = tune(folder / "corpus", other, column)
    balance = build_corpus(other, tmp_path / "corpus", print)["sources"]["pages"]
    copies = sum(
        amount["documents"] for reason, amount in balance["dropped"].items() if stage_of(reason) == "duplicates"
    )
    would_keep = sum(each.would_keep["documents"] for each in found.changes)
    assert would_keep == balance["kept"]["documents"] + copies
    assert sum(each["would_keep"] for each in found.histogram) <= would_keep
    assert sum(each.read["documents"] for each in found.changes) == balance["read"]["documents"]


@pytest.mark.parametrize(
    ("more", "column", "said"),
    [
        ({"redact": {}}, None, "corpus build"),
        ({"limits": {"web": {"nothing": {"max": 1}}}}, None, "no measure has that column"),
        ({}, "nothing", "no measure has the column"),
    ],
)
def test_what_is_no_limit_is_refused(folder, more, column, said):
    table = settings_with(folder).model_dump(mode="json") | more
    with pytest.raises(ConfigError, match=said):
        tune(folder / "corpus", CorpusSettings.model_validate(table), column)


def test_without_the_work_of_the_build_it_says_what_makes_it(folder, tmp_path):
    build_corpus(settings_with(folder), tmp_path / "corpus", print)
    remove_folder(work_folder(tmp_path / "corpus"))
    with pytest.raises(DataError, match="headwater corpus build"):
        tune(tmp_path / "corpus", settings_with(folder))


def test_evaluation_sets_may_be_named_from_the_folder_that_a_command_is_given_in(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set.txt").write_text(prose(40, 999))
    settings = settings_with(folder, decontaminate={"sets": {"mine": ["set.txt"]}})
    build_corpus(settings, tmp_path / "corpus", print)
    assert tune(tmp_path / "corpus", settings).changes


def test_the_bars_of_a_histogram_touch_and_hold_every_document(folder):
    found = tune(folder / "corpus", settings_with(folder), "words")
    assert all(one["to"] == other["from"] for one, other in pairwise(found.histogram))
    assert (found.histogram[0]["from"], found.histogram[-1]["to"]) == (found.quantiles["min"], found.quantiles["max"])
    assert sum(each["documents"] for each in found.histogram) == sum(each.read["documents"] for each in found.changes)
