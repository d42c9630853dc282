import json
import shutil

import pytest

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.build import build_corpus
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.load import read_documents
from headwater.corpus.samples.fetch import channels
from headwater.corpus.samples.fetch.fetch import fetch_packages
from headwater.corpus.samples.files import with_files, write_files
from headwater.corpus.sources.settings import CorpusSettings

TODAY = "2026-01-02"


def settings_of(tmp_path, *entries, **source):
    table = {"fetched": list(entries), "kind": "documentation", **source}
    return CorpusSettings.model_validate({"sources": {"sites": table}, "fetched_dir": str(tmp_path / "texts")})


def fetch(settings, tmp_path):
    said = []
    return fetch_packages(settings, said.append, TODAY, tmp_path / "archives"), said


def build(settings, tmp_path, say=lambda line: None):
    text = with_files(settings)
    write_files(settings, say)
    return build_corpus(text, tmp_path / "corpus", say)


def page(make_prose, seed):
    return f"<html><head><title>Page {seed}</title></head><body><p>{make_prose(200, seed)}</p></body></html>".encode()


def test_what_is_fetched_is_built_with_licence_and_origin(tmp_path, make_deb, make_prose):
    pages = {f"usr/share/doc/texts/html/{seed}.html": page(make_prose, seed) for seed in range(8)}
    others = {"usr/bin/program": b"\x7fELF", "usr/share/doc/texts/changelog.Debian.gz": b"x"}
    make_deb("texts", pages | others, licence="GPL-2+")
    settings = settings_of(tmp_path, "deb:texts")
    (fetched, _), _ = fetch(settings, tmp_path)
    assert fetched[0]["files"] == 8, "a page is text; programs and changelogs are not"
    assert fetched[0]["licence"] == "GPL-2.0-or-later" and fetched[0]["fetched"] == TODAY
    assert (tmp_path / "texts/deb-texts/copyright").read_text().startswith("Format:")
    manifest = build(settings, tmp_path)
    assert manifest["sources"]["sites"]["dropped"] == {}
    documents = [d for split in ("train", "validation") for d in read_documents(tmp_path / "corpus", split, "sites")]
    assert len({document.origin for document in documents}) == 8
    assert {document.meta["licence"] for document in documents} == {"GPL-2.0-or-later"}
    assert {document.meta["date"] for document in documents} == {"2023-11-14"}, "the newest file of the package"
    assert documents[0].origin.startswith("deb:texts/usr/share/doc/texts/html/")


@pytest.mark.parametrize(("licence_files", "licence"), [("", "CC0-1.0"), ("License: my own", "unknown")])
def test_the_licence_of_the_run_file_is_that_of_a_package_that_names_none(
    tmp_path, make_wheel, make_prose, licence_files, licence
):
    texts = {f"some_texts/{seed}.txt": make_prose(200, seed).encode() for seed in range(8)}
    texts["some_texts-2.0.egg-info/PKG-INFO"] = f"Metadata-Version: 2.1\nName: some-texts\n{licence_files}\n".encode()
    make_wheel("some-texts", texts)
    settings = settings_of(tmp_path, "pypi:some-texts", licence="CC0-1.0", kind="text")
    settings = CorpusSettings.model_validate(settings.model_dump() | {"licences": {"allow": ["CC0-1.0", "unknown"]}})
    fetch(settings, tmp_path)
    build(settings, tmp_path)
    documents = [d for split in ("train", "validation") for d in read_documents(tmp_path / "corpus", split, "sites")]
    assert len(documents) >= 8
    assert {(d.meta["licence"], d.meta.get("licence_named")) for d in documents} == {(licence, None)}


def test_what_is_there_is_not_fetched_again(tmp_path, make_deb):
    make_deb("texts", {"usr/share/doc/texts/a.txt": b"words"})
    settings = settings_of(tmp_path, "deb:texts")
    first, said = fetch(settings, tmp_path)
    shutil.rmtree(tmp_path / "archives")
    (tmp_path / "archives").mkdir()
    again, said_again = fetch(settings, tmp_path)
    assert len(said) == 1 and said_again == [] and again == first


