from __future__ import annotations

import json

import pytest
from golden_rows import rows
from pydantic import ValidationError

from headwater.corpus.balance import KeptBy
from headwater.corpus.decide.documents import judged
from headwater.corpus.document import Document
from headwater.corpus.findings import Notes
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.load import read_documents
from headwater.corpus.sources.settings import CorpusSettings

MIT_HEAD = "# This file is licensed under the MIT License.\n"
GPL_TAG = "# SPDX-License-Identifier: GPL-2.0-only\n"


def judge(text="x = 1", kind="code", meta=None, allow=None, licence=None):
    """Return what becomes of a document, and its metadata, in a corpus that finds out licences."""
    source, rules = {"paths": ["x"], "licence": licence}, {"code": {"min_characters": 0, "min_alpha_fraction": None}}
    table = {"sources": {"s": source}, "licences": {"allow": allow}, "rules": rules}
    (found,) = judged([Document(text, "s", "i", "o", kind, meta or {})], CorpusSettings.model_validate(table))
    return found


NOT_UNDERSTOOD = ["All rights reserved", "proprietary", "other", "CC BY"]
# what a document begins with, of which kind it is, what is said beside it and of its source; its licence, and the name
# that isn't understood
NEAREST = [
    ("x = 1", "code", "", None, "unknown", ""),
    ("x = 1", "code", "", "PD", "LicenseRef-public-domain", ""),
    ("x = 1", "code", "CC BY 4.0", "PD", "CC-BY-4.0", ""),
    (MIT_HEAD, "code", "", "PD", "MIT", ""),
    (MIT_HEAD, "code", "CC BY 4.0", "PD", "CC-BY-4.0 AND MIT", ""),
    (GPL_TAG + MIT_HEAD, "code", "CC BY 4.0", "PD", "GPL-2.0-only", ""),
    ("# SPDX-License-Identifier: Ours-1.1\n" + MIT_HEAD, "code", "", "MIT", "unknown", "SPDX-License-Identifier"),
    # what the source says is not given to code or prose that refuses it
    ("# This file may be used for non-commercial purposes only.\n", "code", "", "CC0-1.0", "unknown", ""),
    ("# Copyright 2020 A. Author. All rights reserved.\n", "code", "", "CC0-1.0", "unknown", "All rights reserved"),
    ("# A plain comment.\n", "code", "", "CC0-1.0", "CC0-1.0", ""),
    ("Copyright 2024 A. Writer. All rights reserved.\n", "text", "", "CC0-1.0", "unknown", "All rights reserved"),
    ("A story. For non-commercial use only.", "text", "", "CC0-1.0", "unknown", "All rights reserved"),
    ("Copyright 1911, by A. Writer. All rights reserved.\n", "text", "", "CC0-1.0", "CC0-1.0", ""),
    ("She asked whether all rights reserved to the crown had been sold.", "text", "", "CC0-1.0", "CC0-1.0", ""),
    # beside the licence of a tree it is usual
    ("# Copyright 2020 A. Author. All rights reserved.\n", "code", "MIT", None, "MIT", ""),
    # a text that speaks of licences is not under them
    (MIT_HEAD, "text", "", None, "unknown", ""),
    (f"About tags\n\n\nWrite\n{GPL_TAG}", "documentation", "", None, "unknown", ""),
    (f".. {GPL_TAG}\nThe kernel's own pages begin so.", "documentation", "", None, "GPL-2.0-only", ""),
    # what isn't understood is never the licence of the source; what a reader didn't understand has no name of ours
    *(("x = 1", "code", said, "MIT", "unknown", said) for said in NOT_UNDERSTOOD),
    ("x = 1", "code", "unknown", "MIT", "unknown", ""),
    *((f"# {head}\nx = 1\n", "code", tree, None, licence, None) for tree, head, licence in rows("code_heads")),
]


@pytest.mark.parametrize(("text", "kind", "beside", "declared", "licence", "named"), NEAREST)
def test_what_is_nearest_to_the_text_counts(text, kind, beside, declared, licence, named):
    meta = judge(text, kind, {"licence": beside} if beside else None, None, declared).document.meta
    assert meta["licence"] == licence
    assert named is None or meta.get("licence_named", "") == named


@pytest.mark.parametrize(
    ("meta", "because"),
    [
        *(({"licence": said}, f"licence not understood: {said}") for said in NOT_UNDERSTOOD),
        ({"licence": "unknown", "licence_named": "LICENSE"}, "licence not understood: LICENSE"),
        ({"licence": "unknown"}, "licence unknown"),
    ],
)
def test_a_licence_that_is_not_understood_is_not_allowed_and_named(meta, because):
    found = judge(licence="MIT", meta=meta, allow=["permissive"])
    assert (found.reason, found.because) == ("licence_not_allowed", because)


