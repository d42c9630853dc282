"""Files that a user hands over or headwater wrote, as the tests of foreign bytes try them.

Digests are made right, for they guard against accidents: whoever hands over a folder can make it say anything.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreign_formats import Target
from headwater.core.errors import CheckpointError, ConfigError, HeadwaterError, StoreError, TokenizerError
from headwater.core.files import digest_bytes, digest_file, json_bytes
from headwater.core.manifests import seal
from headwater.export.base.config import settings_of_config
from headwater.export.base.facts import read_object
from headwater.plan.scaling.table import read_runs
from headwater.runfile.run_config import find_recipe, load_run
from headwater.tokens.format import DATA_FILES, block_sums, manifest_digest
from headwater.tokens.read import TokenStore
from headwater.tokens.tokenizer.settings import MIN_VOCAB_SIZE, SPECIAL_IDS, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import FORMAT, FORMAT_VERSION, Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer
from headwater.train.checkpoint import layout
from headwater.train.checkpoint.load import read_checkpoint
from headwater.train.checkpoint.shards import TensorChunk, merged_tables, state_digest, table_of
from headwater.train.checkpoint.tensor_file import SummedFile, write_tensors

SAMPLE = "The river rises, über 1,234 metres; it's the sea's.\r\n    x = f(y)\n\n" * 3
SMALL = b"""
[corpus.sources.mine]
paths = ["texts"]
[tokenizer]
vocab_size = 512
[model]
num_layers = 2
seq_len = 64
[train]
num_steps = 24
batch_tokens = 512
"""


def refuses(read: Callable[[Any], object], given: Any) -> bool:
    """Return whether reading raised headwater's own error, with words."""
    try:
        read(given)
    except HeadwaterError as error:
        assert str(error)
        return True
    return False


def user_file(name: str, read: Callable[[Path], object], data: bytes, folder: Path) -> None:
    (folder / name).write_bytes(data)
    refuses(read, folder / name)


def law_table(path: Path) -> None:
    assert len(read_runs(path)) >= 6


def hf_config(path: Path) -> None:
    assert settings_of_config(read_object(path))


def override(data: bytes, folder: Path) -> None:
    path = folder / "base.toml"
    if not path.exists():
        path.write_bytes(SMALL)
    refuses(lambda lines: load_run(str(path), lines), data.decode("utf-8", "replace").split("\n"))


# ---- tokenizers


@cache
def good_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "good-tokenizer"
    if not path.exists():
        settings = TokenizerSettings(vocab_size=MIN_VOCAB_SIZE + 12)
        train_tokenizer({"a": [SAMPLE]}, settings, path, "key", lambda line: None)
    return Tokenizer.load(path)


@cache
def tokenizer_seed() -> bytes:
    """Return a small tokenizer.json as headwater writes it."""
    with tempfile.TemporaryDirectory() as folder:
        good_tokenizer(Path(folder))
        return (Path(folder) / "good-tokenizer" / "tokenizer.json").read_bytes()


def round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text, "a text doesn't come back"
    assert all(token >= len(SPECIAL_IDS) for token in ids), "a text encodes to a special token"


def encode(data: bytes, folder: Path) -> None:
    round_trip(good_tokenizer(folder), data.decode("utf-8", "replace"))


def tokenizer_file(data: bytes, folder: Path) -> None:
    path = folder / "tokenizer"
    path.mkdir(exist_ok=True)
    (path / "tokenizer.json").write_bytes(data)
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "digest": digest_bytes(data)}
    manifest |= {"vocab_size": MIN_VOCAB_SIZE + 12, "special": SPECIAL_IDS}
    (path / "manifest.json").write_bytes(json_bytes(manifest))
    try:
        tokenizer = Tokenizer.load(path)
    except TokenizerError as error:
        assert str(error)
        return
    round_trip(tokenizer, SAMPLE)


# ---- token stores


