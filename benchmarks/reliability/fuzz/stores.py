"""The files that headwater writes and reads back, with digests made right: only what they say is wrong.

A digest guards against accidents. Whoever hands over a folder can make it say anything.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fuzz.target import Target
from headwater.core.errors import CheckpointError, ConfigError, StoreError, TokenizerError
from headwater.core.files import digest_bytes, digest_file, json_bytes, read_json
from headwater.core.manifests import seal
from headwater.tokens.format import DATA_FILES, block_sums, manifest_digest
from headwater.tokens.read import TokenStore
from headwater.tokens.tokenizer.settings import MIN_VOCAB_SIZE, TokenizerSettings
from headwater.tokens.tokenizer.special import SPECIAL_IDS
from headwater.tokens.tokenizer.tokenizer import FORMAT, FORMAT_VERSION, Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer
from headwater.tokens.write import EncodedDocument, write_store

SAMPLE = "The river rises, über 1,234 metres; it's the sea's.\r\n    x = f(y)\n\n" * 3


@cache
def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "good-tokenizer"
    if not path.exists():
        train_tokenizer(
            {"a": [SAMPLE]}, TokenizerSettings(vocab_size=MIN_VOCAB_SIZE + 12), path, "key", lambda line: None
        )
    return Tokenizer.load(path)


def _round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text, "a text doesn't come back"
    assert all(token >= len(SPECIAL_IDS) for token in ids), "a text encodes to a special token"


def _encode(data: bytes, folder: Path) -> None:
    _round_trip(_tokenizer(folder), data.decode("utf-8", "replace"))


@cache
def tokenizer_seed() -> bytes:
    """Return a small tokenizer.json as headwater writes it."""
    with tempfile.TemporaryDirectory() as folder:
        _tokenizer(Path(folder))
        return (Path(folder) / "good-tokenizer" / "tokenizer.json").read_bytes()


def _load_tokenizer(data: bytes, folder: Path) -> None:
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
    _round_trip(tokenizer, SAMPLE)


@cache
def _store(folder: Path) -> Path:
    path = folder / "store"
    if not path.exists():
        documents = [EncodedDocument([40 + n, 41], 2, f"d{n}") for n in range(3)]
        write_store(path, documents, 300, "t", shard_tokens=8)
    return path


def _read_store(path: Path) -> None:
    try:
        store = TokenStore(path)
        ids = store.slice(0, store.num_tokens)
        assert len(ids) == store.num_tokens and ids.max(initial=0) < store.vocab_size
        assert len([store.document_id(number) for number in range(store.num_documents)]) == len(store.starts) - 1
        assert store.starts[-1] == store.num_tokens
    except StoreError as error:
        assert str(error)


@cache
def store_seed() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return (_store(Path(folder)) / "manifest.json").read_bytes()


def _store_manifest(data: bytes, folder: Path) -> None:
    path = _store(folder)
    try:
        manifest = json.loads(data)
        if isinstance(manifest, dict):
            manifest["digest"] = manifest_digest(manifest)
            data = json_bytes(manifest)
    except (ValueError, RecursionError):
        pass
    (path / "manifest.json").write_bytes(data)
    _read_store(path)


def _store_files(data: bytes, folder: Path) -> None:
    """Fill a shard's four files from the data, their lengths from its first bytes; every sum and digest is right."""
    path = folder / "made-store"
    path.mkdir(exist_ok=True)
    num_documents, num_tokens = 1 + data[0] % 4 if data else 1, 2 + (data[1] % 16 if len(data) > 1 else 0)
    sizes = {"bin": 2 * num_tokens, "off": 8 * (num_documents + 1), "len": 8 * num_documents}
    content, rest = {}, data[2:]
    for kind, size in sizes.items():
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
    manifest["digest"] = manifest_digest(manifest)
    (path / "manifest.json").write_bytes(json_bytes(manifest))
    _read_store(path)


def good_store_files() -> bytes:
    """Return the data of a shard of one document of two tokens that nothing is wrong with."""
    starts = (0).to_bytes(8, "little") + (2).to_bytes(8, "little")
    return bytes([0, 0]) + bytes(4) + starts + (9).to_bytes(8, "little") + b'"a"\n'


def _checkpoint(data: bytes, folder: Path) -> None:
    """Take the data for the weights of a checkpoint, and, from byte 200 on, for its state; every digest is right."""
    from headwater.train.checkpoint.layout import FORMAT, FORMAT_VERSION, KINDS, STATE_FILE, tensor_file
    from headwater.train.checkpoint.load import read_checkpoint

    path = folder / "step-000000001"
    path.mkdir(exist_ok=True)
    names = [*(tensor_file(kind, 0, 1) for kind in KINDS), STATE_FILE]
    for name in names:
        (path / name).write_bytes(data[200:] or b"{}" if name == STATE_FILE else data[:200])
    files = {
        file.name: {"bytes": file.stat().st_size, "digest": digest_file(file)} for file in map(path.joinpath, names)
    }
    chunk = {"file": names[0], "offsets": [0], "shape": [2]}
    tensors = {"model.a": {"dtype": "float32", "shape": [2], "digest": None, "chunks": [chunk]}}
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": 1, "world_size": 1, "files": files}
    (path / "manifest.json").write_bytes(json_bytes(seal(manifest | {"tensors": tensors, "state_digest": None})))
    try:
        assert isinstance(read_checkpoint(path).state, dict)
    except (CheckpointError, ConfigError) as error:
        assert str(error)


