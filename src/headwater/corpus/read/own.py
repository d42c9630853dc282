"""Formats of a user's own: a class in a file of theirs, or in an installed package, is a registration like ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from headwater.core.code import load_code
from headwater.core.errors import ConfigError
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.sources.formats import COMPRESSIONS, Format
from headwater.corpus.sources.own_code import FORMATS_GROUP, FormatSettings

_SUFFIX = re.compile(r"[a-z0-9_+-]{1,20}")


class OwnFormat:
    """Base of a format: `suffixes` ("srt vtt"), `read`, and what else sources.formats.Format says of one."""

    suffixes = ""
    isolated = True
    records = False
    in_archives = True
    on_disk = False
    conversations = False

    def read(self, file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
        """Yield file.document(TEXT, PART) and file.drop(REASON, NUM_BYTES, PART), a PART of its own for each.

        It may raise Unusable(REASON) for what is left of the file. One of records calls file.begin_record(PART, …)
        before each and passes over those for which it is False.
        """
        raise NotImplementedError("a format of one's own defines read(self, file, limits)")

    def pieces(self, file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
        """Yield what `read` does; an error in it is Unusable, parser_failed, as in a process of its own."""
        try:
            for piece in self.read(file, limits):
                if not isinstance(piece, Document | Drop) or not isinstance(getattr(piece, "text", ""), str):
                    raise TypeError(f"read yields {type(piece).__name__}, and not file.document(TEXT) or file.drop(…)")
                yield piece
        except (Unusable, OSError, MemoryError):
            raise
        except Exception as error:  # whatever their code does
            raise Unusable("parser_failed", f"{type(error).__name__}: {error}"[:200]) from error


def own_formats(formats: Mapping[str, FormatSettings]) -> dict[str, Format]:
    """Return the formats that a run file names, running their code. Raises ConfigError for what is wrong with one."""
    found, taken = dict[str, Format](), dict[str, str]()
    for name, settings in formats.items():
        kind = load_code(settings.class_, Path(), FORMATS_GROUP)
        if not isinstance(kind, type) or not issubclass(kind, OwnFormat):
            raise ConfigError(
                f"{settings.class_} is no format; write class NAME(OwnFormat), from headwater.corpus.read.own"
            )
        suffixes = [suffix.lower().lstrip(".") for suffix in str(kind.suffixes).split()]
        for suffix in suffixes or [""]:
            if not _SUFFIX.fullmatch(suffix) or "." + suffix in COMPRESSIONS or suffix in taken:
                why = f"is also one of {taken[suffix]}" if suffix in taken else 'is none; write suffixes = "srt vtt"'
                raise ConfigError(f"corpus.formats.{name}: the suffix {suffix!r} {why}")
            taken[suffix] = name
        how = kind.isolated, kind.records, kind.in_archives, kind.on_disk, kind.conversations
        found[name] = Format(" ".join(suffixes), settings.class_, *how, is_own=True)
    return found
