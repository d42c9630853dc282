from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import TokenizerError
from headwater.tokens.tokenizer.pattern import cut
from headwater.tokens.tokenizer.settings import NUM_SPECIAL, SPECIAL_IDS, SPECIAL_TOKENS, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import bytes_per_token, train_tokenizer

TEXT = "The river rises at its headwater, and the river ends where the sea begins: über 1,234 metres lower.\n    x = f(y)\n"
any_text = st.text(st.characters(exclude_categories=["Cs"]))
# what a general strategy rarely makes: runs of white space, line ends and letters, apostrophes, special tokens
awkward_text = st.lists(
    st.sampled_from(
        [
            "a",
            "the river",
            " ",
            "   ",
            "\n",
            "\r\n",
            "\t",
            "'s",
            "é",
            "e\u0301",
            "1",
            "--",
            "河",
            "\x00",
            "😀",
            *SPECIAL_TOKENS[:3],
        ]
    )
).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    train_tokenizer({"text": [TEXT * 3]}, TokenizerSettings(vocab_size=340), path, "key", lambda line: None)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    return Tokenizer.load(folder)


@given(st.one_of(any_text, awkward_text))
def test_every_text_comes_back_and_never_holds_a_special_id(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(token >= NUM_SPECIAL for token in ids)


def test_every_byte_has_a_token_of_its_own(tokenizer):
    single = [token for token in range(tokenizer.vocab_size) if len(tokenizer.token_bytes(token)) == 1]
    assert sorted(tokenizer.token_bytes(token) for token in single) == [bytes([byte]) for byte in range(256)]


def test_every_character_of_the_basic_plane_comes_back(tokenizer):
    text = "".join(chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bytes_of_the_tokens_add_up_to_the_bytes_of_the_text(tokenizer):
    table = tokenizer.bytes_per_token_table()
    assert table[tokenizer.encode(TEXT)].sum() == len(TEXT.encode())
    assert not table[:NUM_SPECIAL].any()


def test_special_tokens_take_the_first_ids(tokenizer):
    assert list(tokenizer.special.values()) == list(range(NUM_SPECIAL))
    assert (tokenizer.begin_id, tokenizer.end_id, tokenizer.pad_id) == (0, 1, 2)
    assert tokenizer.token_bytes(SPECIAL_IDS["<|im_start|>"]) == b""


def test_digits_stand_alone(tokenizer):
    assert [tokenizer.token_bytes(token) for token in tokenizer.encode("1234")] == [b"1", b"2", b"3", b"4"]


def test_bytes_that_are_not_utf8_decode_to_replacement_characters(tokenizer):
    last_byte = tokenizer.encode("é")[-1:] if len(tokenizer.encode("é")) > 1 else tokenizer.encode("河")[-1:]
    assert tokenizer.decode(last_byte) == "\ufffd"


def test_a_lone_surrogate_is_an_error_that_says_so(tokenizer):
    with pytest.raises(TokenizerError, match="lone surrogate"):
        tokenizer.encode("a\ud800b")


def test_many_texts_give_the_same_ids_as_one_at_a_time(tokenizer):
    texts = ["", TEXT, "a" * 100_000, "", "x y"]
    assert tokenizer.encode_many(texts) == [tokenizer.encode(text) for text in texts]


@given(awkward_text)
@settings(max_examples=200)
def test_cutting_at_safe_places_changes_no_id(tokenizer, text):
    whole = tokenizer._model.encode(text, add_special_tokens=False).ids
    parts = cut(text, 24)
    assert "".join(parts) == text
    assert all(0 < len(part) <= 24 for part in parts)
    places = [len("".join(parts[:count])) for count in range(1, len(parts))]
    if all(_is_safe(text, place) for place in places):
        assert [
            token for part in parts for token in tokenizer._model.encode(part, add_special_tokens=False).ids
        ] == whole


def _is_safe(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    return (before == "\n" and not after.isspace()) or (after == " " and not before.isspace())


def test_ordinary_long_text_is_only_cut_at_safe_places():
    text = TEXT * 2000
    parts = cut(text, 1000)
    places = [sum(map(len, parts[:count])) for count in range(1, len(parts))]
    assert all(_is_safe(text, place) for place in places)


@pytest.mark.parametrize("character", ["x", " ", "\n", "-", "1", "\u0301"])
def test_a_megabyte_of_one_character_takes_seconds_at_most(tokenizer, character):
    text = character * 1_000_000
    started_at = time.perf_counter()
    ids = tokenizer.encode(text)
    seconds = time.perf_counter() - started_at
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert seconds < 20, f"{seconds:.1f} s for one megabyte"


def test_bytes_per_token_is_counted_by_source(tokenizer):
    measured = bytes_per_token(tokenizer, {"words": [TEXT], "digits": ["12345"], "empty": []})
    assert measured["digits"] == 1.0
    assert measured["words"] == round(len(TEXT.encode()) / len(tokenizer.encode(TEXT)), 4)
    assert "empty" not in measured


def test_an_id_outside_the_vocabulary_is_an_error(tokenizer):
    with pytest.raises(TokenizerError, match="340 is outside the vocabulary of 340"):
        tokenizer.decode([340])


def test_a_damaged_file_is_named(folder, tmp_path):
    copy = tmp_path / "tokenizer"
    copy.mkdir()
    (copy / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    data = bytearray((folder / "tokenizer.json").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "tokenizer.json").write_bytes(data)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is not the file its manifest"):
        Tokenizer.load(copy)


@pytest.mark.parametrize("change", [{"vocab_size": 341}, {"vocab_size": None}, {"special": {}}, {"special": None}])
def test_a_manifest_that_does_not_fit_is_an_error(folder, tmp_path, change):
    copy = tmp_path / "tokenizer"
    copy.mkdir()
    (copy / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(TokenizerError, match="train it again"):
        Tokenizer.load(copy)


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
    with pytest.raises(TokenizerError, match="not a headwater-tokenizer folder"):
        Tokenizer.load(tmp_path)
