"""Measure speed, memory of all processes together, and disk for growing amounts of text.

    headwater corpus fetch standard
    python benchmarks/corpus/memory.py                     # 100 MB, 500 MB and 2 GB
    python benchmarks/corpus/memory.py --megabytes 20000 --file-megabytes 100 --task-megabytes 64

The second is the stream of 20 GB and needs some 40 GB of disk.

The text is made from real sentences (stream.py), written to compressed JSON lines before the clock starts, and goes
through the whole chain: read, clean, filter, exact and near duplicates, write. Memory is what the processes have for
themselves, sampled ten times a second. Disk is the most that lay in the work folder, without the input. Tasks are
small, so that the smallest amount of text keeps every worker busy as well.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from headwater.core.errors import HeadwaterError
from processes import CHAINS, ONE_THREAD, Usage, folder_bytes, last_json, run_measured
from real_documents import documents
from reporting import add_output_options, facts, made, markdown_table, publish, say
from stream import Stream, write_stream

SEED_BYTES = 20_000_000  # real text that the stream is made from
SOURCES = ("speeches", "novels", "websites", "manuals")

Figures = dict[str, Any]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, default=Path("texts"), help="what `headwater corpus fetch standard` made")
    parser.add_argument("--megabytes", default="100,500,2000", help="amounts of text, with commas")
    parser.add_argument("--file-megabytes", type=float, default=12.5, help="text in one file of the input (12.5)")
    parser.add_argument("--task-megabytes", type=float, default=10.0, help="bytes of files that make a task (10)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, metavar="FOLDER")
    add_output_options(parser)
    return parser.parse_args()


def seed_texts(texts: Path) -> list[str]:
    found, total = [], 0
    for document in documents(texts, SOURCES):
        found.append(document.text)
        total += len(document.text)
        if total >= SEED_BYTES:
            break
    return found


def measure(stream: Stream, num_bytes: int, arguments: argparse.Namespace, work: Path) -> Figures:
    """Put an amount of text through the chain in a fresh folder, which is removed."""
    given, out = work / "given", work / "out"
    num_documents = write_stream(stream, given, num_bytes, int(arguments.file_megabytes * 1e6))
    say(f"{num_documents:,} documents, {num_bytes / 1e6:,.0f} MB, {folder_bytes(given) / 1e6:,.0f} MB compressed")
    out.mkdir()
    sizes = [str(arguments.workers), str(int(arguments.task_megabytes * 1e6))]
    command = [sys.executable, str(CHAINS / "headwater_chain.py"), str(given), str(out), *sizes]
    usage = run_measured(command, ONE_THREAD, out)
    shutil.rmtree(given)
    shutil.rmtree(out)
    if usage.status:
        raise RuntimeError(f"the chain ended with status {usage.status}: {usage.tail}")
    return _figures(num_bytes, num_documents, usage)


def _figures(num_bytes: int, num_documents: int, usage: Usage) -> Figures:
    said = last_json(usage.tail)
    return {
        "megabytes": num_bytes / 1e6,
        "documents": num_documents,
        "mb_per_second": num_bytes / 1e6 / usage.wall_seconds,
        "mb_per_core_second": num_bytes / 1e6 / usage.cpu_seconds,
        "peak_mib": usage.peak_bytes / (1 << 20),
        "disk_megabytes": usage.disk_bytes / 1e6,
        "kept_documents": said["kept"]["documents"],
        "dropped": {reason: count["documents"] for reason, count in said["dropped"].items()},
    }


def section(figures: Figures) -> str:
    rows = [
        [int(run["megabytes"]), run["documents"], run["mb_per_second"], run["mb_per_core_second"], run["peak_mib"],
         run["disk_megabytes"], run["kept_documents"]]
        for run in figures["runs"]
    ]  # fmt: skip
    header = ["MB of text", "documents", "MB/s", "MB/s a core", "peak MiB", "disk MB", "documents kept"]
    peaks = [run["peak_mib"] for run in figures["runs"]]
    spread = f"The largest peak is {max(peaks) / min(peaks):.2f} × the smallest." if len(peaks) > 1 else ""
    return "\n\n".join([markdown_table(header, rows), f"{spread} {made(figures['made'])}".strip()])


def main() -> int:
    arguments = parse_arguments()
    figures: Figures = {"made": facts(), "workers": arguments.workers, "runs": []}
    try:
        stream = Stream(seed_texts(arguments.texts))
        for amount in arguments.megabytes.split(","):
            with tempfile.TemporaryDirectory(prefix="headwater-memory-", dir=arguments.work) as folder:
                run = measure(stream, int(float(amount) * 1e6), arguments, Path(folder))
            figures["runs"].append(run)
            say(f"{run['megabytes']:,.0f} MB: {run['mb_per_second']:.2f} MB/s, {run['peak_mib']:.0f} MiB at most")
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    publish(figures, section(figures), arguments.json, arguments.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
