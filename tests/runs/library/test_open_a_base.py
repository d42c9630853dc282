"""A model of other people's, opened wherever one of a run is: a Hugging Face folder, a GGUF file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import call
from starlette.testclient import TestClient
from their_tokenizers import VOCAB_SIZE, files_of

import headwater
from headwater.core.errors import ConfigError
from headwater.export.gguf import export_gguf
from headwater.export.hf import export_hf
from headwater.model.names import shapes
from headwater.model.settings import ModelSettings
from headwater.page.serve.engine import GenerationEngine
from headwater.page.serve.serving import make_app
from headwater.tokens.tokenizer.foreign import write_foreign
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.train import train_tokenizer

CHATML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
SHAPE = {"vocab_size": VOCAB_SIZE, "num_layers": 2, "d_model": 32, "d_ff": 48, "num_heads": 4, "num_kv_heads": 2}
MODEL = ModelSettings(**SHAPE, head_dim=8, seq_len=64)
KINDS = ("folder", "gguf")


def theirs(**config: object) -> dict[str, bytes]:
    return files_of("qwen2", {"eos_token": "<|endoftext|>", **config})


def base_of(kind: str, folder: Path, files: dict[str, bytes] | None, is_tuned: bool = False) -> Path:
    """Write a model with a public tokenizer of these files, or with one of headwater's."""
    if files is None:
        own = TokenizerSettings(vocab_size=288)
        train_tokenizer({"a": ["The river rises."] * 9}, own, folder / "tokenizer", "", lambda line: None)
    else:
        write_foreign(files, VOCAB_SIZE, folder / "tokenizer", "")
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.empty(shape).normal_(0, 0.3, generator=generator) for name, shape in shapes(MODEL).items()}
    if kind == "folder":
        export_hf(weights, MODEL, folder / "tokenizer", folder / "hf", is_tuned=is_tuned)
        return folder / "hf"
    pytest.importorskip("gguf", reason='needs gguf: pip install "headwater[gguf]"')
    export_gguf(weights, MODEL, folder / "tokenizer", folder / "out", type="f32", name="m", is_tuned=is_tuned)
    return next((folder / "out").glob("*.gguf"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("files", "is_tuned", "answers"),
    [
        (theirs(chat_template=CHATML), False, True),
        (theirs(chat_template=[{"name": "default", "template": CHATML}]), False, True),
        (theirs() | {"chat_template.jinja": CHATML.encode()}, False, True),
        (theirs(), False, False),
        (theirs(chat_template="{{ 'of another form' }}"), False, False),
        (theirs(), True, True),
        (None, True, True),
        (None, False, False),
    ],
    ids=["template", "named", "jinja", "none", "another", "tuned here", "own, tuned", "own, untuned"],
)
def test_a_base_answers_where_its_chat_template_says_so(tmp_path, kind, files, is_tuned, answers):
    model = headwater.Model.load(base_of(kind, tmp_path, files, is_tuned))
    assert (model.is_tuned, model.step) == (answers, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_verb_that_asks_a_model_opens_a_base(tmp_path, kind):
    base = str(base_of(kind, tmp_path, theirs(chat_template=CHATML)))
    model = headwater.Model.load(base)
    asked = {
        verb: call(verb, *words, "--run", base, "--json", cwd=tmp_path)
        for verb, words in {
            "next": ["The"], "generate": ["The", "--max-tokens", "3"], "surprise": ["The é"],
            "chat": ["--prompt", "Hello", "--max-tokens", "3"],
        }.items()
    }  # fmt: skip
    assert [each.status for each in asked.values()] == [0] * 4, asked
    assert "step" not in call("generate", "The", "--run", base, "--max-tokens", "1", cwd=tmp_path).err
    assert asked["next"].json["next"] == [each._asdict() for each in model.next("The")]
    assert asked["chat"].json["answer"] == str(model.chat("Hello", 3)) and asked["chat"].err == ""
    engine = GenerationEngine(model.transformer, model.tokenizer, model.name, model.is_tuned)
    try:
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "temperature": 0}
        client = TestClient(make_app(tmp_path, engine), base_url="http://localhost")
        answer = client.post("/v1/chat/completions", json=body)
    finally:
        engine.close()
    assert answer.json()["choices"][0]["message"]["content"] == asked["chat"].json["answer"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_a_run_alone_says_what_opens_a_base(tmp_path, kind):
    base = str(base_of(kind, tmp_path, theirs()))
    for verb in ("run", "train", "explain", "evaluate", "report", "plan", "export"):
        said = call(verb, base, cwd=tmp_path)
        assert said.status == 2 and "not a run" in said.err and "headwater new NAME --base" in said.err, (verb, said)
        assert "damaged" not in said.err and "TOML" not in said.err
    for opened in (headwater.Corpus, headwater.Records, headwater.Model.steps):
        with pytest.raises(ConfigError, match="not a run"):
            opened(base)
    with pytest.raises(ConfigError, match="is one model, without steps"):
        headwater.Model.load(base, 3)
