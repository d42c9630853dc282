"""Check a run folder from outside: is everything under a final name whole, and what is in it?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from headwater.core.errors import HeadwaterError
from headwater.core.files import digest_file
from headwater.core.records import read_all, read_records
from headwater.corpus.load import list_sources, read_documents
from headwater.runfile.paths import Folders
from headwater.tokens.read import open_stores
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import MODEL, OPTIM, list_checkpoints, tensor_file
from headwater.train.checkpoint.load import read_checkpoint

JSON_FILES = ("epoch", "config.json", "stages.json", "evaluation.json", "forecast.json")
# fields that say how long something took, and when: never the same twice
TIMES = {"attempt", "time", "seconds", "tokens_per_second", "mfu", "data_wait_fraction", "evaluation_seconds", "bytes"}
TIMES |= {"exchange_fraction", "slowest_rank", "slowest_lead"}
_CORPUS_WORK = ".corpus-work/"
MEASURED = ("step", "validation", "probes", "samples")


def problems(run_dir: Path) -> list[str]:
    """Return what is under a final name in a run folder and isn't whole; a temporary name promises nothing."""
    folders = Folders(run_dir)
    readers: dict[Path, Callable[[Path], object]] = {
        folders.corpus: _read_corpus,
        folders.tokenizer: Tokenizer.load,
        folders.tokens: lambda folder: [open_stores(folder, split) for split in ("train", "validation")],
        folders.hf: _read_export,
    }
    return [*_unreadable(run_dir, readers), *problems_of_training(run_dir)]


def problems_of_training(run_dir: Path) -> list[str]:
    """Return what `problems` does of all that isn't data or export."""
    checkpoints = {path: read_checkpoint for _, path in list_checkpoints(run_dir)}
    return [*_unreadable(run_dir, checkpoints), *_half_files(run_dir), *_torn_lines(run_dir / "records.jsonl")]


def _unreadable(run_dir: Path, readers: Mapping[Path, Callable[[Path], object]]) -> Iterator[str]:
    for folder, read in readers.items():
        if folder.exists():
            try:
                read(folder)
            except (HeadwaterError, OSError, ValueError, KeyError) as error:
                yield f"{folder.relative_to(run_dir)}: {error}"


def _half_files(run_dir: Path) -> Iterator[str]:
    for name in JSON_FILES:
        path = run_dir / name
        try:
            if path.exists():
                json.loads(path.read_bytes())
        except ValueError as error:
            yield f"{name}: {error}"
    report = run_dir / "report.html"
    if report.exists() and not report.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        yield "report.html ends before its end"


def _read_corpus(folder: Path) -> None:
    for source in list_sources(folder):
        for split in ("train", "validation"):
            for _ in read_documents(folder, split, source):
                pass


def _read_export(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    wrong = [name for name, digest in manifest["files"].items() if digest_file(folder / name) != digest]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} differ from their digests")


def _torn_lines(path: Path) -> Iterator[str]:
    """Yield lines that aren't JSON; what follows the last line end is cut off when the file is opened."""
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(whole, start=1):
        try:
            json.loads(line)
        except ValueError:
            yield f"records.jsonl: line {number} is torn"


def temporary_names(run_dir: Path) -> list[str]:
    """Return what lies about under temporary names, but for a corpus's work, which the next build cleans."""
    names = sorted(str(path.relative_to(run_dir)) for path in run_dir.rglob(".tmp-*"))
    return [name for name in names if _CORPUS_WORK not in name]


def tree(folder: Path) -> dict[str, str]:
    """Return the digest of every file in a folder, but for temporary names and a corpus's work, which isn't flushed."""
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: digest_file(path) for name, path in found.items() if ".tmp-" not in name and _CORPUS_WORK not in name}


def losses(run_dir: Path) -> list[str]:
    """Return the loss of every step that counts, to the last bit."""
    return [record["loss"].hex() for record in read_records(run_dir / "records.jsonl", "step")]


def measured(run_dir: Path) -> list[str]:
    """Return all that a run measured, in the order in which it counts, without what depends on the clock."""
    kept = [
        {name: value for name, value in record.items() if name not in TIMES}
        for record in read_records(run_dir / "records.jsonl")
        if record["event"] in MEASURED
    ]
    return [json.dumps(record, sort_keys=True) for record in kept]


def trained(run_dir: Path) -> dict[str, Any]:
    """Return what a finished training leaves: its losses, a digest of all measurements, the final state's bytes."""
    step, path = list_checkpoints(run_dir)[0]
    checkpoint = read_checkpoint(path)
    state = {name: value for name, value in checkpoint.state.items() if name != "seconds"}
    return {
        "step": step,
        "losses": losses(run_dir),
        "measured": sha256("\n".join(measured(run_dir)).encode()).hexdigest(),
        "model": digest_file(path / tensor_file(MODEL, 0, 1)),
        "optim": digest_file(path / tensor_file(OPTIM, 0, 1)),
        "state": json.dumps(state, sort_keys=True),
        "kept": [kept for kept, _ in list_checkpoints(run_dir)],
        "finished": sum(record["event"] == "finish" for record in read_all(run_dir / "records.jsonl")) > 0,
    }
