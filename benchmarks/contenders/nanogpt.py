"""nanoGPT from a folder: its GPT, its AdamW groups, and the step of its train.py.

Dropout is 0 and there are no biases: what its own comments call better and faster. Its train.py never runs bfloat16
on a CPU; autocast, which it uses on a GPU, is tried here all the same.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job import Job
    from watch import Watch

MODES = ("bfloat16-compiled", "float32-compiled", "bfloat16", "float32")
LEARNING_RATE, WEIGHT_DECAY, BETAS, GRAD_CLIP = 6e-4, 1e-1, (0.9, 0.95), 1.0  # the defaults of its train.py


def train(job: Job, watch: Watch) -> None:
    import torch

    from token_stream import windows
    from watch import count

    shape = job.shape
    theirs = load_model_file(job.folder)
    torch.manual_seed(1337)
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    model = theirs.GPT(
        theirs.GPTConfig(
            block_size=shape.seq_len,
            vocab_size=shape.vocab_size,
            n_layer=shape.num_layers,
            n_head=shape.num_heads,
            n_embd=shape.d_model,
            dropout=0.0,
            bias=False,
        )
    ).to(device_type)
    watch.model(*count(model, shape))
    optimizer = model.configure_optimizers(WEIGHT_DECAY, LEARNING_RATE, BETAS, device_type)
    forward = torch.compile(model) if job.mode.endswith("-compiled") else model
    is_mixed = job.mode.startswith("bfloat16")
    precision = torch.amp.autocast(device_type, dtype=torch.bfloat16) if is_mixed else nullcontext()
    batches = windows(job.tokens_dir, shape.rows, shape.seq_len)
    while True:
        for _ in range(shape.num_microbatches):
            rows = next(batches)
            tokens_BT = torch.from_numpy(rows[:, :-1].copy()).to(device_type)
            targets_BT = torch.from_numpy(rows[:, 1:].copy()).to(device_type)
            with precision:
                _, loss = forward(tokens_BT, targets_BT)
                mean_part = loss / shape.num_microbatches
            mean_part.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        watch.step(loss.item())


def load_model_file(folder: Path | None) -> ModuleType:
    """Import model.py of the folder under a name of its own."""
    from job import ContenderMissing

    path = (folder or Path()) / "model.py"
    if not path.is_file():
        raise ContenderMissing(f"{path} is not there; name the folder of nanoGPT")
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses find their module there
    spec.loader.exec_module(module)
    return module
