"""Judges a run on held-out documents: `python judge_held_out.py RUN_DIR DOCUMENTS.jsonl OUT.json`.

Bits per byte of all documents, each between its begin and end token, by the judge of benchmarks/quality.

B batch · T time
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.runs.finish import load_model
from headwater.runs.run_config import config_of_run

sys.path.insert(0, str(Path(__file__).parents[1]))

from quality.judge import held_out_bits_per_byte


def main() -> None:
    run_dir, documents, out = map(Path, sys.argv[1:4])
    model, tokenizer = load_model(run_dir)
    with open(documents, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    parts = [[tokenizer.begin_id, *ids, tokenizer.end_id] for ids in tokenizer.encode_many(texts)]
    stream = np.concatenate([np.array(part, dtype=np.int64) for part in parts])

    def logits(tokens_BT: Tensor) -> Tensor:
        documents_BT = (tokens_BT == tokenizer.begin_id).cumsum(dim=1)
        with torch.no_grad():
            return model.logits(model.hidden(tokens_BT, documents_BT))

    table = tokenizer.bytes_per_token_table()
    value = held_out_bits_per_byte(logits, stream, table, config_of_run(run_dir).model.seq_len)
    out.write_text(json.dumps({"bits_per_byte": value, "tokens": len(stream)}), encoding="utf-8")


if __name__ == "__main__":
    main()
