"""Whatever bytes a parser is given, it answers or raises headwater's own error."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreign_formats import TARGETS as FOREIGN
from headwater.core.errors import CheckpointError, ConfigError, DataError, StoreError, TokenizerError
from headwater.core.files import digest_bytes, json_bytes, read_json
from headwater.core.manifests import seal
from headwater.export.base.config import settings_of_config
from headwater.export.base.facts import read_object
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


# ---- attacks: a file that a user hands over, the error's class and a word of it, which is brief


def run_file(path):
    return load_run(str(path), [])


def table_of(columns: int, rows: int) -> bytes:
    return b",".join(b"c%d" % number for number in range(columns)) + b"\n1" * rows


READERS = {
    "mine.toml": run_file,
    "runs.csv": read_runs,
    "config.json": lambda path: settings_of_config(read_object(path)),
}
ATTACKS = [
    ("mine.toml", b"a = " + b"[" * 100_000, ConfigError, "nested"),
    ("mine.toml", b"a = " + b"[" * 50 + b"]" * 50, ConfigError, "nested"),
    ("mine.toml", b".".join([b"a"] * 5000) + b" = 1", ConfigError, "nested"),
    ("mine.toml", b"seed = " + b"9" * 5000, ConfigError, "TOML"),
    ("mine.toml", b"seed = 0x" + b"f" * 9000, ConfigError, "64 bits"),
    ("mine.toml", b"# " + b"x" * 2_000_000, ConfigError, "more than"),
    ("mine.toml", b"".join(b"a%d = 1\n" % n for n in range(MAX_VALUES + 1)), ConfigError, f"{MAX_VALUES} values"),
    ("mine.toml", b"".join(b"a%d = 1\n" % n for n in range(3000)), ConfigError, r"and \d+ more"),
    ("mine.toml", b'extends = "' + b"x" * 5000 + b'"', ConfigError, "recipe"),
    ("mine.toml", b'extends = "a\\u0000b"', ConfigError, "recipe"),
    ("mine.toml", b"\xff\xfe", ConfigError, "TOML"),
    ("runs.csv", table_of(100_000, 0), DataError, "columns"),
    ("runs.csv", table_of(400, 6000), DataError, "more than"),
    ("runs.csv", b"x" * 20_000_000, DataError, "more than"),
    ("runs.csv", b"params,tokens,loss\n\xff", DataError, "UTF-8"),
    ("runs.csv", b"params,tokens,loss\n" + b"1e9,1e9,3\0\n" * 7, DataError, "line"),
    ("config.json", b'{"a":' * 100_000, ConfigError, "JSON"),
    ("config.json", b'{"vocab_size": ' + b"9" * 5000 + b"}", ConfigError, "JSON"),
    ("config.json", b'{"model_type": ["' + b"x" * 100_000 + b'"]}', ConfigError, "family"),
]


@pytest.mark.parametrize(("name", "content", "error", "word"), ATTACKS)
def test_a_file_that_is_an_attack_is_an_error_in_a_few_words(tmp_path, name, content, error, word):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=word) as raised:
        READERS[name](tmp_path / name)
    assert len(str(raised.value)) < 10_000


@pytest.mark.parametrize(
    "override", ["a" + ".a" * 5000 + "=1", "seed=" + "[" * 50_000, "seed=0x" + "f" * 9000, "seed=1\nb=2", "=", "a.=1"]
)
def test_an_override_that_is_an_attack_is_an_error(override):
    with pytest.raises(ConfigError) as raised:
        load_run("first-light", [override])
    assert len(str(raised.value)) < 100_000


def test_a_device_in_the_place_of_a_run_file_is_not_read_to_its_end():
    with pytest.raises(ConfigError, match="/dev/zero"):
        load_run("/dev/zero", [])


def test_settings_are_not_deeper_than_what_is_refused():
    def depth(table) -> int:
        return 1 + max(map(depth, table.values())) if isinstance(table, dict) and table else 0

    config, _ = load_run("first-light", [])
    assert depth(config.model_dump()) < MAX_DEPTH / 2


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


def test_no_text_becomes_a_special_token_of_which_the_file_says_that_it_is_none(tmp_path):
    table = json.loads(tokenizer_seed())
    table["added_tokens"][3].update(special=False)
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, json.dumps(table).encode()))
    assert min(tokenizer.encode(table["added_tokens"][3]["content"])) >= len(table["added_tokens"])


EVIL = {"Regex": "(a+)+$"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["pre_tokenizer"]["pretokenizers"][0].update(pattern=EVIL), "cuts text"),
        (lambda t: t["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "Whitespace"}), "cuts text"),
        (lambda t: t.update(pre_tokenizer=None), "cuts text"),
        (lambda t: t.update(normalizer={"type": "Lowercase"}), "changes text"),
        (lambda t: t.update(normalizer={"type": "Replace", "pattern": EVIL, "content": ""}), "changes text"),
        (lambda t: t["model"].update(dropout=0.5), "dropout"),
        (lambda t: t["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (lambda t: t["model"].update(type="WordPiece"), "not BPE"),
        (lambda t: t["added_tokens"].append({**t["added_tokens"][0], "id": 999, "content": "the"}), "at id 999"),
        (lambda t: t["added_tokens"][3].update(content="<|other|>"), "the same id"),
        (lambda t: t["model"]["vocab"].update(xyz=t["model"]["vocab"].pop("a")), "no token for"),
        (lambda t: t["model"].update(vocab=7), "usable tokenizer"),
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


WRONG = [None, True, -1, 1 << 59, 2.5, "300", "../../s/00000", [], {}]


def changed(value):
    """Yield a value of JSON with each thing in it wrong, missing or there twice."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {each: value[each] for each in value if each != name}
            yield from ({**value, name: wrong} for wrong in (*WRONG, *changed(inner)))
        yield {**value, "more": 1, "../x": 1}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from ([*value[:at], *wrong, *value[at + 1 :]] for wrong in ([], [inner, inner]))
            yield from ([*value[:at], wrong, *value[at + 1 :]] for wrong in (*WRONG, *changed(inner)))


