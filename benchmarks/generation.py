"""Tokens per second of text that a run's model writes: with kept keys and values, and with whole passes as before.

    python benchmarks/generation.py RUN [--context 256] [--tokens 40] [--repeats 5] [--batch 32] [--threads 1]

Greedy, in fp32: the last tokens of a context. Both ways take turns on the same prompts and must write the same ids. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from headwater.evaluate.generate import continued
from headwater.evaluate.scorer import Scorer
from headwater.runs.finish import load_model

PROMPTS = ["The capital of France is", "In the beginning", "Fellow citizens,", "The rain fell, so", "17 + 25 ="]


class WholePasses(Scorer):
    """A scorer that computes every token's keys and values at each step."""

    def growing(self) -> Callable[[list[list[int]]], torch.Tensor]:
        return self.next_logits_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--context", type=int, default=256, help="tokens of a prompt and of what follows it together")
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, tokenizer = load_model(given.run)
    ways = {"kept": Scorer(model), "whole passes": WholePasses(model)}
    num_given = given.context - given.tokens
    prompts = [[tokenizer.begin_id, *tokenizer.encode(prompt * num_given)][:num_given] for prompt in PROMPTS]
    rates: dict[str, list[float]] = {f"{name}, {size}": [] for name in ways for size in (1, given.batch)}
    for repeat in range(given.repeats):
        for size in (1, given.batch):
            rows = [prompts[(repeat + number) % len(prompts)] for number in range(size)]
            written = []
            for name, scorer in ways.items():
                started_at = time.perf_counter()
                # no end: every row writes all its tokens
                written.append(continued(scorer, rows, given.tokens, ()))
                rates[f"{name}, {size}"].append(size * given.tokens / (time.perf_counter() - started_at))
            assert written[0] == written[1], "the two ways wrote different text"
    found = {name: round(median(values), 1) for name, values in rates.items()}
    for name, value in found.items():
        print(f"{value:10.1f} tokens/s  {name} rows at once  ({min(rates[name]):.1f} to {max(rates[name]):.1f})")
    ratios = {str(size): round(found[f"kept, {size}"] / found[f"whole passes, {size}"], 2) for size in (1, given.batch)}
    print(json.dumps({"tokens_per_second": found, "times_faster": ratios, **vars(given)}, default=str))


if __name__ == "__main__":
    main()
