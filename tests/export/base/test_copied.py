"""A tokenizer copied from a base that somebody else may have made."""

from __future__ import annotations

import json

from headwater.export.base.facts import copy_tokenizer
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer


def test_a_manifest_names_no_file_outside_its_folder(tmp_path):
    """Such a name would be read beside the base's folder, and written at the same place beside the run's."""
    base, copy = tmp_path / "base/data/tokenizer", tmp_path / "run/data/tokenizer"
    train_tokenizer({"a": ["The river."] * 9}, TokenizerSettings(vocab_size=288), base, "", lambda line: None)
    (tmp_path / "base/evil").write_text("from a stranger")
    manifest = json.loads((base / "manifest.json").read_text())
    manifest["files"] = {"tokenizer.json": manifest["digest"], "../../evil": "", str(tmp_path / "base/evil"): ""}
    (base / "manifest.json").write_text(json.dumps(manifest))
    copy_tokenizer(base, copy, "key")
    assert Tokenizer.load(copy).digest == manifest["digest"]
    assert not (tmp_path / "run/evil").exists()
    assert {path.name for path in copy.iterdir()} == {"tokenizer.json", "manifest.json"}
