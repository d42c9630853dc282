from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from small_pieces import cut_into_pieces

from headwater.core.task_output import work_folder
from headwater.corpus.build import build_corpus
from headwater.corpus.engine import local
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks import arrays, runs
from headwater.corpus.tasks.run import STAGES
from headwater.corpus.tasks.worker_context import WorkerContext

VOCABULARY = [f"word{number}" for number in range(2000)]
GATHERING = ["merge_keys", "merge_exact", "merge_near", "merge_repeats"]


def write_texts(folder, num_texts, seed=0):
    """Write files of texts, two sources, some of them copies and versions of others, some that share a paragraph."""
    chance = random.Random(seed)
    shared = " ".join(chance.choices(VOCABULARY, k=20))
    texts = list[str]()
    while len(texts) < num_texts:
        kind = chance.random()
        if texts and kind < 0.15:
            texts.append(chance.choice(texts))
        elif texts and kind < 0.4:
            words = chance.choice(texts).split(" ")
            words[chance.randrange(len(words))] = "changed"
            texts.append(" ".join(words))
        else:
            paragraphs = [" ".join(chance.choices(VOCABULARY, k=25)) for _ in range(2)]
            texts.append("\n\n".join([*paragraphs, shared] if kind > 0.8 else paragraphs))
    folder.mkdir()
    for start in range(0, num_texts, 10):
        lines = [json.dumps({"text": text}) for text in texts[start : start + 10]]
        (folder / f"{'ab'[start >= num_texts // 2]}{start:05d}.jsonl").write_text("\n".join(lines))


def settings_for(folder, **dedup):
    dedup = {"num_bands": 6, "rows_per_band": 3, **dedup}
    rules = {"min_characters": 0, "min_alpha_fraction": None, "max_top_ngram_fractions": None}
    of_pages = {"min_words": 0, "min_sentences": 0, "min_sentence_characters": 0, "min_sentence_fraction": None}
    of_pages |= {
        "min_stop_words": 0,
        "max_repeated_10gram_fraction": None,
        "max_short_line_fraction": None,
        "max_lines_per_word": None,
    }
    table = {
        "sources": {
            "a": {"paths": [str(folder / "a*")]},
            "code": {"paths": [str(Path(__file__))], "kind": "almanac"},  # a segment without bands
            "b": {"paths": [str(folder / "b*")], "kind": "web"},
        },
        "rules": {"text": rules, "web": {**rules, **of_pages}},
        "boilerplate": {"min_pages": 8, "min_share": 0.05},
        "task_bytes": 6000,
        "engine": {"workers": 1},
        "dedup": dedup,
    }
    return CorpusSettings.model_validate(table)


def build(folder, out, **dedup):
    return build_corpus(settings_for(folder, **dedup), out, lambda line: None)


def tree_bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def small(monkeypatch):
    """Cut all into so small pieces that a small corpus is merged in several levels."""
    cut_into_pieces(
        monkeypatch, SEGMENT_DOCUMENTS=4, ROWS_A_RANGE=32, MOST_TASKS=4, ROWS_A_FILE=1, FLAGS_A_FILE=30, MOST_FILES=3,
        MOST_MERGED=5, ROWS_AT_ONCE=20, SLICE_ROWS=3,
    )  # fmt: skip


@pytest.fixture
def done(monkeypatch):
    """Return the tasks that this process does, in their order."""
    tasks, do = [], local.run_task

    def noted(context, task):
        do(context, task)
        tasks.append(task)

    monkeypatch.setattr(local, "run_task", noted)
    return tasks


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge_keys") / "in"
    write_texts(folder, 240)
    return folder


@pytest.fixture(scope="module")
def unmerged(texts, tmp_path_factory):
    """Return the files of the corpus that is made without merging anything."""
    out = tmp_path_factory.mktemp("unmerged") / "corpus"
    manifest = build(texts, out)
    assert all(manifest["sources"][name]["dropped"]["near_duplicate"]["documents"] > 5 for name in "ab")
    assert manifest["sources"]["b"]["dropped"].keys() == {"exact_duplicate", "near_duplicate", "boilerplate_lines"}
    return tree_bytes(out)


def test_a_corpus_made_of_merged_files_is_the_same(texts, unmerged, tmp_path, small, done):
    build(texts, tmp_path / "corpus")
    stages = [task.stage for task in done]
    assert {stage: stages.count(stage) > 2 for stage in GATHERING} == dict.fromkeys(GATHERING, True)
    dropped = [json.loads(line)["metadata"] for name in "ab" for line in read_lines(tmp_path / "corpus/dropped" / name)]
    assert any("duplicate_of" in metadata for metadata in dropped)
    assert tree_bytes(tmp_path / "corpus") == unmerged


