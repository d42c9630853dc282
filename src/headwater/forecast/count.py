"""FLOPs per token of any model, in the conventions that people quote, side by side. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from headwater.config import RawSettings, Settings, apply_override
from headwater.errors import ConfigError
from headwater.model.count import ModelCount, mean_attended
from headwater.model.settings import ModelSettings
from headwater.optim.rules import RULES, apply_rules_
from headwater.validation import missing_settings, require_sound, validate

Recompute = Literal["none", "full"]
RECOMPUTES: tuple[Recompute, ...] = get_args(Recompute)


class _ModelAlone(Settings):
    """The table `model` of a run file, by itself."""

    model: ModelSettings


@dataclass(frozen=True)
class FlopsPerToken:
    """Forward and backward FLOPs of one trained token, by convention.

    six_n: 6 × active parameters, embeddings among them, as arXiv:2203.15556 counts N (arXiv:2001.08361 leaves the
        embeddings out of its N).
    palm: 6 × active parameters and full attention, 12 × layers × heads × head_dim × seq_len (arXiv:2204.02311,
        appendix B); what llm-foundry and most MFU figures use.
    full_attention: 6 × the weights that are multiplied by, and full attention inside windows.
    causal: the same with the half of attention that a causal mask leaves: what the mathematics needs.
    hardware: `causal`, and what is computed again: by the recomputation policy, and by flash attention's backward pass.
    """

    six_n: float
    palm: float
    full_attention: float
    causal: float
    hardware: float


def attention_flops(model: ModelCount) -> tuple[float, float]:
    """Return forward FLOPs of scores and sums of values for one token: with a causal mask, and without one.

    2 FLOPs a key and channel for scores, 2 for sums of values; a window hides what is further away in both.
    """
    causal = full = 0.0
    for (width, window), num in Counter(model.attention).items():
        causal += num * 2 * width * mean_attended(model.seq_len, window)
        full += num * 2 * width * min(model.seq_len, window or model.seq_len)
    return causal, full


def count_flops(model: ModelCount, recompute: Recompute = "none") -> FlopsPerToken:
    """Return FLOPs per token at `model.seq_len`.

    `recompute` says whether the backward pass computes each block's forward pass again (arXiv:1604.06174). Scores it
    computes anyway: flash attention keeps none, half of attention's forward FLOPs (arXiv:2307.08691, section 3.1).
    """
    causal, full = attention_flops(model)
    unwindowed = sum(2 * width * model.seq_len for width, _ in model.attention)
    again = causal / 2
    if recompute == "full":
        again += causal + 2 * (model.matmul - model.head)
    return FlopsPerToken(
        six_n=6 * model.active,
        palm=6 * model.active + 3 * unwindowed,
        full_attention=6 * model.matmul + 3 * full,
        causal=6 * model.matmul + 3 * causal,
        hardware=6 * model.matmul + 3 * causal + again,
    )


def count_fields(model: ModelCount, recompute: Recompute) -> dict[str, Any]:
    """Return what `headwater plan count --json` prints."""
    return {
        "params": model.total,
        "active_params": model.active,
        "embedding_params": model.embedding,
        "matmul_params": model.matmul,
        "seq_len": model.seq_len,
        "recompute": recompute,
        "flops_per_token": asdict(count_flops(model, recompute)),
    }


def own_family(family: str, overrides: list[str]) -> ModelSettings:
    """Return the settings given, such as `num_layers=32`, heads that fill the width, and the rest by rules.

    Raises ConfigError for an unknown setting, a missing one that no rule makes, or a shape that can't be.
    """
    raw = RawSettings({"model": {"family": family, "seq_len": 1024}}, {})
    for override in overrides:
        apply_override(raw, f"model.{override.removeprefix('model.')}")
    heads, d_model = raw.get("model.num_heads"), raw.get("model.d_model")
    if isinstance(heads, int) and isinstance(d_model, int) and heads > 0 and not raw.has("model.head_dim"):
        raw.set_("model.head_dim", d_model // heads, "heads that fill the width")
    require_sound(_ModelAlone, raw, RULES)
    if missing := missing_settings(_ModelAlone, raw, RULES):
        names = ", ".join(name.removeprefix("model.") for name in missing)
        raise ConfigError(f"family {family} needs {names}; give each with --set NAME=NUMBER")
    apply_rules_(raw)
    return validate(_ModelAlone, RawSettings({"model": raw.get("model")}, raw.origins), RULES).model