def read_store(path: Path) -> None:
    try:
        store = TokenStore(path)
        ids = store.slice(0, store.num_tokens)
        assert len(ids) == store.num_tokens and ids.max(initial=0) < store.vocab_size
        assert len([store.document_id(number) for number in range(store.num_documents)]) == len(store.starts) - 1
        assert store.starts[-1] == store.num_tokens
    except StoreError as error:
        assert str(error)


def store_files(data: bytes, folder: Path) -> None:
    """Fill a shard's four files from the data, their lengths from its first bytes; every sum and digest is right."""
    path = folder / "made-store"
    path.mkdir(exist_ok=True)
    num_documents, num_tokens = 1 + data[0] % 4 if data else 1, 2 + (data[1] % 16 if len(data) > 1 else 0)
    content, rest = {}, data[2:]
    for kind, size in {"bin": 2 * num_tokens, "off": 8 * (num_documents + 1), "len": 8 * num_documents}.items():
        content[kind], rest = rest[:size].ljust(size, b"\0"), rest[size:]
    content["ids"] = rest or b'"a"\n' * num_documents
    content["sum"] = np.concatenate([block_sums(content[kind]) for kind in DATA_FILES]).tobytes()
    for kind, each in content.items():
        (path / f"00000.{kind}").write_bytes(each)
    counts = {"num_documents": num_documents, "num_tokens": num_tokens, "num_bytes": 9}
    files = {kind: {"bytes": len(each), "digest": digest_bytes(each)} for kind, each in content.items()}
    manifest: dict[str, Any] = {
        **{"format": "headwater-token-store", "format_version": 1, "dtype": "uint16", "vocab_size": 300},
        **{"tokenizer": "t", "begin_id": 0, "end_id": 1, "pad_id": 2, **counts},
        "shards": [{"name": "00000", **counts, "files": files}],
    }
    (path / "manifest.json").write_bytes(json_bytes(manifest | {"digest": manifest_digest(manifest)}))
    read_store(path)


# ---- checkpoints


def refused_as_checkpoint(read: Callable[[Path], object], path: Path) -> bool:
    try:
        read(path)
    except (CheckpointError, ConfigError) as error:
        assert str(error)
        return True
    return False


def write_manifest(path: Path, world_size: int, tensors: Any, digest: str | None) -> None:
    files = {file.name: {"bytes": file.stat().st_size, "digest": digest_file(file)} for file in path.iterdir()}
    files.pop("manifest.json", None)
    said = {"format": layout.FORMAT, "format_version": layout.FORMAT_VERSION, "step": 1, "world_size": world_size}
    said |= {"files": files, "tensors": tensors, "state_digest": digest}
    (path / "manifest.json").write_bytes(json_bytes(seal(said)))


def checkpoint(data: bytes, folder: Path) -> None:
    """Take the data for the weights of a checkpoint, and, from byte 200 on, for its state; every digest is right."""
    path = folder / "step-000000001"
    path.mkdir(exist_ok=True)
    names = [layout.tensor_file(kind, 0, 1) for kind in layout.KINDS]
    for name in names:
        (path / name).write_bytes(data[:200])
    (path / layout.STATE_FILE).write_bytes(data[200:] or b"{}")
    chunk = {"file": names[0], "offsets": [0], "shape": [2]}
    write_manifest(path, 1, {"model.a": {"dtype": "float32", "shape": [2], "digest": None, "chunks": [chunk]}}, None)
    if not refused_as_checkpoint(read_checkpoint, path):
        assert isinstance(read_checkpoint(path).state, dict)


