"""Files go in, documents and drops come out: each case of `tests/golden/read`, by the name that says what it claims.

A case is a file, or the same content under several names: `text` (in `encoding`), the `members` (and `links`) of an archive, or
the `rows` of a table; a name that ends in .gz and the like is compressed. `drops` are "reason" or "#part reason bytes";
what a %WORD% stands for is in the file's [words].
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import made_files
import pytest

FOLDER = Path(__file__).parents[2] / "golden" / "read"


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
        words = listed.pop("words", {})
        for claim, case in listed.items():
            text = json.dumps(case)
            for word, stands_for in words.items():
                text = text.replace(f"%{word}%", json.dumps(stands_for)[1:-1])
            case = json.loads(text)
            names = case.get("files", [case.get("file", f"a.{path.stem}")])
            found += [pytest.param(name, case, id=f"{path.stem}: {claim} ({name})") for name in names]
    return found


def content_of(name: str, case: dict[str, Any]) -> bytes:
    if "members" in case:
        return made_files.archived(name, case["members"], case.get("links", ()))
    if "rows" in case:
        return made_files.rows_as(name, case["rows"])
    data = case["text"].encode(case.get("encoding", "utf-8"))
    return data if case.get("is_raw") else made_files.compressed(name, data)


@pytest.mark.parametrize(("name", "case"), cases())
def test_a_file_gives_these_documents_and_drops(read, tmp_path, name, case):
    kind, path = case.get("kind", "text"), str(tmp_path / name)
    content = content_of(name, case)[: case.get("cut")]
    documents, drops = read(name, content, kind, case.get("source"), **case.get("limits", {}))
    assert len({piece.id for piece in (*documents, *drops)}) == len(documents) + len(drops), "a name comes twice"
    assert [each.text for each in documents] == case.get("documents", [])
    metas = [case["meta"]] if "meta" in case else case.get("metas", [{}] * len(documents))
    found = [{key: value.replace(path, name) for key, value in each.meta.items()} for each in documents]
    assert found[: len(metas)] == metas
    assert [each.kind for each in documents] == case.get("kinds", [kind] * len(documents))
    expected = case.get("drops", [])
    told = [f"{each.id.removeprefix(path)} {each.reason} {each.num_bytes}".strip() for each in drops]
    assert [full if " " in said else each.reason for full, said, each in zip(told, expected, drops)] == expected
    assert len(drops) == len(expected), told
    for drop, because in zip(drops, case.get("because", []), strict="because" in case):
        assert because in drop.because
