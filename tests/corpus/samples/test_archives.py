import io
import lzma
import shutil
import subprocess
import tarfile

import pytest

from headwater.core.errors import DataError
from headwater.corpus.samples.fetch.archives import read_archive, safe_name


def names_and_bytes(path):
    return {member.name: b"".join(member.blocks()) for member in read_archive(path)}


def link(name, target, kind=tarfile.SYMTYPE):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's")
@pytest.mark.parametrize("compression", ["xz", "zstd", "gzip", "none"])
def test_a_deb_of_dpkg_holds_what_dpkg_put_in(tmp_path, compression):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: t\nVersion: 1:2-3\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n"
    )
    (tree / "usr/share/doc/t").mkdir(parents=True)
    for number in range(40):
        (tree / f"usr/share/doc/t/page-{number:02}.txt").write_text(f"page {number}\n" * number)
    command = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "-b", str(tree), str(tmp_path / "t.deb")]
    subprocess.run(command, check=True, capture_output=True)
    found = names_and_bytes(tmp_path / "t.deb")
    assert b"Version: 1:2-3" in found.pop("control")
    assert found == {
        f"usr/share/doc/t/page-{number:02}.txt": f"page {number}\n".encode() * number for number in range(40)
    }


def test_wheels_and_source_archives_are_read(make_wheel, tmp_path):
    assert names_and_bytes(make_wheel("some-texts", {"some_texts/a.txt": b"one"}))["some_texts/a.txt"] == b"one"
    path = tmp_path / "t-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("t-1/a.txt")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"two"))
    assert names_and_bytes(path) == {"t-1/a.txt": b"two"}


def test_members_that_lead_elsewhere_are_not_shown(make_deb):
    device = tarfile.TarInfo("usr/device")
    device.type = tarfile.CHRTYPE
    files = {
        "../up.txt": b"x",
        "/etc/passwd": b"x",
        "usr/../../up.txt": b"x",
        "usr/link": link("usr/link", "/etc/passwd"),
        "usr/hard": link("usr/hard", "/etc/passwd", tarfile.LNKTYPE),
        "usr/device": device,
        "usr/fine.txt": b"fine",
    }
    found = names_and_bytes(make_deb("bad", {**files}))
    assert set(found) == {"control", "usr/share/doc/bad/copyright", "usr/fine.txt"}


@pytest.mark.parametrize("name", ["", "/", "..", "a/../b", "/a", "a\0b", "a\\b", "a/" + 300 * "b", "a\udc80"])
def test_a_name_that_is_no_place_below_a_folder_is_refused(name):
    assert safe_name(name) is None


def test_damage_is_said_and_nothing_else_raised(make_deb):
    path = make_deb("texts", {"usr/a.txt": bytes(range(256)) * 400})
    whole = path.read_bytes()
    told = 0
    for cut in range(1, len(whole), 37):
        path.write_bytes(whole[:cut])
        try:
            names_and_bytes(path)
        except DataError as error:
            assert path.name in str(error)
            told += 1
    assert told > len(range(1, len(whole), 37)) - 3, "only the padding at the end may be missed"


def test_an_archive_that_expands_without_end_is_refused(tmp_path):
    path = tmp_path / "bomb-1.tar.xz"
    with lzma.open(path, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for number in range(3):
            entry = tarfile.TarInfo(f"zeros-{number}.txt")
            entry.size = 12_000_000
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    with pytest.raises(DataError, match="far more than a package of its size"):
        names_and_bytes(path)
