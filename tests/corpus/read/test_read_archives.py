"""Archives: a member is read as the file it would be in a folder."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

MEMBERS = {
    "tree/src/a.py": b"x = 1\n",
    "tree/README.md": b"# Words\n\nmore words\n",
    "tree/page.html": b"<html><body><p>A page.</p></body></html>",
    "tree/.git/config": b"hidden",
    "tree/logo.png": b"\x89PNG",
    "tree/rows.jsonl": b'{"text": "one"}\n{"text": "two"}\n',
    "../up.txt": b"from above",
    "tree/inner.zip": b"PK\3\4",
    "tree/inner.tar.gz": b"\x1f\x8b",
    "tree/empty.txt": b"",
}


def zipped(members: dict[str, bytes] = MEMBERS) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(members: dict[str, bytes] = MEMBERS) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("tree/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.zip", zipped()),
        ("a.whl", zipped()),
        ("a.tar", tarred()),
        ("a.tar.gz", gzip.compress(tarred())),
        ("a.tgz", gzip.compress(tarred())),
        ("a.tar.bz2", bz2.compress(tarred())),
        ("a.tar.xz", lzma.compress(tarred())),
        ("a.txz", lzma.compress(tarred())),
    ],
)
def test_members_are_read_by_their_names_and_everything_is_accounted_for(read, tmp_path, name, content):
    documents, drops = read(name, content, kind="code")
    origin = str(tmp_path / name)
    assert [(each.id.removeprefix(origin), each.kind, each.text) for each in documents] == [
        ("#tree/src/a.py", "code", "x = 1\n"),
        ("#tree/README.md", "text", "# Words\n\nmore words\n"),
        ("#tree/page.html", "text", "A page."),
        ("#tree/rows.jsonl#1", "code", "one"),
        ("#tree/rows.jsonl#2", "code", "two"),
        ("#../up.txt", "text", "from above"),
    ]
    assert documents[0].meta == {"language": "python"}
    link = [("#tree/link.txt", "link_in_archive")] if ".t" in name else []
    assert [(each.id.removeprefix(origin), each.reason) for each in drops] == [
        ("#tree/.git/config", "hidden"),
        ("#tree/logo.png", "unknown_format"),
        ("#tree/inner.zip", "unknown_format"),
        ("#tree/inner.tar.gz", "unknown_format"),
        ("#tree/empty.txt", "empty"),
        *link,
    ]
    assert {each.origin for each in documents} == {origin}


def test_members_of_one_name_have_ids_of_their_own(read):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for content in (b"one", b"two"):
            info = tarfile.TarInfo("a.txt")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    documents, _ = read("a.tar", data.getvalue())
    assert [document.text for document in documents] == ["one", "two"]
    assert len({document.id for document in documents}) == 2


def test_what_stands_before_the_damage_counts(read):
    content = tarred({"a.txt": b"one " * 500, "b.txt": b"two " * 5000})
    documents, drops = read("a.tar", content[:9000])
    assert [document.text for document in documents] == ["one " * 500]
    assert [drop.reason for drop in drops] == ["damaged_tar"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.zip", b"words", "not_zip"),
        ("a.zip", zipped()[:-30], "damaged_zip"),
        ("a.tar", b"words" * 200, "not_tar"),
        ("a.tar.gz", b"words", "not_gzip"),
        ("a.tar.xz", lzma.compress(b"words"), "not_tar"),
    ],
)
def test_what_is_no_archive_is_one_drop_with_the_bytes_of_the_file(read, name, content, reason):
    documents, drops = read(name, content)
    assert (documents, [(drop.reason, drop.num_bytes) for drop in drops]) == ([], [(reason, len(content))])


def test_a_member_that_is_too_large_costs_itself_alone(read):
    documents, drops = read("a.zip", zipped({"a.txt": b"words " * 1000, "b.txt": b"few"}), max_file_bytes=2000)
    assert [document.text for document in documents] == ["few"]
    assert [drop.reason for drop in drops] == ["file_too_large"]
