"""Measure what a change of mind costs: a limit, a measure, a file changed after a build, and answers of `tune`.

    headwater corpus fetch standard
    python benchmarks/corpus/decide.py                      # 2 GB of text, 5 million documents, 100,000 slices
    python benchmarks/corpus/decide.py --megabytes 100 --documents 200000 --slices 5000

Each step is a program of its own, on two processes where it builds; its wall time holds the start of Python. The text
is made from real sentences (stream.py). Short documents are of one paragraph, a slice is a small file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from headwater.corpus.build import build_corpus
from headwater.corpus.decide.tune import tune
from headwater.corpus.sources.settings import CorpusSettings
from memory import seed_texts
from processes import ONE_THREAD, run_measured
from reporting import add_output_options, facts, made, markdown_table, publish, say
from stream import Stream, write_stream

FILE_BYTES = 12_500_000  # of text
LIMIT: dict[str, Any] = {"limits": {"web": {"words": {"min": 600}}}}  # of long documents
SHORT_LIMIT: dict[str, Any] = {"limits": {"web": {"words": {"min": 110}}}}
LIMITS: dict[str, Any] = {
    "limits": {"web": {
        "words": {"min": 60, "max": 900}, "characters": {"min": 200}, "mean_word_length": {"min": 3.5, "max": 8},
        "alpha_fraction": {"min": 0.6}, "symbol_fraction": {"max": 0.02}, "stop_words": {"min": 3},
        "stop_word_share": {"min": 0.1}, "top_2gram_fraction": {"max": 0.15}, "top_3gram_fraction": {"max": 0.13},
        "top_4gram_fraction": {"max": 0.11}, "repeated_10gram_fraction": {"max": 0.1},
        "repeated_line_fraction": {"max": 0.2}, "alpha_word_fraction": {"min": 0.7}, "mojibake_fraction": {"max": 0.01},
        "replacement_fraction": {"max": 0.001}, "sentences": {"min": 2}, "sentence_fraction": {"min": 0.2},
        "bullet_line_fraction": {"max": 0.8}, "ellipsis_line_fraction": {"max": 0.2},
    }},
}  # fmt: skip
MEASURE = """
from headwater.corpus import Column, Measure

class Shouting(Measure):
    version = 1
    columns = {"exclamations": Column(float, "exclamation marks for each full stop")}

    def measure(self, texts):
        return {"exclamations": [text.count("!") / max(text.count("."), 1) for text in texts]}
