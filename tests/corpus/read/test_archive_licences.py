"""The licence of a file in an archive is the one it would have in a folder: every case is read both ways."""

from __future__ import annotations

import os
from pathlib import PurePath

import pytest
from golden_rows import rows
from made_files import archived, tarred, zipped

from headwater.corpus.document import Document
from headwater.corpus.read.archive import read_archive
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings

LIMITS = ReadLimits(1000, 1000, 100_000, finds_licences=True)
MIT = "Licensed under the MIT License."
GPL_3 = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"
METADATA = "Metadata-Version: 2.4\nName: x\nLicense-Expression: GPL-3.0-or-later\n"
WORDS = {
    **{"%MIT%": MIT, "%GPL_3%": GPL_3, "%LGPL_3%": "GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"},
    **{"%APACHE%": "Apache License\nVersion 2.0, January 2004", "%METADATA%": METADATA},
    "%MIT_METADATA%": METADATA.replace("GPL-3.0-or-later", "MIT"),
}
CASES = [
    ({name: WORDS.get(text, text) for name, text in files.items()}, found) for files, found in rows("tree_licences")
]


def licensed(folder, **settings):
    """Return origin, text and licence of the code in a folder."""
    source = {"kind": "code", "paths": [str(folder)]}
    table = CorpusSettings.model_validate({"sources": {"s": source}, "licences": {}, **settings})
    found = [piece for piece in read_source("s", table) if isinstance(piece, Document)]
    return [(each.origin, each.text, each.meta.get("licence")) for each in found if each.text.startswith("x = ")]


def read_licences(folder, **settings):
    return {text: licence for _, text, licence in licensed(folder, **settings)}


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
        for name, members in {"a.zip": files, "b.whl": late_licence_files, "c.tgz": late_licence_files}.items():
            (place / name).write_bytes(archived(name, members))
        (place / "d.tar").write_bytes(tarred({f"./{name}": text for name, text in files.items()}))
    expected = [(number, *each) for number, (_, licences) in enumerate(CASES) for each in sorted(licences.items())]
    assert by_case(in_folders) == expected
    assert by_case(in_archives) == sorted((each for each in expected for _ in range(4)), key=lambda each: each[:2])


def by_case(folder):
    """Return the number of the case, the text and the licence of all code in a folder, in this order."""
    found = [(PurePath(origin).relative_to(folder).parts[0], *rest) for origin, *rest in licensed(folder)]
    return sorted(((int(number), text, licence) for number, text, licence in found), key=lambda each: each[:2])


LONG = MIT + "\n" + " program" * 40_000 + "\n\nLicensed under the GNU General Public License version 3."
ROWS = '{"text": "x = 0"}\n{"text": "x = said", "license": "CC0-1.0"}\n'


@pytest.mark.parametrize(
    ("members", "licences", "settings"),
    [
        ({"a.py": "x = 1", "v/LICENSE": MIT, "v/a.py": "x = 2"}, {"x = 1": "GPL-3.0-only", "x = 2": "MIT"}, {}),
        ({"g/rows.jsonl": ROWS, "g/COPYING": MIT}, {"x = 0": "MIT", "x = said": "CC0-1.0"}, {}),
        ({"g/COPYING": MIT + " " * 2_000_000, "g/a.py": "x = 1"}, {"x = 1": "unknown"}, {}),
        ({"g/COPYING": LONG, "g/a.py": "x = 1"}, {"x = 1": "MIT AND GPL-3.0-only"}, {}),
        ({"g/COPYING": GPL_3, "g/a.py": "x = 1"}, {"x = 1": None}, {"licences": None}),
    ],
    ids=[
        "else that of its own folder",
        "rows",
        "too long to be one",
        "terms behind a long beginning",
        "without the setting",
    ],
)
def test_what_is_in_an_archive_has_the_licence_of_its_folder(tmp_path, members, licences, settings):
    (tmp_path / "LICENSE").write_text(GPL_3)
    (tmp_path / "a.zip").write_bytes(zipped(members))
    assert read_licences(tmp_path, **settings) == licences


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


def test_the_search_for_licence_files_says_at_every_member_that_it_lives(tmp_path, monkeypatch):
    """So that no clock runs over several members, of which most are no licence files."""
    said = []
    monkeypatch.setattr(InputFile, "still_reading", lambda file: said.append(file.path.name))
    files = {"p/package.json": "{}", "p/LICENSE": MIT} | {f"p/{n}.py": "x = 1" for n in range(20)}
    (tmp_path / "a.tar").write_bytes(tarred(files))
    found = list(read_archive(InputFile(tmp_path / "a.tar", "a.tar", "s", "code"), LIMITS))
    assert {each.meta["licence"] for each in found if isinstance(each, Document)} == {"MIT"}
    assert len(said) == len(files)
