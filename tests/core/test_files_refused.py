"""A disk that refuses: full, read-only, broken. A clear error, what was there stays whole, and nothing is left over."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from fault_plan import faults
from golden_rows import rows

from headwater.core import files
from headwater.core.errors import DataError, StorageError, megabytes
from headwater.core.json_lines import JsonLines


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path):
    files.write_text(tmp_path / "a", "old")
    with faults("errno=ENOSPC@2"), pytest.raises(StorageError, match=r"No space left.*MB free.*free some space"):
        files.write_text(tmp_path / "a", "new" * 1000)
    assert contents(tmp_path) == {"a": b"old"}


def test_a_folder_on_a_full_disk_leaves_no_trace(tmp_path):
    with pytest.raises(StorageError, match="free some space"), files.new_folder(tmp_path / "stage") as folder:
        files.write_text(folder / "a", "1")
        with faults("errno=ENOSPC@2"):
            files.write_text(folder / "b", "1")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "check the disk"),
    ],
)
def test_refusals_name_the_path_and_a_remedy(tmp_path, monkeypatch, number, advice):
    def refuse(*args, **kw):
        raise OSError(number, os.strerror(number), str(args[0]))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(StorageError, match=advice) as caught, files.new_folder(tmp_path / "stage"):
        pass
    assert str(tmp_path / "stage") in str(caught.value)


def test_a_parent_that_is_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="a part of that path is a file"):
        files.write_text(tmp_path / "file" / "a", "1")
    with pytest.raises(StorageError, match="a part of that path is a file"):
        files.require_writable(tmp_path / "file" / "folder")
    with pytest.raises(StorageError, match="a part of that path is a file"):
        JsonLines(tmp_path / "file" / "folder" / "a.jsonl")


def test_an_input_that_cannot_be_read_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(PermissionError), files.new_file(tmp_path / "out" / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/else")


def test_errors_of_the_block_pass_unchanged(tmp_path):
    with pytest.raises(DataError, match=r"^empty$"), files.new_folder(tmp_path / "stage"):
        raise DataError("empty")


def test_require_writable_leaves_nothing_and_wants_room(tmp_path):
    files.require_writable(tmp_path / "deep" / "er")
    assert names(tmp_path / "deep" / "er") == []
    with pytest.raises(StorageError, match="needs about 1000000000000 MB"):
        files.require_writable(tmp_path, 10**18)


def test_a_shortfall_that_is_small_is_seen_in_the_figures(tmp_path, monkeypatch):
    free = 1368 * 1024
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(StorageError, match=r"has 1\.40 MB free and this needs about 1\.41 MB; free some space"):
        files.require_writable(tmp_path, 1_411_000)
    files.require_writable(tmp_path, free)


@pytest.mark.parametrize(("sizes", "shown"), rows("sizes_have_the_decimals_that_tell_them_apart"))
def test_sizes_have_the_decimals_that_tell_them_apart(sizes, shown):
    assert megabytes(*sizes) == shown


@pytest.mark.parametrize("plan", ["errno=ENOSPC@1", "short@1,errno=ENOSPC@2"])
def test_an_append_that_fails_leaves_whole_lines_and_the_next_one_is_whole(tmp_path, plan):
    path = tmp_path / "a.jsonl"
    lines = JsonLines(path)
    lines.append({"number": 0})
    with faults(plan), pytest.raises(StorageError, match="free some space"):
        lines.append({"number": 1})
    assert path.read_text() == '{"number":0}\n'
    lines.append({"number": 2})
    lines.close()
    assert path.read_text() == '{"number":0}\n{"number":2}\n'


def test_half_a_line_that_can_not_be_cut_at_once_is_cut_before_the_next(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = JsonLines(path)
    lines.append({"number": 0})
    with faults("short@1,errno=EIO@2+"), pytest.raises(StorageError, match="check the disk"):
        lines.append({"number": 1})
    assert path.read_text() == '{"number":0}\n{"numb', "the disk refused to cut it too"
    lines.append({"number": 2})
    lines.close()
    assert path.read_text() == '{"number":0}\n{"number":2}\n'


def test_messages_name_what_was_to_be_written_and_not_the_temporary_file(tmp_path):
    with (
        faults("errno=EIO@7"),
        pytest.raises(StorageError) as caught,
        files.new_folder(tmp_path / "stage") as folder,
    ):
        files.write_text(folder / "a" / "b.txt", "1")
    assert f"can't write {tmp_path}/stage/a/b.txt: " in str(caught.value)
