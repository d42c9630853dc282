"""Values of a Hugging Face `config.json`, and what its family sets where a file leaves one out. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.errors import ConfigError

Config = Mapping[str, Any]

MAX_SIZE = 1 << 40  # of any number in a shape
LAYERS, MAX_LAYERS = ("num_hidden_layers", "n_layer"), 10_000  # each is an object of its own here
DECIDING = (*LAYERS, "decoder_sparse_step", "first_k_dense_replace")
"Sizes on which it hangs which others are read."
_SHOWN_CHARACTERS = 100
_LATENT = {"q_lora_rank": 1536}
USUAL: dict[str, dict[str, Any]] = {
    "deepseek_v2": _LATENT | {"n_shared_experts": 2},
    "deepseek_v3": _LATENT | {"n_shared_experts": 1, "first_k_dense_replace": 3},
    "gemma": {"num_key_value_heads": 16, "head_dim": 256},
    "gemma2": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
    "gemma3_text": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {"num_key_value_heads": 8},
    "olmo3": {"sliding_window": 4096},
    "qwen2": {"num_key_value_heads": 32, "sliding_window": 4096},
    "qwen2_moe": {"num_key_value_heads": 16, "sliding_window": 4096, "shared_expert_intermediate_size": 5632},
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096},
    "qwen3_moe": {"num_key_value_heads": 4, "sliding_window": 4096},
    "smollm3": {"num_key_value_heads": 4},
}
"""What transformers' classes set where a file has no such key at all; null is what a file says, and means none.

Only what no error asks for: a size that nothing else gives is needed in the file."""


def given(config: Config, name: str) -> Any:
    """Return a value of the file, or what its family sets where the file has no such key; None for neither."""
    return config.get(name, USUAL.get(config["model_type"], {}).get(name))


class Missing(Exception):
    """A size that the family needs and the configuration lacks."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Trial(dict[str, Any]):
    """A configuration in which every size is 1, also one that is missing, but for those that say what else is read."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config, self.missing = config, list[str]()

    def get(self, key: str, default: Any = None) -> Any:
        value = 1 if key in self.missing else self._config.get(key, default)
        is_size = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIZE
        return _One(value) if is_size and key not in DECIDING else value

    def __getitem__(self, key: str) -> Any:
        return self.get(key)


class _One(int):
    """1, shown as the number that it stands for: where that is wrong, the message is of what the user wrote."""

    def __new__(cls, given: int) -> _One:
        one = super().__new__(cls, 1)
        one._given = given
        return one

    _given: int

    def __repr__(self) -> str:
        return repr(self._given)


def shown(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def size(config: Config, *names: str, default: int | None = None) -> int:
    """Return the first of `names` that is set, a whole number of at least 1."""
    for name in names:
        value = given(config, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={shown(value)} must be a whole number of at least 1")
        limit = MAX_LAYERS if name in LAYERS else MAX_SIZE
        if value > limit:
            raise ConfigError(
                f"{name}={shown(value)} is more than any model has; {limit:,} is the most that is counted"
            )
        return value
    if default is None:
        raise Missing(names[0])
    return default


def count(config: Config, name: str) -> int:
    """Return a number that may be 0, which also stands for what is missing."""
    return 0 if given(config, name) in (None, 0) else size(config, name)


def indices(config: Config, name: str) -> set[int]:
    """Return a list of whole numbers as a set, empty where it is missing."""
    value = given(config, name)
    if value is None:
        return set()
    if not isinstance(value, list) or any(isinstance(each, bool) or not isinstance(each, int) for each in value):
        raise ConfigError(f"{name}={shown(value)} must be a list of whole numbers, such as [0, 1]")
    return set(value)


def flag(config: Config, name: str, default: bool) -> bool:
    value = given(config, name)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{name}={shown(value)} must be true or false")
    return default if value is None else value
