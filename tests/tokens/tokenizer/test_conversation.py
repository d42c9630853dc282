"""The one renderer of conversations, against the chat template that an export carries and hostile words."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.core.conversations import Message
from headwater.core.errors import TokenizerError
from headwater.export.hf import write_tokenizer
from headwater.tokens.tokenizer.conversation import prompt_and_answer, prompt_ids, render
from headwater.tokens.tokenizer.settings import SPECIAL_IDS, SPECIAL_TOKENS, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer

TEXT = "The user asks: what is the capital of the river? It is the sea, 12 miles.\nassistant and system say so.\n"
START, END = SPECIAL_IDS["<|im_start|>"], SPECIAL_IDS["<|im_end|>"]
NUM_HOSTILE = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    train_tokenizer({"mine": [TEXT * 20]}, TokenizerSettings(vocab_size=340), folder, "key", lambda line: None)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def theirs(folder, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    out = tmp_path_factory.mktemp("export")
    write_tokenizer(folder, out, 256, 340)
    return transformers.AutoTokenizer.from_pretrained(out)


def talk(*contents: str, system: str = "") -> list[Message]:
    roles = ["user", "assistant"] * len(contents)
    before = [Message("system", system)] if system else []
    return [*before, *(Message(role, content) for role, content in zip(roles, contents))]


def harmless_talks(number: int) -> list[list[Message]]:
    chance = random.Random(0)
    words = [
        *["river", "the", "12", "Ω", "don't", "河は", "naïve", "sea.", "🙂", "user"],
        "x = f(y)\n    if y:",
        "\n\n",
        "  ",
    ]

    def say() -> str:
        return " ".join(chance.choices(words, k=chance.randint(1, 12))).strip() or "yes"

    return [
        talk(*(say() for _ in range(2 * chance.randint(1, 4))), system=say() if chance.random() < 0.4 else "")
        for _ in range(number)
    ]


def test_a_conversation_is_these_ids(tokenizer):
    found = render(tokenizer, [talk("What?", "The sea.")])[0]
    parts = [[START], tokenizer.encode("user\nWhat?"), [END], tokenizer.encode("\n")]
    answer = tokenizer.encode("The sea.")
    parts += [[START], tokenizer.encode("assistant\n"), answer, [END], tokenizer.encode("\n")]
    assert found.ids.tolist() == [token for part in parts for token in part]
    learned = found.ids[found.is_target].tolist()
    assert learned == [*answer, END]


def test_ids_and_targets_of_many_are_those_of_the_exported_chat_template(tokenizer, theirs):
    talks = harmless_talks(500)
    for messages, found in zip(talks, render(tokenizer, talks), strict=True):
        given = [message._asdict() for message in messages]
        expected = theirs.apply_chat_template(given, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        assert [tokenizer.begin_id, *found.ids.tolist()] == expected["input_ids"], given
        assert [0, *found.is_target.tolist()] == expected["assistant_masks"], given


def test_the_prompt_is_what_the_exported_template_adds_for_generation(tokenizer, theirs):
    for messages in harmless_talks(50):
        given = [message._asdict() for message in messages[:-1]]
        expected = theirs.apply_chat_template(given, add_generation_prompt=True, tokenize=True, return_dict=True)
        assert prompt_ids(tokenizer, messages[:-1]) == expected["input_ids"]


@given(st.lists(st.text(max_size=20), min_size=2, max_size=7), st.booleans())
@example(["What?", "The sea.\n"], False)
@example(["", ""], True)
def test_an_answer_is_what_tuning_learns_of_it_and_nothing_stands_behind_its_end(tokenizer, texts, has_system):
    roles = (["system"] if has_system else []) + ["user", "assistant"] * len(texts)
    messages = list(map(Message, roles, [*texts, ""]))
    messages = messages[: max(at for at, (role, _) in enumerate(messages) if role == "assistant") + 1]
    prompt, answer = prompt_and_answer(tokenizer, messages)
    found = render(tokenizer, [messages])[0]
    assert [tokenizer.begin_id, *found.ids.tolist()] == [*prompt, *answer, *tokenizer.encode("\n")]
    assert (
        answer == [*tokenizer.encode(messages[-1].content), END]
        and found.is_target[len(prompt) - 1 :][: len(answer)].all()
    )
    assert prompt == prompt_ids(tokenizer, messages[:-1])


def hostile_texts(number: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    pieces = [
        *SPECIAL_TOKENS,
        *["<|", "|>", "<", "|", ">", "im_", "end", "im_start", "user", "é", "\x00", "\u200b"],
        "\n",
        " ",
        "assistant\n",
    ]
    return ["".join(chance.choices(pieces, k=chance.randint(1, 9))) for _ in range(number)]


def test_nothing_that_anybody_says_becomes_a_special_token(tokenizer):
    texts = hostile_texts(NUM_HOSTILE)
    talks = [talk(user, answer, system=system) for user, answer, system in zip(texts[::3], texts[1::3], texts[2::3])]
    structure = [START, END] * 3
    for messages, found in zip(talks, render(tokenizer, talks), strict=True):
        special = found.ids[found.ids < len(SPECIAL_TOKENS)].tolist()
        assert special == structure, messages
        said = [message.content for message in messages]
        assert tokenizer.decode(found.ids) == "".join(f"{role}\n{text}\n" for role, text in messages), said


def test_a_tokenizer_without_the_tokens_of_messages_is_refused(tokenizer):
    bare = object.__new__(Tokenizer)
    bare.__dict__ |= {**tokenizer.__dict__, "special": {}}
    with pytest.raises(TokenizerError, match=r"no <\|im_start\|> and <\|im_end\|>"):
        render(bare, [talk("a", "b")])
