"""Tuning on conversations: the file it writes, what it teaches, what it refuses; and the talk after."""

from __future__ import annotations

import contextlib
import json
import random
import tomllib
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import call, overrides, require_clear_error, write_run_file, write_texts

import headwater
from headwater.core.errors import ConfigError
from headwater.core.files import read_json
from headwater.core.records import read_records
from headwater.runfile.run_config import config_of_run, load_run
from headwater.runs.stages import open_batches

ANSWERS = {"red": "It is warm.", "blue": "It is cold.", "green": "It is mild."}


def conversations(number: int) -> list[dict]:
    chance = random.Random(0)
    made = []
    for at in range(number):
        colour = chance.choice(list(ANSWERS))
        said = [("user", f"What is {colour} {at}?"), ("assistant", ANSWERS[colour])]
        made.append({"messages": [{"role": role, "content": content} for role, content in said]})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a trained base and conversations to tune it on."""
    folder = tmp_path_factory.mktemp("tuning")
    write_texts(folder / "texts", 12)
    write_run_file(folder / "base.toml", train__num_steps=8, train__num_probes=1, corpus__redact__kinds=["email"])
    lines = [json.dumps(each) for each in conversations(80)]
    (folder / "talks.jsonl").write_text("\n".join([*lines, '{"messages": [{"role": "user", "content": "Hi"}]}']))
    said = call("run", "base.toml", cwd=folder)
    assert said.status == 0, said
    return folder


@pytest.fixture(scope="module")
def tuned(folder):
    said = call("downstream", "sft", "runs/base", "--talks", "talks.jsonl", cwd=folder)
    assert said.status == 0, said
    return said


@pytest.fixture(scope="module")
def fluent(folder, tuned):
    """A run of the same file, with rates and steps that teach so small a model its three answers."""
    rates = [
        f"optim.{name}={rate}" for name, rate in {"matrix_lr": 0.01, "embedding_lr": 0.03, "head_lr": 0.03}.items()
    ]
    said = call("run", "base-sft.toml", "name=fluent", "train.num_steps=150", *rates, cwd=folder)
    assert said.status == 0, said
    return "runs/fluent"


def test_the_file_has_every_setting_and_says_what_was_found(folder, tuned):
    text = (folder / "base-sft.toml").read_text()
    table = tomllib.loads(text)
    assert table["init"] == {"from": "runs/base"} and table["corpus"]["redact"] == {"kinds": ["email"]}
    assert [table["optim"][name] for name in ("matrix_lr", "embedding_lr", "head_lr")] == [3e-4, 3e-3, 3e-3]
    assert table["replay"] == {"run": "runs/base", "share": 0.5}
    assert "80 conversations" in tuned.out and "1 no_answer: talks.jsonl#81" in tuned.out, tuned
    balance = read_json(folder / "runs/base-sft/data/corpus/manifest.json")["sources"]["conversations"]
    assert balance["dropped"] == {"no_answer": {"documents": 1, "bytes": 49}}


def test_the_same_command_resumes_and_another_file_of_that_name_is_not_written_over(folder, tuned):
    file, words = folder / "base-sft.toml", ("downstream", "sft", "runs/base", "--talks", "talks.jsonl")
    file.write_text(text := file.read_text() + "# a comment of one's own\n")
    again = call(*words, cwd=folder)
    assert again.status == 0 and "training is up to date" in again.out and file.read_text() == text, again
    with contextlib.chdir(folder):
        result = headwater.tune("runs/base", "talks.jsonl", say=lambda line: None)
    assert (result.status, result.folder, file.read_text()) == ("finished", Path("runs/base-sft"), text)
    (folder / "torn.toml").write_text("name = ")
    for other, name in ((["--replay", "0"], "base-sft"), (["--name", "torn"], "torn")):
        require_clear_error(call(*words, *other, cwd=folder), f"{name}.toml exists already", "--name")


@given(num_steps=st.integers(20, 500), max_grad_norm=st.sampled_from(["off", "0.25"]))
@settings(max_examples=2, deadline=None)
def test_settings_of_the_call_are_in_the_file(folder, num_steps, max_grad_norm):
    limit = None if max_grad_norm == "off" else float(max_grad_norm)
    words = [f"train.num_steps={num_steps}", f"optim.max_grad_norm={max_grad_norm}"]
    with contextlib.chdir(folder), mock.patch("headwater.cli.running.run", side_effect=ConfigError("not now")):
        Path("set.toml").unlink(missing_ok=True)
        said = call("downstream", "sft", "runs/base", "--talks", "talks.jsonl", "--name", "set", *words, cwd=folder)
        require_clear_error(said, "not now")
        told = Path("set.toml").read_text()
        with mock.patch("headwater.runs.running.run", side_effect=ConfigError("not now")), pytest.raises(ConfigError):
            named = {"train": {"num_steps": num_steps}, "optim": {"max_grad_norm": limit}}
            headwater.tune("runs/base", "talks.jsonl", "set", say=lambda line: None, **named)
        config = load_run("set.toml")[0]
    assert Path(folder / "set.toml").read_text() == told
    assert (config.train.num_steps, config.optim.max_grad_norm) == (num_steps, limit)


def test_the_exported_model_ends_its_answers_and_says_what_chat_says(folder, fluent):
    """The card's own example asks it."""
    pytest.importorskip("transformers")
    export = folder / fluent / "export/hf"
    assert read_json(export / "generation_config.json")["eos_token_id"] == [1, 4]
    example = (export / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(example.replace("FOLDER", str(export)).replace("What is the capital of Peru?", "What is blue 3?"), names)
    written = names["answer"]
    said = call("chat", "--run", fluent, "--prompt", "What is blue 3?", "--json", cwd=folder).json
    assert int(written[-1]) == 4 and names["tokenizer"].decode(written, skip_special_tokens=True) == said["answer"]


def test_a_step_is_that_of_a_plain_formula_on_what_the_exported_template_marks(folder, tuned):
    transformers = pytest.importorskip("transformers")
    settings = overrides(
        name="one-step", train__num_steps=1, schedule__warmup_steps=0, schedule__final_fraction=1, train__save_every=1
    )
    only = ["replay.share=0", "optim.max_grad_norm=0.5"]
    kept = [each for each in settings if not each.startswith(("tokenizer", "model"))]
    said = call("run", "base-sft.toml", *kept, *only, cwd=folder)
    assert said.status == 0, said

    base = folder / "runs/base/export/hf"
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = config_of_run(folder / "runs/one-step")
    batches, lines = open_batches(config), (folder / "talks.jsonl").read_text().splitlines()
    loss_sum, num_targets = 0.0, 0
    for row in range(config.num_rows):
        for _, document in batches.documents_of(row):
            messages = json.loads(lines[int(document.rpartition("#")[2]) - 1])["messages"]
            given = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
            ids, learned = torch.tensor([given["input_ids"]]), torch.tensor(given["assistant_masks"]).bool()
            nats = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
            loss_sum, num_targets = loss_sum + nats[learned[1:]].sum(), num_targets + int(learned.sum())
    loss = loss_sum / num_targets
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optim, tables = config.optim, ("embed_tokens", "lm_head")
    groups = [
        {
            "params": [each for name, each in model.named_parameters() if any(t in name for t in tables)],
            "lr": optim.head_lr,
        },
        {
            "params": [each for name, each in model.named_parameters() if not any(t in name for t in tables)],
            "lr": optim.matrix_lr,
        },
    ]
    torch.optim.AdamW(groups, betas=(optim.beta1, optim.beta2), eps=optim.eps, weight_decay=0.0).step()

    step = read_records(folder / "runs/one-step/records.jsonl", "step")[0]
    assert step["loss"] == pytest.approx(loss.item(), abs=1e-5)
    ours = transformers.AutoModelForCausalLM.from_pretrained(folder / "runs/one-step/export/hf").state_dict()
    differences = {name: float((ours[name] - value).abs().max()) for name, value in model.state_dict().items()}
    assert max(differences.values()) < 1e-6, differences


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"messages": [', "malformed_json"),
        ('{"text": "A text."}', "no list of messages under messages"),
        ('{"messages": [{"from": "human", "value": "Hi"}]}', "it has no role"),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', "the assistant says nothing"),
        ('{"messages": [{"role": "user", "content": "Hi"}, {"role": "robot", "content": "Ho"}]}', "'robot' is none of"),
        ('{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "Ho"}]}', "the user's, is empty"),
        (json.dumps({"messages": [*conversations(1)[0]["messages"], {"role": "user", "content": "And?"}]}), "ends_with_user"),
        (json.dumps({"messages": [*conversations(1)[0]["messages"][:1] * 2]}), "no_answer"),
        (json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "ha " * 500}]}), "longer than the 64 tokens"),
        ("", "empty"),
        (None, "bad.jsonl"),  # not there
    ],
)  # fmt: skip
def test_a_file_that_teaches_nothing_is_refused_before_anything_is_written(folder, line, reason):
    bad = folder / "bad.jsonl"
    bad.unlink(missing_ok=True) if line is None else bad.write_text(line)
    said = call("downstream", "sft", "runs/base", "--talks", "bad.jsonl", "--name", "bad", cwd=folder)
    require_clear_error(said, reason)
    assert not (folder / "bad.toml").exists() and not (folder / "runs/bad").exists()
