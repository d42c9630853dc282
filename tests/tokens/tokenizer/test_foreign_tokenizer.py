from __future__ import annotations

import json
from functools import cache

import pytest
import tokenizers
from drawn_texts import texts_of
from golden_rows import rows
from hypothesis import given, settings
from their_tokenizers import SPECIAL, TEXT, VOCAB_SIZE, files_of, table

from headwater.core.errors import TokenizerError
from headwater.export.hf import write_tokenizer
from headwater.tokens.tokenizer.foreign import LONE_LINE_ENDS, PATTERNS, read_foreign, write_foreign
from headwater.tokens.tokenizer.settings import Markers
from headwater.tokens.tokenizer.tokenizer import Tokenizer

drawn_text = texts_of(*SPECIAL, "<tool>")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("foreign")
    for pattern in PATTERNS:
        write_foreign(files_of(pattern), VOCAB_SIZE, folder / pattern, "key")
    write_foreign(files_of("qwen2", normalizer={"type": "NFC"}), VOCAB_SIZE, folder / "nfc", "key")
    return {path.name: Tokenizer.load(path) for path in folder.iterdir()}


@cache
def library(pattern: str) -> tokenizers.Tokenizer:
    """The library's own encoder of the same file, which reads no special token in text."""
    found = tokenizers.Tokenizer.from_str(json.dumps(table(pattern)))
    found.encode_special_tokens = True
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
@given(drawn_text)
@settings(max_examples=100)
def test_ids_are_the_librarys_and_decode_to_the_text(loaded, pattern, text):
    ids = loaded[pattern].encode(text)
    assert loaded[pattern].decode(ids) == text
    assert not set(ids) & set(loaded[pattern].special.values()), "no text becomes a token that marks something"
    if "<tool>" not in text:  # which the library would read as one token: it isn't called special
        assert ids == library(pattern).encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("pattern", PATTERNS)
@given(drawn_text.filter(lambda text: len(text) > 1))
@settings(max_examples=100)
def test_a_long_text_may_be_cut_where_it_is_cut(loaded, pattern, text):
    whole, needs_lone = loaded[pattern].encode(text), pattern in LONE_LINE_ENDS
    for at in range(1, len(text)):
        before, last, first = text[at - 2 : at - 1] if at > 1 else " ", text[at - 1], text[at]
        is_line_end = last == "\n" and not first.isspace() and not (needs_lone and before.isspace())
        if is_line_end or (not last.isspace() and first == " "):
            assert [token for part in (text[:at], text[at:]) for token in loaded[pattern].encode(part)] == whole, at


def test_every_token_has_its_bytes_and_rows_without_a_token_have_none(loaded):
    for tokenizer in loaded.values():
        sizes = tokenizer.bytes_per_token_table()
        assert len(sizes) == tokenizer.vocab_size == VOCAB_SIZE
        ids = tokenizer.encode(TEXT)
        assert sizes[ids].sum() == len(tokenizer.decode(ids).encode())
        assert sizes[list(tokenizer.special.values())].sum() == 0 == sizes[-1]
        assert tokenizer.decode([*tokenizer.special.values(), VOCAB_SIZE - 1]) == ""


@pytest.mark.parametrize(
    ("config", "begin", "end", "pad"),
    [
        ({"eos_token": "<|endoftext|>"}, 0, 0, 0),
        # an instruct model: its eos ends a turn, its bos begins one, and neither begins or ends a document
        ({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}, 0, 0, 2),
        ({"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|endoftext|>", "add_bos_token": True}, 1, 0, 0),
    ],
)
def test_a_document_begins_and_ends_as_the_base_has_it(config, begin, end, pad):
    found = read_foreign(files_of(config=config), VOCAB_SIZE)
    assert found.markers == Markers(begin, end, pad)
    assert found.roles["eos_token"] == SPECIAL.index(config["eos_token"])


def test_a_token_that_the_tokenizer_puts_first_begins_a_document(tmp_path):
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
    }
    config = {"bos_token": "<|im_start|>", "eos_token": "<|endoftext|>"}
    manifest = write_foreign(files_of(config=config, post_processor=template), VOCAB_SIZE, tmp_path / "t", "key")
    assert manifest["markers"] == {"begin_id": 1, "end_id": 0, "pad_id": 0}
    tokenizer = Tokenizer.load(tmp_path / "t")
    assert (tokenizer.begin_id, tokenizer.end_id) == (1, 0)
    assert tokenizer.decode(tokenizer.encode("the river")) == "the river", "and none is put before what is encoded"


def test_what_ended_a_document_in_training_ends_an_exported_models_text(tmp_path):
    files = files_of(config={"eos_token": "<|im_end|>"})
    write_foreign(files, VOCAB_SIZE, tmp_path / "t", "key")
    (tmp_path / "export").mkdir()
    ends = write_tokenizer(tmp_path / "t", tmp_path / "export", 64, VOCAB_SIZE).ends
    assert ends == [SPECIAL.index("<|im_end|>"), Tokenizer.load(tmp_path / "t").end_id]


def changed(**model) -> dict:
    return {"model": table("gpt2")["model"] | model}


@pytest.mark.parametrize(("changes", "words"), rows("what_is_not_understood_is_refused_in_words"))
def test_what_is_not_understood_is_refused_in_words(tmp_path, changes, words):
    with pytest.raises(TokenizerError, match=words):
        write_foreign(files_of(**changes), VOCAB_SIZE, tmp_path / "t", "key")
    assert not (tmp_path / "t").exists()


def test_a_special_token_that_a_byte_of_text_is_is_refused(tmp_path):
    whole = table("gpt2")
    mark = {**whole["added_tokens"][0], "content": "!", "id": whole["model"]["vocab"]["!"]}
    write_foreign(files_of(added_tokens=[*whole["added_tokens"], mark]), VOCAB_SIZE, tmp_path / "t", "key")
    with pytest.raises(TokenizerError, match="text can become its special token '!'"):
        Tokenizer.load(tmp_path / "t").encode("no! yes")


def test_a_tokenizer_that_was_changed_after_it_was_copied_is_refused(tmp_path):
    write_foreign(files_of(), VOCAB_SIZE, tmp_path / "t", "key")
    path = tmp_path / "t" / "tokenizer_config.json"
    path.write_text(path.read_text().replace("<|endoftext|>", "<|im_end|>"))
    with pytest.raises(TokenizerError, match="not those that its manifest"):
        Tokenizer.load(tmp_path / "t")


def without(character: str) -> dict:
    vocabulary = {token: id for token, id in table("gpt2")["model"]["vocab"].items() if character not in token}
    merges = [merge for merge in table("gpt2")["model"]["merges"] if character not in merge]
    return changed(vocab=vocabulary, merges=merges, unk_token="<|endoftext|>")


def test_text_that_no_token_stands_for_is_refused_unless_it_is_a_control_character(tmp_path):
    with pytest.raises(TokenizerError, match="no token for 1 of the bytes of text, such as 0x20"):
        write_foreign(files_of(**without("Ġ")), VOCAB_SIZE, tmp_path / "space", "key")
    manifest = write_foreign(files_of(**without("Ą")), VOCAB_SIZE, tmp_path / "control", "key")
    assert manifest["lost_bytes"] == [4]
    tokenizer = Tokenizer.load(tmp_path / "control")
    assert tokenizer.decode(tokenizer.encode("a\x04b")) == "ab", "the library would read it as the end of a text"
    assert not set(tokenizer.encode("a\x04b")) & set(tokenizer.special.values())
