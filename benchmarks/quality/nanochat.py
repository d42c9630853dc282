"""nanochat's own GPT and MuonAdamW, imported from its folder, with the schedules and corrections of its base_train.py.

Its one dial, depth, can't give every size, so that depth, width and head size are chosen for equal matrix parameters.
All its learning rates are multiplied by the job's `lr`. Windows of attention are off ("L"): base_train.py itself
advises that where FlashAttention 3 is missing. Rows are shuffled, not packed by its loader, which would crop all
but the beginning of long documents.
"""

from __future__ import annotations

import gc
import importlib
import math
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.host.threads import usable_cores
from quality.contender import shuffled_rows
from quality.job import Job, Shape
from quality.meter import Meter
from quality.texts import Texts

# the defaults of scripts/base_train.py
EMBEDDING_LR, UNEMBEDDING_LR, MATRIX_LR, SCALAR_LR = 0.3, 0.008, 0.02, 0.5
WEIGHT_DECAY, TARGET_PARAM_DATA_RATIO = 0.28, 12
WARMUP_STEPS, WARMDOWN_RATIO, FINAL_LR_FRACTION = 40, 0.65, 0.05
REFERENCE_BATCH_TOKENS, REFERENCE_DEPTH, ASPECT_RATIO, REFERENCE_HEAD_DIM = 2**19, 12, 64, 128
HEAD_DIMS = (128, 64, 48, 32, 16)


@dataclass(frozen=True)
class Size:
    num_layers: int
    d_model: int
    head_dim: int


def matched_size(matrix_parameters: int, num_layers: int) -> Size:
    """Return the size whose blocks (12 × width² a layer) come nearest; of equals, the depth asked for, wide heads.

    At least two heads, and a width of 24 or more, which its smear gate reads.
    """
    sizes = [
        Size(depth, width, head_dim)
        for depth in (num_layers, num_layers - 1, num_layers + 1)
        for head_dim in HEAD_DIMS
        for width in range(2 * head_dim, 4097, head_dim)
        if depth >= 1 and width >= 24
    ]
    # within 1 % is equal: a width that the reference's depth and a usual head give is then preferred
    return min(sizes, key=lambda size: max(0.01, abs(_blocks(size) / matrix_parameters - 1)))


def _blocks(size: Size) -> int:
    return size.num_layers * 12 * size.d_model**2


def weight_decay_for(batch_tokens: int, scaling_parameters: int, reference_parameters: int) -> float:
    """Return base_train's weight decay: λ · √(B / B_ref) · D_ref / D, with D = 12 tokens a parameter on both sides."""
    horizon_ratio = reference_parameters / scaling_parameters
    return WEIGHT_DECAY * math.sqrt(batch_tokens / REFERENCE_BATCH_TOKENS) * horizon_ratio


def lr_factor(step: int, num_steps: int) -> float:
    warmdown_steps = round(WARMDOWN_RATIO * num_steps)
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    if step <= num_steps - warmdown_steps:
        return 1.0
    left = (num_steps - step) / warmdown_steps
    return left + (1 - left) * FINAL_LR_FRACTION


def muon_momentum(step: int, num_steps: int) -> float:
    warmdown_steps = round(WARMDOWN_RATIO * num_steps)
    if step < 400:
        return 0.85 + (0.97 - 0.85) * step / 400
    if step >= num_steps - warmdown_steps:
        done = (step - (num_steps - warmdown_steps)) / warmdown_steps
        return 0.97 * (1 - done) + 0.90 * done
    return 0.97


class Nanochat:
    compile_seconds = 0.0

    def __init__(self, job: Job, texts: Texts, module: Any) -> None:
        torch.manual_seed(job.seed)
        torch.set_num_threads(usable_cores())
        self._job = job
        shape = job.shape
        matrix_parameters = int(dict(setting.split("=") for setting in job.settings)["matrix_parameters"])
        size = matched_size(matrix_parameters, shape.num_layers)
        self._model = _on_meta(module, size, shape)
        self._model.to_empty(device="cpu")
        self._model.init_weights()
        counts = self._model.num_scaling_params()
        batch_lr_scale = (shape.batch_tokens / REFERENCE_BATCH_TOKENS) ** 0.5
        self._weight_decay = weight_decay_for(
            shape.batch_tokens, _scaling_parameters(self._model), _reference_parameters(module, shape)
        )
        scale = job.lr * batch_lr_scale
        self._optimizer = self._model.setup_optimizer(
            unembedding_lr=UNEMBEDDING_LR * scale,
            embedding_lr=EMBEDDING_LR * scale,
            scalar_lr=SCALAR_LR * scale,
            matrix_lr=MATRIX_LR * scale,
            weight_decay=self._weight_decay,
        )
        self._forward = torch.compile(self._model, dynamic=False) if job.compiled else self._model
        self._rows = shuffled_rows(texts.train_tokens(), (shape.rows_per_step, shape.seq_len), job.seed)
        self.facts = {
            "parameters": counts["total"],
            "matrix_parameters": counts["transformer_matrices"],
            "batch_tokens": shape.batch_tokens,
            "model": f"depth {size.num_layers}, width {size.d_model}, heads of {size.head_dim}",
        }

    def train(self, meter: Meter) -> None:
        num_steps = self._job.num_steps
        for step in range(num_steps):
            tokens_BT, targets_BT = next(self._rows)
            loss = self._forward(tokens_BT, targets_BT)
            loss.backward()
            for group in self._optimizer.param_groups:
                group["lr"] = group["initial_lr"] * lr_factor(step, num_steps)
                if group["kind"] == "muon":
                    group["momentum"] = muon_momentum(step, num_steps)
                    group["weight_decay"] = self._weight_decay * 0.5 * (1 + math.cos(math.pi * step / num_steps))
            self._optimizer.step()
            self._model.zero_grad(set_to_none=True)
            meter.step_done(loss.item())
            if step == 0:  # as base_train.py does: the collector takes time and finds nothing
                gc.collect()
                gc.freeze()
                gc.disable()
            if meter.is_over:
                return

    def logits(self, tokens_BT: Tensor) -> Tensor:
        with torch.no_grad():
            return self._model(tokens_BT)


def _on_meta(module: Any, size: Size, shape: Shape) -> Any:
    num_heads = size.d_model // size.head_dim
    config = module.GPTConfig(
        sequence_len=shape.seq_len,
        vocab_size=shape.vocab_size,
        n_layer=size.num_layers,
        n_head=num_heads,
        n_kv_head=num_heads,
        n_embd=size.d_model,
        window_pattern="L",
    )
    with torch.device("meta"):
        return module.GPT(config)


def _scaling_parameters(model: Any) -> int:
    counts = model.num_scaling_params()
    return counts["transformer_matrices"] + counts["lm_head"]


def _reference_parameters(module: Any, shape: Shape) -> int:
    reference = Size(REFERENCE_DEPTH, REFERENCE_DEPTH * ASPECT_RATIO, REFERENCE_HEAD_DIM)
    return _scaling_parameters(_on_meta(module, reference, shape))


def load(job: Job) -> None:
    sys.path.insert(0, str(job.folder))
    importlib.import_module("nanochat.gpt")


def build(job: Job, texts: Texts) -> Nanochat:
    return Nanochat(job, texts, importlib.import_module("nanochat.gpt"))
