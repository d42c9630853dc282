"""Durable writes: under a final name there is either a complete file or folder, or what was there before."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_plan import die, faults
from hypothesis import given
from hypothesis import strategies as st

from headwater.core import disk, files, manifests
from headwater.core.errors import StorageError
from headwater.core.json_lines import JsonLines
from headwater.core.manifests import read_manifest, read_sealed_manifest, seal


class Interruption(Exception):
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- files


def test_a_file_that_fails_halfway_leaves_the_old_one_and_no_trace(tmp_path):
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(Interruption), files.new_file(target) as file:
        file.write(b"half of the n")
        raise Interruption
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("text", ["plain", "\u2028\x85\x00", "中文 🙂", "file-\udcff.txt", "\ud83d"])
def test_any_text_comes_back_from_json(tmp_path, text):
    files.write_json(tmp_path / "a.json", {text: [text]})
    assert files.read_json(tmp_path / "a.json") == {text: [text]}
    lines = JsonLines(tmp_path / "a.jsonl")
    lines.append({text: [text]})
    lines.close()
    assert json.loads((tmp_path / "a.jsonl").read_bytes()) == {text: [text]}
    assert files.digest_json({"a": text}) != files.digest_json({"a": text + " "})


# ---- folders


def build(folder: Path, content: dict[str, str], *, replace: bool = False, fail: bool = False) -> None:
    with files.new_folder(folder, replace=replace) as temporary:
        for name, text in content.items():
            files.write_text(temporary / name, text)
            assert not folder.exists() or "new" not in contents(folder)
        if fail:
            raise Interruption


def test_a_folder_that_fails_halfway_leaves_no_trace(tmp_path):
    with pytest.raises(Interruption):
        build(tmp_path / "stage", {"new": "1", "deep/er": "2"}, fail=True)
    assert names(tmp_path) == []


def test_a_replacement_that_fails_leaves_the_old_folder_whole(tmp_path):
    build(tmp_path / "stage", {"old": "1", "deep/er": "2"})
    with pytest.raises(Interruption):
        build(tmp_path / "stage", {"new": "1"}, replace=True, fail=True)
    assert contents(tmp_path / "stage") == {"old": b"1", "deep/er": b"2"}
    assert names(tmp_path) == ["stage"]


@pytest.fixture
def no_exchange(monkeypatch):
    """A file system that can't let two folders exchange their names atomically."""
    monkeypatch.setattr(disk, "_renamed_at_once", lambda first, second: False)


@pytest.mark.parametrize("is_exchanged", [True, False])
def test_a_replacement_leaves_nothing_of_the_old_folder(tmp_path, request, is_exchanged):
    if not is_exchanged:
        request.getfixturevalue("no_exchange")
    build(tmp_path / "stage", {"old": "1"})
    build(tmp_path / "stage", {"new": "1"}, replace=True)
    assert contents(tmp_path / "stage") == {"new": b"1"}
    assert names(tmp_path) == ["stage"]


def test_a_replacement_whose_last_rename_fails_puts_the_old_folder_back(tmp_path, no_exchange):
    build(tmp_path / "count", {"old": "1"})
    with faults("") as counted:
        build(tmp_path / "count", {"new": "1"}, replace=True)
    renames = [number for number, kind in enumerate(counted.operations, 1) if kind == "rename"]
    build(tmp_path / "stage", {"old": "1"})
    with faults(f"errno=EIO@{renames[-2]}"), pytest.raises(StorageError, match="check the disk"):
        build(tmp_path / "stage", {"new": "1"}, replace=True)
    assert contents(tmp_path / "stage") == {"old": b"1"}
    assert names(tmp_path) == ["count", "stage"]


def test_a_folder_that_exists_is_never_overwritten_without_replace(tmp_path):
    build(tmp_path / "stage", {"old": "1"})
    with pytest.raises(StorageError, match="never overwritten"):
        build(tmp_path / "stage", {"other": "1"})
    assert contents(tmp_path / "stage") == {"old": b"1"}
    assert names(tmp_path) == ["stage"]


def test_remove_folder_removes_all_and_accepts_a_missing_one(tmp_path):
    build(tmp_path / "stage", {"a": "1", "b/c": "2"})
    files.remove_folder(tmp_path / "stage")
    files.remove_folder(tmp_path / "stage")
    assert names(tmp_path) == []


