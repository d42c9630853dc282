"""The chain by datatrove, as FineWeb's recipe has it: `python datatrove_chain.py DOCUMENTS.jsonl OUT_DIR`.

Gopher's repetition and quality filters, C4's (without its rule on terminal punctuation, as FineWeb), FineWeb's own,
then MinHash in four stages; prints what was kept as JSON.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def run(out_dir: Path, name: str, pipeline: list, tasks: int = 1) -> None:
    logs = str(out_dir / "logs" / name)
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs, start_method="spawn").run()


def main() -> None:
    path, out_dir = Path(sys.argv[1]), Path(sys.argv[2])
    kept, signatures, buckets, removed = (str(out_dir / name) for name in ("filtered", "signatures", "buckets", "ids"))
    config = MinhashConfig()
    filters = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    run(out_dir, "filter", [JsonlReader(str(path.parent), glob_pattern=path.name), *filters, JsonlWriter(kept)])
    run(out_dir, "signatures", [JsonlReader(kept), MinhashDedupSignature(signatures, config)])
    run(out_dir, "buckets", [MinhashDedupBuckets(signatures, buckets, config=config)], tasks=config.num_buckets)
    run(out_dir, "cluster", [MinhashDedupCluster(buckets, removed, config=config)])
    run(out_dir, "write", [JsonlReader(kept), MinhashDedupFilter(removed), JsonlWriter(str(out_dir / "output"))])
    count = total = 0
    for shard in sorted((out_dir / "output").glob("*.jsonl.gz")):
        with gzip.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                count, total = count + 1, total + len(json.loads(line)["text"].encode())
    print(json.dumps({"kept": {"documents": count, "bytes": total}}))


if __name__ == "__main__":
    main()
