"""Whatever bytes a parser is given, it answers or raises headwater's own error."""

from __future__ import annotations

import json
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreign_formats import TARGETS as FOREIGN
from headwater.core.errors import CheckpointError, ConfigError, DataError, StoreError, TokenizerError
from headwater.core.files import digest_bytes, json_bytes, read_json
from headwater.core.manifests import seal
from headwater.model.hf_count import MAX_LAYERS, count_hf_file
from headwater.plan.scaling.table import read_runs
from headwater.runfile.given import MAX_DEPTH, MAX_VALUES
from headwater.runfile.run_config import load_run
from headwater.tokens.format import manifest_digest
from headwater.tokens.read import TokenStore, open_stores
from headwater.tokens.tokenizer.tokenizer import FORMAT, FORMAT_VERSION, Tokenizer
from headwater.tokens.write import EncodedDocument, write_store
from headwater.train.checkpoint.load import load_state_, read_checkpoint
from own_files import TARGETS as OWN
from own_files import checkpoint_of_two, tokenizer_seed

BY_NAME = FOREIGN | OWN


def mutated(name: str, chance: random.Random) -> bytes:
    """Return a seed of a target with a few changes, of the kinds that a fuzzer makes."""
    target = BY_NAME[name]
    data = bytearray(chance.choice(target.seeds()))
    for _ in range(chance.randint(0, 6)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.randint(1, 12))
        change = chance.randrange(5)
        if change == 0:
            data[at:end] = chance.choice(target.words)
        elif change == 1:
            del data[at:end]
        elif change == 2:
            data[at:at] = data[at:end] * chance.randint(1, 40)
        elif change == 3:
            data[at:end] = chance.randbytes(end - at)
        else:
            data = data[: max(at, 1)]
    return bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tried")


@pytest.mark.parametrize("name", BY_NAME)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_parser_answers_or_refuses_changed_files(name, folder, seed):
    BY_NAME[name].try_one(mutated(name, random.Random(seed)), folder)


@pytest.mark.parametrize("name", BY_NAME)
@given(data=st.binary(max_size=200))
@settings(max_examples=25)
def test_a_parser_answers_or_refuses_any_bytes(name, folder, data):
    BY_NAME[name].try_one(data, folder)


# ---- run files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"[" * 50 + b"]" * 50, "nested more than"),
        (b".".join([b"a"] * 5000) + b" = 1", "nested more than"),
        (b"seed = " + b"9" * 5000, "not valid TOML"),
        (b"seed = 0x" + b"f" * 9000, "64 bits"),
        (b"# " + b"x" * 2_000_000, "has more than"),
        (b"".join(b"a%d = 1\n" % number for number in range(MAX_VALUES + 1)), f"more than {MAX_VALUES} values"),
        (b'extends = "' + b"x" * 5000 + b'"', "neither a file beside it nor a recipe"),
        (b'extends = "a\\u0000b"', "neither a file beside it nor a recipe"),
        (b"\xff\xfe", "not valid TOML"),
    ],
)
def test_a_run_file_that_is_an_attack_is_an_error(tmp_path, content, message):
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as raised:
        load_run(str(tmp_path / "mine.toml"), [])
    assert len(str(raised.value)) < 10_000


@pytest.mark.parametrize(
    "override", ["a" + ".a" * 5000 + "=1", "seed=" + "[" * 50_000, "seed=0x" + "f" * 9000, "seed=1\nb=2", "=", "a.=1"]
)
def test_an_override_that_is_an_attack_is_an_error(override):
    with pytest.raises(ConfigError) as raised:
        load_run("first-light", [override])
    assert len(str(raised.value)) < 100_000


def test_many_problems_are_reported_briefly(tmp_path):
    (tmp_path / "mine.toml").write_text("".join(f"a{number} = 1\n" for number in range(3000)))
    with pytest.raises(ConfigError, match=r"and \d+ more") as raised:
        load_run(str(tmp_path / "mine.toml"), [])
    assert len(str(raised.value)) < 10_000


def test_a_device_in_the_place_of_a_run_file_is_not_read_to_its_end():
    with pytest.raises(ConfigError, match=r"/dev/zero' is no recipe, run file or run folder"):
        load_run("/dev/zero", [])


def test_settings_are_not_deeper_than_what_is_refused():
    def depth(table) -> int:
        return 1 + max(map(depth, table.values())) if isinstance(table, dict) and table else 0

    config, _ = load_run("first-light", [])
    assert depth(config.model_dump()) < MAX_DEPTH / 2


