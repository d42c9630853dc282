"""litgpt from PyPI: its GPT at the architecture that headwater trains, and the step of its pretrain.py.

Its loss (cross entropy in chunks), its initialisation, fused AdamW and clipping at 1. Its loop itself needs Lightning
Fabric's loggers and folders, so the step is taken from Fabric alone, as the loop takes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job import Job
    from watch import Watch

# Lightning's precisions; "true" holds weights and optimizer state in bfloat16, too
PRECISIONS = {"bfloat16-mixed": "bf16-mixed", "bfloat16-true": "bf16-true", "float32": "32-true"}
MODES = tuple(f"{dtype}{suffix}" for suffix in ("-compiled", "") for dtype in PRECISIONS)
LEARNING_RATE, WEIGHT_DECAY, BETAS, MAX_NORM = 4e-4, 1e-1, (0.9, 0.95), 1.0  # the defaults of its pretrain.py


def train(job: Job, watch: Watch) -> None:
    from job import ContenderMissing

    try:
        import lightning
        from litgpt.config import Config
        from litgpt.model import GPT
        from litgpt.pretrain import initialize_weights
        from litgpt.utils import chunked_cross_entropy
    except ImportError as error:
        raise ContenderMissing(f"{error}; pip install litgpt") from None
    import torch

    from token_stream import windows
    from watch import count

    shape = job.shape
    fabric = lightning.Fabric(devices=1, precision=PRECISIONS[job.mode.removesuffix("-compiled")])
    fabric.seed_everything(42)
    config = Config(
        block_size=shape.seq_len,
        vocab_size=shape.vocab_size,
        padded_vocab_size=shape.vocab_size,
        n_layer=shape.num_layers,
        n_head=shape.num_heads,
        n_embd=shape.d_model,
        head_size=shape.head_dim,
        n_query_groups=shape.num_heads,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_qk=True,
        mlp_class_name="LLaMAMLP",
        intermediate_size=shape.d_ff,
    )
    with fabric.init_module(empty_init=False):
        model = GPT(config)
    initialize_weights(fabric, model, n_layer=config.n_layer, n_embd=config.n_embd)
    watch.model(*count(model, shape))
    model.max_seq_length = shape.seq_len
    if job.mode.endswith("-compiled"):
        model = torch.compile(model)
    model = fabric.setup(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    optimizer = fabric.setup_optimizers(optimizer)
    batches = windows(job.tokens_dir, shape.rows, shape.seq_len)
    while True:
        for _ in range(shape.num_microbatches):
            batch = torch.from_numpy(next(batches)).to(fabric.device)
            logits = model(batch[:, :-1].contiguous())
            loss = chunked_cross_entropy(logits, batch[:, 1:].contiguous())
            fabric.backward(loss / shape.num_microbatches)
        fabric.clip_gradients(model, optimizer, max_norm=MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        watch.step(loss.item())