def test_a_killed_fetch_goes_on_with_the_package_it_was_at(tmp_path, make_deb, make_wheel):
    make_deb("first", {"usr/share/doc/first/a.txt": b"words"})
    path = make_wheel("second-texts", {"second_texts/a.txt": b"other words"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    settings = settings_of(tmp_path, "deb:first", "pypi:second-texts")
    with pytest.raises(DataError, match="second_texts"):
        fetch(settings, tmp_path)
    assert [path.name for path in (tmp_path / "texts").iterdir()] == ["deb-first"], "nothing half-made is left"
    path.write_bytes(whole)
    (fetched, _), said = fetch(settings, tmp_path)
    assert len(said) == 1 and len(fetched) == 2


def make_texts(make_deb, make_prose):
    texts = {f"usr/share/doc/texts/{seed}.txt": make_prose(100, seed).encode() for seed in range(4)}
    make_deb("texts", texts)


def test_a_source_may_do_without_a_package_and_then_it_is_reported_and_stands_in_the_balance(
    tmp_path, make_deb, make_prose
):
    make_texts(make_deb, make_prose)
    settings = settings_of(tmp_path, "deb:texts", "deb:vanished", requires_all=False)
    (_, excluded), said = fetch(settings, tmp_path)
    assert list(excluded) == ["deb:vanished"] and any("deb:vanished is skipped" in line for line in said)
    said = []
    manifest = build(settings, tmp_path, said.append)
    assert "sites: built WITHOUT deb:vanished" in said[0] and "holds no archive of it" in said[0]
    assert manifest["sources"]["sites"]["read"]["documents"] == 4
    before = corpus_inputs(with_files(settings))
    make_deb("vanished", {"usr/share/doc/vanished/a.txt": b"back again"})
    assert fetch(settings, tmp_path)[0][1] == {}
    assert json.loads((tmp_path / "texts/excluded.json").read_text()) == {}
    assert corpus_inputs(with_files(settings)) != before, "a corpus without the package is not up to date any more"


def test_a_corpus_is_not_built_from_what_is_left_of_a_failed_fetch(tmp_path, make_deb, make_prose):
    make_texts(make_deb, make_prose)
    settings = settings_of(tmp_path, "deb:texts", "deb:vanished")
    with pytest.raises(DataError):
        fetch(settings, tmp_path)
    with pytest.raises(DataError, match=r"deb:vanished, of source 'sites': .* holds no archive"):
        build(settings, tmp_path)
    assert not (tmp_path / "corpus").exists()
    make_deb("vanished", {"usr/share/doc/vanished/a.txt": make_prose(100, 9).encode()})
    fetch(settings, tmp_path)
    assert build(settings, tmp_path)["sources"]["sites"]["dropped"] == {}


def test_doing_without_a_package_that_is_there_makes_no_other_corpus(tmp_path, make_deb, make_prose):
    make_texts(make_deb, make_prose)
    strict, lenient = (settings_of(tmp_path, "deb:texts", requires_all=value) for value in (True, False))
    fetch(strict, tmp_path)
    assert len({corpus_key(each, corpus_inputs(each)) for each in map(with_files, (strict, lenient))}) == 1


def test_a_corpus_of_nothing_but_missing_packages_says_that_they_are_missing(tmp_path, make_deb):
    make_deb("other", {"usr/share/doc/other/a.txt": b"words"})
    settings = settings_of(tmp_path, "deb:vanished", requires_all=False)
    fetch(settings, tmp_path)
    with pytest.raises(DataError, match="packages are missing: `headwater corpus fetch RUN`"):
        build(settings, tmp_path)


def test_of_files_in_each_others_place_the_first_is_taken_and_none_outside_the_folder(tmp_path, make_deb):
    names = [
        "usr/share/a.txt/b.txt",
        "usr/share/a.txt",
        "usr/share/c.txt",
        "usr/share/c.txt/d.txt",
        "../../escaped.txt",
    ]
    make_deb("texts", {name: name.encode() for name in names})
    fetch(settings_of(tmp_path, "deb:texts"), tmp_path)
    lines = (tmp_path / "texts/deb-texts/texts.jsonl").read_text().splitlines()
    origins = [json.loads(line)["metadata"]["origin"] for line in lines]
    assert sorted(origins) == ["deb:texts/usr/share/a.txt/b.txt", "deb:texts/usr/share/c.txt"]
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("requires_all", [True, False])
def test_a_corpus_of_packages_never_fetched_says_which_they_are_and_how_to_fetch_them(tmp_path, requires_all):
    settings = settings_of(tmp_path, "deb:texts", "pypi:more", requires_all=requires_all)
    with pytest.raises(DataError, match=r"(?s)deb:texts.*never fetched.*pypi:more.*headwater corpus fetch") as raised:
        build(settings, tmp_path)
    assert "requires_all" not in str(raised.value), "whether they can be had isn't known yet"


def test_a_package_without_text_is_named(tmp_path, make_deb):
    make_deb("programs", {"usr/bin/a": b"\x7fELF"})
    with pytest.raises(DataError, match=r"deb:programs .* no file that headwater knows as text"):
        fetch(settings_of(tmp_path, "deb:programs"), tmp_path)


def test_a_run_without_packages_needs_no_fetching(tmp_path):
    settings = CorpusSettings.model_validate({"sources": {"mine": {"paths": ["x"]}}})
    with pytest.raises(ConfigError, match="needs no fetching"):
        fetch_packages(settings, print, TODAY)


@pytest.mark.parametrize("entry", ["texts", "rpm:texts", "deb:", "deb:a b", "deb:../a", "pypi:--index-url"])
def test_what_names_no_package_is_refused_by_the_settings(tmp_path, entry):
    with pytest.raises(ValueError, match="names no package"):
        settings_of(tmp_path, entry)


APT_SAID = {
    "E: Unable to locate package texts": channels.PackageGone,
    "E: Failed to fetch http://x/t.deb  404  Not Found": channels.PackageGone,
    "E: Failed to fetch http://x/t.deb  Temporary failure resolving 'x'": DataError,
    "Err:1 http://x t\n  Could not connect to 127.0.0.1:9\nE: Failed to fetch x  Unable to connect": DataError,
    "E: You don't have enough free space in /x.\nE: No space left on device": DataError,
    "ERROR: No matching distribution found for texts": channels.PackageGone,
    "WARNING: Retrying (Retry(total=1)) NewConnectionError\nERROR: No matching distribution found": DataError,
    "error: metadata-generation-failed": channels.PackageGone,
}


@pytest.mark.parametrize("said", APT_SAID)
def test_a_client_that_fails_is_understood(monkeypatch, tmp_path, said):
    monkeypatch.setattr(channels, "_run", lambda command, folder, client: said)
    (tmp_path / "texts/.apt/lists").mkdir(parents=True)
    (tmp_path / "texts/.apt/lists/some_Packages").write_text("x")
    settings = settings_of(tmp_path, "deb:texts", requires_all=False)
    if APT_SAID[said] is channels.PackageGone:
        assert "deb:texts" in fetch_packages(settings, lambda line: None, TODAY)[1]
    else:
        with pytest.raises(DataError, match=r"deb:texts.*again"):
            fetch_packages(settings, lambda line: None, TODAY)


def test_apt_is_queried_with_lists_of_our_own_when_the_systems_know_nothing(monkeypatch, tmp_path, make_deb):
    archive = make_deb("texts", {"usr/share/doc/texts/a.txt": b"words"})
    asked = []

    def run(command, folder, client):
        asked.append(command)
        if not any("Dir::State::Lists" in word for word in command):
            return "E: Unable to locate package texts"
        if command[-1] == "update":
            (tmp_path / "texts/.apt/lists/some_Packages").write_text("x")
        else:
            shutil.copy(archive, folder)
        return None

    monkeypatch.setattr(channels, "_run", run)
    fetched, _ = fetch_packages(settings_of(tmp_path, "deb:texts"), lambda line: None, TODAY)
    assert fetched[0]["version"] == "1.0-1"
    assert [command[-1] for command in asked] == ["texts", "update", "texts"]