# ---- tables, configurations, manifests


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b",".join(b"c%d" % number for number in range(100_000)), "columns"),
        (b",".join(b"c%d" % number for number in range(400)) + b"\n1" * 6000, "more than"),
        (b"x" * 20_000_000, "more than"),
        (b"params,tokens,loss\n\xff", "UTF-8"),
        (b"params,tokens,loss\n" + b"1e9,1e9,3\0\n" * 7, "line"),
    ],
)
def test_a_table_that_is_an_attack_is_an_error(tmp_path, content, message):
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_runs(tmp_path / "runs.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a":' * 100_000, "not valid JSON"),
        (b'{"vocab_size": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"model_type": ["' + b"x" * 100_000 + b'"]}', "has no family"),
        (b'{"x": "' + b"x" * 11_000_000 + b'"}', "has more than"),
    ],
)
def test_a_configuration_that_is_an_attack_is_an_error(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as raised:
        count_hf_file(tmp_path)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_model_of_a_billion_layers_is_refused_before_they_are_listed(tmp_path, family):
    sizes = {
        "vocab_size": 9,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 1,
        "n_embd": 8,
        "n_head": 1,
    }
    config = {"model_type": family, **sizes, "num_hidden_layers": 10**9, "n_layer": 10**9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=f"at most {MAX_LAYERS:,}"):
        count_hf_file(tmp_path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" * 150 + b"]" * 150, b"\xff", b"{"])
def test_json_that_is_none_of_ours_is_a_value_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


# ---- tokenizers


def write_tokenizer(folder, data: bytes):
    seed = json.loads(tokenizer_seed())
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "digest": digest_bytes(data)}
    manifest |= {
        "vocab_size": len(seed["model"]["vocab"]),
        "special": {t["content"]: t["id"] for t in seed["added_tokens"]},
    }
    (folder / "tokenizer.json").write_bytes(data)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_tokenizer_as_it_was_written_is_loaded(tmp_path):
    assert Tokenizer.load(write_tokenizer(tmp_path, tokenizer_seed())).encode("words")


EVIL = {"Regex": "(a+)+$"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["pre_tokenizer"]["pretokenizers"][0].update(pattern=EVIL), "another pattern"),
        (lambda t: t["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "Whitespace"}), "another pattern"),
        (lambda t: t.update(pre_tokenizer=None), "another pattern"),
        (lambda t: t.update(normalizer={"type": "Lowercase"}), "sets normalizer"),
        (lambda t: t.update(normalizer={"type": "Replace", "pattern": EVIL, "content": ""}), "sets normalizer"),
        (lambda t: t["model"].update(dropout=0.5), "sets dropout"),
        (lambda t: t["model"].update(end_of_word_suffix="</w>"), "sets end_of_word_suffix"),
        (lambda t: t["model"].update(type="WordPiece"), "not BPE"),
        (lambda t: t["added_tokens"].append({**t["added_tokens"][0], "id": 999, "content": "the"}), "special tokens"),
        (lambda t: t["added_tokens"][3].update(special=False), "special tokens"),
        (lambda t: t["model"]["vocab"].update(xyz=t["model"]["vocab"].pop("a")), "no token for some byte"),
        (lambda t: t["model"].update(vocab=7), "not a usable tokenizer"),
    ],
)
def test_a_foreign_tokenizer_is_refused(tmp_path, change, message):
    table = json.loads(tokenizer_seed())
    change(table)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(write_tokenizer(tmp_path, json.dumps(table).encode()))


def test_a_key_given_twice_hides_nothing(tmp_path):
    data = tokenizer_seed().replace(
        b'"pre_tokenizer":', b'"pre_tokenizer": {"type": "Whitespace"}, "pre_tokenizer":', 1
    )
    with pytest.raises(TokenizerError, match="same key twice"):
        Tokenizer.load(write_tokenizer(tmp_path, data))


# ---- token stores


@pytest.fixture
def store(tmp_path):
    write_store(tmp_path / "s", [EncodedDocument([40, 41], 2, f"d{number}") for number in range(3)], 300, "t", 8)
    return tmp_path / "s"


def first_shard(manifest):
    return manifest["shards"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("tokenizer"),
        lambda m: m.update(vocab_size="300"),
        lambda m: m.update(vocab_size=0),
        lambda m: m.update(vocab_size=1 << 17),
        lambda m: m.update(dtype="object"),
        lambda m: m.update(shards={}),
        lambda m: m.update(shards=[1]),
        lambda m: m["shards"].append(m["shards"][0]),
        lambda m: m.update(num_tokens=1 << 59),
        lambda m: m.update(num_documents=True),
        lambda m: first_shard(m).update(name="../../s/00000"),
        lambda m: first_shard(m).update(name="00000/../00001"),
        lambda m: first_shard(m).update(num_documents=0),
        lambda m: first_shard(m).update(num_tokens=-1),
        lambda m: first_shard(m)["files"].pop("off"),
        lambda m: first_shard(m)["files"].update(more={"bytes": 0, "digest": ""}),
        lambda m: first_shard(m)["files"]["bin"].update(bytes=9),
        lambda m: first_shard(m)["files"]["bin"].update(digest=None),
    ],
)
def test_a_manifest_whose_digest_is_right_and_content_wrong_describes_no_store(store, change):
    manifest = json.loads((store / "manifest.json").read_text())
    change(manifest)
    manifest["digest"] = manifest_digest(manifest)
    (store / "manifest.json").write_bytes(json_bytes(manifest))
    with pytest.raises(StoreError, match="describes no store"):
        TokenStore(store)
    with pytest.raises(StoreError, match="describes no store"):
        TokenStore.without_verifying(store)


