"""The chain by headwater: `python headwater_chain.py DOCUMENTS OUT_DIR [WORKERS [TASK_BYTES]]`.

Prints what was kept as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings


def main() -> None:
    path, out_dir, *numbers = sys.argv[1:]
    workers, *task_bytes = numbers or ["1"]
    table: dict[str, Any] = {"sources": {"web": {"kind": "web", "paths": [path]}}, "engine": {"workers": int(workers)}}
    if task_bytes:
        table["task_bytes"] = int(task_bytes[0])
    manifest = build_corpus(CorpusSettings.model_validate(table), Path(out_dir) / "corpus", lambda line: None)
    balance = manifest["sources"]["web"]
    print(json.dumps({"read": balance["read"], "kept": balance["kept"], "dropped": balance["dropped"]}))


if __name__ == "__main__":
    main()
