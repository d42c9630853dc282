"""How far each layer of a Hugging Face model sees, by its family's own rule. No torch."""

from __future__ import annotations

from collections.abc import Callable

from headwater.errors import ConfigError
from headwater.forecast.hf_values import Config, count, flag, given, shown, size

SLIDING = "sliding_attention"
DEFAULT_FULL_BELOW = 28  # max_window_layers of Qwen's classes


def windows(config: Config, num_layers: int) -> list[int | None]:
    """Return each layer's window in tokens, None where it sees all before it.

    `layer_types` says so where the family heeds it, else the family's rule. Some write 0 for no window (Qwen2-MoE).
    """
    family = config["model_type"]
    window = count(config, "sliding_window") if family in SLIDES else 0
    if not window or (family in SWITCHED and not flag(config, "use_sliding_window", False)):
        return [None] * num_layers
    types = config.get("layer_types") if family in TYPED else None
    if types is None:
        slides = SLIDES[family](config)
        return [window if slides(index) else None for index in range(num_layers)]
    if not isinstance(types, list) or len(types) != num_layers:
        raise ConfigError(f"layer_types={shown(types)} must name the kind of each of the {num_layers} layers")
    return [window if kind == SLIDING else None for kind in types]


def _all(config: Config) -> Callable[[int], bool]:
    return lambda index: True


def _all_but_every(num: int, setting: str | None = None) -> Callable[[Config], Callable[[int], bool]]:
    """Return the rule by which every `num`-th layer sees everything; a setting may say another number."""

    def rule(config: Config) -> Callable[[int], bool]:
        period = size(config, setting, default=num) if setting else num
        return lambda index: (index + 1) % period != 0

    return rule


def _above(config: Config) -> Callable[[int], bool]:
    first = 0 if config.get("max_window_layers") == 0 else size(config, "max_window_layers", default=DEFAULT_FULL_BELOW)
    return lambda index: index >= first


def _every_other_below(config: Config) -> Callable[[int], bool]:
    above = _above(config)
    return lambda index: index % 2 == 0 and not above(index)


def _without_positions(config: Config) -> Callable[[int], bool]:
    """SmolLM3: layers without rotary positions, listed with 0 or with a period."""
    listed = given(config, "no_rope_layers")
    if isinstance(listed, list):
        return lambda index: index < len(listed) and not listed[index]
    period = size(config, "no_rope_layer_interval", default=4)
    return lambda index: (index + 1) % period == 0


SLIDES: dict[str, Callable[[Config], Callable[[int], bool]]] = {
    "gemma2": _all_but_every(2),
    "gemma3_text": _all_but_every(6, "sliding_window_pattern"),
    "mistral": _all,
    "mixtral": _all,
    "olmo3": _all_but_every(4),
    "phi3": _all,
    "qwen2": _above,
    "qwen2_moe": _every_other_below,
    "qwen3": _above,
    "qwen3_moe": _all,
    "smollm3": _without_positions,
}
"Families with windows, and which of their layers have one."
SWITCHED = {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3"}
"Families whose window counts with `use_sliding_window` only."
TYPED = set(SLIDES) - {"mistral", "mixtral", "phi3", "qwen3_moe"}
"Families whose `layer_types` decide."