@pytest.mark.parametrize(
    "splits", [None, [], {"train": []}, {"train": {"a": 1}}, {"train": {"../x": {}}}, {"train": {"a": {}}}]
)
def test_a_manifest_over_stores_that_describes_none_is_an_error(tmp_path, splits):
    from headwater.core.files import digest_json

    manifest = {"format": "headwater-tokens", "format_version": 2, "digest": digest_json(splits), "splits": splits}
    (tmp_path / "manifest.json").write_bytes(json_bytes(seal(manifest)))
    with pytest.raises(StoreError, match="describes no stores"):
        open_stores(tmp_path, "train")


def first_tensor(manifest):
    return manifest["tensors"]["model.a"]


def first_chunk(manifest):
    return first_tensor(manifest)["chunks"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("step"),
        lambda m: m.update(step=True),
        lambda m: m.pop("world_size"),
        lambda m: m.update(world_size="2"),
        lambda m: m.update(world_size=0),
        lambda m: m.update(world_size=1 << 40),
        lambda m: m.update(files=[]),
        lambda m: m["files"].update({"../x": m["files"]["state.json"]}),
        lambda m: m["files"]["state.json"].update(bytes=-1),
        lambda m: m["files"]["state.json"].update(digest=None),
        lambda m: m.pop("tensors"),
        lambda m: m.update(tensors=[1]),
        lambda m: m["tensors"].update({"model.a": 1}),
        lambda m: first_tensor(m).update(dtype=None),
        lambda m: first_tensor(m).update(dtype="object"),
        lambda m: first_tensor(m).update(shape=[1 << 30, 1 << 30]),
        lambda m: first_tensor(m).update(shape=[4, 2.0]),
        lambda m: first_tensor(m).update(digest=1),
        lambda m: first_tensor(m).update(chunks=[]),
        lambda m: first_chunk(m).update(file="state.json"),
        lambda m: first_chunk(m).update(file="../model.safetensors"),
        lambda m: first_chunk(m).update(offsets=[1, 0]),
        lambda m: first_chunk(m).update(offsets=[0]),
        lambda m: (first_tensor(m).update(shape=[2, 4]), first_chunk(m).update(shape=[2, 4])),
        lambda m: (first_tensor(m).update(shape=[2]), first_chunk(m).update(shape=[2], offsets=[0])),
    ],
)
def test_a_checkpoint_whose_seal_is_right_and_manifest_wrong_is_damaged(tmp_path, change):
    path = checkpoint_of_two(tmp_path)
    manifest = read_json(path / "manifest.json")
    del manifest["seal"]
    change(manifest)
    (path / "manifest.json").write_bytes(json_bytes(seal(manifest)))
    with pytest.raises(CheckpointError, match=r"damaged|no safetensors file"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError):
        load_state_(path, {"a": torch.zeros(4, 2)}, {})


def test_a_checkpoint_of_two_ranks_that_nothing_is_wrong_with_is_read(tmp_path):
    path = checkpoint_of_two(tmp_path)
    assert read_checkpoint(path).model["c"].shape == (4, 2)
    load_state_(path, {"a": torch.zeros(4, 2)}, {})


def test_the_seeds_of_manifests_pass_all_checks(tmp_path):
    for name in ("store-manifest", "checkpoint-manifest"):
        BY_NAME[name].try_one(BY_NAME[name].seeds()[0], tmp_path)
    TokenStore(tmp_path / "store")
    read_checkpoint(tmp_path / "two-ranks" / "step-000000001")
