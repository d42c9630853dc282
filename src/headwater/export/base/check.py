"""Whether an imported model computes what transformers computes from the same folder: before a run starts from it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.core.errors import ConfigError
from headwater.export.base.facts import BaseFacts
from headwater.export.base.tokenizer import tokenizer_of
from headwater.export.base.weights import model_of, open_values
from headwater.machine.host.memory import available_bytes
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings

MAX_DIFFERENCE = 1e-4
MAX_RELATIVE_DIFFERENCE = 1e-5
"And of the largest logit, where that is more: 32 bits leave so much open in a model of 30 layers."
MAX_TOKENS = 192
TEXT = (
    "The river rises in the hills, and by the time it reaches the sea 1,234 km further on it has been dammed twice.\n\n"
    "def area(width, height):\n    return width * height  # in square metres\n\n"
    "Élan vital, Ωmega und 河流: „so“ it's said… "
)
FROM_FOLDER: dict[str, Any] = {
    "dtype": torch.float32, "local_files_only": True, "use_safetensors": True, "trust_remote_code": False
}  # fmt: skip
"How transformers opens a folder, also that of a stranger's run: neither a pickle nor code of it."


def check_base(base: BaseFacts, say: Callable[[str], None]) -> None:
    """Compare the logits of a fixed text with those of transformers; raise ConfigError where they, or tensors, differ.

    A line says by how much, or why nothing was compared. Nothing is said of one of headwater's own models.
    """
    if base.kind == "checkpoint":
        return
    with open_values(base):
        pass  # its tensors are looked at, whether or not they are compared
    if base.kind == "gguf":
        return say("the base is a GGUF file: its logits are not compared with those of another program")
    need = 3 * 4 * count_parameters(base.model).total  # two models in float32, and one that is being read
    available = available_bytes()
    if need > available:
        return say(
            f"the base's logits are not compared with transformers: that takes {need / 1e9:.0f} GB of memory, "
            f"and {available / 1e9:.0f} GB are free"
        )
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        return say('the base\'s logits are not compared with transformers: pip install "headwater[hf]" for that')
    transformers.logging.disable_progress_bar()
    tokenizer = tokenizer_of(base)
    ids = ([tokenizer.begin_id, *tokenizer.encode(TEXT)] * MAX_TOKENS)[: min(MAX_TOKENS, base.model.num_positions)]
    tokens_BT = torch.tensor([ids])
    try:
        theirs_BTV = _theirs(transformers, base.weights, tokens_BT)
    except Exception as error:  # whatever transformers raises on a folder that it can't read
        version = transformers.__version__
        return say(f"the base's logits are not compared: transformers {version} can't open it ({str(error)[:200]})")
    difference = (_ours(base, tokens_BT) - theirs_BTV).abs().max().item()
    limit = max(MAX_DIFFERENCE, MAX_RELATIVE_DIFFERENCE * theirs_BTV.abs().max().item())
    found = f"largest difference of a logit to transformers over {len(ids)} tokens of a fixed text: {difference:.1e}"
    if not difference <= limit:
        raise ConfigError(
            f"init.from={base.path}: {found}, more than {limit:.1e}; it would be another model. Please report its "
            "config.json"
        )
    say(f"the base is exact: {found}")


def _ours(base: BaseFacts, tokens_BT: Tensor) -> Tensor:
    rows = {"seq_len": tokens_BT.shape[1], "max_positions": base.model.num_positions}
    model = model_of(base, ModelSettings.model_validate(base.model.model_dump() | rows))
    with torch.no_grad():
        return model.logits(model.hidden(tokens_BT, torch.zeros_like(tokens_BT)))


def _theirs(transformers: Any, folder: Path, tokens_BT: Tensor) -> Tensor:
    options = {"attn_implementation": "eager", **FROM_FOLDER}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    with torch.no_grad():
        return model(input_ids=tokens_BT, attention_mask=torch.ones_like(tokens_BT)).logits.float()
