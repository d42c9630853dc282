"""Classifiers that others trained, as measures: by transformers, from a folder with safetensors; nothing is downloaded.

A text's values must not depend on what stands beside it, and a sum of products does, in its last bits, on the shape
of the batch. So all batches of a length have one shape: lengths are powers of two, and what is short of rows is filled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError, DataError
from headwater.core.files import read_json
from headwater.corpus.measures.classifier import columns_of_labels, require_label
from headwater.corpus.measures.measure import Column, Measure
from headwater.corpus.sources.own_code import MeasureSettings

_BATCH_TOKENS = 8192
_LEAST_TOKENS = 16  # of a length: a batch of shorter texts costs little
_TOKEN_CHARACTERS = 100  # more of a text than this times the model's window isn't looked at: no token is longer


class SequenceClassifier(Measure):
    """A model of transformers with one output or several labels, of the beginning of a text that it has room for.

    Raises DataError for a folder without one, and for a label that it hasn't.
    """

    def __init__(self, name: str, settings: MeasureSettings) -> None:
        self._setting, self._folder, self._settings = f"corpus.measures.{name}", Path(settings.model or ""), settings
        self.kinds, self.gpus = settings.kinds, settings.gpus
        try:
            labels = read_json(self._folder / "config.json").get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(f"{self._setting}.model: {self._folder} has no config.json of a model ({error})") from error
        self._labels = [str(labels[number]) for number in sorted(labels, key=int)]
        self.columns = columns_of_labels(name, settings.label)
        if len(self._labels) == 1 and settings.label is None:
            self.columns = {name: Column(float, "output of the model")}
        require_label(self._setting, self._folder, settings.label, self._labels)

    def measure(self, texts: list[str]) -> Mapping[str, Sequence[Any]]:
        tokenizer, _, window = self._loaded
        known = [text[: window * _TOKEN_CHARACTERS] for text in texts]
        tokens = tokenizer(known, truncation=True, max_length=window)["input_ids"]
        places: dict[int, list[int]] = {}
        for place, ids in enumerate(tokens):
            if ids:
                length = max(1 << (len(ids) - 1).bit_length(), _LEAST_TOKENS)
                places.setdefault(min(length, window), []).append(place)
        found: list[list[float] | None] = [None] * len(texts)
        for length, of_length in places.items():
            num_rows = max(_BATCH_TOKENS // length, 1)
            for start in range(0, len(of_length), num_rows):
                batch = of_length[start : start + num_rows]
                outputs = self._outputs([tokens[place] for place in batch], num_rows, length)
                for place, values in zip(batch, outputs):
                    found[place] = values
        names = list(self.columns)
        if len(names) == 1:
            number = 0 if self._settings.label is None else self._labels.index(self._settings.label)
            return {names[0]: [values and values[number] for values in found]}
        best = [values and max(zip(values, self._labels), key=lambda each: each[0]) for values in found]
        return {names[0]: [each and each[1] for each in best], names[1]: [each and each[0] for each in best]}

    def _outputs(self, rows: list[list[int]], num_rows: int, length: int) -> list[list[float]]:
        """Return the outputs for rows of tokens: of several labels their probabilities."""
        import torch

        tokenizer, model, _ = self._loaded
        filled = rows + rows[:1] * (num_rows - len(rows))
        ids = torch.tensor([row + [tokenizer.pad_token_id] * (length - len(row)) for row in filled])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in filled])
        with torch.inference_mode(), _one_thread(torch):
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
            logits = logits[: len(rows)].float()
            if len(self._labels) > 1:
                is_of_each = model.config.problem_type == "multi_label_classification"
                logits = logits.sigmoid() if is_of_each else logits.softmax(dim=-1)
            return list(logits.tolist())

    @cached_property
    def _loaded(self) -> tuple[Any, Any, int]:
        """The tokenizer, the model, and how many tokens it has room for."""
        try:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging
        except ImportError as error:
            raise DataError(f"{self._setting} needs transformers: pip install headwater[hf]") from error
        device = torch.accelerator.current_accelerator() if self.gpus else torch.device("cpu")
        if device is None:
            raise ConfigError(f"{self._setting}.gpus = {self.gpus:g}: there is no GPU here; leave it out")
        logging.disable_progress_bar()
        here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        dtype = getattr(torch, self._settings.dtype)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._folder, **here)
            model = AutoModelForSequenceClassification.from_pretrained(
                self._folder, dtype=dtype, use_safetensors=True, **here
            )
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{self._setting}.model: {self._folder} can't be loaded ({error})") from error
        if tokenizer.pad_token_id is None:
            raise DataError(f"{self._setting}.model: the tokenizer of {self._folder} has no token to pad with")
        room = getattr(model.config, "max_position_embeddings", 512)
        positions = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
        padding = getattr(positions, "padding_idx", None)
        if padding is not None:  # positions begin behind the padding's number (RoBERTa)
            room -= padding + 1
        return tokenizer, model.to(device).eval(), min(room, tokenizer.model_max_length)


@contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    """Compute with one thread, as each of a machine's processes does; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
