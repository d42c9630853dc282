"""Preferences learned by TRL: pairs that are none are refused; what TRL computes is our formula; nothing is sent.

All but the first test need the extra `post`: `make test-post`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from contextlib import chdir
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from small_run import call, environment

from headwater.core.errors import DataError
from headwater.downstream import preference
from headwater.downstream.preference import Pair, PreferenceSettings, in_order
from headwater.runs import downstream as aligning
from headwater.runs.library.tuning import write_tuning_file
from headwater.runs.loading import load_model
from headwater.train.checkpoint.layout import list_checkpoints

needs_trl = pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="needs the extra post")


def test_pairs_are_read_and_a_bad_line_is_named(finished, tmp_path):
    model, tokenizer = load_model(finished.run_dir)
    read_pairs = partial(preference.read_pairs, tokenizer=tokenizer, seq_len=model.settings.seq_len)
    path, good = tmp_path / "pairs.jsonl", {"prompt": "why?", "chosen": "so", "rejected": "no"}
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps(good)}\n")
    assert read_pairs(path) == [Pair("why?", "so", "no")] * 2
    for bad, message in (
        ("{", ":2: is no JSON"),
        ('"text"', ":2: must have"),
        (json.dumps({"prompt": "a", "chosen": "b"}), ":2: must have"),
        (json.dumps(good | {"chosen": " "}), ":2: prompt, chosen and rejected are texts"),
        (json.dumps(good | {"chosen": 3}), ":2: prompt, chosen and rejected are texts"),
        (json.dumps(good | {"chosen": "no"}), ":2: both answers are the same"),
        (json.dumps(good | {"rejected": "no " * 40}), ":2: [0-9]+ tokens are more than the 64 that the model sees"),
    ):
        path.write_text(f"{json.dumps(good)}\n{bad}\n")
        with pytest.raises(DataError, match=message):
            read_pairs(path)
    path.write_text(f"{json.dumps(good | {'prompt': '<|im_end|>'})}\n{json.dumps(good)}")
    assert read_pairs(path)[0].prompt == "<|im_end|>", "a text that spells a token stays text"
    path.write_text(json.dumps(good))
    with pytest.raises(DataError, match="at least two"):
        read_pairs(path)


def test_every_pair_comes_once_before_one_comes_again():
    pairs = [Pair(str(number), "a", "b") for number in range(10)]
    ordered = in_order(pairs, PreferenceSettings(num_steps=5, pairs_per_step=4))
    assert len(ordered) == 20
    assert set(ordered[:10]) == set(ordered[10:]) == set(pairs)
    assert ordered != in_order(pairs, PreferenceSettings(num_steps=5, pairs_per_step=4, seed=1))


@pytest.fixture(scope="module")
def cwd(finished, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("preference")
    shutil.copytree(finished.run_dir, folder / "runs" / "mine")
    pairs = [{"prompt": f"Say {n}", "chosen": f"It is {n}.", "rejected": f"The number is {n}."} for n in range(40)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return folder


PROGRAM = f"""
import socket, sys
def refuse(*given, **more):
    print("NETWORK", given, file=sys.stderr)
    raise OSError("there is no network")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
"""


MAIN = "from headwater.cli.main import main; sys.argv[0] = 'headwater'; main()"


def run_offline(program: str, cwd: Path, *arguments: str) -> str:
    """Run a program in which any attempt to reach a network fails and is noted; return what it printed."""
    clean = {name: value for name, value in environment().items() if not name.startswith(("HF_", "CI", "TRANSFORMERS"))}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM + program, *arguments], cwd=cwd, env=clean, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    assert "NETWORK" not in found.stderr, found.stderr[-3000:]
    return found.stdout


TAUGHT, PREFERRED = "The number is here.", "It is here."


@pytest.fixture(scope="module")
def tuned(cwd) -> Path:
    """A folder with a run that was tuned to answer TAUGHT, and pairs that prefer another answer."""
    talk = [{"role": "assistant", "content": TAUGHT}]
    lines = [{"messages": [{"role": "user", "content": f"Say {number}"}, *talk]} for number in range(80)]
    (cwd / "talks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with chdir(cwd):
        write_tuning_file(Path("runs/mine"), ["talks.jsonl"], "tuned", 0.0, lambda line: None)
    rates = ("optim.matrix_lr=0.01", "optim.embedding_lr=0.03", "optim.head_lr=0.03")
    assert call("run", "tuned.toml", *rates, cwd=cwd).status == 0
    pairs = [{"prompt": f"Say {number}", "chosen": PREFERRED, "rejected": TAUGHT} for number in range(40)]
    (cwd / "preferred.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return cwd


@needs_trl
def test_dpo_makes_a_run_that_prefers_what_was_chosen_up_to_its_end_and_sends_nothing(tuned):
    more = ("--steps", "40", "--pairs-per-step", "8", "--lr", "3e-3", "--json")
    said = run_offline(MAIN, tuned, "downstream", "dpo", "runs/tuned", "--pairs", "preferred.jsonl", *more)
    result = json.loads(said)
    assert result == json.loads((tuned / "runs/tuned-dpo/preference.json").read_text())
    shares = [result[when][name]["value"] for when in ("before", "after") for name in ("likelier", "nearer")]
    assert shares == [0, 0, 1, 1] and result["changed"]["value"] == result["accuracy"]["value"] == 1, result
    assert {each["before"] for each in result["examples"]} == {TAUGHT}, "the greedy answers are those of tuning"
    assert result["first_batch_difference"] < 1e-5
    again = call("downstream", "dpo", "runs/tuned", "--pairs", "preferred.jsonl", cwd=tuned)
    assert again.status != 0 and "has a model already" in again.err
    assert call("export", "runs/tuned-dpo", cwd=tuned).status == 0
    card = (tuned / "runs/tuned-dpo/export/hf/README.md").read_text()
    assert 'base_model:\n- "tuned"\n- "mine"\n' in card and "aligned by DPO on 32 pairs of answers" in card
    import transformers

    model, tokenizer = (
        each.from_pretrained(tuned / "runs/tuned-dpo/export/hf")
        for each in (transformers.AutoModelForCausalLM, transformers.AutoTokenizer)
    )
    likelihoods = []
    for answer in (PREFERRED, TAUGHT):
        prompt = "<|im_start|>user\nSay 3<|im_end|>\n<|im_start|>assistant\n"
        before, ids = (
            tokenizer(text, return_tensors="pt")["input_ids"] for text in (prompt, f"{prompt}{answer}<|im_end|>")
        )
        log_p = model(ids).logits[0].detach().log_softmax(-1)[:-1].gather(-1, ids[0, 1:, None])
        likelihoods.append(float(log_p[before.shape[1] - 1 :].sum()))
    assert likelihoods[0] > likelihoods[1], "without anything behind the end, as transformers computes it"


@needs_trl
def test_the_first_batch_has_the_loss_of_the_plain_formula_with_another_reference(cwd):
    """DPO: -log sigmoid(beta (log p of chosen over its reference - log p of rejected over its reference)), averaged."""
    program = """
