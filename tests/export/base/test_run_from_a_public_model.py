"""Runs that begin at a public model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import quick, write_run_file, write_texts
from their_models import their_logits, write_base
from their_tokenizers import files_of

from headwater.core.errors import ConfigError, TokenizerError
from headwater.export.base.facts import copy_tokenizer, facts_of, tokenizer_of
from headwater.runfile.run_config import load_run
from headwater.runs.running import run
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer
from headwater.train.checkpoint.layout import MODEL, checkpoint_dir
from headwater.train.checkpoint.load import read_tensors

transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "headwater[hf]"')
FEW_STEPS = {"schedule__warmup_steps": 0, "train__num_steps": 3, "train__save_every": 3, "train__num_probes": 1}
LONGEST = 96  # what the bases are made for; they are trained on rows of 64
PATTERNS = {"llama-llama3": "llama3", "qwen2-window-tied": "qwen2", "gpt2": "gpt2"}


def base_like(name: str, folder: Path) -> Path:
    write_base(name, folder, files_of(PATTERNS[name]), LONGEST)
    return folder


def write_run(folder: Path, base: str, **settings: object) -> Path:
    """Write on.toml, which takes its shape from the base."""
    write_texts(folder / "texts", num_files=12)
    path = write_run_file(folder / "on.toml", extra=f'[init]\nfrom = "{base}"\n', **(FEW_STEPS | settings))
    shape = ("num_layers", "d_model", "vocab_size", "[tokenizer]")
    lines = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in shape]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", PATTERNS)
def test_a_base_is_trained_on_and_opens_in_transformers_again(tmp_path, name):
    base = base_like(name, tmp_path / "base")
    write_run(tmp_path, "base", optim__matrix_lr=0.001, optim__embedding_lr=0.001, optim__vector_lr=0.001)
    said: list[str] = []
    with chdir(tmp_path), quick():
        config, reasons = load_run("on.toml")
        assert (config.model.seq_len, config.model.num_positions) == (64, LONGEST)
        result = run(config, reasons, say=said.append)
        assert result.status == "finished"
    assert [line for line in said if "the base is exact: largest difference of a logit" in line]
    export, steps = tmp_path / "runs/on/export/hf", tmp_path / "runs/on"
    there = transformers.AutoModelForCausalLM.from_pretrained(export, attn_implementation="eager").eval()
    first = transformers.AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager").eval()
    trained = read_tensors(checkpoint_dir(steps, 3), MODEL)
    assert torch.equal(there.get_input_embeddings().weight, trained["embed.weight"])
    assert not torch.equal(there.get_input_embeddings().weight, first.get_input_embeddings().weight)
    assert there.config.max_position_embeddings == LONGEST == first.config.max_position_embeddings
    assert (their_logits(there) - their_logits(first)).abs().max() > 1e-3
    both = [transformers.AutoTokenizer.from_pretrained(folder) for folder in (base, export)]
    text = "The river, and <|im_end|> 123\n\n  e\u0301"
    assert both[0](text)["input_ids"] == both[1](text)["input_ids"]
    assert both[0].eos_token_id == both[1].eos_token_id == there.config.eos_token_id == 0
    tokenizer = Tokenizer.load(tmp_path / "runs/on/data/tokenizer")
    assert (tokenizer.begin_id, tokenizer.end_id) == (0, 0), "it has no begin token: the end of a text is one"
    card = (export / "README.md").read_text()
    assert "every text began with `<|endoftext|>`" in card and "unknown: ask its makers" in card
    assert 'base_model:\n- "base"\n' in card and "| on | trained on more text | 1,536 |" in card


def test_a_base_whose_logits_differ_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    base_like("gpt2", tmp_path / "base")
    write_run(tmp_path, "base")
    for name in ("MAX_DIFFERENCE", "MAX_RELATIVE_DIFFERENCE"):
        monkeypatch.setattr(f"headwater.export.base.weights.{name}", 0.0)
    with chdir(tmp_path), quick(), pytest.raises(ConfigError, match=r"init\.from=base: largest difference of a logit"):
        run(*load_run("on.toml"))
    assert not (tmp_path / "runs/on/data").exists()


def test_one_byte_anywhere_in_the_weights_makes_it_another_base(tmp_path, monkeypatch):
    """Of files above 2 GiB parts are compared: here two of 64 bytes, at both ends."""
    base = base_like("gpt2", tmp_path / "base")
    path = base / "model.safetensors"
    data = path.read_bytes()
    middle = len(data) // 2 & ~3  # the lowest bits of a number
    monkeypatch.setattr("headwater.export.base.facts._PART_BYTES", 64)
    for most, is_seen in ((10**6, True), (2, False)):
        monkeypatch.setattr("headwater.export.base.facts._MOST_PARTS", most)
        path.write_bytes(data)
        before = facts_of(str(base)).digest
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        assert (facts_of(str(base)).digest != before) == is_seen


ODD_VALUES = [None, True, -1, 10**18, 0.5, float("nan"), "x", [], ["x"], [{}], {}, {"a": [1]}]


def with_odd_values(table: Any, depth: int = 2) -> Iterator[Any]:
    """Yield the table with each value in it, and in what lies in it, replaced by others."""
    entries = table.items() if isinstance(table, dict) else enumerate(table[:2]) if isinstance(table, list) else []
    for key, value in list(entries):
        others = [*ODD_VALUES, *(with_odd_values(value, depth - 1) if depth else [])]
        for other in others:
            changed = table.copy()
            changed[key] = other
            yield changed


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_whatever_a_file_of_a_base_holds_is_no_traceback(tmp_path, name):
    base = base_like("llama-llama3", tmp_path / "base")
    content = json.loads((base / name).read_text()) if (base / name).exists() else {"eos_token": {"content": "x"}}
    if name == "tokenizer.json":  # one of each entry is enough
        content["model"]["vocab"] = dict(list(content["model"]["vocab"].items())[:3])
        content["model"]["merges"] = content["model"]["merges"][:2]
    num_refused = num_changed = 0
    for changed in with_odd_values(content):
        (base / name).write_text(json.dumps(changed))
        num_changed += 1
        try:
            tokenizer_of(facts_of(str(base)))
        except (ConfigError, TokenizerError):
            num_refused += 1
    assert num_changed > 10 and (num_refused > num_changed / 5 or name.endswith(("config.json", "map.json")))


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
