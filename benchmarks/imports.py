"""Models that transformers trains, imported, trained on by headwater, exported, and opened in transformers again.

    python benchmarks/imports.py RUN [--seconds 60] [--steps 20] [--only NAME …] [--folder FOLDER]

RUN is a finished run of headwater's: its text is trained on, and its exported tokenizer is the base's. Each class is
trained for so many seconds, since weights as they are drawn can't show a lost bias or a wrong epsilon. Reported are the
largest difference of a logit on held-out text after the import, and of the exported model from headwater's own; and the
loss before and after. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from headwater.corpus.load import list_sources, read_documents
from headwater.export.base.facts import facts_of
from headwater.export.base.weights import open_values
from headwater.model.transformer import Transformer
from headwater.runfile.paths import Folders
from headwater.runfile.run_config import load_run
from headwater.runs.loading import load_model
from headwater.runs.running import run
from headwater.tokens.tokenizer.tokenizer import Tokenizer

SEQ_LEN, ROWS, TEXT_BYTES = 128, 16, 2_000_000
SIZES = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 50_000.0},
    "llama3": {**LLAMA3, "original_max_position_embeddings": 64, "rope_theta": 500_000.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10_000.0},
}
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**SIZES, "rope_parameters": ROPES["default"], "rms_norm_eps": 1e-5}),
    "llama, tied, rope llama3": (
        "LlamaConfig",
        {**SIZES, "rope_parameters": ROPES["llama3"], "tie_word_embeddings": True},
    ),
    "llama, rope yarn, own head_dim": ("LlamaConfig", {**SIZES, "rope_parameters": ROPES["yarn"], "head_dim": 48}),
    "mistral": ("MistralConfig", {**SIZES, "sliding_window": None, "rms_norm_eps": 1e-5}),
    "mistral, window": ("MistralConfig", {**SIZES, "sliding_window": 48}),
    "qwen2": ("Qwen2Config", SIZES),
    "qwen2, tied": ("Qwen2Config", {**SIZES, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {**SIZES, "head_dim": 32}),
    "qwen3, tied, own head_dim": ("Qwen3Config", {**SIZES, "head_dim": 48, "tie_word_embeddings": True}),
    "gpt2": ("GPT2Config", {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 512}),
}
RUN_FILE = """\
[init]
from = {base}
[corpus.sources.text]
paths = ["texts"]
[model]
seq_len = {seq_len}
[train]
num_steps = {steps}
batch_tokens = 2048
save_every = {steps}
validate_every = {steps}
num_probes = 1
[schedule]
warmup_steps = 2
[machine]
dtype = "float32"
"""


@dataclass(frozen=True)
class Result:
    """Of one class: steps and losses of transformers' training, differences of logits, and losses around ours."""

    name: str
    steps: int
    first_loss: float
    last_loss: float
    after_import: float
    after_export: float
    loss_before: float
    loss_after: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--seconds", type=float, default=60.0, help="of training by transformers, each class")
    parser.add_argument("--steps", type=int, default=20, help="of training by headwater")
    parser.add_argument("--only", nargs="+", choices=list(CLASSES), default=list(CLASSES))
    parser.add_argument("--folder", type=Path, help="where to work; without it, a temporary folder")
    given = parser.parse_args()
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        texts, held_out = write_texts(Folders(given.run).corpus, folder / "texts"), held_out_text(given.run)
        tokenizer = Tokenizer.load(Folders(given.run).tokenizer)
        results = []
        for name in given.only:
            results.append(measure(name, given, folder, encoded(tokenizer, texts), encoded(tokenizer, [held_out])))
            print(results[-1], flush=True)
    print(table(results))
    print(json.dumps([asdict(result) for result in results]))