def test_a_manifest_whose_digest_is_right_and_content_wrong_describes_no_store_or_the_same(store):
    right, tokens = json.loads((store / "manifest.json").read_text()), TokenStore(store).slice(0, 6).tolist()
    num_refused = 0
    for manifest in changed(right):
        (store / "manifest.json").write_bytes(json_bytes({**manifest, "digest": manifest_digest(manifest)}))
        for opened in (TokenStore, TokenStore.without_verifying):
            try:
                found = opened(store)
            except StoreError as error:
                num_refused += "describes no store" in str(error)
            else:
                assert found.slice(0, 6).tolist() == tokens, manifest
    assert num_refused > 500


@pytest.mark.parametrize(
    "splits", [None, [], {"train": []}, {"train": {"a": 1}}, {"train": {"../x": {}}}, {"train": {"a": {}}}]
)
def test_a_manifest_over_stores_that_describes_none_is_an_error(tmp_path, splits):
    from headwater.core.files import digest_json

    manifest = {"format": "headwater-tokens", "format_version": 2, "digest": digest_json(splits), "splits": splits}
    (tmp_path / "manifest.json").write_bytes(json_bytes(seal(manifest)))
    with pytest.raises(StoreError, match="describes no stores"):
        open_stores(tmp_path, "train")


def test_a_checkpoint_whose_seal_is_right_and_manifest_wrong_is_damaged_or_the_same(tmp_path):
    path = checkpoint_of_two(tmp_path)
    right, weights = read_json(path / "manifest.json"), read_checkpoint(path).model
    del right["seal"]
    num_refused = 0
    for manifest in random.Random(0).sample(list(changed(right)), 300):
        (path / "manifest.json").write_bytes(json_bytes(seal(manifest)))
        with suppress(CheckpointError, ConfigError):
            num_refused += 1
            found = read_checkpoint(path)
            assert all(torch.equal(tensor, weights[name]) for name, tensor in found.model.items()), manifest
            load_state_(path, {name: torch.zeros(4, 2) for name in "ab"}, {})
            num_refused -= 1
    assert num_refused > 200


def test_a_checkpoint_of_two_ranks_that_nothing_is_wrong_with_is_read(tmp_path):
    path = checkpoint_of_two(tmp_path)
    assert read_checkpoint(path).model["c"].shape == (4, 2)
    load_state_(path, {"a": torch.zeros(4, 2)}, {})