def test_a_file_that_appears_while_its_folder_is_removed_goes_too(tmp_path, monkeypatch):
    (tmp_path / "stage").mkdir()
    remove, late = os.rmdir, iter([b"of another rank"])

    def remove_late(path) -> None:
        for data in late:
            (Path(path) / "model.safetensors").write_bytes(data)
        remove(path)

    monkeypatch.setattr(os, "rmdir", remove_late)
    files.remove_folder(tmp_path / "stage")
    assert not [*tmp_path.iterdir()]


def test_move_folder_never_overwrites(tmp_path):
    build(tmp_path / "a", {"x": "1"})
    build(tmp_path / "b", {"x": "2"})
    with pytest.raises(StorageError, match="exists already"):
        files.move_folder(tmp_path / "a", tmp_path / "b")
    files.move_folder(tmp_path / "a", tmp_path / "c")
    assert contents(tmp_path) == {"b/x": b"2", "c/x": b"1"}


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    files.write_text(tmp_path / "keep", "1")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / f"{files.TEMPORARY_MARK}a-1-00").mkdir()
    files.write_text(tmp_path / f"{files.TEMPORARY_MARK}a-1-00" / "x", "1")
    files.write_text(tmp_path / f"{files.TEMPORARY_MARK}b-1-00", "1")
    files.remove_leftovers(tmp_path)
    files.remove_leftovers(tmp_path / "missing")
    assert names(tmp_path) == [".hidden", "keep"]


# ---- power cuts: what the disk is asked for, and in which order


@contextmanager
def recorded_order(monkeypatch):
    """Yield a list of ("sync", path) and ("rename", target), in the order they are asked for."""
    order: list[tuple[str, str]] = []
    sync, rename, replace = os.fsync, os.rename, os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: (order.append(("sync", os.readlink(f"/proc/self/fd/{fd}"))), sync(fd))[1])
        patch.setattr(os, "rename", lambda a, b: (order.append(("rename", str(b))), rename(a, b))[1])
        patch.setattr(os, "replace", lambda a, b: (order.append(("rename", str(b))), replace(a, b))[1])
        yield order


def test_a_file_is_flushed_then_renamed_then_its_folder_is_flushed(tmp_path, monkeypatch):
    with recorded_order(monkeypatch) as order:
        files.write_text(tmp_path / "a", "1")
    kinds = [(kind, Path(path).name.startswith(files.TEMPORARY_MARK)) for kind, path in order]
    assert kinds == [("sync", True), ("rename", False), ("sync", False)]
    assert order[1:] == [("rename", str(tmp_path / "a")), ("sync", str(tmp_path))]


def test_everything_in_a_folder_is_flushed_before_the_rename(tmp_path, monkeypatch):
    with recorded_order(monkeypatch) as order, files.new_folder(tmp_path / "stage") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "library").write_bytes(b"written by a library that flushes nothing")
        (temporary / "b").write_bytes(b"1")
    committed = order.index(("rename", str(tmp_path / "stage")))
    flushed = {path for kind, path in order[:committed] if kind == "sync"}
    assert flushed == {str(temporary / name) for name in (".", "deep", "deep/library", "b")}
    assert order[committed + 1 :] == [("sync", str(tmp_path))]


# ---- kill -9


def write_whole(target: Path, what: str) -> None:
    if what == "file":
        files.write_bytes(target, b"new" * 100_000)
    else:
        build(target, {"a": "new", "b/c": "new"})


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_writer_killed_at_any_operation_leaves_all_or_nothing_under_the_final_name(tmp_path, what):
    with faults("") as counted:
        write_whole(tmp_path / "counted", what)
    assert {"write", "sync", "rename"} <= {*counted.operations}
    whole, found = contents(tmp_path), set()
    for number in range(1, len(counted.operations) + 1):
        target = tmp_path / str(number) / "counted"
        target.parent.mkdir()
        die(f"crash@{number}", lambda target=target: write_whole(target, what))
        files.remove_leftovers(target.parent)
        found.add(bool(names(target.parent)))
        assert contents(target.parent) == (whole if target.exists() else {})
    assert found == {True, False}


# ---- JSON lines


def test_json_lines_survive_reopening(tmp_path):
    for number in range(3):
        lines = JsonLines(tmp_path / "deep" / "a.jsonl")
        lines.append({"number": number})
        lines.sync()
        lines.close()
    assert (tmp_path / "deep" / "a.jsonl").read_text() == '{"number":0}\n{"number":1}\n{"number":2}\n'


