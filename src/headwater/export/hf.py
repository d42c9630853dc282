"""A Hugging Face folder: the model as transformers, vLLM, TRL and converters to GGUF read it, without custom code.

It loads in transformers 4.57 and 5. The configuration is written here and not by transformers, because what version 5
writes is misread by 4.57: it takes rope_theta = 10000 without a word and refuses the tokenizer's class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.core import files
from headwater.core.errors import ExportError
from headwater.core.records import table
from headwater.export.base.config import Dtype, config_of_settings
from headwater.export.data_card import markdown
from headwater.export.hf_card import CardFacts, write_card
from headwater.export.hf_tokenizer import write_tokenizer
from headwater.export.hf_weights import write_weights
from headwater.model.settings import ModelSettings

FORMAT, FORMAT_VERSION = "headwater-export-hf", 1
MAX_FILE_BYTES = 5 * 10**9  # of weights; more are written as several numbered files


def export_hf(
    state: Mapping[str, Tensor],
    model: ModelSettings,
    tokenizer_dir: Path,
    out_dir: Path,
    *,
    dtype: Dtype = "float32",
    card: CardFacts | None = None,
    data_card: Mapping[str, Any] | None = None,
    key: str = "",
    weights_key: str = "",
    before_commit: Callable[[], None] = files.no_check,
    max_file_bytes: int = MAX_FILE_BYTES,
    is_tuned: bool = False,
) -> None:
    """Write the model as a folder that AutoModelForCausalLM and AutoTokenizer load offline.

    `state` has every parameter by its name in our model, each looked up once, when it is written, into files of at most
    `max_file_bytes`; `card` is what the model card says of it (hf_card); the `data_card` (runs.text) is written as
    DATA_CARD.md and data_card.json; `key` says what the export was made from (manifests.is_current), `weights_key` what
    its weights were: an earlier export's of the same key are kept; `is_tuned`: on conversations. The folder appears
    complete or not at all, and replaces an earlier export only; `before_commit` may still raise when all is written.
    Raises ExportError when a parameter is missing or left over, when the tokenizer is not the model's, or when
    something else is at `out_dir`.
    """
    require_ours(out_dir, FORMAT)
    with files.new_folder(out_dir, replace=True, before_commit=before_commit) as folder:
        tokenizer = write_tokenizer(tokenizer_dir, folder, model.num_positions, model.vocab_size, is_tuned)
        files.write_json(folder / "config.json", {**config_of_settings(model, dtype), **tokenizer.ids})
        known = _shared_weights(out_dir, folder, weights_key)
        known = known or write_weights(folder, state, model, getattr(torch, dtype), max_file_bytes)
        ends = {"eos_token_id": tokenizer.ends} if tokenizer.ends != [tokenizer.ids.get("eos_token_id")] else {}
        files.write_json(folder / "generation_config.json", tokenizer.ids | ends)
        if data_card is not None:
            files.write_json(folder / "data_card.json", data_card)
            files.write_text(folder / "DATA_CARD.md", markdown(data_card))
        digests = {path.name: known.get(path.name) or files.digest_file(path) for path in sorted(folder.iterdir())}
        keys = {"key": key, "weights_key": weights_key}
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **keys, "files": digests}
        if is_tuned or not tokenizer.is_of_base:  # a base's own template says what it was made for
            manifest["is_tuned"] = is_tuned
        files.write_json(folder / "manifest.json", manifest)
        # no digest: a card is there to be edited
        write_card(folder, model, card or CardFacts(), tokenizer.card, is_tuned)


def _shared_weights(out_dir: Path, folder: Path, weights_key: str) -> dict[str, str]:
    """Give an export the files of an earlier one's weights, if they are these; return each one's digest, else {}."""
    manifest = files.read_manifest_or_none(out_dir)
    if not weights_key or manifest.get("weights_key") != weights_key:
        return {}
    digests = {name: digest for name, digest in table(manifest, "files").items() if ".safetensors" in name}
    found = [path for path in out_dir.glob("*.safetensors*") if path.is_file()]  # by what is there: a manifest may lie
    if {path.name: files.digest_file(path) for path in found} != digests:
        return {}
    for path in found:
        files.share_file(path, folder / path.name)
    return digests


def require_ours(out_dir: Path, format: str) -> None:
    """Raise ExportError where something is at `out_dir` that is no earlier export of this format."""
    if not out_dir.exists() or files.read_manifest_or_none(out_dir).get("format") == format:
        return
    if not out_dir.is_dir() or any(out_dir.iterdir()):
        raise ExportError(f"{out_dir} exists and is no export of headwater; move it away or choose another folder")
