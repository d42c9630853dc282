"""What is known of a run before its first step: sizes, FLOPs, memory. No torch."""

from __future__ import annotations

from typing import Any

from headwater.errors import ConfigError
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings

BYTES_PER_VALUE = 4  # weights, gradients and optimizer state are fp32
EXACT_BYTES = 8  # a parameter's sum of gradients as an integer, with `train.exact`


def state_bytes(model: ModelSettings, optim: OptimSettings) -> int:
    """Return the bytes of weights, gradients and optimizer state: Muon keeps one value a weight, AdamW two."""
    parameters = count_parameters(model)
    matrices = parameters.matmul - model.vocab_size * model.d_model
    values_kept = (1 if optim.name == "muon" else 2) * matrices + 2 * (parameters.total - matrices)
    return BYTES_PER_VALUE * (2 * parameters.total + values_kept)


def least_bytes(model: ModelSettings, optim: OptimSettings, *, exact: bool = False) -> int:
    """Return what any training of a model needs, however small its batch.

    In a step that is weights, optimizer state, gradients and their exact sums; in a save, when gradients are gone, a
    copy of weights and optimizer state beside the first ones.
    """
    num_values = count_parameters(model).total
    gradients = BYTES_PER_VALUE * num_values
    kept = state_bytes(model, optim) - gradients
    return kept + max(kept, gradients + (EXACT_BYTES * num_values if exact else 0))


def require_memory(model: ModelSettings, optim: OptimSettings, memory_bytes: int, *, exact: bool = False) -> None:
    """Raise ConfigError when a model can't be trained in this much memory, whatever the batch."""
    need_bytes = least_bytes(model, optim, exact=exact)
    if need_bytes > memory_bytes:
        raise ConfigError(
            f"weights and optimizer state of this model, with gradients or the copy that a save makes, need "
            f"{need_bytes / 1e9:,.0f} GB and this machine has {memory_bytes / 1e9:,.0f} GB of memory; lower "
            "model.d_model, model.num_layers or tokenizer.vocab_size"
        )


def plan_fields(
    model: ModelSettings, optim: OptimSettings, num_tokens: int, half_length_fraction: float = 0.0
) -> dict[str, Any]:
    """Return what the plan card shows and the run's start record keeps."""
    total = count_parameters(model).total
    return {
        "num_tokens": num_tokens,
        "flops": flops_per_token(model, half_length_fraction) * num_tokens,
        "tokens_per_parameter": round(num_tokens / total, 2),
        "state_bytes": state_bytes(model, optim),
    }