"""


def settings_of(given: Path, **changes: Any) -> CorpusSettings:
    table = {"sources": {"web": {"kind": "web", "paths": [str(given)]}}, "engine": {"workers": 2}, **changes}
    return CorpusSettings.model_validate(table)


def step(arguments: argparse.Namespace) -> None:
    """Do one step: build a corpus, or ask `tune`; print what a program of its own can say better than its parent."""
    verb, given, out, changes = arguments.step
    settings, started_at = settings_of(Path(given), **json.loads(changes)), time.perf_counter()
    if verb == "build":
        manifest = build_corpus(settings, Path(out), lambda line: None)
        found = {"digest": manifest["digest"], "kept": manifest["sources"]["web"]["kept"]["documents"]}
    else:
        changes_of = tune(Path(out), settings, num_samples=0 if verb == "ask" else 3).changes
        found = {"kept": sum(change.would_keep["documents"] for change in changes_of)}
    print(json.dumps(found | {"seconds": time.perf_counter() - started_at}))


def run(verb: str, given: Path, out: Path, **changes: Any) -> dict[str, Any]:
    command = [sys.executable, __file__, "--step", verb, str(given), str(out), json.dumps(changes)]
    usage = run_measured(command, ONE_THREAD)
    if usage.status:
        raise RuntimeError(usage.tail)
    said = json.loads(usage.tail.splitlines()[-1])
    found = {"wall": usage.wall_seconds, "cpu": usage.cpu_seconds, "peak_mib": usage.peak_bytes / (1 << 20), **said}
    say(f"{verb} {changes if verb != 'build' else list(changes)}: {found}")
    return found


def large_text(stream: Stream, num_bytes: int, work: Path) -> list[list[Any]]:
    """A change of each kind to a corpus of long documents."""
    given, out = work / "given", work / "corpus"
    write_stream(stream, given, num_bytes + FILE_BYTES, FILE_BYTES)
    added = max(given.iterdir())
    added.rename(work / added.name)
    mine = work / "mine.py"
    mine.write_text(MEASURE)
    own = {"measures": {"shouting": {"class": f"{mine}:Shouting"}}}
    found = {
        "fresh build": run("build", given, out),
        "tune's first answer": run("tune", given, out, **LIMIT),
        "one limit changed": run("build", given, out, **LIMIT),
        "a measure added": run("build", given, out, **LIMIT, **own),
    }
    (work / added.name).rename(added)
    found["a file added"] = run("build", given, out, **LIMIT, **own)
    added.unlink()
    found["back to the first settings"] = run("build", given, out)
    if found["back to the first settings"]["digest"] != found["fresh build"]["digest"]:
        raise RuntimeError("back to the first settings the corpus has another digest")
    shutil.rmtree(given)
    shutil.rmtree(out)
    return [[name, each["wall"], each["cpu"], each["peak_mib"], each["kept"]] for name, each in found.items()]


def short_documents(stream: Stream, count: int, work: Path) -> list[list[Any]]:
    """Answers about millions of short documents, from columns alone."""
    given, out = work / "short", work / "corpus"
    given.mkdir()
    for at in range(0, count, 50_000):
        numbers = range(at, min(at + 50_000, count))
        lines = (json.dumps({"text": stream.document(number).split("\n\n")[0]}) for number in numbers)
        (given / f"{at:09d}.jsonl").write_text("\n".join(lines) + "\n")
    found = {"build of short documents": run("build", given, out)}
    for name, changes in (("one limit", SHORT_LIMIT), (f"{len(LIMITS['limits']['web'])} limits", LIMITS)):
        for verb, what in (("ask", "counts"), ("tune", "and samples")):
            found[f"{name}: {what}"] = run(verb, given, out, **changes)
    return [[name, each["seconds"], each["cpu"], each["peak_mib"], each["kept"]] for name, each in found.items()]


def many_slices(stream: Stream, count: int, work: Path) -> list[list[Any]]:
    """Seconds from the start to the first task's texts, of small files, and the leading process' memory then."""
    given, out = work / "slices", work / "many"
    for number in range(count):
        path = given / f"{number // 1000:04d}" / f"{number % 1000:03d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stream.document(number)[:2000])
    changes = json.dumps({"task_bytes": 1000})
    started_at = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, "--step", "build", str(given), str(out), changes])
    while process.poll() is None and next((work / ".many-work").glob("*/texts/*"), None) is None:
        time.sleep(0.05)
    seconds = time.perf_counter() - started_at
    status = Path(f"/proc/{process.pid}/status").read_text()
    process.kill()
    process.wait()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return [[f"{count:,} slices: to the first task's texts", seconds, "", int(resident) / 1024, ""]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, default=Path("texts"), help="what `headwater corpus fetch standard` made")
    parser.add_argument("--megabytes", type=float, default=2000)
    parser.add_argument("--documents", type=int, default=5_000_000)
    parser.add_argument("--slices", type=int, default=100_000)
    parser.add_argument("--work", type=Path, metavar="FOLDER")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    add_output_options(parser)
    arguments = parser.parse_args()
    if arguments.step:
        step(arguments)
        return 0
    stream, rows = Stream(seed_texts(arguments.texts)), list[list[Any]]()
    with tempfile.TemporaryDirectory(prefix="headwater-decide-", dir=arguments.work) as folder:
        for part, amount in ((large_text, int(arguments.megabytes * 1e6)), (short_documents, arguments.documents)):
            rows += part(stream, amount, Path(folder)) if amount else []
        rows += many_slices(stream, arguments.slices, Path(folder)) if arguments.slices else []
    header = ["step", "seconds", "processor seconds", "peak MiB", "documents kept"]
    figures: dict[str, Any] = {"made": facts(), "rows": rows}
    publish(figures, f"{markdown_table(header, rows)}\n\n{made(figures['made'])}", arguments.json, arguments.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
