"""Peak memory and seconds of the evaluation stage, baselines included, by the number of training tokens.

A tiny trained run gets stores of made-up tokens (Zipf) in place of its own, one token in 200 of them held out.
The peak is of anonymous memory: pages of memory-mapped stores are the kernel's to drop.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from headwater.files import digest_json, write_json
from headwater.runs.finish import evaluate_stage
from headwater.runs.paths import Folders
from headwater.runs.run_config import config_of_run
from headwater.seals import seal
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.format import TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.write import EncodedDocument, write_store

SOURCE = f'[corpus.sources.mine]\nkind = "code"\npaths = ["{Path(__file__).parents[1] / "src" / "headwater"}"]\n'
SMALL = "tokenizer.vocab_size=2048 model.num_layers=1 model.d_model=64 model.seq_len=256 train.num_steps=2"
DOCUMENT_TOKENS, BLOCK = 500, 20_000


def made_up(num_tokens: int, token_bytes: np.ndarray):
    chance, share = np.random.default_rng(num_tokens), 1 / np.arange(1, len(token_bytes) - 15)
    for first in range(0, num_tokens // DOCUMENT_TOKENS, BLOCK):
        size = (min(BLOCK, num_tokens // DOCUMENT_TOKENS - first), DOCUMENT_TOKENS - 2)
        ids = 16 + chance.choice(len(share), size, p=share / share.sum())
        yield from (EncodedDocument(row, int(token_bytes[row].sum()), str(first + at)) for at, row in enumerate(ids))


def write_tokens(run_dir: Path, num_tokens: int) -> None:
    tokenizer, folder, splits = Tokenizer.load(Folders(run_dir).tokenizer), Folders(run_dir).tokens, {}
    for split, count in {"train": num_tokens, "validation": num_tokens // 200}.items():
        documents = made_up(count, tokenizer.bytes_per_token_table())
        splits[split] = {
            "mine": write_store(folder / split / "mine", documents, tokenizer.vocab_size, tokenizer.digest)
        }
    about = {"format": TOKENS_FORMAT, "format_version": TOKENS_VERSION, "digest": digest_json(splits)}
    write_json(folder / "manifest.json", seal({**about, "splits": splits}))


def evaluate(run_dir: Path) -> None:
    peak, started_at = [0], time.perf_counter()

    def watch() -> None:
        while time.sleep(0.02) is None:
            kib = Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]
            peak[0] = max(peak[0], 1024 * int(kib))

    threading.Thread(target=watch, daemon=True).start()
    result = evaluate_stage(config_of_run(run_dir), lambda line: None)
    measured = {"peak_gb": round(peak[0] / 1e9, 2), "seconds": round(time.perf_counter() - started_at, 1)}
    print(json.dumps(measured | result["baseline_sample"]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=float, nargs="+", default=[2e6, 20e6, 200e6])
    parser.add_argument("--evaluate", type=Path, help="a run folder to evaluate in this process")
    arguments = parser.parse_args()
    if arguments.evaluate:
        sys.exit(evaluate(arguments.evaluate))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tiny.toml").write_text(SOURCE)
        subprocess.run(
            [sys.executable, "-m", "headwater", "train", "tiny.toml", *SMALL.split()], cwd=folder, check=True
        )
        for num_tokens in map(int, arguments.tokens):
            write_tokens(run_dir := Path(folder, "runs", "tiny"), num_tokens)
            print(f"{num_tokens / 1e6:,.0f} M training tokens:", end=" ", flush=True)
            subprocess.run([sys.executable, __file__, "--evaluate", run_dir], check=True)
