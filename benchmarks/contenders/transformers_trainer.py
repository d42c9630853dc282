"""transformers' Trainer, its own loop, on Qwen3: the model and the trainer that a user of the library would take.

Attention is torch's scaled_dot_product_attention, the update torch's fused AdamW; mixed precision and compilation are
the Trainer's own switches.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from job import Job
    from watch import Watch

MODES = ("bfloat16-compiled", "float32-compiled", "bfloat16", "float32")


def train(job: Job, watch: Watch) -> None:
    from job import ContenderMissing

    try:
        import accelerate  # noqa: F401  (the Trainer needs it)
        import transformers
    except ImportError as error:
        raise ContenderMissing(f"{error}; pip install transformers accelerate") from None
    import torch

    from token_stream import windows
    from watch import count

    shape = job.shape
    transformers.set_seed(42)
    config = transformers.Qwen3Config(
        vocab_size=shape.vocab_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_heads,
        head_dim=shape.head_dim,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_ff,
        max_position_embeddings=shape.seq_len,
        tie_word_embeddings=True,
        use_cache=False,
    )
    config._attn_implementation = "sdpa"
    model = transformers.Qwen3ForCausalLM(config)
    watch.model(*count(model, shape))

    class Rows(torch.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            for (row,) in windows(job.tokens_dir, 1, shape.seq_len):
                # the model shifts the labels by itself
                ids = torch.from_numpy(row[:-1])
                yield {"input_ids": ids, "labels": ids}

    class ReportingTrainer(transformers.Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            self.last_loss = super().training_step(*args, **kwargs)
            return self.last_loss

    class Report(transformers.TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            watch.step(float(trainer.last_loss))

    settings = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(prefix="trainer-", dir=job.scratch_dir),
        max_steps=1_000_000,
        per_device_train_batch_size=shape.rows,
        gradient_accumulation_steps=shape.num_microbatches,
        learning_rate=5e-4,
        optim="adamw_torch_fused",
        bf16=job.mode.startswith("bfloat16"),
        torch_compile=job.mode.endswith("-compiled"),
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = ReportingTrainer(model, settings, train_dataset=Rows(), callbacks=[Report()])
    trainer.train()
