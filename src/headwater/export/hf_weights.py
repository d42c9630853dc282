"""A model's weights in the files that transformers reads, under the names and layouts of `model.names`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from headwater.core.errors import ExportError
from headwater.core.files import DigestedFile, write_json
from headwater.model.names import Rule, rules, shapes, their_shapes
from headwater.model.settings import ModelSettings
from headwater.train.checkpoint.tensor_file import write_tensors

INDEX_FILE = "model.safetensors.index.json"


def write_weights(
    folder: Path, state: Mapping[str, Tensor], model: ModelSettings, dtype: torch.dtype, max_file_bytes: int
) -> dict[str, str]:
    """Write the tensors of a transformers model of the same family, equal to `state`; return each file's digest.

    That is model.safetensors, or, where that would have more than `max_file_bytes`, numbered files and their index.
    One tensor at a time is in memory, with the parameters that it is made of, as far as `state` reads each where it is
    looked up. Raises ExportError naming every parameter that is missing, left over, or not of the shape the settings
    give: a model that lacks one loads elsewhere without a word and talks nonsense.
    """
    rule_of = {rule.theirs: rule for rule in rules(model)}
    parameter, their = parameters_of(state, model, rule_of.values()), their_shapes(model, rule_of.values())
    theirs = {name: torch.empty(shape, dtype=dtype, device="meta") for name, shape in their.items()}
    digests, files = dict[str, str](), _divided(theirs, max_file_bytes)
    for file_name, names in files.items():
        with DigestedFile(folder / file_name) as file:
            tensors = {name: theirs[name] for name in names}
            write_tensors(file, tensors, {"format": "pt"}, lambda name: made_of(rule_of[name], parameter).to(dtype))
        digests[file_name] = file.digest
    if len(files) > 1:
        places = {name: file_name for file_name, names in files.items() for name in names}
        total = sum(tensor.nbytes for tensor in theirs.values())
        write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})
    return digests


def made_of(rule: Rule, parameter: Callable[[str], Tensor]) -> Tensor:
    """Return a tensor of theirs; `parameter` returns ours by name."""
    if not rule.ours:
        return torch.zeros(rule.width)
    parts = [parameter(name) for name in rule.ours]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    if rule.paired_head_dim is not None:
        joined = joined.unflatten(0, (-1, 2, rule.paired_head_dim // 2)).transpose(1, 2).flatten(0, 2)
    return joined.T if rule.is_transposed else joined


def _divided(tensors: Mapping[str, Tensor], max_bytes: int) -> dict[str, list[str]]:
    """Return which tensors lie in which file, in their order, each file as full as `max_bytes` allow."""
    parts, filled = list[list[str]](), max_bytes
    for name, tensor in tensors.items():
        filled += tensor.nbytes
        if filled > max_bytes:  # one that is larger by itself has a file of its own
            parts.append([])
            filled = tensor.nbytes
        parts[-1].append(name)
    if len(parts) == 1:
        return {"model.safetensors": parts[0]}
    return {f"model-{number:05d}-of-{len(parts):05d}.safetensors": names for number, names in enumerate(parts, 1)}


def parameters_of(
    state: Mapping[str, Tensor], model: ModelSettings, rules: Collection[Rule]
) -> Callable[[str], Tensor]:
    """Return what gives a parameter by its name, each looked up when it is asked for.

    Raises ExportError naming every parameter of the rules that is missing, or left over; then one of another shape.
    """
    _check_complete(state, rules)
    expected = shapes(model)

    def parameter(name: str) -> Tensor:
        found, shape = state[name], expected[name]
        if found.shape != shape:
            raise ExportError(
                f"{name} is {tuple(found.shape)} and the settings say {shape}; "
                "the weights and the settings come from different runs"
            )
        return found

    return parameter


def _check_complete(state: Mapping[str, Tensor], rules: Collection[Rule]) -> None:
    needed = [name for rule in rules for name in rule.ours]
    assert len(needed) == len(set(needed)), "a parameter is in two rules"
    there = set(state)  # looking a name up would read its tensor
    missing = [name for name in needed if name not in there]
    left_over = sorted(there - set(needed))
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    problems += [f"without a place there: {', '.join(left_over)}"] if left_over else []
    if problems:
        raise ExportError(
            "the parameters are not those of the model's family, so the export would be another model; "
            f"{'; '.join(problems)}; check family and tied_embeddings against the checkpoint"
        )
