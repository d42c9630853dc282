"""A public model tuned on conversations: its export writes these as it learned them."""

from __future__ import annotations

import json
from contextlib import chdir

import pytest
from small_run import call
from their_models import write_base
from their_tokenizers import files_of

from headwater.core.conversations import Message
from headwater.core.files import read_json
from headwater.tokens.tokenizer.conversation import render
from headwater.tokens.tokenizer.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "headwater[hf]"')
TALK = [
    Message("system", "Be brief."),
    Message("user", "How deep is the river 12?"),
    Message("assistant", "It is 3 metres deep."),
    Message("user", "And the sea?"),
    Message("assistant", "Deeper."),
]


@pytest.mark.parametrize("pattern", ["qwen2", "llama3"])
def test_the_export_of_a_tuned_base_has_the_template_that_it_was_tuned_by(tmp_path, pattern):
    theirs = {"eos_token": "<|endoftext|>", "chat_template": "{{ 'another' }}"}
    write_base("qwen2", tmp_path / "base", files_of(pattern, theirs), longest=192)
    talks = [[message._replace(content=f"{message.content} {number}") for message in TALK] for number in range(30)]
    (tmp_path / "base/README.md").write_text('---\nlicense: "cc-by-4.0"\n---\n# Theirs\nlicense: mit\n')
    lines = (json.dumps({"messages": [message._asdict() for message in messages]}) for messages in talks)
    (tmp_path / "talks.jsonl").write_text("\n".join(lines))
    said = call("downstream", "sft", "base", "--talks", "talks.jsonl", "--name", "mine", cwd=tmp_path)
    assert said.status == 0, said
    assert "[replay]" not in (tmp_path / "mine.toml").read_text()
    with chdir(tmp_path):
        tokenizer = Tokenizer.load(tmp_path / "runs/mine/data/tokenizer")
    there = transformers.AutoTokenizer.from_pretrained(tmp_path / "runs/mine/export/hf")
    given = [message._asdict() for message in TALK]
    found = there.apply_chat_template(given, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    ours = render(tokenizer, [TALK])[0]
    assert found["input_ids"] == [tokenizer.begin_id, *ours.ids.tolist()]
    assert found["assistant_masks"] == [0, *ours.is_target.tolist()]
    card, data_card = ((tmp_path / "runs/mine/export/hf" / name).read_text() for name in ("README.md", "DATA_CARD.md"))
    assert 'base_model:\n- "base"\n' in card and "Licence of it: cc-by-4.0, as its README.md says." in card
    kept = read_json(tmp_path / "runs/mine/data/tokens/manifest.json")["splits"]["train"]["conversations"]
    assert (
        f"tuned on {kept['num_documents']} conversations" in card
        and "It was made of base (licence: cc-by-4.0, as its README.md says; made by others)." in data_card
    )
    ends = read_json(tmp_path / "runs/mine/export/hf/generation_config.json")["eos_token_id"]
    assert ends == [tokenizer.special["<|endoftext|>"], tokenizer.special["<|im_end|>"]]
