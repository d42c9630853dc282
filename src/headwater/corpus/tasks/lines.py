"""Lines of a large file that is read in slices: each counts its own first, since lines are named by their numbers."""

from __future__ import annotations

from headwater.corpus.read.input import BLOCK_BYTES
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.tasks.plan import Part
from headwater.corpus.tasks.work import LINES, Work
from headwater.corpus.tasks.worker_context import WorkerContext


def count_lines(context: WorkerContext, number: int) -> None:
    """Count the lines that begin in the slice of a file in a slice of a source."""
    work = context.work
    [file] = [file for file in work.plan.files(work.plan.parts[number]) if file.end]
    with work.new_output(work.path_of(LINES, number)) as output:
        output.facts = {"start": file.start, "lines": _lines_in(file)}


def _lines_in(file: ListedFile) -> int:
    """Return how many lines begin in a slice: one behind each line end, and the first."""
    start, end = max(file.start - 1, 0), file.end - 1
    count = int(file.start == 0)
    try:
        with open(file.path, "rb") as stream:
            stream.seek(start)
            while start < end and (block := stream.read(min(end - start, BLOCK_BYTES))):
                count += block.count(b"\n")
                start += len(block)
    except (FileNotFoundError, PermissionError, IsADirectoryError):  # whoever reads it says what is wrong with it
        return 0
    return count


def numbered_files(work: Work, part: Part) -> list[ListedFile]:
    """Return the files of a slice of a source, those of lines with the number of the lines before their own slice."""
    return [_numbered(work, part, file) if part.has_lines and file.start else file for file in work.plan.files(part)]


def _numbered(work: Work, part: Part, file: ListedFile) -> ListedFile:
    num_before, start, number = 0, file.start, part.number
    while start:
        number -= 1
        start, count = work.lines_of(number)
        num_before += count
    return file._replace(num_before=num_before)
