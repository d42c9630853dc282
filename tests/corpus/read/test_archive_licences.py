"""The licence of a file in an archive is the one it would have in a folder: every case is read both ways."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import PurePath

from headwater.corpus.document import Document
from headwater.corpus.read.archive import read_archive
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings

LIMITS = ReadLimits(1000, 1000, 100_000, finds_licences=True)
MIT = "Licensed under the MIT License."
GPL_3 = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"
APACHE = "Apache License\nVersion 2.0, January 2004"
METADATA = "Metadata-Version: 2.4\nName: x\nLicense-Expression: GPL-3.0-or-later\n"
MIT_METADATA = METADATA.replace("GPL-3.0-or-later", "MIT")


def zipped(members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return data.getvalue()


def tarred(members, links=()):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return data.getvalue()


def licensed(folder, **settings):
    """Return origin, text and licence of the code in a folder."""
    source = {"kind": "code", "paths": [str(folder)]}
    table = CorpusSettings.model_validate({"sources": {"s": source}, "licences": {}, **settings})
    found = [piece for piece in read_source("s", table) if isinstance(piece, Document)]
    return [(each.origin, each.text, each.meta.get("licence")) for each in found if each.text.startswith("x = ")]


def read_licences(folder, **settings):
    return {text: licence for _, text, licence in licensed(folder, **settings)}


CASES = [
    ({"g/COPYING": GPL_3, "g/a.py": "x = 1"}, {"x = 1": "GPL-3.0-only"}),
    ({"a.py": "x = 1", "COPYING": GPL_3}, {"x = 1": "GPL-3.0-only"}),
    ({"g/b/c/a.py": "x = 1", "g/LICENSE": MIT, "o/a.py": "x = 2"}, {"x = 1": "MIT", "x = 2": None}),
    (
        {"g/a.py": "x = 1", "g/v/a.py": "x = 2", "g/LICENSE": MIT, "g/v/LICENSE": APACHE},
        {"x = 1": "MIT", "x = 2": "Apache-2.0"},
    ),
    ({"g/a.py": "x = 1", "g/LICENSE": "All rights reserved."}, {"x = 1": "unknown"}),
    ({"g/a.py": "x = 1", "g/LICENSE-MIT": MIT, "g/LICENSE-APACHE": APACHE}, {"x = 1": "Apache-2.0 OR MIT"}),
    ({"y/a.py": "x = 1", "b.py": "x = 2", "x-1.dist-info/METADATA": METADATA}, dict.fromkeys(["x = 1", "x = 2"], "GPL-3.0-or-later")),
    ({"y/a.py": "x = 1", "x-1.dist-info/licenses/LICENSE": MIT}, {"x = 1": "MIT"}),
    ({"y/a.py": "x = 1", "x-1.dist-info/METADATA": MIT_METADATA, "x-1.dist-info/COPYING": GPL_3}, {"x = 1": "GPL-3.0-only AND MIT"}),
    (
        {"y/a.py": "x = 1", "z/a.py": "x = 2", "w.py": "x = 3", "q/a.py": "x = 4", "Y-1.dist-info/METADATA": METADATA}
        | {"w-2.egg-info/PKG-INFO": MIT_METADATA, "z-1.dist-info/METADATA": MIT_METADATA},
        dict.fromkeys(["x = 1", "x = 2", "x = 3", "x = 4"], "GPL-3.0-or-later AND MIT"),
    ),
    ({"x-1/PKG-INFO": METADATA, "x-1/src/x/a.py": "x = 1"}, {"x = 1": "GPL-3.0-or-later"}),
    ({"p/package.json": '{"license": "GPL-3.0"}', "p/lib/a.js": "x = 1"}, {"x = 1": "GPL-3.0-only"}),
    ({"p/package.json": '{"license": "MIT"}', "p/LICENSE": GPL_3, "p/a.js": "x = 1"}, {"x = 1": "GPL-3.0-only AND MIT"}),
    ({"p/package.json": '{"license": "UNLICENSED"}', "p/LICENSE": MIT, "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/package.json": '{"license": "SEE LICENSE"}', "p/LICENSE": MIT, "p/a.js": "x = 1"}, {"x = 1": "MIT"}),
    ({"p/package.json": '{"license": "GPL-3.0+"}', "p/LICENSE": GPL_3, "p/a.js": "x = 1"}, {"x = 1": "GPL-3.0-or-later"}),
    ({"p/package.json": '{"license": "SEE LICENSE IN LICENSE.md"}', "p/LICENSE.md": MIT, "p/a.js": "x = 1"}, {"x = 1": "MIT"}),
    ({"p/package.json": '{"license": "SEE LICENSE IN EULA"}', "p/LICENSE": MIT, "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/package.json": '{"license": "SEE LICENSE"}', "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/package.json": '{"license": "MIT"}', "p/LICENSE": "Ask me.", "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/package.json": '{"license": "MIT"}', "p/LICENSE": "Elastic License 2.0", "p/a.js": "x = 1"}, {"x = 1": "Elastic-2.0 AND MIT"}),
    ({"p/LICENSE": MIT, "p/LICENSE.txt": "All rights reserved.", "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/LICENSE": MIT, "p/COPYING": "Ask me.", "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/LICENSE": MIT, "p/LICENSE.images": "Ask me.", "p/a.js": "x = 1"}, {"x = 1": "MIT"}),
    ({"LICENSE": MIT, "p/package.json": '{"license": {"name": "GPL-3.0"}}', "p/a.js": "x = 1"}, {"x = 1": "GPL-3.0-only"}),
    ({"LICENSE": MIT, "p/package.json": '{"license": {"spdx": "GPL-3.0"}}', "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"LICENSE": MIT, "p/package.json": '{"licenses": ["MIT", 7]}', "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"LICENSE": MIT, "p/package.json": '{"license": "GPL-3.0",}', "p/a.js": "x = 1"}, {"x = 1": "unknown"}),
    ({"LICENSE": MIT, "p/package.json": '{"licenses": ["MIT AND ISC", "GPL-3.0"]}', "p/a.js": "x = 1"}, {"x = 1": "(MIT AND ISC) OR GPL-3.0-only"}),
    ({"LICENSE": MIT, "p/Cargo.toml": "[package]\nlicense.workspace = true", "p/a.rs": "x = 1"}, {"x = 1": "MIT"}),
    ({"LICENSE": MIT, "p/Cargo.toml": "[package]\nlicense = ['GPL-3.0']", "p/a.rs": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/LICENSE": MIT, "p/Cargo.toml": "[package]\nlicense-file = 'LICENSE'", "p/a.rs": "x = 1"}, {"x = 1": "MIT"}),
    ({"p/LICENSE": MIT, "p/Cargo.toml": "[package]\nlicense-file = 'terms'", "p/a.rs": "x = 1"}, {"x = 1": "unknown"}),
    ({"p/LICENSE": MIT, "p/pyproject.toml": "[project]\nlicense = {file = 'LICENSE'}", "p/a.py": "x = 1"}, {"x = 1": "MIT"}),
    (
        {"p/a.py": "x = 1", "p/pyproject.toml": "[project]\nlicense = {file = 'LICENSE'}\nclassifiers = ['License :: OSI Approved :: MIT License']"},
        {"x = 1": "MIT"},
    ),
    (
        {"p/a.py": "x = 1", "p/pyproject.toml": "[project]\nlicense = {text = 'Ours'}\nclassifiers = ['License :: OSI Approved :: MIT License']"},
        {"x = 1": "unknown"},
    ),
    ({"LICENSE": MIT, "p/pyproject.toml": "[project]\nlicense = ['GPL-3.0']", "p/a.py": "x = 1"}, {"x = 1": "unknown"}),
    ({"y/a.py": "x = 1", "x-1.dist-info/LICENSE": GPL_3, "x-1.dist-info/licenses/LICENSE": MIT}, {"x = 1": "GPL-3.0-only AND MIT"}),
    ({"y/a.py": "x = 1", "x-1.dist-info/LICENSE": MIT, "x-1.dist-info/licenses/vendor/LICENSE": GPL_3}, {"x = 1": "MIT AND GPL-3.0-only"}),
    ({"LICENSE": MIT, "license-plates.csv": "x", "licensed_products.txt": GPL_3, "copyingfrog.txt": GPL_3, "a.py": "x = 1"}, {"x = 1": "MIT"}),
    ({"p/pyproject.toml": '[project]\nlicense = "MPL-2.0"', "p/a/b.py": "x = 1"}, {"x = 1": "MPL-2.0"}),
    ({"p/LICENSE": MIT, "p/q/package.json": '{"type": "module"}', "p/q/a.js": "x = 1"}, {"x = 1": "MIT"}),
]  # fmt: skip


def test_an_archive_is_under_the_licence_files_of_its_tree_as_a_folder_is(tmp_path):
    """All cases are read at once: for each call of the reader a process is started."""
    in_folders, in_archives = tmp_path / "folders", tmp_path / "archives"
    for number, (files, _) in enumerate(CASES):
        for name, text in files.items():
            path = in_folders / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        late_licence_files = dict(sorted(files.items(), key=lambda item: not item[1].startswith("x = ")))
        place = in_archives / str(number)
        place.mkdir(parents=True)
        (place / "a.zip").write_bytes(zipped(files))
        (place / "b.whl").write_bytes(zipped(late_licence_files))
        (place / "c.tgz").write_bytes(gzip.compress(tarred(late_licence_files)))
        (place / "d.tar").write_bytes(tarred({f"./{name}": text for name, text in files.items()}))
    expected = [(number, *each) for number, (_, licences) in enumerate(CASES) for each in sorted(licences.items())]
    assert by_case(in_folders) == expected
    assert by_case(in_archives) == sorted(expected * 4)


def by_case(folder):
    """Return the number of the case, the text and the licence of all code in a folder, in this order."""
    found = [(PurePath(origin).relative_to(folder).parts[0], *rest) for origin, *rest in licensed(folder)]
    return sorted((int(number), text, licence) for number, text, licence in found)


def test_an_archive_that_says_nothing_is_under_the_licence_files_of_the_folder_it_lies_in(tmp_path):
    (tmp_path / "LICENSE").write_text(GPL_3)
    (tmp_path / "a.zip").write_bytes(zipped({"a.py": "x = 1", "v/LICENSE": MIT, "v/a.py": "x = 2"}))
    assert read_licences(tmp_path) == {"x = 1": "GPL-3.0-only", "x = 2": "MIT"}


def test_rows_and_sections_of_a_member_are_under_the_licence_files_of_its_folder(tmp_path):
    rows = "".join(f'{{"text": "x = {n}"}}\n' for n in range(2)) + '{"text": "x = said", "license": "CC0-1.0"}\n'
    long = "x = long\n" + "y = 1\n" * 600
    (tmp_path / "a.zip").write_bytes(zipped({"g/rows.jsonl": rows, "g/COPYING": GPL_3, "g/a#1.py": long}))
    found = read_licences(tmp_path, max_document_characters=2000)
    sections = {text: licence for text, licence in found.items() if text.startswith("x = long")}
    assert len(sections) == 1 and set(sections.values()) == {"GPL-3.0-only"}
    assert {text: found[text] for text in found if text not in sections} == {
        "x = 0": "GPL-3.0-only",
        "x = 1": "GPL-3.0-only",
        "x = said": "CC0-1.0",
    }


def test_a_link_says_what_the_licence_file_does_that_it_leads_to(tmp_path):
    files = {"LICENSE": GPL_3, "g/a.py": "x = 1", "h/a.py": "x = 2", "terms/t.txt": MIT}
    links = [("g/LICENSE", "../LICENSE"), ("h/LICENSE", "../terms/t.txt")]
    (tmp_path / "a.tar").write_bytes(tarred(files, links))
    assert read_licences(tmp_path) == {"x = 1": "GPL-3.0-only", "x = 2": "unknown"}


def test_of_an_archive_cut_short_what_no_licence_file_speaks_of_is_unknown(tmp_path):
    noise = os.urandom(20_000).hex()
    files = {"g/LICENSE": MIT, "g/a.py": "x = 1", "h/a.py": "x = 2", "h/b.txt": noise, "h/COPYING": GPL_3}
    (tmp_path / "a.tar").write_bytes(tarred(files)[:20_000])
    assert read_licences(tmp_path) == {"x = 1": "MIT", "x = 2": "unknown"}


def test_a_licence_file_too_long_to_be_one_is_not_understood(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"g/COPYING": MIT + " " * 2_000_000, "g/a.py": "x = 1"}))
    assert read_licences(tmp_path) == {"x = 1": "unknown"}


def test_terms_behind_a_long_beginning_count(tmp_path):
    text = MIT + "\n" + " program" * 40_000 + "\n\nLicensed under the GNU General Public License version 3."
    (tmp_path / "a.zip").write_bytes(zipped({"g/COPYING": text, "g/a.py": "x = 1"}))
    assert read_licences(tmp_path) == {"x = 1": "MIT AND GPL-3.0-only"}


def test_more_licence_files_than_are_kept_leave_the_rest_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.corpus.read.archive._MAX_LICENCE_FILES", 3)
    files = {f"g{n}/LICENSE": MIT for n in range(5)} | {f"g{n}/a.py": f"x = {n}" for n in range(5)}
    (tmp_path / "a.zip").write_bytes(zipped(files))
    found = read_archive(InputFile(tmp_path / "a.zip", "a.zip", "s", "code"), LIMITS)
    licences = [each.meta["licence"] for each in found if isinstance(each, Document) and each.text.startswith("x = ")]
    assert licences == ["MIT"] * 3 + ["unknown"] * 2


def test_the_search_for_licence_files_says_at_every_member_that_it_lives(tmp_path, monkeypatch):
    """So that no clock runs over several members, of which most are no licence files."""
    said = []
    monkeypatch.setattr(InputFile, "still_reading", lambda file: said.append(file.path.name))
    files = {"p/package.json": "{}", "p/LICENSE": MIT} | {f"p/{n}.py": "x = 1" for n in range(20)}
    (tmp_path / "a.tar").write_bytes(tarred(files))
    file = InputFile(tmp_path / "a.tar", "a.tar", "s", "code")
    found = list(read_archive(file, LIMITS))
    assert {each.meta["licence"] for each in found if isinstance(each, Document)} == {"MIT"}
    assert len(said) == len(files)


def test_without_the_setting_no_licence_file_is_searched(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"g/COPYING": GPL_3, "g/a.py": "x = 1"}))
    assert read_licences(tmp_path, licences=None) == {"x = 1": None}


def test_a_pipe_that_is_called_an_archive_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    assert read_licences(tmp_path) == {}
