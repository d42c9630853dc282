"""The data card: what a model was trained on, as one JSON object and as a page of Markdown made from it alone.

In the spirit of datasheets and data statements (Gebru et al. 2018, arXiv 1803.09010; Bender and Friedman 2018), but
only what the pipeline has counted: nothing is claimed here. Names come from strangers' metadata, so all of them are
escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from glob import has_magic
from pathlib import PurePath
from typing import Any

from headwater.corpus.balance import COLUMNS, DATES
from headwater.corpus.licences.step import declared_licence
from headwater.corpus.sources.settings import CorpusSettings, SourceSettings
from headwater.corpus.sources.spdx import UNKNOWN
from headwater.tokens.batches.settings import MixtureSettings

FORMAT, FORMAT_VERSION = "headwater-data-card", 1
# settings of the corpus that don't decide what a model has seen, or have a place of their own in the card
_OTHERS = {"sources", "seed", "engine", "fetched_dir", "shard_bytes", "task_bytes", "max_line_bytes", "max_file_bytes"}
_MAX_NAME_CHARACTERS, _MAX_LISTED = 100, 12
_SPACES = "\n\t\xa0"
_SPECIAL = str.maketrans(
    {**{sign: f"\\{sign}" for sign in "\\`*_[]|~#"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"}
) | str.maketrans(_SPACES, len(_SPACES) * " ")


def data_card(
    name: str,
    corpus: CorpusSettings,
    mixture: MixtureSettings,
    balance: dict[str, Any],
    training: Mapping[str, Any],
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """Return {format, format_version, name, sources, licences, decontamination, redaction, settings, digests}.

    `balance` is what became of the text by source, `training` what a run sees of each; both are of `runs.stages`. A
    source has what the balance says of it, and its kind, from, licence (as declared, "" for none), by (licence,
    language and kind), dates and training. What was not requested is None.
    """
    kept_by, licences, sources = balance.get("kept_by", {}), corpus.licences, dict(balance["sources"])
    for source_name, sheet in sources.items():
        source = corpus.sources[source_name]
        licence = declared_licence(source)
        sources[source_name] = sheet | {
            "kind": source.kind,
            "from": _origin(source),
            "licence": "" if licence == UNKNOWN else licence,
            "by": {column: kept_by.get(column, {}).get(source_name, {}) for column in COLUMNS},
            "dates": kept_by.get(DATES, {}).get(source_name),
            "training": training.get(source_name),
        }
    found = balance.get("decontamination")
    hidden = found and {each: {k: v for k, v in facts.items() if k != "found_items"} for each, facts in found.items()}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": name,
        "sources": sources,
        "licences": licences and {"allow": licences.allow, "not_allowed": balance.get("licences_not_allowed", {})},
        "decontamination": hidden,
        "redaction": balance.get("redaction"),
        "settings": _deciding(corpus, mixture),
        "digests": dict(digests),
    }


def _deciding(corpus: CorpusSettings, mixture: MixtureSettings) -> dict[str, Any]:
    deciding = corpus.model_dump(mode="json", exclude=_OTHERS)
    if (kept_out := deciding["decontaminate"]) is not None:
        kept_out["sets"] = {name: [_last_name(path) for path in paths] for name, paths in kept_out["sets"].items()}
    for name in ("blocked_hosts", "blocked_urls"):
        deciding[name] = [_last_name(path) for path in deciding[name] or ()] or None
    for each in deciding["formats"].values():
        each["class"] = _last_name(each["class"])
    deciding["dedup"]["earlier"] = [_last_name(path) for path in deciding["dedup"]["earlier"]]
    for each in deciding["measures"].values():
        each |= {name: each[name] and _last_name(each[name]) for name in ("class", "model")}
    return {**deciding, "mixture": mixture.model_dump(mode="json"), "seed": corpus.seed}


def _last_name(path: str) -> str:
    """Return the last name of a path, since the whole would tell of a person's disk; of a pattern with its folder's."""
    names = PurePath(path).parts
    plain_names = [at for at, name in enumerate(names) if not has_magic(name)]
    return str(PurePath(*names[plain_names[-1] :])) if plain_names else path


def _origin(source: SourceSettings) -> str:
    if source.paths is not None or source.paths_file is not None:
        return ", ".join(map(_last_name, source.paths or [source.paths_file or ""]))
    return source.package or source.builtin or ", ".join(source.fetched or [])


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    sections = [
        "# Data card",
        f"What {plain(card['name'])} was trained on, as headwater counted it while the corpus was built.",
        _models(card),
        _sources(card),
        _licences(card),
        _languages(card),
        _dropped(card),
        _decontamination(card),
        _redaction(card),
        _settings(card),
        "## Digests\n\n" + table(["of", "digest"], [list(each) for each in card["digests"].items()]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _sources(card: Mapping[str, Any]) -> str:
    rows = []
    for name, source in card["sources"].items():
        seen = source.get("training") or {}
        weight = f"{seen['weight']:.1%}" if seen else ""
        epochs = f"{seen['epochs']:.2f}" if seen else ""
        kept = source["text"]
        tokens = seen.get("tokens", 0)
        where = f"{source['from']}" + (f" ({source['licence']})" if source["licence"] else "")
        dates = source["dates"]
        span = f"{dates['first']} to {dates['last']}" if dates else ""
        rows.append([name, source["kind"], where, span, kept["documents"], kept["bytes"], tokens, weight, epochs])
    weights = [seen["weight"] for source in card["sources"].values() if (seen := source.get("training"))]
    replayed = 1 - sum(weights) if weights else 0.0
    head = ["source", "kind", "from", "dates", "documents", "bytes", "tokens", "weight", "epochs"]
    note = (
        "Documents and bytes are those of the cleaned text that was kept, held-out ones included; tokens are those "
        "there are to train on. The weight is the share of the training tokens, epochs are how often those were read."
    )
    if replayed > 5e-4:
        note += f" The other {replayed:.1%} are text of a model before it, read again: its own data card lists it."
    return f"## Sources\n\n{table(head, rows)}\n\n{note}"


def _models(card: Mapping[str, Any]) -> str:
    """Return what the models before this one learned from, as far as that is known, and what alignment did."""
    before, aligned = (card.get(name) or [] for name in ("started_from", "aligned_on"))
    lines = []
    if before:
        licence = {each["name"]: each["detail"] or UNKNOWN for each in before if each["kind"] == "others"}
        names = [f"{plain(name)} (licence: {plain(said)}; made by others)" for name, said in licence.items()]
        names += [plain(each["name"]) for each in before if each["name"] not in licence]
        lines.append(
            f"It was made of {', '.join(names)}. What such a model learned from before is on its own data card."
        )
    for each in aligned:
        what = "prompts, rewarded" if each["by"] == "rewards" else "pairs of answers, one of each preferred"
        by = f" by {plain(each['reward'])}" if each["reward"] else ""
        lines.append(
            f"Then it was aligned on {each['num_examples']:,} {what}{by}; {each['num_held_out']:,} more were only "
            f"measured. Digest: {plain(each['digest'])}. The text below is what it had learned from before that."
        )
    return "## Models before it\n\n" + "\n\n".join(lines) if lines else ""


def _licences(card: Mapping[str, Any]) -> str:
    rows = [[licence, *amounts] for licence, amounts in _together(card["sources"], "licence")]
    if card["licences"] is None:
        undetected = "## Licences\n\nLicences were not detected (corpus.licences is not set)."
        if not {row[0] for row in rows} - {"unknown"}:
            return undetected
        how = "What is known is what the run file declares of a source, or a document's own metadata."
        return f"{undetected} {how}\n\n{table(['licence', 'documents', 'bytes'], rows)}"
    allow = card["licences"]["allow"]
    rule = "Any licence was kept." if allow is None else f"Only these were kept: {listed(allow)}."
    cost = card["licences"]["not_allowed"]
    lost = f"\n\nNot allowed, and dropped (documents): {listed(cost, cost)}." if cost else ""
    return f"## Licences\n\n{rule}\n\n{table(['licence', 'documents', 'bytes'], rows)}{lost}"


def _languages(card: Mapping[str, Any]) -> str:
    names, note = {}, ""
    if card["settings"].get("languages") is None:
        names, note = {"unknown": "not detected"}, " Others were not detected (corpus.languages is not set)."
    rows = [[names.get(language, language), *amounts] for language, amounts in _together(card["sources"], "language")]
    head = ["language", "documents", "bytes"]
    return f"## Languages\n\nOf code, the programming language.{note}\n\n{table(head, rows)}"


def _dropped(card: Mapping[str, Any]) -> str:
    rows = [
        [name, stage, reason, amount["documents"], amount["bytes"]]
        for name, source in card["sources"].items()
        for stage, dropped in source["stages"].items()
        for reason, amount in dropped["reasons"].items()
    ]
    if not rows:
        return "## Dropped\n\nNothing."
    note = "A reason with bytes and no documents: parts cut out of documents that stay."
    return f"## Dropped\n\n{table(['source', 'stage', 'reason', 'documents', 'bytes'], rows)}\n\n{note}"


def _decontamination(card: Mapping[str, Any]) -> str:
    sets = card["decontamination"]
    if sets is None:
        return "## Evaluation sets\n\nNo evaluation set was kept out (corpus.decontaminate is not set)."
    rows = [
        [name, facts["items"], facts["too_short"], facts["found"], facts["documents"], facts["bytes"]]
        for name, facts in sets.items()
    ]
    head = ["set", "items", "too short to search for", "found", "in documents", "bytes cut out"]
    how = card["settings"]["decontaminate"]
    note = (
        f"Found by runs of {how['ngram_words']} words, without case and punctuation; what was found was cut out. A "
        f"shorter text was searched for as a whole, one of fewer than {how['min_words']} words not at all."
    )
    return f"## Evaluation sets\n\n{table(head, rows)}\n\n{note}"


def _redaction(card: Mapping[str, Any]) -> str:
    kinds = card["redaction"]
    if kinds is None:
        return "## Personal data\n\nNothing was redacted (corpus.redact is not set)."
    rows = [[kind, facts["replaced"], facts["bytes"]] for kind, facts in kinds.items()]
    note = "Found by their form; names and postal addresses were not searched for."
    return f"## Personal data\n\n{table(['kind', 'replaced', 'bytes'], rows)}\n\n{note}"


def _settings(card: Mapping[str, Any]) -> str:
    text = json.dumps(card["settings"], indent=2, ensure_ascii=True)
    # four backticks: no JSON written in ASCII with this indentation begins a line with them
    return f"## Settings\n\nFilters, duplicates, mixture and all else; `null` is off.\n\n````json\n{text}\n````"


def _together(sources: Mapping[str, Any], mark: str) -> list[tuple[str, tuple[int, int]]]:
    """Return (value, (documents, bytes)) over all sources, the most bytes first; of many the last are one row."""
    totals: dict[str, list[int]] = {}
    for source in sources.values():
        for value, amount in source["by"][mark].items():
            total = totals.setdefault(value, [0, 0])
            total[0] += amount["documents"]
            total[1] += amount["bytes"]
    ordered = sorted(totals.items(), key=lambda item: (-item[1][1], item[0]))
    rest = ordered[_MAX_LISTED:]
    rows = [(value, (total[0], total[1])) for value, total in ordered[:_MAX_LISTED]]
    if rest:
        rows.append((f"{len(rest)} others", (sum(t[0] for _, t in rest), sum(t[1] for _, t in rest))))
    return rows


def listed(names: Iterable[str], counts: Mapping[str, int] | None = None) -> str:
    """Return names in a row, with their counts where they have some."""
    return ", ".join(plain(name) + (f" {counts[name]:,}" if counts else "") for name in names)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Return a table; numbers are written with commas, and everything else is escaped."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else plain(str(value))


def plain(text: str) -> str:
    """Return a stranger's text so that Markdown and HTML show it as it is: one line, of bounded length, no markup."""
    short = text if len(text) <= _MAX_NAME_CHARACTERS else text[: _MAX_NAME_CHARACTERS - 1] + "…"
    shown = "".join(letter if letter.isprintable() or letter in _SPACES else "\ufffd" for letter in short)
    # what GitHub and Hugging Face would make a link of without any markup
    return shown.translate(_SPECIAL).replace("://", "&#58;//").replace("www.", "www&#46;")
