"""The balance of a run's text: what was read, dropped by stage and reason, and kept; what training will see of it.

No torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.corpus.balance import dropped_by_stage, with_text
from headwater.corpus.load import read_corpus_manifest
from headwater.errors import HeadwaterError
from headwater.files import read_manifest_or_none
from headwater.runs.paths import Folders, stage_digest
from headwater.runs.rows import open_batches
from headwater.runs.run_config import config_of_run
from headwater.tokens.build import tokens_key

_FINDINGS = ("kept_by", "decontamination", "redaction", "licences_not_allowed")


def balance_of_run(run_dir: Path) -> dict[str, Any]:
    """Return {sources, splits, kept_by, …} of a run's corpus.

    A source has read, kept, dropped (by reason) and stages (the same by stage), in bytes as read; cleaned_bytes and
    text, as account.with_text says. `splits` and `kept_by` are parts of text. Raises DataError where there is none.
    """
    manifest = read_corpus_manifest(Folders(run_dir).corpus)
    splits = manifest["splits"]
    sources = {
        name: {**with_text(sheet, splits, name), "stages": dropped_by_stage(sheet)}
        for name, sheet in manifest["sources"].items()
    }
    found = {name: manifest[name] for name in _FINDINGS if name in manifest}
    return {"sources": sources, "splits": splits, **found}


def training_of_run(run_dir: Path) -> dict[str, dict[str, float]] | None:
    """Return what a run will see of each source it trains on, or None where its text isn't tokenized, or not whole.

    documents, tokens and rows of the source; tokens_lost, which packing skipped (0: every token but a document's first
    is predicted once an epoch); padding, the share of the rows' positions that hold none; weight, the share of the
    run's rows; rows_read, how many different ones the run may read; epochs, how often it goes through those.
    """
    folders = Folders(run_dir)
    corpus, tokenizer = stage_digest(folders.corpus), stage_digest(folders.tokenizer)
    if read_manifest_or_none(folders.tokens).get("key") != tokens_key(corpus, tokenizer):
        return None  # of another text, or none
    try:
        config = config_of_run(run_dir)
        batches = open_batches(config)
    except HeadwaterError:
        return None  # training says what is wrong
    num_rows = config.num_rows
    shares, epochs = batches.plan.counts(num_rows), batches.plan.epochs(num_rows)
    result = {}
    for name in batches.plan.sources:
        source = batches.packed(name)
        store = source.store
        result[name] = {
            "documents": store.num_documents,
            "tokens": store.num_tokens,
            "rows": source.num_rows,
            "rows_read": batches.plan.rows[name],
            "tokens_lost": store.num_tokens - store.num_documents - source.index.num_targets,
            "padding": round(source.index.padding_fraction, 6),
            "weight": round(shares[name] / num_rows, 6),
            "epochs": round(epochs[name], 4),
        }
    return result
