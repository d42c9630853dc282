"""A GGUF file: read back here, by the package gguf, and by llama.cpp itself where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from llama_cpp import ask_all, why_missing
from our_models import SEQ_LEN, SHAPES, TEXTS, VOCAB_SIZE, model_like
from our_models import gguf as export
from small_run import call
from test_exported_again import NO_GGUF
from their_tokenizers import SPECIAL, files_of
from their_tokenizers import VOCAB_SIZE as THEIR_VOCAB_SIZE

from headwater.core.conversations import Message
from headwater.core.numbers import size
from headwater.evaluate.scorer import Scorer
from headwater.export.base.facts import facts_of
from headwater.export.base.gguf import GgufFile
from headwater.export.gguf import FORMATS, q4_0, q8_0
from headwater.model.names import PRE_TOKENIZERS
from headwater.tokens.tokenizer.conversation import prompt_ids
from headwater.tokens.tokenizer.foreign import write_foreign
from headwater.tokens.tokenizer.tokenizer import Tokenizer

gguf = pytest.importorskip("gguf", reason='needs gguf: pip install "headwater[gguf]"')
ASKED = [Message("user", "Where does the river start?")]
FAMILIES = [name for name in SHAPES if name not in NO_GGUF]


@pytest.mark.parametrize("type", FORMATS)
def test_matrices_are_what_the_package_makes_of_them_and_vectors_are_float32(tmp_path, tokenizer_dir, type):
    model = model_like("gpt2")
    path = export(model, tokenizer_dir, tmp_path / "out", type=type)
    tensors = {each.name: each for each in gguf.GGUFReader(path).tensors}
    kind, state = gguf.GGMLQuantizationType[type.upper()], model.state_dict()
    found = tensors["blk.1.ffn_down.weight"]
    expected = gguf.quants.quantize(state["blocks.1.mlp.down.weight"].numpy(), kind)
    assert found.tensor_type == kind
    assert np.array_equal(found.data.view(np.uint8), expected.view(np.uint8))
    for theirs, ours in {
        "position_embd.weight": "positions.weight",
        "blk.0.ffn_up.bias": "blocks.0.mlp.up.bias",
    }.items():
        assert np.array_equal(tensors[theirs].data, state[ours].numpy())


@pytest.mark.parametrize(("ours", "kind"), [(q8_0, "Q8_0"), (q4_0, "Q4_0")])
def test_blocks_equal_those_of_the_package_at_zeros_halves_and_extremes(ours, kind):
    rows = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    rows[0], rows[1], rows[2] = 0, np.arange(96) - 47.5, np.linspace(-1e-30, 1e-30, 96)
    rows[3, :32], rows[4, 40] = 127, -1e5
    rows[3, 1:5] = 0.5, -0.5, 2.5, 126.5
    expected = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind])
    assert ours(rows).tobytes() == expected.tobytes()


@pytest.mark.parametrize("pattern", PRE_TOKENIZERS)
def test_a_public_tokenizer_keeps_its_ids_its_template_and_its_ends(tmp_path, pattern):
    config = {"eos_token": "<|im_end|>", "chat_template": "{{ messages }}"}
    write_foreign(files_of(pattern, config), THEIR_VOCAB_SIZE, tmp_path / "tokenizer", "key")
    own = Tokenizer.load(tmp_path / "tokenizer")
    model = model_like("qwen3", vocab_size=THEIR_VOCAB_SIZE)
    file = GgufFile(export(model, tmp_path / "tokenizer", tmp_path / "out"))
    assert file.get("tokenizer.ggml.pre") == PRE_TOKENIZERS[pattern]
    assert file.get("tokenizer.chat_template") == "{{ messages }}"
    assert file.get("tokenizer.ggml.eos_token_id") == own.special["<|endoftext|>"]
    assert file.get("tokenizer.ggml.eot_token_id") == own.special["<|im_end|>"]
    types = file.get("tokenizer.ggml.token_type")
    assert [types[own.special[token]] for token in (*SPECIAL, "<tool>")] == [3, 3, 3, 4]
    assert types[-1] == 5, "a row without a token is unused"
    assert Tokenizer.of_files(file.tokenizer_files(), THEIR_VOCAB_SIZE).encode_many(TEXTS) == own.encode_many(TEXTS)


def test_the_verb_writes_a_file_with_a_modelfile_once(finished):
    def export_by(*words: str) -> list[str]:
        said = call("export", *words, "--to", "gguf", "--type", "bf16", cwd=finished.cwd)
        assert said.status == 0, said
        return said.out.splitlines()

    run, folder = finished.run_dir, finished.run_dir / "export" / "gguf-bf16"
    path = folder / f"{run.name}-bf16.gguf"
    first = export_by(str(run))
    expected = [f"{path} has the model of step 24; {size(path.stat().st_size)}", f"llama.cpp: llama-cli -m {path}"]
    expected.append(f"ollama: ollama create {path.stem} -f {folder}/Modelfile")
    assert first == [f"exported {folder}", *expected]
    assert export_by("--run", str(run)) == expected
    assert facts_of(str(path)).model.family == "qwen3"
    lines = (folder / "Modelfile").read_text().splitlines()
    assert f"FROM ./{run.name}-bf16.gguf" in lines
    assert {'PARAMETER stop "<|im_end|>"', 'PARAMETER stop "<|end_of_text|>"'} <= set(lines)


@pytest.mark.skipif(why_missing() is not None, reason=str(why_missing()))
def test_llama_cpp_reads_the_same_ids_and_computes_the_same_scores(tmp_path, tokenizer_dir):
    """In float32, with its cache in float32, to rounding; GPT-2's GELU it looks up in a table of float16."""
    tokenizer, requests, expected = Tokenizer.load(tokenizer_dir), [], []
    prompts = [
        torch.randint(32, 310, (size,), generator=torch.Generator().manual_seed(size)).tolist() for size in (3, 60)
    ]
    for name in FAMILIES:
        model = model_like(name)
        expected.append(torch.stack([Scorer(model).next_logits(prompt) for prompt in prompts]).numpy())
        for type in ("f32", "q8_0") if name == "qwen3" else ("f32",):
            file = export(model, tokenizer_dir, tmp_path / f"{name}-{type}", type=type, is_tuned=True)
            asked = {"vocab_size": VOCAB_SIZE, "context": SEQ_LEN, "cache": "F32", "prompts": prompts, "texts": TEXTS}
            requests.append({"file": file, **asked, "conversations": [[ASKED[0]._asdict()]]})
    answers = ask_all(requests, tmp_path)
    nearly = answers.pop(1)  # qwen3 in q8_0
    for name, found, ours in zip(FAMILIES, answers, expected, strict=True):
        assert np.abs(found.logits - ours).max() < (1e-2 if "gpt2" in name else 1e-3), name
        assert found.ids == tokenizer.encode_many(TEXTS)
        assert (found.begin, found.ends) == (tokenizer.begin_id, [True, True])
    assert 1e-3 < np.abs(nearly.logits - expected[0]).max() < 1
    assert nearly.conversations == [prompt_ids(tokenizer, ASKED)]
