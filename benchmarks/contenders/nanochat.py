"""nanochat from a folder: its GPT, its MuonAdamW, and the step of its base_train.py (no clipping, always compiled).

Full attention in every layer, as its runcpu.sh trains; its value embeddings, untied head and scalars stay.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job import Job
    from watch import Watch

MODES = ("bfloat16-compiled", "float32-compiled")
# the defaults of its base_train.py
LEARNING_RATES = {"unembedding_lr": 0.008, "embedding_lr": 0.3, "matrix_lr": 0.02, "scalar_lr": 0.5}
WEIGHT_DECAY = 0.28


def train(job: Job, watch: Watch) -> None:
    from job import ContenderMissing

    if job.folder is None or not (job.folder / "nanochat" / "gpt.py").is_file():
        raise ContenderMissing(f"{job.folder}/nanochat/gpt.py is not there; name the folder of nanochat")
    os.environ["NANOCHAT_DTYPE"] = job.mode.removesuffix("-compiled")  # read when it is imported
    sys.path.insert(0, str(job.folder))
    import torch
    from nanochat.gpt import GPT, GPTConfig

    from token_stream import windows
    from watch import count

    shape = job.shape
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(42)
    config = GPTConfig(
        sequence_len=shape.seq_len,
        vocab_size=shape.vocab_size,
        n_layer=shape.num_layers,
        n_head=shape.num_heads,
        n_kv_head=shape.num_heads,
        n_embd=shape.d_model,
        window_pattern="L",
    )
    with torch.device("meta"):
        model = GPT(config)
    model.to_empty(device=device)
    model.init_weights()
    watch.model(*count(model, shape))
    optimizer = model.setup_optimizer(weight_decay=WEIGHT_DECAY, **LEARNING_RATES)
    forward = torch.compile(model, dynamic=False)
    batches = windows(job.tokens_dir, shape.rows, shape.seq_len)
    while True:
        for _ in range(shape.num_microbatches):
            rows = next(batches)
            tokens_BT = torch.from_numpy(rows[:, :-1].copy()).to(device)
            targets_BT = torch.from_numpy(rows[:, 1:].copy()).to(device)
            loss = forward(tokens_BT, targets_BT)
            (loss / shape.num_microbatches).backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        watch.step(loss.item())