@cache
def checkpoint_of_two(folder: Path) -> Path:
    """Return a checkpoint of which each of two ranks wrote one tensor whole and half of another."""
    path = folder / "two-ranks" / "step-000000001"
    path.mkdir(parents=True)
    tables = []
    for kind, rank in product(layout.KINDS, range(2)):
        whole = TensorChunk(f"{kind}.{'ab'[rank]}", (0, 0), (4, 2), torch.ones(4, 2))
        half = TensorChunk(f"{kind}.c", (2 * rank, 0), (4, 2), torch.ones(2, 2))
        name = layout.tensor_file(kind, rank, 2)
        with SummedFile(path / name) as file:
            write_tensors(file, {piece.key: piece.tensor for piece in (whole, half)})
        layout.sums_file(path / name).write_bytes(file.sums())
        tables.append(table_of([(whole, name), (half, name)]))
    (path / layout.STATE_FILE).write_bytes(b'{"step": 1}')
    tensors = merged_tables(tables)
    write_manifest(path, 2, tensors, state_digest(tensors))
    return path


# ---- seeds


def recipe() -> bytes:
    path = find_recipe("first-light")
    assert path is not None
    return path.read_bytes()


RUNS = "params,tokens,loss,epochs,seed\n" + "".join(f"{n}e6,{20 * n}e6,{4 - n / 10},1,{n}\n" for n in range(1, 9))
LLAMA = {
    **{"model_type": "llama", "vocab_size": 32000, "hidden_size": 64, "intermediate_size": 128},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128},
}
MOE = LLAMA | {"model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = MOE | {
    **{"model_type": "deepseek_v3", "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8},
    **{"n_routed_experts": 4, "first_k_dense_replace": 1},
}
GPT2 = {"model_type": "gpt2", "vocab_size": 96, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64}
HEADER = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER + bytes(8)
# one document of two tokens that nothing is wrong with
GOOD_STORE = bytes(6) + bytes(8) + (2).to_bytes(8, "little") + (9).to_bytes(8, "little") + b'"a"\n'

TOML_WORDS = (
    *b"[model] [train] [optim] [corpus.sources.a] off true nan 0xffffffffffffffffff -1 1e999 [[ d_model".split(),
    *b"num_layers seq_len \"auto\" batch_tokens 1979-05-27T07:32:00Z ''' a.b.c.d".split(),
    *(b'extends = "first-light"', b"{a = {b = 1}}"),
)
TABLE_WORDS = (*b'params tokens loss epochs nan 1e308 "'.split(), b"\r")
CONFIG_WORDS = [json.dumps(name).encode() for name in {**MOE, **LATENT, **GPT2, "layer_types": 1, "sliding_window": 1}]
JSON_WORDS = tuple(b'null -1 1e400 [] {} " true 99999999999999999999 ../.. [[[['.split())
TARGETS = {
    "run-file": Target(lambda: (SMALL, recipe()), partial(user_file, "mine.toml", lambda path: load_run(str(path), [])), TOML_WORDS),
    "override": Target(lambda: (b"model.num_layers=3\ntrain.num_steps=off", b"optim.name=adamw"), override, TOML_WORDS),
    "law-table": Target(lambda: (RUNS.encode(),), partial(user_file, "runs.csv", law_table), TABLE_WORDS),
    "hf-config": Target(lambda: [json.dumps(config).encode() for config in (LLAMA, MOE, LATENT, GPT2)],
                        partial(user_file, "config.json", hf_config), CONFIG_WORDS),
    "tokenizer-file": Target(lambda: (tokenizer_seed(),), tokenizer_file, (*JSON_WORDS, b'"Regex"', b'"WordPiece"', b"0.5")),
    "encode": Target(lambda: (SAMPLE.encode(), b"<|end_of_text|> \xef\xbf\xbd"), encode, (b"<|pad|>", b"'s", b"\r\n", b"   ")),
    "store-files": Target(lambda: (bytes(22) + b'"a"\n', bytes(90), GOOD_STORE), store_files, (b'"a"\n', b"\xff" * 8)),
    "checkpoint": Target(lambda: (WEIGHTS.ljust(200) + b'{"step": 1}', WEIGHTS), checkpoint, (*JSON_WORDS, b'"BF16"', b'"dtype"')),
}  # fmt: skip