def test_rows_of_as_many_licences_as_there_are_rows_fill_nothing():
    notes = Notes()
    for number in range(2000):
        notes.add_("licence_not_allowed", f"LicenseRef-{number}")
    merged = Notes()
    for _ in range(2):
        merged.merge_(notes.as_dict())
    counts = merged.as_dict()["licence_not_allowed"]
    assert (len(counts), sum(counts.values()), counts["other"]) == (501, 4000, 3000)


def test_a_source_whose_licence_is_none_is_an_error():
    with pytest.raises(ValidationError, match="'mine' is no SPDX expression"):
        judge(licence="mine")


def test_the_manifest_says_what_is_kept_by_licence_and_what_was_not_allowed(build, make_prose, tmp_path):
    code = "".join(f"def f{n}(x):\n    return x + {n}\n\n\n" for n in range(40))
    files = {
        **{f"{n}.txt": make_prose(200, n) for n in range(8)},
        "tree/LICENSE": MIT_HEAD,
        "tree/a.py": code,
        "tree/b.py": GPL_TAG + code.replace("f", "g"),
    }
    manifest = build(files, licences={"allow": ["permissive", "unknown"]})
    licences = manifest["kept_by"]["licence"]["mine"]
    assert set(licences) == {"MIT", "unknown"}
    assert licences["MIT"]["documents"] == 2
    assert manifest["licences_not_allowed"] == {"GPL-2.0-only": 1}
    assert manifest["sources"]["mine"]["dropped"]["licence_not_allowed"]["documents"] == 1
    for mark in ("licence", "language", "kind"):
        counts = manifest["kept_by"][mark]["mine"].values()
        assert sum(count["documents"] for count in counts) == manifest["sources"]["mine"]["kept"]["documents"]
    kept = {
        d.id.rsplit("/in/")[-1]: d.meta
        for s in ("train", "validation")
        for d in read_documents(tmp_path / "corpus", s, "mine")
    }
    assert kept["tree/a.py"]["licence"] == "MIT"


def test_without_the_setting_nothing_is_written_of_licences(build, make_prose, tmp_path):
    build({f"{n}.txt": make_prose(200, n) for n in range(8)} | {"LICENSE": MIT_HEAD})
    assert all("licence" not in d.meta for d in read_documents(tmp_path / "corpus", "train", "mine"))


def test_a_declared_licence_is_counted_without_the_setting_and_no_text_is_searched(build, make_prose, tmp_path):
    files = {f"{n}.txt": make_prose(200, n) for n in range(8)} | {"LICENSE": MIT_HEAD, "a.py": GPL_TAG + "x = 1\n" * 9}
    said = json.dumps({"text": make_prose(200, 9), "licence": "CC-BY-4.0"})
    source = {"paths": [str(tmp_path / "in")], "licence": "PD"}
    manifest = build({**files, "said.jsonl": said}, sources={"mine": source})
    licences = manifest["kept_by"]["licence"]["mine"]
    kept = manifest["sources"]["mine"]["kept"]["documents"]
    assert {name: count["documents"] for name, count in licences.items()} == {
        "LicenseRef-public-domain": kept - 1,
        "CC-BY-4.0": 1,
    }


def test_the_first_and_the_last_date_are_kept():
    kept = KeptBy()
    for date in ("1990-01-31", "1789", "2011-05", "soon", "19999-01-01", "1950-01-01T10:00:00Z"):
        kept.add_("s", {"date": date}, "text", 1)
    merged = KeptBy()
    merged.merge_(kept.as_dict())
    assert merged.as_dict()["dates"] == {"s": {"first": "1789", "last": "2011-05"}}


def test_counts_merge_and_the_number_of_values_is_bounded():
    parts = [KeptBy(), KeptBy()]
    for number in range(2000):
        parts[number % 2].add_("s", {"language": f"l{number}"}, "text", 1)
    merged = KeptBy()
    for part in parts:
        merged.merge_(json.loads(json.dumps(part.as_dict())))
    languages = merged.as_dict()["language"]["s"]
    assert len(languages) <= 501
    assert sum(count["documents"] for count in languages.values()) == 2000


def test_other_patterns_make_another_corpus_where_licences_are_looked_for(monkeypatch):
    sources = {"sources": {"own": {"paths": [__file__]}}}
    plain = CorpusSettings.model_validate(sources)
    judged = CorpusSettings.model_validate({**sources, "licences": {"allow": ["MIT"]}})
    before = [corpus_key(each, corpus_inputs(each)) for each in (plain, judged)]
    monkeypatch.setattr("headwater.corpus.licences.texts.patterns_version", lambda: "others")
    after = [corpus_key(each, corpus_inputs(each)) for each in (plain, judged)]
    assert before[0] == after[0]
    assert before[1] != after[1]