def test_a_small_corpus_merges_nothing(texts, tmp_path, done):
    build(texts, tmp_path / "corpus")
    assert not {task.stage for task in done} & set(GATHERING)
    assert set(STAGES) >= set(GATHERING)


def test_tasks_may_be_done_in_any_order_each_by_a_process_of_its_own(texts, unmerged, tmp_path, small, monkeypatch):
    def run(engine, tasks, listener):
        for task in random.Random(0).sample(tasks, len(tasks)):
            local.run_task(WorkerContext(engine._context.work.folder), task)

    monkeypatch.setattr(local.InProcess, "run", run)
    build(texts, tmp_path / "corpus")
    assert tree_bytes(tmp_path / "corpus") == unmerged


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", GATHERING)
def test_a_build_that_is_killed_while_it_merges_goes_on(texts, unmerged, tmp_path, small, monkeypatch, stage):
    do, done, place = local.run_task, [], 1

    def killed(context, task):
        if task.stage == stage and sum(each.stage == stage for each in done) == place:
            raise Killed
        do(context, task)
        done.append(task)

    monkeypatch.setattr(local, "run_task", killed)
    with pytest.raises(Killed):
        build(texts, tmp_path / "corpus")
    place = -1
    build(texts, tmp_path / "corpus")
    assert len(done) == len(set(done)), "a task was done twice"
    assert tree_bytes(tmp_path / "corpus") == unmerged


def test_what_a_run_has_is_what_its_segments_have(texts, tmp_path, small, monkeypatch):
    def stop(*_):
        raise Killed

    monkeypatch.setitem(STAGES, "exact", stop)
    with pytest.raises(Killed):
        build(texts, tmp_path / "corpus")
    (folder,) = (path for path in work_folder(tmp_path / "corpus").iterdir() if path.is_dir())
    context = WorkerContext(folder)
    assert context.runs.plan.num_levels >= 2
    assert len(list(context.runs)) <= 3
    names = ["exact", *(f"band{band}" for band in range(6)), "lines", "passages"]
    for name in names:
        parts = []
        for segment in context.segments:
            file = context.segments.arrays(segment)
            if name in file:
                rows = file.map(name)
                parts.append((rows[rows.dtype.names[0]], rows["at"].astype(np.uint64) + np.uint64(segment.start)))
        keys, numbers = (np.concatenate(columns) for columns in zip(*parts))
        rows = [(run.file.map(name), run) for run in context.runs if name in run.file]
        for each, _ in rows:
            assert (np.diff(each[each.dtype.names[0]].astype(object)) >= 0).all(), f"{name} is not sorted"
        found_keys = np.concatenate([each[each.dtype.names[0]] for each, _ in rows])
        found_numbers = np.concatenate([run.numbers(each) for each, run in rows])
        assert sorted(zip(found_keys, found_numbers)) == sorted(zip(keys, numbers))


def opens_of_search(texts, out, monkeypatch):
    """Build a corpus and return how often a file of arrays was opened by all that comes after filtering."""
    counted = []

    def noted(path, mode):
        counted.append(path)
        return open(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(arrays, "open", noted, raising=False)
        build(texts, out, num_bands=3)
    return sum("candidates" not in str(path) for path in counted)


def test_files_are_opened_in_proportion_to_documents_not_to_their_square(tmp_path, monkeypatch):
    cut_into_pieces(monkeypatch, SEGMENT_DOCUMENTS=2, ROWS_A_RANGE=12, ROWS_A_FILE=4, MOST_MERGED=64)
    sizes = (50, 200)
    for num_texts in sizes:
        write_texts(tmp_path / f"{num_texts}", num_texts)
    growth = {}
    for name, most in {"merged": 4, "as they are": 1_000_000}.items():
        cut_into_pieces(monkeypatch, MOST_FILES=most)
        few, many = (opens_of_search(tmp_path / f"{size}", tmp_path / name / f"{size}", monkeypatch) for size in sizes)
        growth[name] = many / few
    assert growth["as they are"] > 9, f"four times the documents open {growth} times the files: the test tests nothing"
    assert growth["merged"] < 5, f"four times the documents open {growth} times the files"


def test_tasks_of_the_search_are_no_more_than_a_thousand_a_kind_of_key():
    rows = 22_000_000_000
    tasks = runs.cut_keys(rows)
    assert len(tasks) == runs.MOST_TASKS
    ranges = [keys for task in tasks for keys in task]
    assert [low for low, _ in ranges] == [0, *(high for _, high in ranges[:-1])], "every key is in one range"
    assert ranges[-1][1] == 2**64 and rows / len(ranges) <= runs.ROWS_A_RANGE
