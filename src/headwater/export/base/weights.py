"""The weights of a model to start from, as first values of a run's parameters, and whether it computes as elsewhere."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headwater.core.errors import CheckpointError, ConfigError
from headwater.export.base.facts import INDEX_FILE, BaseFacts, facts_of, tokenizer_of, weight_files, weight_map
from headwater.export.base.gguf import GgufFile
from headwater.machine.host.memory import available_bytes
from headwater.model.count import Shape, count_parameters
from headwater.model.init import WHOLE, FirstValue, OpenFirst, Part
from headwater.model.names import ForeignPlace, places, rules, their_shapes
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.train.checkpoint.layout import MODEL
from headwater.train.checkpoint.load import StoredTensors

DTYPES = ("F32", "BF16", "F16")
"Those whose every value float32 has, too."
_NO_WEIGHTS = re.compile(
    r"(model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|(transformer\.)?h\.\d+\.attn\.(masked_)?bias)"
)
"Tables that older versions kept beside the weights; transformers computes its own, as we do."
_OUT_BIAS = re.compile(r"model\.layers\.\d+\.self_attn\.o_proj\.bias")
_MAX_NAMED = 6


@dataclass(frozen=True)
class _Found:
    path: Path
    shape: Shape
    dtype: str


class ForeignValues:
    """Our parameters from tensors of another program, each in its place, in parts where they are wanted."""

    def __init__(self, path: Path, places: Mapping[str, ForeignPlace]) -> None:
        self._path, self._places = path, places

    def value(self, name: str, shape: Sequence[int], part: Part = WHOLE) -> Tensor:
        """Return our parameter `name` of `shape`, or a part of it, in float32: what the file holds, to the bit."""
        place = self._places[name]
        bounds = [slice(*cut.indices(size)) for cut, size in zip((*part, *[slice(None)] * len(shape)), shape)]
        offsets = [cut.start for cut in bounds]
        sizes = [max(0, cut.stop - cut.start) for cut in bounds]
        if place.paired_head_dim is not None:
            pairs = self._read(place.theirs, [0] * len(shape), shape)
            halves = pairs.unflatten(0, (-1, place.paired_head_dim // 2, 2)).transpose(1, 2).flatten(0, 2)
            target = halves[tuple(bounds)]
        else:
            offsets[0] += place.first_row
            turn = -1 if place.is_transposed else 1
            target = self._read(place.theirs, offsets[::turn], sizes[::turn])
        if not torch.isfinite(target).all():
            raise ConfigError(f"{self._path}: {place.theirs} holds values that are not finite; the file is damaged")
        return (target.T if place.is_transposed else target).contiguous()

    def _read(self, theirs: str, offsets: Sequence[int], sizes: Sequence[int]) -> Tensor:
        """Return the box of these sizes at these offsets of a tensor of theirs, in float32."""
        raise NotImplementedError

    def _refused(self, problems: list[str]) -> ConfigError:
        more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        return ConfigError(f"{self._path} doesn't hold its model's weights: {'; '.join(problems[:_MAX_NAMED])}{more}")


class FolderValues(ForeignValues):
    """Those of the safetensors files of a folder; each tensor there has its place here, or it is refused."""

    def __init__(self, folder: Path, model: ModelSettings) -> None:
        """Raise ConfigError that names the tensors that are missing, left over, or of another shape or type."""
        super().__init__(folder, places(model, rules(model)))
        found = _tensors(folder)
        self._tensors = {name: found[name] for name in found if not _NO_WEIGHTS.fullmatch(name)}
        expected = their_shapes(model, rules(model))
        if model.family == "gpt2" and not any(name.startswith("transformer.") for name in self._tensors):
            # GPT-2's first files hold the names of the inner module
            expected = {name.removeprefix("transformer."): shape for name, shape in expected.items()}
            self._places = {
                name: replace(place, theirs=place.theirs.removeprefix("transformer."))
                for name, place in self._places.items()
            }
        self._check(expected, model)

    def _read(self, theirs: str, offsets: Sequence[int], sizes: Sequence[int]) -> Tensor:
        if 0 in sizes:
            return torch.empty(tuple(sizes))
        with safe_open(self._tensors[theirs].path, "pt") as file:
            box = tuple(slice(first, first + size) for first, size in zip(offsets, sizes, strict=True))
            return file.get_slice(theirs)[box].float()

    def _whole(self, theirs: str) -> Tensor:
        shape = self._tensors[theirs].shape
        return self._read(theirs, [0] * len(shape), shape)

    def _check(self, expected: Mapping[str, tuple[int, ...]], model: ModelSettings) -> None:
        left_over = set(self._tensors) - set(expected)
        shapes = {name: found.shape for name, found in self._tensors.items()}
        problems = problems_of_shapes(expected, shapes, "config.json makes")
        problems += [
            f"{name} is of type {found.dtype}, which float32 can't hold"
            for name, found in self._tensors.items()
            if name in expected and found.dtype not in DTYPES
        ]
        if problems:
            raise self._refused(problems)
        embed = self._places["embed.weight"].theirs
        if model.tied_embeddings and "lm_head.weight" in left_over:
            left_over.remove("lm_head.weight")
            if not torch.equal(self._whole("lm_head.weight"), self._whole(embed)):
                problems.append(f"lm_head.weight differs from {embed}, where tie_word_embeddings makes them one")
        zeros = {name for name in left_over | set(expected) if _OUT_BIAS.fullmatch(name)}
        problems += [f"{name} is not zero, and headwater has no such bias" for name in zeros if self._whole(name).any()]
        problems += named("without a place here", left_over - zeros)
        if problems:
            raise self._refused(problems)


def problems_of_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape], says: str) -> list[str]:
    """Return what tensors are missing, or of another shape than a config `says`."""
    others = [name for name in expected if found.get(name, expected[name]) != expected[name]]
    return named("missing", set(expected) - set(found)) + [
        f"{name} is {found[name]} and {says} it {expected[name]}" for name in others
    ]


def named(what: str, names: Collection[str]) -> list[str]:
    """Return one problem that names the first of many tensors; none where there are none."""
    if not names:
        return []
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return [f"{what}: {', '.join(sorted(names)[:_MAX_NAMED])}{more}"]


def _tensors(folder: Path) -> dict[str, _Found]:
    """Return every tensor of the folder's files; raise ConfigError where those and the index differ."""
    found: dict[str, _Found] = {}
    for path in weight_files(folder):
        for name, entry in _entries(path):
            if name in found:
                raise ConfigError(f"{folder}: {name} is in {found[name].path.name} and in {path.name}")
            found[name] = entry
    if (folder / INDEX_FILE).exists():
        index = weight_map(folder)
        wrong = sorted(
            name
            for name in index.keys() | found.keys()
            if name not in found or index.get(name) != found[name].path.name
        )
        if wrong:
            raise ConfigError(f"{folder}: {INDEX_FILE} is wrong about {', '.join(wrong[:_MAX_NAMED])}")
    return found


def _entries(path: Path) -> Iterator[tuple[str, _Found]]:
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                yield name, _Found(path, tuple(part.get_shape()), part.get_dtype())
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise ConfigError(f"{path} is no whole safetensors file: {error}") from None


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