@pytest.mark.parametrize("whole", ['{"number":0}\n', ""])
@pytest.mark.parametrize("torn", ['{"number":1,"te', "{", '{"number":1}'])
def test_a_torn_last_line_is_cut_when_the_file_is_opened(tmp_path, whole, torn):
    path = tmp_path / "a.jsonl"
    path.write_text(whole + torn)
    lines = JsonLines(path)
    lines.append({"number": 2})
    lines.close()
    assert path.read_text() == whole + '{"number":2}\n'


# ---- digests


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_digest_of_json_does_not_depend_on_the_order_of_keys(value):
    assert files.digest_json(value) == files.digest_json(dict(reversed(value.items())))


def test_digest_of_a_file_is_the_digest_of_its_bytes(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)
    assert files.digest_file(tmp_path / "a") == files.digest_bytes(data)
    assert files.digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_stage_key_changes_with_each_of_its_parts():
    keys = {
        files.stage_key("corpus", 1, {"a": 1}, {"x": "1"}),
        files.stage_key("tokens", 1, {"a": 1}, {"x": "1"}),
        files.stage_key("corpus", 2, {"a": 1}, {"x": "1"}),
        files.stage_key("corpus", 1, {"a": 2}, {"x": "1"}),
        files.stage_key("corpus", 1, {"a": 1}, {"x": "2"}),
    }
    assert len(keys) == 5


# ---- manifests


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", '"x"', '{"format": "other"}', "\udcff"])
def test_a_folder_without_its_manifest_is_refused_and_never_current(tmp_path, text):
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    assert not manifests.is_current(tmp_path, "key")
    with pytest.raises(StorageError, match="is not a headwater-x folder"):
        read_manifest(tmp_path, "headwater-x", 1, StorageError)


def test_another_format_version_says_so(tmp_path):
    files.write_json(tmp_path / "manifest.json", {"format": "headwater-x", "format_version": 2, "key": "k"})
    with pytest.raises(StorageError, match="version 2; this headwater reads version 1"):
        read_manifest(tmp_path, "headwater-x", 1, StorageError)
    assert manifests.is_current(tmp_path, "k")


def test_a_sealed_manifest_is_read_back_and_any_other_byte_is_refused(tmp_path):
    files.write_json(
        tmp_path / "manifest.json", seal({"format": "headwater-x", "format_version": 2, "names": ["é", "\udcff"]})
    )
    read = lambda: read_sealed_manifest(tmp_path, "headwater-x", 2, StorageError)  # noqa: E731
    assert read()["names"] == ["é", "\udcff"]
    good = (tmp_path / "manifest.json").read_bytes()
    for position in range(len(good)):
        (tmp_path / "manifest.json").write_bytes(good[:position] + bytes([good[position] ^ 2]) + good[position + 1 :])
        with pytest.raises(StorageError):
            read()
    for changed in (good[:-1], good + b" ", good.replace(b'"names"', b'"names":[],\n "names"')):
        (tmp_path / "manifest.json").write_bytes(changed)
        with pytest.raises(StorageError, match="altered"):
            read()


def test_what_is_handed_over_may_be_taken_away_at_once(tmp_path):
    """A rank's note of its part of a checkpoint: the first rank, which waits for it, renames its folder."""
    with faults("") as plan:
        files.hand_over(tmp_path / "note.json", files.json_bytes({"a": [1]}))
    assert plan.operations[-1] == "rename", "something is done with the file after it appeared"
    assert files.read_json(tmp_path / "note.json") == {"a": [1]}
    with faults("errno=EIO@2"), pytest.raises(StorageError, match=r"note\.json.*input/output error"):
        files.hand_over(tmp_path / "note.json", files.json_bytes({"b": 1}))
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


# ---- digests taken while writing


def test_the_digest_taken_while_writing_is_that_of_the_file(tmp_path):
    with files.DigestedFile(tmp_path / "a") as file:
        for part in (b"", b"x" * 100_000, memoryview(b"yz"), bytearray(b"1")):
            file.write(part)
    assert file.facts() == {"bytes": 100_003, "digest": files.digest_file(tmp_path / "a")}
    assert files.digest_file_on_disk(tmp_path / "a") == file.digest
    with pytest.raises(FileExistsError):
        files.DigestedFile(tmp_path / "a")


def test_a_bit_that_changes_on_the_way_to_the_disk_differs_from_the_digest(tmp_path):
    with faults("flip@2"), files.DigestedFile(tmp_path / "a") as file:
        file.write(b"written")
    assert files.digest_file(tmp_path / "a") != file.digest
