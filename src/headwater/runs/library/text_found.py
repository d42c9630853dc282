"""What a person's files hold, before a run file for them is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from headwater.core.errors import DataError
from headwater.core.numbers import plural, size
from headwater.corpus.decide.documents import judged
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.read.input import NO_PERMISSION
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings, SourceSettings
from headwater.tokens.tokenizer.train import sample_parts

SAMPLE_BYTES = 2_500_000  # that bytes per token are measured on: enough to fill the largest vocabulary
HTML_SUFFIXES = (".html", ".htm", ".xhtml")
MAX_UNNAMED = 0.05  # of all bytes: a file that is more of them, and gives no text, is named
MIN_BYTES = 1000  # less fills no vocabulary and leaves nothing to hold out


@dataclass
class TextFound:
    """What paths hold before any rule: files with text, documents in them, UTF-8 bytes; by reason what gave no text.

    `fraction_left` is what rules left of a sample, None where nobody tried.
    """

    origins: set[str] = field(default_factory=set)
    num_documents: int = 0
    num_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bytes_dropped: Counter[str] = field(default_factory=Counter)
    largest: dict[str, Drop] = field(default_factory=dict)
    fraction_left: float | None = None

    @property
    def bytes_left(self) -> float:
        """What rules leave, all where they left nothing of the sample: the build will say why."""
        return self.num_bytes * (self.fraction_left or 1.0)

    def texts(self, settings: CorpusSettings) -> Iterator[str]:
        """Yield the texts that the readers of a corpus read in its source, and count them as its balance sheet does.

        Raises DataError for a path that names nothing.
        """
        (source,) = settings.sources
        for piece in read_source(source, settings):
            if isinstance(piece, Drop):
                self.dropped[piece.reason] += piece.num_documents
                self.bytes_dropped[piece.reason] += piece.num_bytes
                self.largest[piece.reason] = max(
                    self.largest.get(piece.reason, piece), piece, key=lambda drop: drop.num_bytes
                )
            else:
                self.origins.add(piece.origin)
                self.num_documents += 1
                self.num_bytes += num_bytes(piece.text)
                yield piece.text

    def __str__(self) -> str:
        files = plural(len(self.origins), "file")
        if self.num_documents != len(self.origins):
            files = f"{self.num_documents:,} documents in {files}"
        text = f"{files}, {size(self.num_bytes)} of text" + (f"; dropped: {self.reasons}" if self.reasons else "")
        if self.fraction_left is None or self.fraction_left > 0.995:
            return text
        return f"{text}; of a sample, filters leave {self.fraction_left:.0%}, copies excluded"

    @property
    def reasons(self) -> str:
        """What gave no text, in words, most bytes first: 2 not UTF-8 (12 MB, most of it a.txt), 1 unknown format."""
        order = sorted(self.dropped, key=lambda reason: (-self.bytes_dropped[reason], -self.dropped[reason]))
        return ", ".join(self._reason(reason) for reason in order)

    def _reason(self, reason: str) -> str:
        number, lost, largest = self.dropped[reason], self.bytes_dropped[reason], self.largest[reason]
        words = reason.replace("_", " ").replace("utf8", "UTF-8")
        if not number:  # parts of what is kept
            return f"{lost:,} {words}"
        more = [size(lost)] if lost else []
        if largest.num_bytes > MAX_UNNAMED * (self.num_bytes + self.bytes_dropped.total()):
            why = f": {largest.because}" if largest.because else ""
            more.append(f"{size(largest.num_bytes)} of it {largest.origin}{why}")
        elif reason == "no_text" and largest.because:
            more.append(largest.because)
        return f"{number:,} {words}" + (f" ({', '.join(more)})" if more else "")


def settings_of(paths: list[str], like: CorpusSettings | None = None, name: str = "text") -> CorpusSettings:
    """Return the settings of a corpus of one source, with every rule's default, or else as another corpus has them."""
    sources = {name: SourceSettings(paths=paths)}
    return CorpusSettings(sources=sources) if like is None else like.model_copy(update={"sources": sources})


def find_text(texts: list[str], settings: CorpusSettings) -> tuple[TextFound, list[str]]:
    """Return what files and folders hold, and a sample of what rules leave; raise DataError where that is too little.

    Equal texts are in the sample together, or none of them: it is by hash. Nearly equal ones aren't searched for.
    """
    found = TextFound()
    sample = sample_parts(found.texts(settings), SAMPLE_BYTES)
    _require_text(found, texts)
    if not sample:  # a sample by hash takes all copies or none
        raise DataError(
            f"{', '.join(texts)}: copies of one text, or of 8,192 characters of one, are more than "
            f"{SAMPLE_BYTES / 1e6:g} MB of it; a run keeps one of them: remove the others first"
        )
    left = _texts_left(sample, settings)
    found.fraction_left = sum(map(num_bytes, left)) / sum(map(num_bytes, sample))
    return found, left or sample


def _texts_left(texts: Iterable[str], settings: CorpusSettings) -> list[str]:
    """Return what the steps leave of texts of the first source, and of equal ones the first alone."""
    (name, source), *_ = settings.sources.items()
    documents = (Document(text, name, "", "", source.kind) for text in dict.fromkeys(texts))
    return [each.document.text for each in judged(documents, settings) if each.reason is None]


def _require_text(found: TextFound, texts: list[str]) -> None:
    if found.num_bytes >= MIN_BYTES:
        return
    if not found.origins and not found.dropped:
        raise DataError(f"{', '.join(texts)}: no file is there; name files that hold text, or a folder of them")
    if forbidden := found.dropped[NO_PERMISSION]:
        raise DataError(
            f"{', '.join(texts)}: permission denied for {forbidden} of what lies there, and the rest has "
            f"{found.num_bytes} bytes of text; allow yourself to read it (chmod -R u+rX), or name other files"
        )
    amount = f"{found.num_bytes} bytes of" if found.num_bytes else "no"
    why = f" (dropped: {found.reasons})" if found.dropped else ""
    raise DataError(
        f"{', '.join(texts)}: {amount} text can be read there{why}; at least {MIN_BYTES} bytes are "
        "needed, and a million make sense. Convert office files to .txt or .html, plain text to UTF-8; a table needs "
        'a column "text" or "content" (corpus.sources.NAME.text_column in a run file names another)'
    )


def are_pages(found: TextFound) -> bool:
    """Return whether most of the files are HTML."""
    return 2 * sum(origin.lower().endswith(HTML_SUFFIXES) for origin in found.origins) > len(found.origins)
