"""Peak memory and seconds of the evaluation stage, baselines included, by the number of training tokens.

A tiny trained run gets stores of made-up tokens (Zipf) in place of its own, one token in 200 of them held out.
The peak is of anonymous memory: pages of memory-mapped stores are the kernel's to drop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headwater.files import digest_json, write_json
from headwater.recipes.finish import evaluate_stage
from headwater.recipes.run_config import config_of_run
from headwater.recipes.stages import Folders
from headwater.seals import seal
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.format import TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.write import EncodedDocument, write_store

RUN = """[corpus.sources.mine]
kind = "code"
paths = ["{sources}"]
"""
SMALL = "tokenizer.vocab_size=2048 model.num_layers=1 model.d_model=64 model.seq_len=256 train.num_steps=2 train.num_probes=0"
HEADWATER = [sys.executable, "-m", "headwater"]
DOCUMENT_TOKENS, BLOCK_DOCUMENTS = 500, 20_000


def made_up(num_tokens: int, token_bytes: np.ndarray) -> Iterator[EncodedDocument]:
    chance, share = np.random.default_rng(num_tokens), 1 / np.arange(1, len(token_bytes) - 15)
    for block in range(0, num_tokens // DOCUMENT_TOKENS, BLOCK_DOCUMENTS):
        count = min(BLOCK_DOCUMENTS, num_tokens // DOCUMENT_TOKENS - block)
        ids = 16 + chance.choice(len(share), (count, DOCUMENT_TOKENS - 2), p=share / share.sum())
        yield from (EncodedDocument(row, int(token_bytes[row].sum()), f"{block + at}") for at, row in enumerate(ids))


def write_tokens(run_dir: Path, num_tokens: int) -> None:
    tokenizer, folder = Tokenizer.load(Folders(run_dir).tokenizer), Folders(run_dir).tokens
    splits: dict = {}
    for split, count in {"train": num_tokens, "validation": num_tokens // 200}.items():
        documents = made_up(count, tokenizer.bytes_per_token_table())
        store = write_store(folder / split / "mine", documents, tokenizer.vocab_size, tokenizer.digest)
        splits[split] = {"mine": {name: store[name] for name in ("digest", "num_documents", "num_tokens", "num_bytes")}}
    manifest = {"format": TOKENS_FORMAT, "format_version": TOKENS_VERSION, "key": "", "digest": digest_json(splits)}
    write_json(folder / "manifest.json", seal({**manifest, "tokenizer": tokenizer.digest, "splits": splits}))


def evaluate(run_dir: Path) -> None:
    peak, status = [0], Path("/proc/self/status")

    def watch() -> None:
        while True:
            peak[0] = max(peak[0], int(status.read_text().split("RssAnon:")[1].split()[0]) * 1024)
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    started_at = time.perf_counter()
    result = evaluate_stage(config_of_run(run_dir), lambda line: print(line, file=sys.stderr))
    seconds = round(time.perf_counter() - started_at, 1)
    print(json.dumps({"peak_gb": round(peak[0] / 1e9, 3), "seconds": seconds, **result["baseline_sample"]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=float, nargs="+", default=[2e6, 20e6, 200e6])
    parser.add_argument("--evaluate", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.evaluate:
        return evaluate(arguments.evaluate)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.toml").write_text(RUN.format(sources=Path(__file__).parents[1] / "src" / "headwater"))
        subprocess.run([*HEADWATER, "train", "run.toml", *SMALL.split()], cwd=folder, check=True, stdout=2, stderr=2)
        for num_tokens in map(int, arguments.tokens):
            write_tokens(folder / "runs" / "run", num_tokens)
            again = [sys.executable, __file__, "--evaluate", str(folder / "runs" / "run")]
            found = subprocess.run(again, check=True, stdout=subprocess.PIPE, text=True).stdout
            print(f"{num_tokens / 1e6:6,.0f} M training tokens: {found.strip()}", flush=True)


if __name__ == "__main__":
    main()
