"""Data sets of the Hugging Face hub by name, streamed by its own library, for machines that are online."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.record import record_document
from headwater.corpus.read.splits import Splits
from headwater.errors import DataError

_SPELLING = re.compile(r"(?P<name>[^:@]+)(?::(?P<config>[^@]+))?(?:@(?P<revision>.+))?")


def read_hub(
    spelling: str, source: str, kind: str, splits: Splits, text_column: str | None
) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row of the splits that are read, in the order of their names.

    `spelling` is owner/name, then :configuration and @revision where they are needed. A split that isn't read is one
    drop. Raises DataError where the library is missing, the hub doesn't answer or has no split of a name.
    """
    name, config, revision = _parts(spelling)
    library = _library(source)
    try:
        found = library.load_dataset(name, config, revision=revision, streaming=True)
    except Exception as error:
        raise _unreachable(spelling, source, error) from None
    splits.require(list(found))
    for split in sorted(found):
        origin = f"hf://datasets/{name}/{split}"
        if not splits.are_read(split):
            yield splits.drop(split, origin, 0)
            continue
        file = InputFile(PurePosixPath(split), origin, source, kind)  # type: ignore[arg-type]
        rows = enumerate(found[split])
        while (numbered := _next(rows, spelling, source)) is not None:
            number, row = numbered
            yield record_document(file, row, f"#{number}", 0, text_column)


def hub_version(spelling: str, source: str) -> str:
    """Return the revision that a name stands for now. Raises DataError as `read_hub`."""
    name, config, revision = _parts(spelling)
    _library(source)
    from huggingface_hub import HfApi

    try:
        return f"{name} {config or ''} {HfApi().dataset_info(name, revision=revision).sha}"
    except Exception as error:
        raise _unreachable(spelling, source, error) from None


def _parts(spelling: str) -> tuple[str, str | None, str | None]:
    found = _SPELLING.fullmatch(spelling)
    assert found, spelling  # the settings have checked it
    return found["name"], found["config"], found["revision"]


def _library(source: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"source {source!r} is a data set of the hub, which needs the package datasets; "
            "`pip install headwater[hub]` installs it, or name its files by `paths`"
        ) from None
    return datasets


def _next(rows: Iterator[tuple[int, Any]], spelling: str, source: str) -> tuple[int, Any] | None:
    try:
        return next(rows, None)
    except Exception as error:
        raise _unreachable(spelling, source, error) from None


def _unreachable(spelling: str, source: str, error: Exception) -> DataError:
    said = str(error).strip().split("\n")[0][:200]
    return DataError(
        f"source {source!r}: {spelling} can't be read from the hub ({type(error).__name__}: {said}); check the "
        "name and the connection, or download it and name its folder by `paths`"
    )
