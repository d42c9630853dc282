"""What is read and measured stays: another limit, a new measure, a file more or a kill do again only what they must."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from small_run import prose

from headwater.core.errors import DataError
from headwater.core.task_output import work_folder
from headwater.corpus.build import build_corpus
from headwater.corpus.engine import local
from headwater.corpus.engine.tasks import doer_of
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks.work import open_work

SHOUTING = """
from headwater.corpus import Column, Measure

class Shouting(Measure):
    columns = {"exclamations": Column(float, "exclamation marks for each sentence")}

    def measure(self, texts):
        return {"exclamations": [text.count("!") / max(text.count("."), 1) for text in texts]}
"""
NUM_TEXTS = 9
QUICKLY = [Phase.explicit, Phase.reuse, Phase.generate]  # a build takes a second, a smaller example hundreds
NO_LANGUAGE = {"min_mean_word_length": None, "max_mean_word_length": None, "min_sentences": 0, "min_words": 0}
NO_LANGUAGE |= {"min_sentence_characters": 0, "max_short_line_fraction": None, "max_lines_per_word": None}


class Room:
    """A folder of texts, some of them copies and versions of others, and the corpora that are built from it."""

    def __init__(self, folder: Path, num_texts: int, seed: int = 0) -> None:
        self.folder, self._chance = folder, random.Random(seed)
        for name in ("book", "page"):
            (folder / "in" / name).mkdir(parents=True)
        (folder / "mine.py").write_text(SHOUTING)
        self._texts: list[str] = []
        for _ in range(num_texts):
            self.add()

    def add(self) -> None:
        chance, number = self._chance, len(self._texts)
        words = prose(number, 12).split(" ")
        if number > 2 and chance.random() < 0.4:
            words = chance.choice(self._texts).partition("\nMade")[0].split(" ")
            words[chance.randrange(len(words))] = "other!"
        self._texts.append(" ".join(words) + "\nMade by people who like rivers and the notices below them.")
        # a name may come before those that were read
        name = f"{chance.choice(['book', 'page'])}/{chance.randrange(10**6):06d}-{number}.txt"
        (self.folder / "in" / name).write_text(self._texts[-1])

    def build(self, corpus="corpus", **changed):
        sources = {"a": {"paths": [f"{self.folder}/in/book"], "kind": "text"}}
        sources["b"] = {"paths": [f"{self.folder}/in/page"], "kind": "web"}
        table = {"sources": sources, "rules": {"web": NO_LANGUAGE, "text": {"min_mean_word_length": None}}}
        table |= {"boilerplate": {"min_pages": 3, "min_share": 0.1}, "task_bytes": 1000, "engine": {"workers": 1}}
        build_corpus(CorpusSettings.model_validate(table | changed), self.folder / corpus, lambda line: None)
        return files_of(self.folder / corpus)

    def fresh(self, **changed):
        """Return the files of the corpus that is built from nothing."""
        for folder in (self.folder / "fresh", work_folder(self.folder / "fresh")):
            shutil.rmtree(folder, ignore_errors=True)
        return self.build("fresh", **changed)

    @property
    def work(self) -> Path:
        (layout,) = work_folder(self.folder / "corpus").iterdir()
        return layout

    def done(self, *stages):
        """Return the outputs of tasks, each with what shows that it was written again."""
        folders = [path for stage in stages for path in (self.work / stage).iterdir()]
        return {path.relative_to(self.work): path.stat().st_ino for path in folders}

    def measured_by(self):
        return {path.name.rpartition("-")[0] for path in (self.work / "columns").iterdir()}


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path, NUM_TEXTS)


@pytest.fixture
def done(monkeypatch):
    """Return the tasks that this process does, in their order."""
    tasks = []

    def noting(*maker):
        do = doer_of(*maker)
        return lambda task: (do(task), tasks.append(task))

    monkeypatch.setattr(local, "doer_of", noting)
    return tasks


CHANGES = [
    {"rules": {"web": {**NO_LANGUAGE, "min_characters": 770}, "text": {"min_characters": 770}}},
    {"limits": {"web": {"words": {"max": 122}}, "text": {"characters": {"min": 770}}}},
    {"dedup": {"min_similarity": 0.95}},
    {"dedup": {"exact": False}},
    {"boilerplate": {"min_pages": 2, "min_share": 1.0}},
    {"validation_fraction": 0.4},
    {"shard_bytes": 1500},
]


def test_another_limit_changes_no_text_and_no_column_and_gives_what_a_build_from_nothing_does(room):
    first, before = room.build(), room.done("texts", "columns")
    for changed in CHANGES:
        other = room.build(**changed)
        assert room.done("texts", "columns") == before, changed
        assert other == room.fresh(**changed) != first, changed
    assert room.build() == first, "the limit is as it was"
    assert room.done("texts", "columns") == before


@given(st.integers(20, 60), st.integers(20, 60), st.integers(0, 2**30))
@example(50, 30, 0)  # pages of forty words of their own
@settings(max_examples=1, deadline=None, phases=QUICKLY)
def test_how_many_words_pages_need_holds_for_their_own_text_too(tmp_path_factory, least, then, seed):
    chance, room = random.Random(seed), Room(tmp_path_factory.mktemp("least"), 2, seed)
    own = [f"w{chance.randrange(5000)}" for _ in range(40)]
    for number in range(12):
        if number % 2:
            own[chance.randrange(40)] = "changed"
        else:
            own = [f"w{chance.randrange(5000)}" for _ in range(40)]
        (room.folder / "in" / "page" / f"own{number}.txt").write_text(f"{' '.join(own)}\n{prose(99, 20)}")
    rules = [{"web": {**NO_LANGUAGE, "min_words": each}} for each in (least, then)]
    room.build(rules=rules[0])
    assert room.build(rules=rules[1]) == room.fresh(rules=rules[1])


def test_a_new_measure_adds_its_own_columns_and_no_text(room):
    first, before = room.build(), room.done("texts", "columns")
    measures = {"shouting": {"class": f"{room.folder}/mine.py:Shouting"}}
    room.build(measures=measures)
    after = room.done("texts", "columns")
    assert before.items() <= after.items()
    assert {path.name.rpartition("-")[0] for path in after.keys() - before.keys()} == {"shouting"}
    assert len(after) - len(before) == NUM_TEXTS
    limits = {"web": {"exclamations": {"max": 0.01}}}
    assert room.build(measures=measures, limits=limits) == room.fresh(measures=measures, limits=limits) != first
    assert room.done("texts", "columns") == after
    (room.folder / "mine.py").write_text(SHOUTING.replace('count("!")', 'count("?")'))
    room.build(measures=measures)
    assert {path.name.rpartition("-")[0] for path in after.keys() - room.done("texts", "columns").keys()} == {
        "shouting"
    }
    room.build()
    assert room.done("texts", "columns") == before, "columns of no use are removed"


@given(st.integers(3, 16), st.integers(1, 3), st.integers(0, 2**30))
@example(8, 1, 0)  # numbers of pairs move with the slices before them
@settings(max_examples=1, deadline=None, phases=QUICKLY)
def test_a_file_that_is_added_reads_itself(tmp_path_factory, num_texts, num_more, seed):
    room = Room(tmp_path_factory.mktemp("added"), num_texts, seed)
    room.build()
    before = room.done("texts", "columns")
    for _ in range(num_more):
        room.add()
    found, after = room.build(), room.done("texts", "columns")
    assert before.items() <= after.items()
    assert len(after) - len(before) == num_more * (1 + len(room.measured_by()))
    assert found == room.fresh()
    (gone,) = random.Random(seed).sample(sorted((room.folder / "in").rglob("*.txt")), 1)
    gone.unlink()
    found, rest = room.build(), room.done("texts", "columns")
    assert rest.items() <= after.items() and len(after) - len(rest) == 1 + len(room.measured_by())
    assert found == room.fresh()


@pytest.mark.parametrize("more", [0, 1])
def test_a_question_is_asked_again_only_where_its_answers_are_found_in_another_way(room, more):
    room.build()
    (plan,) = (room.work / "plans").iterdir()
    paths = []
    for version in (1, 1 + more):
        work = open_work(str(plan))
        work.ask("tried", {0: pa.table({"record": [0]})}, {"version": version}, lambda number, table: None)
        paths.append(work.path_of("tried", 0))
    assert len(set(paths)) == 1 + more


class Killed(BaseException):
    pass


@given(st.data())
@settings(suppress_health_check=list(HealthCheck), max_examples=3, deadline=None, phases=QUICKLY)
def test_a_build_that_is_killed_keeps_what_is_done(tmp_path_factory, data):
    room, did = Room(tmp_path_factory.mktemp("killed"), data.draw(st.integers(3, 9))), []
    last = [10**9]

    def mortal(*maker):
        do = doer_of(*maker)

        def killed(task):
            if len(did) == last[0]:
                last[0] = 10**9
                raise Killed
            do(task)
            did.append(task)

        return killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "doer_of", mortal)
        whole = room.fresh()
        num_tasks = len(did)
        did.clear()
        last[0] = data.draw(st.integers(0, num_tasks - 1))
        with pytest.raises(Killed):
            room.build()
        assert room.build() == whole
    assert len(did) == len(set(did)) == num_tasks


def test_a_corpus_without_a_document_keeps_what_was_read(room, done):
    with pytest.raises(DataError, match="the corpus is empty"):
        room.build(limits={kind: {"characters": {"min": 10**6}} for kind in ("web", "text")})
    assert "texts" in {task.stage for task in done}
    done.clear()
    found, again = room.build(), {task.stage for task in done}
    assert found == room.fresh()
    assert not again & {"texts", "columns"}


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
@settings(suppress_health_check=list(HealthCheck), max_examples=3, deadline=None, phases=QUICKLY)
def test_what_was_cut_short_is_done_again(tmp_path_factory, which, share):
    room = Room(tmp_path_factory.mktemp("short"), 6)
    whole, before = room.build(), room.done("texts", "columns")
    files = sorted(path for stage in ("texts", "columns") for path in (room.work / stage).rglob("*") if path.is_file())
    cut = files[which % len(files)]
    os.truncate(cut, int(share * cut.stat().st_size))
    room.build(shard_bytes=1500)
    assert room.build() == whole
    assert sorted(before) == sorted(room.done("texts", "columns"))


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
@settings(max_examples=5, deadline=None, phases=QUICKLY)
def test_a_bit_that_flipped_is_an_error_that_says_what_to_remove_or_changes_nothing(
    tmp_path_factory, which, share, bit
):
    room = Room(tmp_path_factory.mktemp("flipped"), 4)
    room.build()
    other = room.fresh(validation_fraction=0.4)
    files = sorted(path for stage in ("texts", "columns") for path in (room.work / stage).rglob("*.parquet"))
    damaged = files[which % len(files)]
    data = bytearray(damaged.read_bytes())
    data[int(share * len(data))] ^= 1 << bit
    damaged.write_bytes(data)
    try:
        assert room.build(validation_fraction=0.4) == other
    except DataError as error:
        place = str(error).partition("remove ")[2].partition(" and")[0].rstrip(".")
        assert damaged.is_relative_to(place), error
        shutil.rmtree(place)
        assert room.build(validation_fraction=0.4) == other