def _checkpoint_manifest(data: bytes, folder: Path) -> None:
    """Take the data for the manifest of a checkpoint that two ranks wrote; its seal is right."""
    from headwater.train.checkpoint.load import load_state_, read_checkpoint, saved_shapes
    from headwater.train.checkpoint.verify import checked_manifest, is_whole, model_digest, read_state

    path = checkpoint_of_two(folder)
    try:
        manifest = json.loads(data)
        data = json_bytes(seal({n: v for n, v in manifest.items() if n != "seal"}))
    except (ValueError, RecursionError, AttributeError):
        pass
    (path / "manifest.json").write_bytes(data)
    try:
        checked_manifest(path)  # with which all that reads a checkpoint begins
    except (CheckpointError, ConfigError) as error:
        assert str(error)
        return
    is_whole(path)
    tensors = {name: torch.zeros(4, 2) for name in ("a", "b")}
    for read in (
        model_digest,
        read_state,
        read_checkpoint,
        lambda path: saved_shapes(path, "model"),
        lambda path: load_state_(path, tensors, tensors),
    ):
        try:
            read(path)
        except (CheckpointError, ConfigError) as error:
            assert str(error)


@cache
def checkpoint_of_two(folder: Path) -> Path:
    """Return a checkpoint of which each of two ranks wrote one tensor whole and half of another."""
    from headwater.train.checkpoint.checked_file import SummedFile
    from headwater.train.checkpoint.layout import FORMAT, FORMAT_VERSION, KINDS, STATE_FILE, sums_file, tensor_file
    from headwater.train.checkpoint.shards import Piece, merged_tables, state_digest, table_of
    from headwater.train.checkpoint.tensor_file import write_tensors

    path = folder / "two-ranks" / "step-000000001"
    path.mkdir(parents=True)
    tables = []
    for kind, rank in product(KINDS, range(2)):
        whole = Piece(f"{kind}.{'ab'[rank]}", (0, 0), (4, 2), torch.ones(4, 2))
        half = Piece(f"{kind}.c", (2 * rank, 0), (4, 2), torch.ones(2, 2))
        name = tensor_file(kind, rank, 2)
        with SummedFile(path / name) as file:
            write_tensors(file, {piece.key: piece.tensor for piece in (whole, half)})
        sums_file(path / name).write_bytes(file.sums())
        tables.append(table_of([(whole, name), (half, name)]))
    (path / STATE_FILE).write_bytes(b'{"step": 1}')
    files = {file.name: {"bytes": file.stat().st_size, "digest": digest_file(file)} for file in path.iterdir()}
    tensors = merged_tables(tables)
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": 1, "world_size": 2, "files": files}
    manifest |= {"tensors": tensors, "state_digest": state_digest(tensors)}
    (path / "manifest.json").write_bytes(json_bytes(seal(manifest)))
    return path


@cache
def checkpoint_seed() -> bytes:
    """Return the manifest of a checkpoint of two ranks, in as few bytes as it can be."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = read_json(checkpoint_of_two(Path(folder)) / "manifest.json")
    return json.dumps(manifest, separators=(",", ":")).encode()


def _safetensors(header: bytes, tensors: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + tensors


WEIGHTS = _safetensors(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8))
FILES_TABLE = b'{"model.safetensors": {"bytes": 1, "digest": "sha256:0"}, "state.json": {"digest": "sha256:0"}}'
MANIFEST = b'{"format": "headwater-checkpoint", "format_version": 1, "step": 1, "files": ' + FILES_TABLE + b"}"
JSON_WORDS = (b"null", b"-1", b"1e400", b"[]", b"{}", b'"', b"true", b"99999999999999999999", b"../..", b"[[[[")
TARGETS = (
    Target(
        "tokenizer-file",
        lambda: (tokenizer_seed(),),
        _load_tokenizer,
        (*JSON_WORDS, b'"Regex"', b'"WordPiece"', b"0.5"),
    ),
    Target(
        "encode",
        lambda: (SAMPLE.encode(), b"<|end_of_text|> \xef\xbf\xbd"),
        _encode,
        (b"<|pad|>", b"'s", b"\r\n", b"   "),
    ),
    Target(
        "store-manifest", lambda: (store_seed(),), _store_manifest, (*JSON_WORDS, b'"shards"', b'"name"', b'"bytes"')
    ),
    Target(
        "store-files",
        lambda: (bytes([0, 0]) + bytes(4 + 16) + b'"a"\n', bytes(90), good_store_files()),
        _store_files,
        (b'"a"\n', b"\xff" * 8),
        max_bytes=512,
    ),
    Target(
        "checkpoint",
        lambda: (WEIGHTS.ljust(200) + b'{"step": 1}', WEIGHTS),
        _checkpoint,
        (*JSON_WORDS, b'"BF16"', b'"dtype"'),
        max_bytes=1024,
    ),
    Target(
        "checkpoint-manifest",
        lambda: (checkpoint_seed(), MANIFEST),
        _checkpoint_manifest,
        (*JSON_WORDS, b'"tensors"', b'"chunks"', b'"offsets"', b'"shape"', b'"world_size"', b'"float32"'),
        max_bytes=3000,
    ),
)
