"""The usual baseline: GPT-2's shape, AdamW, warm-up and cosine to a tenth of the learning rate, gradients clipped at 1.

With a folder of nanoGPT it is that repository's model and its `configure_optimizers`, without biases as its train.py
has them; without one it is transformers' GPT2LMHeadModel with the same optimizer.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.host.threads import usable_cores
from quality.contender import DTYPES, cosine_to_a_tenth, random_rows
from quality.job import Job, Shape
from quality.meter import Meter
from quality.texts import Texts

WEIGHT_DECAY, BETAS, MAX_GRAD_NORM = 0.1, (0.9, 0.95), 1.0  # nanoGPT's train.py
WARMUP_FRACTION = 0.02  # nanoGPT warms up for 2,000 steps of 600,000; runs of minutes have a few thousand


class TransformersGpt2(nn.Module):
    """GPT2LMHeadModel behind nanoGPT's signature."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        transformers = importlib.import_module("transformers")
        self.inner = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=shape.vocab_size,
                n_positions=shape.seq_len,
                n_embd=shape.d_model,
                n_layer=shape.num_layers,
                n_head=shape.num_heads,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                use_cache=False,
                bos_token_id=0,
                eos_token_id=0,
            )
        )

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        logits_BTV = self.inner(tokens_BT).logits
        return logits_BTV, F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())

    def configure_optimizers(
        self, weight_decay: float, learning_rate: float, betas: tuple[float, float], device_type: str
    ) -> torch.optim.Optimizer:
        parameters = list(self.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)


def nanogpt(shape: Shape) -> Any:
    module = importlib.import_module("model")
    return module.GPT(
        module.GPTConfig(
            block_size=shape.seq_len,
            vocab_size=shape.vocab_size,
            n_layer=shape.num_layers,
            n_head=shape.num_heads,
            n_embd=shape.d_model,
            dropout=0.0,
            bias=False,
        )
    )


class Gpt2AdamW:
    compile_seconds = 0.0

    def __init__(self, job: Job, texts: Texts) -> None:
        torch.manual_seed(job.seed)
        torch.set_num_threads(usable_cores())
        self._job = job
        self._model = nanogpt(job.shape) if job.folder else TransformersGpt2(job.shape)
        self._optimizer = self._model.configure_optimizers(WEIGHT_DECAY, job.lr, BETAS, "cpu")
        self._forward = torch.compile(self._model) if job.compiled else self._model
        self._rows = random_rows(texts.train_tokens(), (job.shape.rows_per_step, job.shape.seq_len), job.seed)
        self.facts = {
            "parameters": sum(parameter.numel() for parameter in self._model.parameters()),
            "batch_tokens": job.shape.batch_tokens,
            "model": "nanoGPT's GPT" if job.folder else "transformers' GPT2LMHeadModel",
        }

    def train(self, meter: Meter) -> None:
        warmup_steps = max(1, round(WARMUP_FRACTION * self._job.num_steps))
        for step in range(self._job.num_steps):
            for group in self._optimizer.param_groups:
                group["lr"] = self._job.lr * cosine_to_a_tenth(step, self._job.num_steps, warmup_steps)
            tokens_BT, targets_BT = next(self._rows)
            with self._precision():
                _, loss = self._forward(tokens_BT, targets_BT)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), MAX_GRAD_NORM)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            meter.step_done(loss.item())
            if meter.is_over:
                return

    def logits(self, tokens_BT: Tensor) -> Tensor:
        with torch.no_grad(), self._precision():
            logits_BTV, _ = self._model(tokens_BT, tokens_BT)  # nanoGPT gives all logits only beside a loss
        return logits_BTV

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self._job.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=DTYPES[self._job.dtype])


def load(job: Job) -> None:
    if job.folder:
        sys.path.insert(0, job.folder)
        importlib.import_module("model")
    else:
        # the name in the package is loaded when it is first asked for
        _ = importlib.import_module("transformers").GPT2LMHeadModel


def build(job: Job, texts: Texts) -> Gpt2AdamW:
    return Gpt2AdamW(job, texts)
