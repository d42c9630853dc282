"""The weights of a Hugging Face folder as our parameters: read in parts where they are wanted, all of them or none."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from headwater.core.errors import ConfigError
from headwater.export.base.folder import INDEX_FILE, weight_files, weight_map
from headwater.model.count import Shape
from headwater.model.init import WHOLE, Part
from headwater.model.names import ForeignPlace, places, rules, their_shapes
from headwater.model.settings import ModelSettings
from headwater.train.checkpoint.tensor_file import TensorEntry, copy_box_, read_header

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"Those whose every value float32 has, too."
_NO_WEIGHTS = re.compile(
    r"(model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|(transformer\.)?h\.\d+\.attn\.(masked_)?bias)"
)
"Tables that older versions kept beside the weights; transformers computes its own, as we do."
_OUT_BIAS = re.compile(r"model\.layers\.\d+\.self_attn\.o_proj\.bias")
_MAX_NAMED = 6


class _File:
    """A file that is read in parts, and open while one is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_bytes = path.stat().st_size

    def read(self, start: int, num_bytes: int, /) -> memoryview:
        data = bytearray(num_bytes)  # and no bytes: torch warns of tensors that can't be written
        with open(self.path, "rb") as file:
            file.seek(start)
            if file.readinto(data) < num_bytes:
                raise ConfigError(f"{self.path} ends before byte {start + num_bytes:,}, where its header says it does")
        return memoryview(data)


@dataclass(frozen=True)
class _Found:
    file: _File
    entry: TensorEntry


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
        self._tensors = _without_tables(_tensors(folder))
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
        target = torch.empty(tuple(sizes))
        found = self._tensors[theirs]
        copy_box_(target, found.file, found.entry, offsets)
        return target

    def _whole(self, theirs: str) -> Tensor:
        shape = self._tensors[theirs].entry.shape
        return self._read(theirs, [0] * len(shape), shape)

    def _check(self, expected: Mapping[str, tuple[int, ...]], model: ModelSettings) -> None:
        left_over = set(self._tensors) - set(expected)
        entries = {name: found.entry for name, found in self._tensors.items()}
        shapes = {name: entry.shape for name, entry in entries.items()}
        problems = problems_of_shapes(expected, shapes, "config.json makes")
        problems += [
            f"{name} is of type {str(entry.dtype).removeprefix('torch.')}, which float32 can't hold"
            for name, entry in entries.items()
            if name in expected and entry.dtype not in DTYPES
        ]
        if problems:
            raise self._refused(problems)
        embed = self._places["embed.weight"].theirs
        if model.tied_embeddings and "lm_head.weight" in left_over:
            left_over.remove("lm_head.weight")
            if not _are_equal(self._whole("lm_head.weight"), self._whole(embed)):
                problems.append(f"lm_head.weight differs from {embed}, where tie_word_embeddings makes them one")
        zeros = {name for name in left_over | set(expected) if _OUT_BIAS.fullmatch(name)}
        problems += [f"{name} is not zero, and headwater has no such bias" for name in zeros if self._whole(name).any()]
        problems += named("without a place here", left_over - zeros)
        if problems:
            raise self._refused(problems)


def _are_equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(torch.equal(first, second))


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


def _without_tables(tensors: dict[str, _Found]) -> dict[str, _Found]:
    return {name: found for name, found in tensors.items() if not _NO_WEIGHTS.fullmatch(name)}


def _tensors(folder: Path) -> dict[str, _Found]:
    """Return every tensor of the folder's files; raise ConfigError where those and the index differ."""
    found: dict[str, _Found] = {}
    for path in weight_files(folder):
        for name, entry in _entries(path):
            if name in found:
                raise ConfigError(f"{folder}: {name} is in {found[name].file.path.name} and in {path.name}")
            found[name] = entry
    if (folder / INDEX_FILE).exists():
        index = weight_map(folder)
        wrong = sorted(
            name
            for name in index.keys() | found.keys()
            if name not in found or index.get(name) != found[name].file.path.name
        )
        if wrong:
            raise ConfigError(f"{folder}: {INDEX_FILE} is wrong about {', '.join(wrong[:_MAX_NAMED])}")
    return found


def _entries(path: Path) -> Iterator[tuple[str, _Found]]:
    try:
        file = _File(path)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    try:
        header = read_header(file)
    except ValueError as error:
        raise ConfigError(f"{path} is no whole safetensors file: {error}") from None
    for name, entry in header.items():
        yield name, _Found(file, entry)
