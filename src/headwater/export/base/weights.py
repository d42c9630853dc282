"""The weights of a model to start from, as first values of a run's parameters, and whether it computes as elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.core.errors import CheckpointError, ConfigError
from headwater.export.base.facts import BaseFacts, facts_of, tokenizer_of
from headwater.export.base.folder_weights import FolderValues, ForeignValues, named, problems_of_shapes
from headwater.export.base.gguf import GgufFile
from headwater.machine.host.memory import available_bytes
from headwater.model.count import count_parameters
from headwater.model.init import WHOLE, FirstValue, OpenFirst, Part
from headwater.model.names import places, rules, their_shapes
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.train.checkpoint.layout import MODEL
from headwater.train.checkpoint.load import StoredTensors


def opener(base: BaseFacts | None, digest: str | None) -> OpenFirst | None:
    """Return what opens the weights of a base, and raises ConfigError where they aren't those of `digest`."""
    return None if base is None else lambda: open_values(_with_digest(base, digest))


def _with_digest(base: BaseFacts, digest: str | None) -> BaseFacts:
    if facts_of(str(base.weights)).digest != digest:
        raise ConfigError(
            f"init.from={base.path}: {base.weights} isn't the model that this run starts from: one of them was written "
            "again meanwhile. A run without a checkpoint starts from what is there now when its command is given again"
        )
    return base


def model_of(base: BaseFacts, settings: ModelSettings | None = None) -> Transformer:
    """Return the base's model in float32, or one of other `settings` that has the same parameters."""
    model = Transformer(settings or base.model)
    with torch.no_grad(), open_values(base) as value:
        for name, parameter in model.named_parameters():
            parameter.copy_(value(name, parameter.shape))
    return model.eval()


@contextmanager
def open_values(base: BaseFacts) -> Iterator[FirstValue]:
    """Yield a function that returns the base's values of a parameter of ours, or of a part of it.

    It raises CheckpointError for a tensor that is damaged, missing or of another shape. A foreign model is opened only
    where each of its tensors has its place here; ConfigError says what is wrong with it.
    """
    if base.kind == "folder":
        yield FolderValues(base.weights, base.model).value
        return
    if base.kind == "gguf":
        yield GgufValues(GgufFile(base.weights)).value
        return
    with StoredTensors(base.weights, MODEL) as stored:

        def value(name: str, shape: Sequence[int], part: Part = WHOLE) -> Tensor:
            found = stored.get(name)
            if found is None or found.shape != tuple(shape):
                has = "none" if found is None else f"one of shape {list(found.shape)}"
                raise CheckpointError(f"{base.weights}: {name} of shape {list(shape)} is wanted, and it has {has}")
            return found[part]

        yield value


class GgufValues(ForeignValues):
    """Those of a GGUF file; each tensor there has its place here, or it is refused."""

    def __init__(self, file: GgufFile) -> None:
        """Raise ConfigError that names the tensors that are missing, left over, or of another shape."""
        of_file = rules(file.settings, "llama.cpp")
        super().__init__(file.path, places(file.settings, of_file))
        self._file, expected = file, their_shapes(file.settings, of_file)
        found = {name: tuple(reversed(tensor.shape)) for name, tensor in file.tensors.items()}
        problems = problems_of_shapes(expected, found, "the keys make")
        if problems := problems + named("without a place here", set(found) - set(expected)):
            raise self._refused(problems)

    def _read(self, theirs: str, offsets: Sequence[int], sizes: Sequence[int]) -> Tensor:
        rows, *within = (slice(first, first + size) for first, size in zip(offsets, sizes, strict=True))
        return torch.from_numpy(self._file.dequantized(theirs, rows))[(slice(None), *within)]


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