def write_texts(corpus: Path, folder: Path) -> list[str]:
    """Write the first documents of each source as files of their own, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for source in list_sources(corpus):
        num_bytes = 0
        for number, document in enumerate(read_documents(corpus, "train", source)):
            (folder / f"{source}-{number}.txt").write_text(document.text, encoding="utf-8")
            found.append(document.text)
            num_bytes += len(document.text.encode())
            if num_bytes > TEXT_BYTES / len(list_sources(corpus)):
                break
    return found


def held_out_text(run_dir: Path) -> str:
    corpus = Folders(run_dir).corpus
    documents = (each for source in list_sources(corpus) for each in read_documents(corpus, "validation", source))
    return "\n\n".join(document.text[:4000] for _, document in zip(range(8), documents))


def encoded(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    ids = [id for text in tokenizer.encode_many(texts) for id in (tokenizer.begin_id, *text)]
    return torch.tensor(ids[: len(ids) // SEQ_LEN * SEQ_LEN]).view(-1, SEQ_LEN)


def measure(name: str, given: argparse.Namespace, folder: Path, rows_BT: Tensor, held_out_BT: Tensor) -> Result:
    base, held_out_BT = folder / name.replace(", ", "-").replace(" ", "-"), held_out_BT[:ROWS]
    export = given.run / "export" / "hf"
    vocab_size = json.loads((export / "config.json").read_text())["vocab_size"]
    kind, settings = CLASSES[name]
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**settings, vocab_size=vocab_size, **ids, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config)
    losses = list(trained_by_transformers(model, rows_BT, given.seconds))
    model.eval().save_pretrained(base)
    for path in export.glob("*token*.json"):
        (base / path.name).write_bytes(path.read_bytes())
    theirs = logits_of_theirs(model, held_out_BT)
    after_import = (logits_of_base(base, held_out_BT) - theirs).abs().max().item()

    file = folder / f"{base.name}-on.toml"
    file.write_text(RUN_FILE.format(base=json.dumps(str(base)), seq_len=SEQ_LEN, steps=given.steps))
    with contextlib.chdir(folder):
        result = run(*load_run(file.name), say=lambda line: None)
    ours, _ = load_model(folder / "runs" / file.stem)
    exported = folder / result.folder / "export" / "hf"
    there = transformers.AutoModelForCausalLM.from_pretrained(exported, attn_implementation="eager").eval()
    ours_BTV, there_BTV = logits_of_ours(ours, held_out_BT), logits_of_theirs(there, held_out_BT)
    return Result(
        name,
        len(losses),
        losses[0],
        losses[-1],
        after_import,
        (ours_BTV - there_BTV).abs().max().item(),
        loss_of(theirs, held_out_BT),
        loss_of(ours_BTV, held_out_BT),
    )


def trained_by_transformers(model: Any, rows_BT: Tensor, seconds: float) -> Iterator[float]:
    """Train for so long, and yield each step's loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator, end = torch.Generator().manual_seed(0), time.monotonic() + seconds
    model.train()
    while time.monotonic() < end:
        batch_BT = rows_BT[torch.randint(len(rows_BT), (ROWS,), generator=generator)]
        loss = model(input_ids=batch_BT, labels=batch_BT).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


@torch.no_grad()
def logits_of_theirs(model: Any, tokens_BT: Tensor) -> Tensor:
    return model(input_ids=tokens_BT, attention_mask=torch.ones_like(tokens_BT)).logits.float()


@torch.no_grad()
def logits_of_ours(model: Transformer, tokens_BT: Tensor) -> Tensor:
    return model.logits(model.hidden(tokens_BT, torch.zeros_like(tokens_BT)))


@torch.no_grad()
def logits_of_base(folder: Path, tokens_BT: Tensor) -> Tensor:
    base = facts_of(str(folder))
    model = Transformer(base.model)
    with open_values(base) as value:
        for name, parameter in model.named_parameters():
            parameter.copy_(value(name, parameter.shape))
    return logits_of_ours(model, tokens_BT)


def loss_of(logits_BTV: Tensor, tokens_BT: Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten()).item()


def table(results: list[Result]) -> str:
    lines = ["| class | steps, loss there | logits after the import | loss before, after | logits after the export |"]
    lines.append("|---|---|---|---|---|")
    for each in results:
        lines.append(
            f"| {each.name} | {each.steps}, {each.first_loss:.2f} to {each.last_loss:.2f} | {each.after_import:.1e} | "
            f"{each.loss_before:.3f}, {each.loss_after:.3f} | {each.after_export:.1e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