import json, tempfile
from pathlib import Path
from headwater.downstream import preference
from headwater.downstream.preference import *
import os
from headwater.cli.verbs import OFFLINE
os.environ.update(OFFLINE)
trl_offline()
import transformers
from headwater.runs.finish import export_stage
from headwater.runs.loading import load_model
from headwater.runfile.run_config import config_of_run
export = export_stage(config_of_run(Path("runs/mine")), lambda line: None)
start, tokenizer = load_model(Path("runs/mine"))
other = transformers.AutoModelForCausalLM.from_pretrained(export, dtype="float32")
torch.manual_seed(0)
for parameter in other.parameters():
    parameter.data += 0.3 * torch.randn(parameter.shape)
work = Path(tempfile.mkdtemp())
for each in (other, transformers.AutoTokenizer.from_pretrained(export)):
    each.save_pretrained(work / "other")
settings = PreferenceSettings(num_steps=1, pairs_per_step=8, beta=0.3)
pairs = in_order(read_pairs(Path("pairs.jsonl"), tokenizer, start.settings.seq_len), settings)
trainer = dpo_trainer(export, work / "other", tokenizer, pairs, settings, work)
ends = [
    row[row_mask.bool()][-1].item()
    for batch in trainer.get_train_dataloader()
    for row, row_mask in zip(batch["input_ids"], batch["completion_mask"])
]
assert ends == [tokenizer.special["<|im_end|>"]] * 16, ends
log = trained(trainer, work)
models = start, model_of(facts_of(str(work / "other")))
policy, reference = (log_likelihoods(model, tokenizer, pairs) for model in models)
margins = [(p[0] - r[0]) - (p[1] - r[1]) for p, r in zip(policy, reference)]
ours = -torch.nn.functional.logsigmoid(0.3 * torch.tensor(margins, dtype=torch.float64)).mean()
print(json.dumps([log[0]["loss"], float(ours)]))
"""
    theirs, ours = json.loads(run_offline(program, cwd))
    assert abs(ours - 0.693) > 0.01, "the reference is another model"
    assert theirs == pytest.approx(ours, abs=1e-5)


@pytest.fixture
def without_trl(monkeypatch):
    """Learning that needs no trl: it changes nothing."""
    monkeypatch.setattr(aligning, "trl_offline", lambda: None)
    monkeypatch.setattr(preference, "dpo", lambda export, start, *more: (start, "found"))


def test_a_kill_before_the_model_is_saved_leaves_a_name_that_can_be_used_again(cwd, without_trl, monkeypatch):
    monkeypatch.setattr("headwater.downstream.rl.Saver.begin", mock.Mock(side_effect=DataError("killed")))
    said = call("downstream", "dpo", "runs/mine", "--pairs", "pairs.jsonl", "--name", "killed", cwd=cwd)
    assert "killed" in said.err
    assert (cwd / "runs/killed/preference.json").exists() and not list_checkpoints(cwd / "runs/killed")


def test_no_prompt_is_both_trained_on_and_measured(cwd, without_trl, monkeypatch):
    lines = [{"prompt": f"Say {n % 10}", "chosen": f"It is {n}.", "rejected": "No."} for n in range(40)]
    (cwd / "four-each.jsonl").write_text("\n".join(map(json.dumps, lines)))
    learn = mock.Mock(side_effect=DataError("enough"))
    monkeypatch.setattr(preference, "dpo", learn)
    both = ("--pairs", "four-each.jsonl", "--name", "divided")
    assert "enough" in call("downstream", "dpo", "runs/mine", *both, cwd=cwd).err
    trained, measured = ({pair.prompt for pair in part} for part in learn.call_args.args[3:5])
    assert (len(trained), len(measured), trained & measured) == (8, 2, set())
    said = call("downstream", "dpo", "runs/mine", *both, "--held-out", "pairs.jsonl", cwd=cwd)
    assert "10 held-out prompts are also trained on, such as 'Say 0'" in said.err


def test_without_trl_the_extra_is_named(cwd, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = call("downstream", "dpo", "runs/mine", "--pairs", "pairs.jsonl", "--name", "none", cwd=cwd)
    assert said.status == 2 and "pip install 'headwater[post]'" in said.err, said
    assert not (cwd / "runs/none").exists()
