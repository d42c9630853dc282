"""What a measure is: texts in batches go in, columns come out, a value for each text.

One of your own is such a class in a file beside the run file, or of an installed package:

    [corpus.measures.shouting]
    class = "mine.py:Shouting"

    [corpus.limits.web]
    exclamations = { max = 0.5 }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from headwater.core.errors import ConfigError, DataError, HeadwaterError
from headwater.corpus.document import plain_text
from headwater.corpus.step import Candidate

_ARROW_TYPES = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}


@dataclass(frozen=True, slots=True)
class Column:
    """What a measure writes down of each text: float, int, bool or str (or a type of Arrow), and in a few words what.

    A value may be None: no limit holds for it.
    """

    type: Any
    what: str

    def __post_init__(self) -> None:
        if not isinstance(self.type, pa.DataType) and self.type not in _ARROW_TYPES:
            raise ConfigError(f"a column of {self.type!r}: use float, int, bool, str or a type of Arrow")

    @property
    def arrow_type(self) -> pa.DataType:
        return self.type if isinstance(self.type, pa.DataType) else _ARROW_TYPES[self.type]


class Measure:
    """A measure. The same text gives the same values in every process, whatever stands beside it in its batch."""

    version: ClassVar[int] = 1
    """Raise it when the same texts give other values: they are then measured again."""
    columns: Mapping[str, Column] = {}
    kinds: Sequence[str] | None = None
    """Kinds of text that it measures; those of others have None. None: all."""
    gpus: float = 0
    """GPUs that it wants, on an engine that places tasks by what they want (Ray)."""

    def measure(self, texts: list[str]) -> Mapping[str, Sequence[Any]]:
        """Return, by the name of each column, a value for each text."""
        raise NotImplementedError

    def measure_candidates(self, candidates: Sequence[Candidate]) -> Mapping[str, Sequence[Any]]:
        """Return the values of documents: of those of its kinds what `measure` says of their texts."""
        chosen = [self.kinds is None or each.document.kind in self.kinds for each in candidates]
        texts = [plain_text(each.document) for each, is_chosen in zip(candidates, chosen) if is_chosen]
        try:
            found = self.measure(texts) if texts else {}
        except (HeadwaterError, MemoryError):
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise DataError(f"measure {type(self).__name__} failed on {len(texts):,} texts: {what}") from error
        columns: dict[str, list[Any]] = {}
        for name in self.columns:
            values = list(found.get(name, ()))
            if len(values) != len(texts):
                raise DataError(
                    f"measure {type(self).__name__}: {len(values):,} values of {name!r} for {len(texts):,} texts; "
                    "return one for each text, None where there is none"
                )
            waiting = iter(values)
            columns[name] = [next(waiting) if is_chosen else None for is_chosen in chosen]
        return columns


def measured(measure: Measure, candidates: Sequence[Candidate]) -> pa.RecordBatch:
    """Return what a measure says of documents, with the types that it declares."""
    found = measure.measure_candidates(candidates)
    try:
        arrays = [_array(found[name], each) for name, each in measure.columns.items()]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"measure {type(measure).__name__} returns what it doesn't declare: {error}") from error
    return pa.record_batch(arrays, names=list(measure.columns))


def _array(values: Sequence[Any], column: Column) -> pa.Array:
    if column.type is int:  # by its type alone Arrow would make 0.9 a 0
        return pa.array(values, from_pandas=True).cast(pa.int64())
    return pa.array(values, column.arrow_type, from_pandas=column.type is float)  # NaN is None


def schema_of(measure: Measure) -> pa.Schema:
    return pa.schema([(name, column.arrow_type) for name, column in measure.columns.items()])
