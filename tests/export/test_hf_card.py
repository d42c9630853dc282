"""The model card: true of each kind of model, names every model that one was made of, and no name is markup."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from headwater.core.files import write_json
from headwater.export.hf_card import CardFacts, write_card
from headwater.model.settings import ModelSettings
from headwater.train.checkpoint.origins import Origin

MODEL = ModelSettings(vocab_size=9, num_layers=1, d_model=8, d_ff=8, num_heads=1, num_kv_heads=1, head_dim=8, seq_len=8)
BASE = Origin("own", "scratch", 4_096_000)
INSTRUCT = Origin("Theirs-Instruct", "others", detail="apache-2.0, as its README.md says", answers=True)
PLAIN = Origin("Theirs", "others")
MORE = Origin("more", "continued", 20_480)
TUNED = Origin("tuned", "tuned", 122_880, 195)
REWARDED = Origin("rl", "rewards", None, 160, "exact")
PREFERRED = Origin("dpo", "preferences", None, 159)
UNTAUGHT = "It was not trained to follow instructions or to refuse anything."
PRE_TRAINED, ANSWERS = "A base model pre-trained with headwater", "It answers messages"

KINDS = {
    "pre-trained here": ([BASE], [PRE_TRAINED, UNTAUGHT, "4,096,000"], ["base_model", ANSWERS]),
    "pre-trained here, conversations among its text": (
        [replace(BASE, num_examples=3)],
        [PRE_TRAINED, ANSWERS, "3 conversations among its text"],
        ["base_model", UNTAUGHT],
    ),
    "continued from an own run": (
        [BASE, MORE],
        ["trained on more text with headwater", UNTAUGHT, "| own | pre-trained from random weights | 4,096,000 |", "20,480"],
        [PRE_TRAINED, "made elsewhere"],
    ),
    "continued from others' base": (
        [PLAIN, MORE],
        ["Nothing here trained it to follow", "| Theirs | made by others | not counted here |", "unknown: ask its makers"],
        [PRE_TRAINED, UNTAUGHT, "pre-trained from random"],
    ),
    "continued from others' instruct model": (
        [INSTRUCT, MORE],
        ["Theirs-Instruct, which it was made of, answers messages", "Licence of it: apache-2.0, as its README.md says."],
        [PRE_TRAINED, UNTAUGHT, ANSWERS, "unknown: ask"],
    ),
    "tuned": (
        [BASE, TUNED],
        ["tuned on conversations with headwater", ANSWERS, "tuned on 195 conversations | 122,880"],
        [PRE_TRAINED, UNTAUGHT, "It continues text", "made elsewhere"],
    ),
    "tuned from others' instruct model": (
        [INSTRUCT, TUNED],
        [ANSWERS, "Its chat template is not that of Theirs-Instruct", "apache-2.0"],
        [PRE_TRAINED, UNTAUGHT, "It continues text"],
    ),
    "tuned, then continued on plain text": (
        [BASE, TUNED, MORE],
        ["It continues text. tuned, which it was made of, answers messages; this run trained on none"],
        [UNTAUGHT, ANSWERS],
    ),
    "aligned by rewards": (
        [BASE, TUNED, REWARDED],
        ["aligned by rewards with headwater", ANSWERS, "aligned by rewards (exact) for answers to 160 prompts"],
        [PRE_TRAINED, UNTAUGHT, "DPO"],
    ),
    "aligned by rewards, never tuned": ([BASE, REWARDED], ["It continues text", "Answers that a reward"], [ANSWERS]),
    "others', continued, tuned, aligned by preferences": (
        [PLAIN, MORE, TUNED, PREFERRED],
        ["aligned by preferences with headwater", "by DPO", "159 pairs", "| Theirs |", "| more |", "| tuned |", "unknown: ask"],
        [PRE_TRAINED, UNTAUGHT, "reward"],
    ),
    "tuned as it was pre-trained, then continued on plain text": (
        [replace(BASE, num_examples=3), MORE],
        ["It continues text. own, which it was made of, answers messages; this run trained on none"],
        [UNTAUGHT, ANSWERS],
    ),
    "continued from a model of an older headwater": (
        [Origin("old", "unknown"), MORE],
        ["What old, which it was made of, was trained for was not recorded"],
        [UNTAUGHT, ANSWERS, PRE_TRAINED],
    ),
    "of an older headwater": ([Origin("old", "unknown")], ["was not recorded"], [PRE_TRAINED, UNTAUGHT, ANSWERS]),
}  # fmt: skip


def card_of(origins, **more) -> str:
    """Write a card; its example asks for an answer where the model, but for alignment, was tuned last."""
    done = [each for each in origins if each.kind not in ("rewards", "preferences")][-1]
    with TemporaryDirectory() as folder:
        write_json(Path(folder, "config.json"), {"dtype": "float32"})
        is_tuned = done.num_examples > 0
        write_card(Path(folder), MODEL, CardFacts(tuple(origins), **more), "- its tokenizer\n", is_tuned)
        return Path(folder, "README.md").read_text(encoding="utf-8")


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_is_true_of_its_kind_of_model(kind):
    origins, said, unsaid = KINDS[kind]
    card = card_of(origins)
    assert not [words for words in said if words not in card], card
    assert not [words for words in unsaid if words in card], card
    assert head_of(card).get("base_model", []) == [each.name for each in reversed(origins[:-1])]
    assert ("apply_chat_template" in card) == (ANSWERS in card)


@given(st.lists(st.text(min_size=1, max_size=40), min_size=5, max_size=5))
@example(["a\n---\nlicense: mit", '"]\n- evil: x', "# T\n\n[x](javascript:1)", "<script>", "| a | b"])
@example(["\x85\u2028\ud800", "🙂", "\\", "`` ` ```", "http://evil.org"])
def test_no_name_is_markup_of_the_page_or_of_its_head(names):
    licence, *rest = names
    chain = [
        replace(each, name=name, detail=licence)
        for each, name in zip([INSTRUCT, MORE, TUNED, REWARDED], rest, strict=True)
    ]
    text = partial(card_of, facts={names[0]: names[1]}, changes=[(names[2], names[3], names[4])])(chain)
    plain = card_of([INSTRUCT, MORE, TUNED, REWARDED], facts={"a": "b"}, changes=[("a", "b", "c")])
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    page, expected = (reader.parse(each.split("\n---\n", 1)[1]) for each in (text, plain))
    assert [token.type for token in page] == [token.type for token in expected], text
    kinds = {child.type for token in page for child in token.children or []}
    assert kinds <= {"text", "text_special", "code_inline", "softbreak", "link_open", "link_close"}, text
    assert "://evil" not in text
    head = head_of(text)
    assert set(head) == set(head_of(plain))
    wanted = [name.encode(errors="replace").decode() for name in reversed(rest[:-1])]
    assert head["base_model"] == list(dict.fromkeys(wanted)), text
