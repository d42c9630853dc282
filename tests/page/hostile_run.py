"""A run of which every text is hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fake_run import corpus_manifest, json_file, run_records, write_records, write_run

HOSTILE = [
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "'><svg onload=window.hacked=1>",
    "<!--",
    "]]>{{7*7}}${7*7}",
    "javascript:window.hacked=1",
    "\u202etxt.exe\x1b[31m\x00",
    '<a href="https://example.com/">x</a>',
]


def spoil(value: Any, text: str) -> Any:
    """Return a JSON value with every string in it followed by `text`; what decides the shape stays."""
    if isinstance(value, dict):
        fixed = {"event", "origin"}
        return {key: inner if key in fixed else spoil(inner, text) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [spoil(member, text) for member in value]
    return value + text if isinstance(value, str) else value


def hostile_run(parent: Path, text: str) -> Path:
    run_dir = write_run(parent, name="run" + text.replace("/", "").replace("\x00", "")[:200], num_steps=6)
    for path in run_dir.rglob("*.json"):
        json_file(path, spoil(json.loads(path.read_text()), text))
    manifest = corpus_manifest()
    renamed = {
        name + text: source | {"dropped": {reason + text: lost for reason, lost in source["dropped"].items()}}
        for name, source in manifest["sources"].items()
    }
    json_file(run_dir / "data/corpus/manifest.json", manifest | {"sources": renamed})
    records = [spoil(record, text) for record in run_records(6)]
    for record in records:
        if record["event"] in ("validation", "probes"):
            for field in ("bits_per_byte", "loss", "probes"):
                record[field] = {name + text: score for name, score in record.get(field, {}).items()}
    write_records(run_dir, records)
    return run_dir
